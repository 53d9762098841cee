"""A mesh: surfaces of triangles with their looks, in metres."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry import rigid

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

SMALLEST, LARGEST = 0.005, 2.0  # metres of the largest extent
_DIRECTIONS = 2000  # the diameter is right to 1e-4
_DIAMETER = 0.1  # share by which a mesh may differ from the diameter that is given


@dataclass(frozen=True)
class Part:
    """A surface with one texture or colour.

    vertices (N, 3) metres; faces (M, 3) into them; texcoord (C, 2) with u to the right and v down,
    0..1, and corners (M, 3) into it; picture (H, W, 3) RGB: the texture. Without a texture the
    last three are None and the surface has the colour rgba, 0..1.
    """

    vertices: Array
    faces: Indices
    rgba: tuple[float, float, float, float]
    texcoord: Array | None = None
    corners: Indices | None = None
    picture: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Mesh:
    """An object of a file; ``look`` says in words how it is coloured."""

    path: Path
    parts: tuple[Part, ...]
    look: str

    @cached_property
    def vertices(self) -> Array:
        """The vertices (N, 3) of all parts, in turn."""
        return np.concatenate([part.vertices for part in self.parts])

    @cached_property
    def faces(self) -> Indices:
        """The faces (M, 3) of all parts, in turn."""
        first = np.cumsum([0, *(len(part.vertices) for part in self.parts)])
        return np.concatenate(
            [part.faces + start for part, start in zip(self.parts, first, strict=False)]
        )

    @property
    def plain(self) -> bool:
        """Whether all of it has one colour."""
        untextured = all(part.picture is None for part in self.parts)
        return untextured and len({part.rgba for part in self.parts}) == 1

    @property
    def size(self) -> Array:
        """Its extent along x, y and z, (3,) metres."""
        return np.ptp(self.vertices, axis=0)

    @cached_property
    def diameter(self) -> float:
        """The greatest distance of two vertices, metres."""
        number = np.arange(_DIRECTIONS) + 0.5
        height, angle = 1 - 2 * number / _DIRECTIONS, np.pi * (1 + 5**0.5) * number
        level = np.sqrt(1 - height**2)
        sphere = np.stack([level * np.cos(angle), level * np.sin(angle), height])
        farthest = np.unique(
            np.concatenate([(some.T @ self.vertices.T).argmax(axis=1) for some in _split(sphere)])
        )
        outer = self.vertices[farthest]
        return float(max(np.linalg.norm(outer - one, axis=1).max() for one in outer))

    def moved(self, T: ArrayLike, scale: float = 1.0) -> Mesh:
        """Scale it, then move it by a transform (4, 4)."""
        return replace(
            self,
            parts=tuple(
                replace(part, vertices=rigid.apply(T, scale * part.vertices))
                for part in self.parts
            ),
        )

    def in_metres(self, unit: float = 1.0, diameter: float | None = None) -> Mesh:
        """Read its numbers as so many metres each; raises RefusedError for a size that is wrong.

        diameter: metres that it is known to have.
        """
        if diameter is not None and not 0 < diameter < np.inf:
            raise RefusedError(f'a diameter of {diameter} m is said; it must be above 0 m')
        extent = float(self.size.max()) * unit
        if not SMALLEST <= extent <= LARGEST:
            millimetres = SMALLEST <= extent / 1000 <= LARGEST
            hint = '; it seems to be in millimetres' if millimetres else ''
            raise RefusedError(
                f'{self.path}: is {extent:.4g} m large, where {SMALLEST} m to {LARGEST} m is '
                f'expected{hint}: give the unit of its numbers (mm, cm or m)'
            )
        mesh = self if unit == 1 else self.moved(np.eye(4), unit)
        if diameter is not None and abs(mesh.diameter / diameter - 1) > _DIAMETER:
            raise RefusedError(
                f'{self.path}: has a diameter of {mesh.diameter:.4g} m, but {diameter:.4g} m is '
                'said: check the unit of its numbers, and whether it is the mesh of this object'
            )
        return mesh


def _split(directions: Array) -> list[Array]:
    return np.array_split(directions, 20, axis=1)  # half a million vertices need 0.4 GB each
