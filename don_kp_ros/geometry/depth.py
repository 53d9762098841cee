"""Depth images: metres, float32, NaN where there is none (REP 118)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def to_metres(image: NDArray[np.generic], encoding: str) -> NDArray[np.float32]:
    """Read a depth image (H, W) of encoding 16UC1 (millimetres, 0: none) or 32FC1 (metres)."""
    if encoding == '16UC1':
        depth = image.astype(np.float32) * np.float32(1e-3)
    elif encoding == '32FC1':
        depth = image.astype(np.float32)
    else:
        raise ValueError(f"depth encoding is '{encoding}'; known are 16UC1 and 32FC1")
    with np.errstate(invalid='ignore'):
        depth[~((depth > 0) & np.isfinite(depth))] = np.nan
    return depth


def median_depth(depth: NDArray[np.float32], uv: ArrayLike, window: int = 5) -> float:
    """Return the median of the valid depths in a window about a pixel, metres; NaN if none.

    A single pixel of a stereo camera is not to be trusted: it may be a hole or a flying pixel.
    ``window`` is the odd side of the window in pixels.
    """
    u, v = (round(float(x)) for x in np.asarray(uv))
    half = window // 2
    height, width = depth.shape
    patch = depth[max(v - half, 0) : min(v + half + 1, height), max(u - half, 0) : u + half + 1]
    valid = patch[np.isfinite(patch)]
    return float(np.median(valid)) if valid.size else float('nan')
