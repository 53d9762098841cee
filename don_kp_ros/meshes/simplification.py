"""A mesh with fewer faces, by fast-simplification (quadric error: Garland and Heckbert 1997)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


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
