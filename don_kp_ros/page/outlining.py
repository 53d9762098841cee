"""Masks of a folder's pictures, one after the other, by what somebody points at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from don_kp_ros.annotation.by_colour import mask_by_colour
from don_kp_ros.annotation.making import Task
from don_kp_ros.annotation.proposal import Proposal
from don_kp_ros.data.contact_sheet import with_mask
from don_kp_ros.errors import RefusedError
from don_kp_ros.page.canvas import Marker

Uv = tuple[float, float]

_WIDEST = 960  # pixels of the longer side that is shown
_AROUND = 0.02  # of the sides of what is drawn around an object, as it is drawn in haste


@dataclass(frozen=True)
class Shown:
    """What is shown of a picture: its copy (h, w, 3) with the mask, marks, and what is said."""

    pixels: NDArray[np.uint8]
    marks: tuple[Marker, ...]
    told: str
    proposal: Proposal | None


class Outlining:
    """The pictures of a folder that lack a mask, and what was pointed at in the present one.

    Raises DataError for pictures that cannot be read.
    """

    def __init__(self, task: Task) -> None:
        """Begin with the first picture of a task, which has one at least."""
        self._task = task
        self.written = 0
        self._open(0)

    @property
    def picture(self) -> Path:
        """The present picture."""
        return self._task.pictures[self._number]

    @property
    def place(self) -> str:
        """Say which picture it is, of how many."""
        return f'{self.picture.name}, {self._number + 1} of {len(self._task.pictures)}'

    def point(self, drawn: Uv, inside: bool) -> None:
        """Say that a pixel of the shown copy is the object, or is not."""
        self._pointed.append(('inside' if inside else 'outside', (self._original(drawn),)))

    def enclose(self, corners: Sequence[Uv]) -> None:
        """Say that the object lies within what was drawn around it on the shown copy."""
        self._pointed.append(('box', tuple(map(self._original, corners))))

    def undo(self) -> None:
        """Take back what was said last."""
        if self._pointed:
            self._pointed.pop()

    def move(self, by: int) -> None:
        """Go on to another picture, or back."""
        self._open((self._number + by) % len(self._task.pictures))

    def save(self) -> str:
        """Write the mask that is shown, go on to the next picture, and say what was written."""
        proposal = self.look().proposal
        if proposal is None:
            raise RefusedError('there is no mask to save: click on the object, or draw around it')
        self._task.write(self.picture, proposal.mask)
        told = f'{self.picture.name} has its mask'
        self.written += 1
        self.move(1)
        return told

    def look(self) -> Shown:
        """Cut out what was pointed at; nothing is cut out before anything is."""
        marks = tuple(
            Marker(*self._drawn(uv), sure=kind == 'inside')
            for kind, places in self._pointed
            if kind != 'box'
            for uv in places
        )
        if not self._pointed:
            return Shown(self._small, marks, 'Draw around the object, or click on it.', None)
        boxes = [places for kind, places in self._pointed if kind == 'box']
        box = self._box(boxes[-1]) if boxes else None
        inside, outside = self._of('inside'), self._of('outside')
        try:
            found = mask_by_colour(self._image, box, inside, outside)
        except RefusedError as error:
            return Shown(self._small, marks, str(error), None)
        size = self._small.shape[1::-1]
        mask = cv2.resize(found.mask, size, interpolation=cv2.INTER_NEAREST)
        share = f'{np.count_nonzero(found.mask) / found.mask.size:.1%} of the picture'
        told = '; '.join([share, *found.doubts])
        return Shown(with_mask(self._small, np.asarray(mask, np.uint8)), marks, told, found)

    def _open(self, number: int) -> None:
        self._number = number
        self._pointed: list[tuple[str, tuple[Uv, ...]]] = []
        self._image = self._task.read(self.picture)
        height, width = self._image.shape[:2]
        self._scale = min(1.0, _WIDEST / max(height, width))
        size = (round(width * self._scale), round(height * self._scale))
        small = cv2.resize(self._image, size, interpolation=cv2.INTER_AREA)
        self._small = np.asarray(small, np.uint8)

    def _of(self, wanted: str) -> list[Uv]:
        return [uv for kind, places in self._pointed if kind == wanted for uv in places]

    def _box(self, corners: Sequence[Uv]) -> tuple[float, float, float, float]:
        """Return the box (u, v, width, height) about what was drawn, within the picture."""
        height, width = self._image.shape[:2]
        low, high = np.min(corners, axis=0), np.max(corners, axis=0)
        margin = _AROUND * (high - low)
        left, top = np.maximum(low - margin, 1)
        right, bottom = np.minimum(high + margin, [width - 1, height - 1])
        return float(left), float(top), float(right - left), float(bottom - top)

    def _original(self, drawn: Uv) -> Uv:
        """Return the pixel of the picture that a pixel of its shown copy shows."""
        height, width = self._image.shape[:2]
        u, v = ((x + 0.5) / self._scale - 0.5 for x in drawn)
        return min(max(u, 0.0), width - 1.0), min(max(v, 0.0), height - 1.0)

    def _drawn(self, uv: Uv) -> Uv:
        u, v = ((x + 0.5) * self._scale - 0.5 for x in uv)
        return u, v
