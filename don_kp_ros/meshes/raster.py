"""Draw triangles into images: which face each pixel shows, and where on it.

A z-buffer, in compiled loops on the CPU, by torch on its other devices. From the face and the
place on it, `Raster.values` gives whatever the corners hold: coordinates, texture coordinates,
descriptors of any length. Faces are drawn from both sides, so neither holes nor the winding of a
file matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from don_kp_ros.geometry.camera import Camera
from don_kp_ros.meshes import raster_torch

Floats = NDArray[np.float32]
CPU = torch.device('cpu')
NEAREST = 0.01  # metres; a face that comes nearer is left out


@dataclass(frozen=True)
class Raster:
    """What an image of (h, w) pixels shows of M faces.

    face (h, w): its number, -1 where there is none. share (h, w, 3): how much each of its corners
    counts there, with perspective; their sum is 1. depth (h, w): metres along the optical axis,
    NaN where there is no face.
    """

    face: NDArray[np.int32]
    share: Floats
    depth: Floats

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Which pixels (h, w) show a face."""
        return np.asarray(self.face >= 0)

    def values(self, of_corners: NDArray[Any], corners: NDArray[np.int64]) -> Floats:
        """Interpolate values (N, C) that faces' corners (M, 3) number: (h, w, C), 0 elsewhere."""
        found = np.zeros((*self.face.shape, of_corners.shape[1]), np.float32)
        mask = self.mask
        numbers = corners[self.face[mask]]
        values = np.asarray(of_corners, np.float32)
        share = self.share[mask]
        found[mask] = sum(share[:, i, None] * values[numbers[:, i]] for i in range(3))
        return found


def rasterise(
    vertices: ArrayLike,
    faces: NDArray[np.int64],
    camera: Camera,
    device: torch.device = CPU,
) -> Raster:
    """Draw faces (M, 3) of vertices (N, 3), metres in the optical frame.

    A pixel shows what its centre sees, as with OpenGL. A lens that distorts moves the vertices,
    and edges stay straight between them; a face with a vertex beyond what it sees is left out.
    """
    vertices = np.asarray(vertices, dtype=np.float64)
    near = vertices[:, 2] >= NEAREST
    corners = np.full((len(vertices), 3), np.nan)
    corners[near, :2] = camera.project(vertices[near])
    corners[near, 2] = 1 / vertices[near, 2]
    faces = np.ascontiguousarray(faces, np.int64)
    shape = (camera.height, camera.width)
    if device == CPU:
        face, share = np.full(shape, -1, np.int32), np.zeros((*shape, 3), np.float32)
        nearness = np.zeros(shape)
        _draw(corners, faces, face, share, nearness)
    else:
        face, share, nearness = raster_torch.draw(corners, faces, *shape, device)
    with np.errstate(divide='ignore'):
        depth = np.where(face >= 0, 1 / nearness, np.nan).astype(np.float32)
    return Raster(face, share, depth)


def _compiled(signature: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile a function, or take what an earlier process compiled.

    Numba keeps it beside this file or in the user's cache. Where neither can be written, or what
    lies there is broken, it is compiled again, which takes a second or two.
    """

    def compile_(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return numba.njit(signature, cache=True, nogil=True)(function)  # type: ignore[no-any-return]
        except Exception:  # of the file system, or of pickle
            return numba.njit(signature, nogil=True)(function)  # type: ignore[no-any-return]

    return compile_


@_compiled('void(f8[:,::1], i8[:,::1], i4[:,::1], f4[:,:,::1], f8[:,::1])')
def _draw(
    corners: NDArray[np.float64],
    faces: NDArray[np.int64],
    face: NDArray[np.int32],
    share: Floats,
    nearness: NDArray[np.float64],
) -> None:
    """Draw faces of corners (N, 3): u, v and 1 / depth, which is linear in the image."""
    height, width = face.shape
    for number in range(len(faces)):
        a, b, c = corners[faces[number, 0]], corners[faces[number, 1]], corners[faces[number, 2]]
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if not abs(area) > 1e-12:  # seen from its edge, or not a number
            continue
        first_u = max(int(np.ceil(min(a[0], b[0], c[0]))), 0)
        last_u = min(int(np.floor(max(a[0], b[0], c[0]))), width - 1)
        first_v = max(int(np.ceil(min(a[1], b[1], c[1]))), 0)
        last_v = min(int(np.floor(max(a[1], b[1], c[1]))), height - 1)
        for v in range(first_v, last_v + 1):
            for u in range(first_u, last_u + 1):
                of_b = ((u - a[0]) * (c[1] - a[1]) - (v - a[1]) * (c[0] - a[0])) / area
                of_c = ((b[0] - a[0]) * (v - a[1]) - (b[1] - a[1]) * (u - a[0])) / area
                of_a = 1 - of_b - of_c
                if of_a < 0 or of_b < 0 or of_c < 0:
                    continue
                near = of_a * a[2] + of_b * b[2] + of_c * c[2]
                if near > nearness[v, u]:
                    nearness[v, u] = near
                    face[v, u] = number
                    share[v, u, 0] = of_a * a[2] / near
                    share[v, u, 1] = of_b * b[2] / near
                    share[v, u, 2] = of_c * c[2] / near
