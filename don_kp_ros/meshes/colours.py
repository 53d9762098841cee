"""How surfaces without a texture of their own are coloured."""

from __future__ import annotations

from typing import Any

import numpy as np

from don_kp_ros.meshes.mesh import Array, Indices, Part


def coloured(vertices: Array, faces: Indices, colours: Array) -> tuple[Part, str]:
    """Make a surface whose faces have colours (M, 3), RGB 0..255, and say how it looks."""
    if np.ptp(colours, axis=0).max() > 0:
        return _palette(vertices, faces, colours), 'coloured'
    return Part(vertices, faces, opaque(colours[0])), 'of plain colour'


def opaque(colour: Any) -> tuple[float, float, float, float]:
    """Read a colour of 0..255 as opaque, 0..1."""
    r, g, b = (float(value) / 255 for value in np.asarray(colour, dtype=np.float64)[:3])
    return r, g, b, 1.0


def _palette(vertices: Array, faces: Indices, colours: Array) -> Part:
    """Colour faces by a texture with one texel per colour."""
    levels = np.rint(colours).astype(np.int64)
    palette, index = np.unique(levels, axis=0, return_inverse=True)
    side = int(np.ceil(np.sqrt(len(palette))))
    picture = np.zeros((side * side, 3), np.uint8)
    picture[: len(palette)] = palette.clip(0, 255)
    texel = np.arange(len(palette))
    texcoord = np.stack([texel % side + 0.5, texel // side + 0.5], axis=1) / side
    corners = np.repeat(index.reshape(-1, 1), 3, axis=1)
    return Part(vertices, faces, (1, 1, 1, 1), texcoord, corners, picture.reshape(side, side, 3))
