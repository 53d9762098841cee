"""Chooses the sharp and different ones among the pictures of a film."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from don_kp_ros.data.picture_file import Image

_WINDOW_S = 0.5  # of which the sharpest picture counts
_BLURRED = 0.5  # of the median sharpness of those
_SIDE = 32  # cells of a thumbnail's side: noise is averaged away
_DIFFERENT = 12.0  # of 255, by which some cell must differ


@dataclass(frozen=True)
class _Frame:
    number: int
    sharpness: float
    thumbnail: NDArray[np.float32] = field(repr=False)


class SharpFrames:
    """Takes pictures one after the other; keeps a thumbnail of one in half a second."""

    def __init__(self) -> None:
        self.seen = 0
        self._best: dict[int, _Frame] = {}

    def add(self, image: Image, seconds: float) -> None:
        """Take the next picture (H, W, 3), and when it was."""
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        sharpness = float(cv2.Laplacian(grey, cv2.CV_32F).var())
        window = int(seconds / _WINDOW_S)
        if window not in self._best or sharpness > self._best[window].sharpness:
            small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
            self._best[window] = _Frame(self.seen, sharpness, small.astype(np.float32))
        self.seen += 1

    def chosen(self, most: int) -> list[int]:
        """Return the numbers of the chosen pictures, in order.

        They begin with the sharpest; each next one is the farthest from those before, by the
        greatest difference of a cell, until none differs enough (Gonzalez 1985).
        """
        frames = list(self._best.values())
        if not frames:
            return []
        usual = np.median([one.sharpness for one in frames])
        frames = [one for one in frames if one.sharpness >= _BLURRED * usual]
        thumbnails = np.stack([one.thumbnail for one in frames])
        at = int(np.argmax([one.sharpness for one in frames]))
        nearest = np.full(len(frames), np.inf)
        taken: list[int] = []
        while len(taken) < most and (not taken or nearest[at] >= _DIFFERENT):
            taken.append(at)
            far = np.abs(thumbnails - thumbnails[at]).reshape(len(frames), -1).max(axis=1)
            nearest = np.minimum(nearest, far)
            at = int(np.argmax(nearest))
        return sorted(frames[one].number for one in taken)
