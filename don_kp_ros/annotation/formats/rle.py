"""COCO's run lengths and polygons, as masks (H, W).

Pixels are counted column by column, the first run is background. What is written as text has five
bits a character, the sixth says that more follow, and from the third run on, runs are differences
to the run before the last (https://cocodataset.org/#format-data).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from don_kp_ros.pose.segmentation import Mask

_LOWEST, _HIGHEST = 48, 48 + 63  # characters
_OVER = 1.0  # pictures that a polygon may reach out of one


def decode(counts: Any, size: tuple[int, int]) -> Mask:
    """Decode runs, a list or text, of a mask of a size (H, W); raises ValueError."""
    runs = _runs(counts) if isinstance(counts, str | bytes) else counts
    if not isinstance(runs, list) or not all(type(run) is int and run >= 0 for run in runs):
        raise ValueError('its run lengths are not whole numbers of at least 0')
    height, width = size
    if sum(runs) != height * width:
        raise ValueError(f'its runs cover {sum(runs)} pixels of {width}x{height}')
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return np.asarray(flat.reshape(width, height).T)


def _runs(text: str | bytes) -> list[int]:
    codes = text.encode('ascii', 'replace') if isinstance(text, str) else text
    runs: list[int] = []
    number = shift = 0
    for code in codes:
        if not _LOWEST <= code <= _HIGHEST or shift > 30:
            raise ValueError(f'its run lengths hold {chr(code)!r}')
        bits = code - _LOWEST
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            number -= 1 << shift
        runs.append(number + runs[-2] if len(runs) > 2 else number)
        number = shift = 0
    if shift:
        raise ValueError('its run lengths end in the middle of a number')
    return runs


def from_polygons(polygons: Sequence[Any], size: tuple[int, int]) -> Mask:
    """Fill polygons [u, v, u, v, ...] together, by COCO's own rule; raises ValueError.

    Coordinates are of pixels' edges: 0 is the left edge of the first pixel.
    """
    from pycocotools import mask as coco

    height, width = size
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise ValueError('a polygon has no three corners u, v')
        for index, number in enumerate(polygon):
            side = (width, height)[index % 2]
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise ValueError(f'a polygon holds {number!r}')
            if not math.isfinite(number) or not -_OVER * side <= number <= (1 + _OVER) * side:
                raise ValueError(
                    f'a polygon reaches {number:g}, far outside of its {width}x{height}'
                )
    rles = coco.frPyObjects([list(map(float, polygon)) for polygon in polygons], height, width)
    return np.asarray(coco.decode(coco.merge(rles)) > 0)
