"""One picture of many masks over their pictures, to see at a glance whether they are right."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from don_kp_ros.data.picture_file import Image, write_image

_SIDE = 160  # pixels of a cell's longer side
_CAPTION = 16  # pixels below it
_MOST = 96  # cells, doubtful masks among them
_EDGE, _PLAIN, _DOUBTFUL = (255, 0, 255), (230, 230, 230), (255, 90, 90)


class ContactSheet:
    """Collects pictures with their masks: evenly spread ones of many, and doubtful ones."""

    def __init__(self, path: Path, total: int) -> None:
        """path: to write to; total: number of pictures that will come."""
        self.path = path
        self._every = max(1, -(-total // (_MOST - _MOST // 4)))
        self._seen = 0
        self._cells: list[Image] = []

    def add(self, image: Image, mask: Image, caption: str, doubtful: bool) -> None:
        """Take a picture (H, W, 3) with its mask (H, W), if it is to be shown."""
        shown = self._seen % self._every == 0 or doubtful
        self._seen += 1
        if shown and len(self._cells) < _MOST:
            self._cells.append(_cell(image, mask, caption, doubtful))

    def write(self) -> None:
        """Write what was collected, if anything was; raises DataError."""
        if not self._cells:
            return
        columns = min(len(self._cells), max(4, round(np.sqrt(1.5 * len(self._cells)))))
        blank = np.zeros_like(self._cells[0])
        cells = self._cells + [blank] * (-len(self._cells) % columns)
        rows = [np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_image(self.path, np.vstack(rows))


def with_mask(image: Image, mask: Image) -> Image:
    """Return a picture dark and grey where a mask has not the object, with the object's edge."""
    shown = mask > 127
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None] // 3
    drawn = np.where(shown[..., None], image, grey).astype(np.uint8)
    contours, _ = cv2.findContours(shown.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, contours, -1, _EDGE, 1)
    return drawn


def _cell(image: Image, mask: Image, caption: str, doubtful: bool) -> Image:
    """Draw a small copy of a picture with its mask, and a caption."""
    every = max(1, max(mask.shape) // (4 * _SIDE))
    image, mask = image[::every, ::every], mask[::every, ::every]
    scale = _SIDE / max(mask.shape)
    size = [max(1, round(side * scale)) for side in mask.shape[::-1]]
    small, small_mask = (
        np.asarray(cv2.resize(one, (size[0], size[1]), interpolation=cv2.INTER_AREA), np.uint8)
        for one in (image, mask)
    )
    drawn = with_mask(small, small_mask)
    cell = np.zeros((_SIDE + _CAPTION, _SIDE + 2, 3), np.uint8)
    cell[: size[1], : size[0]] = drawn
    colour = _DOUBTFUL if doubtful else _PLAIN
    place, font = (2, _SIDE + _CAPTION - 4), cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(cell, caption[-24:], place, font, 0.38, colour, 1, cv2.LINE_AA)
    return cell
