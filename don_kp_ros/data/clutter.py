"""Pictures of nothing in particular: overlapping shapes of all sizes, as if things lay about.

Such dead leaves have the statistics of natural pictures (Lee, Mumford and Huang, 2001), and a
network learns from them nearly as much (Baradad et al., 2021).
"""

from __future__ import annotations

import cv2
import numpy as np

from don_kp_ros.configuration import Range
from don_kp_ros.data.draws import log_uniform
from don_kp_ros.data.folder import Image

_SHAPES = 60
_RADII: Range = (0.015, 0.4)  # fraction of the longer side
_CELLS: Range = (1, 16)  # of a shape's pattern, across it; 1: one colour
_FINEST = 3  # pixels of a cell
_BLUR = 0.6  # pixels; edges in pictures are not sharper


def clutter(size: tuple[int, int], colours: Image, rng: np.random.Generator) -> Image:
    """Draw a picture (W, H), half of its shapes in random colours, half in given ones (N, 3)."""
    side = max(size)
    picture = _pattern(size, log_uniform(rng, _CELLS), colours, rng)
    mask = np.empty(picture.shape[:2], np.uint8)
    for _ in range(_SHAPES):
        radius = log_uniform(rng, _RADII)
        pattern = _pattern(size, log_uniform(rng, _CELLS) / (2 * radius), colours, rng)
        corners = int(rng.choice([3, 4, 5, 6, 24]))
        jitter = rng.uniform(-0.5, 0.5, corners) * (corners < 24)
        angles = (np.arange(corners) + jitter) * 2 * np.pi / corners
        turn = rng.uniform(0, np.pi)
        x, y = np.cos(angles), np.sin(angles) * rng.uniform(0.1, 1)
        outline = np.stack(
            [np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y], axis=1
        )
        place = rng.uniform(0, size) + radius * side * outline
        mask[:] = 0
        cv2.fillPoly(mask, [np.rint(place).astype(np.int32)], 255)
        cv2.copyTo(pattern, mask, picture)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), _BLUR), np.uint8)


def _pattern(
    size: tuple[int, int], cells: float, colours: Image, rng: np.random.Generator
) -> Image:
    """Make a pattern (W, H) of about so many cells across, between two colours."""
    count = round(min(cells, max(size) / _FINEST))
    ends = colours[rng.integers(len(colours), size=2)].astype(np.float64)
    random = rng.random(2) < 0.5
    ends[random] = rng.uniform(0, 255, (2, 1))[random] + rng.normal(0, 40, (2, 3))[random]
    share = rng.random((max(count, 1), max(count, 1), 1))
    noise = (ends[0] + share * (ends[1] - ends[0])).clip(0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(noise, size, interpolation=cv2.INTER_LINEAR), np.uint8)
