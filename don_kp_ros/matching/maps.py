"""Descriptor maps as NumPy arrays, for those who need no network: torch is slow to import."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float32]


def cell_centres(
    shape: tuple[int, int], size: tuple[int, int]
) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]:
    """Return the pixels u (w,) and v (h,) that the cells of a map describe.

    ``shape`` (h, w) of the map; ``size`` (H, W) of the image. See docs/conventions.md.
    """
    (rows, columns), (height, width) = shape, size
    u = (np.arange(columns) + 0.5) * (width / columns) - 0.5
    v = (np.arange(rows) + 0.5) * (height / rows) - 0.5
    return u, v


def describe_pixel(descriptor_map: Array, uv: ArrayLike, size: tuple[int, int]) -> Array:
    """Read the unit-length descriptor (D,) at a pixel of the image, as `heatmap.describe_at` does.

    descriptor_map (D, h, w); uv a pixel, fractions allowed, its border outside of the picture;
    size (H, W) of the image.
    """
    (rows, columns), (height, width) = descriptor_map.shape[1:], size
    u, v = (float(x) for x in np.asarray(uv))
    left, right, b = _between((u + 0.5) * columns / width - 0.5, columns)
    upper, lower, a = _between((v + 0.5) * rows / height - 0.5, rows)
    weights = np.array([(1 - a) * (1 - b), (1 - a) * b, a * (1 - b), a * b])
    corners = descriptor_map[:, [upper, upper, lower, lower], [left, right, left, right]]
    blended = corners.astype(np.float64) @ weights
    return (blended / max(float(np.linalg.norm(blended)), 1e-12)).astype(np.float32)


def _between(place: float, number: int) -> tuple[int, int, float]:
    """Return the two cells that a place lies between, and the weight of the second."""
    place = min(max(place, 0.0), number - 1.0)
    first = int(place)
    return first, min(first + 1, number - 1), place - first
