"""A mesh with fewer faces, by fast-simplification (quadric error: Garland and Heckbert 1997)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

_LONG = 2.0  # an edge over that of a triangle of the mean area: longer ones are divided


def simplified(vertices: Array, faces: Indices, most: int) -> tuple[Array, Indices]:
    """Return vertices (N, 3) and at most that many faces (M, 3)."""
    if len(faces) <= most:
        return vertices, faces
    import fast_simplification

    # Textures split vertices at their seams, which would open.
    vertices, owner = np.unique(vertices, axis=0, return_inverse=True)
    faces = owner.reshape(-1)[faces].astype(np.int32)
    fewer, among = fast_simplification.simplify(vertices, faces, target_count=most)
    return np.asarray(fewer, dtype=np.float64), np.asarray(among, dtype=np.int64)


def evened(vertices: Array, faces: Indices, most: int) -> tuple[Array, Indices]:
    """Simplify a mesh, then divide its large faces, so that vertices lie on flat sides, too.

    There are about as many faces as ``most`` says.
    """
    import trimesh

    vertices, faces = simplified(vertices, faces, most)
    corner = vertices[faces]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    each = np.linalg.norm(normal, axis=1).sum() / 2 / most
    longest = _LONG * np.sqrt(4 / np.sqrt(3) * each)
    return trimesh.remesh.subdivide_to_size(vertices, faces, longest, max_iter=20)  # type: ignore[return-value]
