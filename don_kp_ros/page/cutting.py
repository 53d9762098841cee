"""What somebody points at in a picture becomes the mask of an object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from don_kp_ros.annotation.by_colour import mask_by_colour
from don_kp_ros.annotation.proposal import Proposal
from don_kp_ros.data.contact_sheet import with_mask
from don_kp_ros.errors import RefusedError
from don_kp_ros.page.canvas import Marker

Uv = tuple[float, float]

TOOLS = {'inside': 'The object', 'outside': 'Not the object'}
"""What a click says, and how that is told."""

_WIDEST = 960  # pixels of the longer side that is shown
_AROUND = 0.02  # of the sides of what is drawn around an object, as it is drawn in haste
_CORRECTED = 0.5  # of the sides of a mask, so far about it corrections may reach


@dataclass(frozen=True)
class Shown:
    """What is shown of a picture: its copy (h, w, 3) with the mask, marks, and what is said."""

    pixels: NDArray[np.uint8]
    marks: tuple[Marker, ...]
    told: str
    proposal: Proposal | None


class Cutting:
    """A picture, and what was pointed at in it so far."""

    def __init__(self, image: NDArray[np.uint8], begun: NDArray[np.bool_] | None = None) -> None:
        """Point at a picture (H, W, 3); ``begun`` (H, W): a mask that is to be corrected."""
        self._image, self._begun = image, begun
        self._pointed: list[tuple[str, tuple[Uv, ...]]] = []
        height, width = image.shape[:2]
        self._scale = min(1.0, _WIDEST / max(height, width))
        size = (round(width * self._scale), round(height * self._scale))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        self._small = np.asarray(small, np.uint8)

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

    def look(self) -> Shown:
        """Cut out what was pointed at; nothing is cut out before anything is."""
        marks = tuple(
            Marker(*self._drawn(uv), sure=kind == 'inside')
            for kind, places in self._pointed
            if kind != 'box'
            for uv in places
        )
        try:
            found = self._cut()
        except RefusedError as error:
            return Shown(self._small, marks, str(error), None)
        size = self._small.shape[1::-1]
        mask = cv2.resize(found.mask, size, interpolation=cv2.INTER_NEAREST)
        share = f'{np.count_nonzero(found.mask) / found.mask.size:.1%} of the picture'
        told = '; '.join([share, *found.doubts])
        return Shown(with_mask(self._small, np.asarray(mask, np.uint8)), marks, told, found)

    def _cut(self) -> Proposal:
        """Return the mask; raises RefusedError where there is none."""
        if not self._pointed:
            if self._begun is None:
                raise RefusedError('Draw around the object, or click on it.')
            return Proposal.of(self._image, self._begun, [])
        boxes = [places for kind, places in self._pointed if kind == 'box']
        inside, outside = self._of('inside'), self._of('outside')
        box = self._about(boxes[-1], _AROUND) if boxes else None
        if box is None and self._begun is not None:
            v, u = np.nonzero(self._begun)
            box = self._about([*zip(u.tolist(), v.tolist(), strict=True), *inside], _CORRECTED)
        return mask_by_colour(self._image, box, inside, outside, self._begun)

    def _of(self, wanted: str) -> list[Uv]:
        return [uv for kind, places in self._pointed if kind == wanted for uv in places]

    def _about(self, places: ArrayLike, share: float) -> tuple[float, float, float, float]:
        """Return the box (u, v, width, height) about places (N, 2), within the picture."""
        height, width = self._image.shape[:2]
        low, high = np.min(places, axis=0), np.max(places, axis=0)
        margin = share * (high - low)
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
