"""Finds pictures that show nearly the same."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from don_kp_ros.data.picture_file import Image

_SIDE = 32  # cells of a thumbnail's side
_ALIKE = 5.0  # of 255, by which no cell of near-identical pictures differs


class Duplicates:
    """Compares pictures by thumbnails in which noise and compression are averaged away."""

    def __init__(self) -> None:
        self._thumbnails: list[NDArray[np.float32]] = []
        self._sizes: list[tuple[int, ...]] = []

    def add(self, image: Image) -> None:
        """Take the next picture (H, W, 3)."""
        small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        self._thumbnails.append(small.astype(np.float32).ravel())
        self._sizes.append(image.shape)

    def found(self) -> dict[int, int]:
        """Return, by the number of each picture that has an earlier like, the first such."""
        if not self._thumbnails:
            return {}
        every = np.stack(self._thumbnails)
        means = every.mean(axis=1)  # those of alike pictures are alike: few are left to compare
        order = np.argsort(means, kind='stable')
        first: dict[int, int] = {}
        for place, one in enumerate(order):
            end = np.searchsorted(means[order], means[one] + _ALIKE, side='right')
            others = order[place + 1 : end]
            near = np.abs(every[others] - every[one]).max(axis=1, initial=0) <= _ALIKE
            for other in others[near]:
                if self._sizes[one] == self._sizes[other]:
                    early, late = sorted((int(one), int(other)))
                    first[late] = min(early, first.get(late, early))
        return dict(sorted(first.items()))
