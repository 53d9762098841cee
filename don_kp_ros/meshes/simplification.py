"""A mesh with fewer faces: vertices that share a cell of a grid become one.

The one lies where the planes of their faces meet (Lindstrom 2000, "Out-of-core simplification of
large polygonal models"), so that edges and corners stay sharp.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

_COARSER = 1.15  # cell to cell, until the faces are few enough
_FLAT = 1e-2  # of the planes' weight, by which the vertex is held to the mean of its cell


def simplified(vertices: Array, faces: Indices, most: int) -> tuple[Array, Indices]:
    """Return vertices (N, 3) and at most so many faces (M, 3); as they are if these are fewer."""
    corner = vertices[faces]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]) / 2
    area = np.linalg.norm(normal, axis=1)
    cell = float(np.sqrt(2 * area.sum() / most))
    while len(faces) > most:
        owner, count = _clusters(vertices, cell)
        again = owner[faces]
        whole = (np.diff(np.sort(again, axis=1), axis=1) > 0).all(axis=1)
        _, first = np.unique(np.sort(again[whole], axis=1), axis=0, return_index=True)
        if len(first) <= most:
            unit = normal / np.maximum(area, 1e-30)[:, None]
            weighted = area[:, None, None] * unit[:, :, None] * unit[:, None]
            reach = area * np.einsum('mi,mi->m', unit, corner[:, 0])
            middle = _summed(vertices, owner, count) / np.bincount(owner)[:, None]
            places = _meeting(again, weighted, reach[:, None] * unit, middle, cell)
            return places, again[whole][np.sort(first)]
        cell *= _COARSER
    return vertices, faces


def _clusters(vertices: Array, cell: float) -> tuple[Indices, int]:
    """Number the cells that hold vertices; return that of each vertex, and how many there are."""
    cells = np.floor((vertices - vertices.min(axis=0)) / cell).astype(np.int64)
    known, owner = np.unique(cells, axis=0, return_inverse=True)
    return owner.reshape(-1), len(known)


def _meeting(faces: Indices, planes: Array, reach: Array, middle: Array, cell: float) -> Array:
    """Find the points (N, 3) nearest to all planes of the faces in each cell."""
    number = len(middle)
    A = sum(_summed(planes.reshape(-1, 9), faces[:, i], number) for i in range(3))
    b = sum(_summed(reach, faces[:, i], number) for i in range(3))
    A = np.reshape(A, (-1, 3, 3))
    hold = _FLAT * np.trace(A, axis1=1, axis2=2) + 1e-12
    A = A + hold[:, None, None] * np.eye(3)
    found = np.linalg.solve(A, (b + hold[:, None] * middle)[..., None])[..., 0]
    far = np.linalg.norm(found - middle, axis=1) > cell
    return np.where(far[:, None], middle, found)


def _summed(values: Array, owner: Indices, count: int) -> Array:
    """Sum rows (N, C) by their owner: (count, C)."""
    return np.stack([np.bincount(owner, column, count) for column in values.T], axis=1)
