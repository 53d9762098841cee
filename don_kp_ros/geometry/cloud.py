"""Point clouds, (N, 3) metres."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

_SMALLEST_SIDE = 1e-4  # metres; cubes are numbered by integers


def cropped(points: Array, lowest: ArrayLike, highest: ArrayLike) -> Array:
    """Return the points (N, 3) in an axis-aligned box, its borders included.

    Raises ValueError if a side of the box is not finite or is negative.
    """
    low, high = np.asarray(lowest, dtype=np.float64), np.asarray(highest, dtype=np.float64)
    if not (np.isfinite([low, high]).all() and (low <= high).all()):
        raise ValueError(
            f'{low.tolist()} to {high.tolist()} m is not a box; every lowest must be '
            'finite and at most the highest'
        )
    return points[((points >= low) & (points <= high)).all(axis=1)]


def voxelised(points: Array, side: float) -> Array:
    """Return the mean of the points (N, 3) in each cube of a grid with that side, metres.

    Raises ValueError for a side of less than 0.1 mm.
    """
    if not _SMALLEST_SIDE <= side < np.inf:
        raise ValueError(
            f'the side of the voxels is {side} m; it must be at least {_SMALLEST_SIDE} m'
        )
    cubes = np.floor(points / side).astype(np.int64)
    _, owner, count = np.unique(cubes, axis=0, return_inverse=True, return_counts=True)
    sums = np.zeros((len(count), 3))
    np.add.at(sums, owner.reshape(-1), points)
    return sums / count[:, None]
