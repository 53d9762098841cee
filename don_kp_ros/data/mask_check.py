"""Whether masks can be right: their size, their shape, and where they touch the border.

What can only be told of all pictures of a folder is told at the end, before anything is learned
or measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from don_kp_ros.data.contact_sheet import ContactSheet
from don_kp_ros.data.folder import Sample
from don_kp_ros.data.mask_options import MaskOptions
from don_kp_ros.data.picture_file import DataError, Image, named
from don_kp_ros.data.posed import PosedSample

_TOUCHED = 0.05  # share of a side that the object covers where it touches it
_SOLID = 0.2  # share of a region that is wider than two pixels
_THIN = 0.17  # width of an outline over the size of what it surrounds
_PIECES, _LARGEST = 30, 0.3  # more pieces, the largest with less of the area: scattered
_EACH = 12  # pictures whose shares are told one by one
_NUMBERS = 4  # that are told
_BLACK, _SEEN = 10, 0.1  # of 255, what a sensor's noise reaches; share that must be brighter


class Fault(NamedTuple):
    """What may be wrong with a mask; of so large a share of the pictures it cannot be right."""

    what: str
    certain: float


COVERS_ALL = Fault('the object covers over 95 % of', 0.0)
COVERS_MUCH = Fault('the object covers over 60 % of', 2.0)
FILLS_BORDER = Fault('the object fills the whole border (is the mask inverted?) of', 0.0)
THREE_SIDES = Fault('the object touches three sides (is the mask inverted?) of', 1.0)
SHAPELESS = Fault('the mask is no region, only an outline, lines or dots, in', 0.5)
SPARSE = Fault('the mask is thin lines (an outline?) over a large area in', 2.0)
DARK = Fault("the object is darker than a sensor's noise (lit too little?) in", 2.0)
A_MASK = Fault('the picture has two values, as a mask does, in', 1.0)


AnySample = TypeVar('AnySample', bound=Sample | PosedSample)


def faults(image: Image, mask: Image) -> list[Fault]:
    """List what may be wrong with a picture's mask (H, W), which is not 0 where the object is."""
    found = []
    shown = mask > 0
    sides, share = _sides(shown, 0), share_of(mask)
    inset = max(1, min(shown.shape) // 50)  # the border itself may have been left out
    if share > 0.95:
        found.append(COVERS_ALL)
    elif max(min(sides), min(_sides(shown, inset))) > 0.99:
        found.append(FILLS_BORDER)
    elif sum(side > _TOUCHED for side in sides) > 2:
        found.append(THREE_SIDES)
    if 0.6 < share <= 0.95:
        found.append(COVERS_MUCH)
    found += _shape_faults(mask)
    if _is_a_mask(image):
        found.append(A_MASK)
    elif np.mean(image[shown].max(axis=1) > _BLACK) < _SEEN:
        found.append(DARK)
    return found


def share_of(mask: Image) -> float:
    """Return the share of a picture that its mask (H, W) covers."""
    return float(np.count_nonzero(mask) / mask.size)


def _sides(shown: NDArray[np.bool_], inset: int) -> list[float]:
    """Return the shares of the four sides that the object covers, some pixels off the border."""
    inner = shown[inset : shown.shape[0] - inset, inset : shown.shape[1] - inset]
    return [float(side.mean()) for side in (inner[0], inner[-1], inner[:, 0], inner[:, -1])]


def _shape_faults(mask: Image) -> list[Fault]:
    u, v, width, height = cv2.boundingRect(mask)
    own = np.pad(mask[v : v + height, u : u + width], 1)
    area = np.count_nonzero(own)
    solid = np.count_nonzero(cv2.morphologyEx(own, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)))
    if solid < _SOLID * area:
        return [SHAPELESS]
    contours, hierarchy = cv2.findContours(own, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    outer = [c for c, (*_, parent) in zip(contours, hierarchy[0], strict=True) if parent < 0]
    areas = [cv2.contourArea(contour) + len(contour) / 2 + 1 for contour in outer]
    if len(outer) > _PIECES and max(areas) < _LARGEST * area:
        return [SHAPELESS]
    line = 2 * area / sum(len(contour) for contour in contours)
    if sum(areas) > 2 * area and line < _THIN * np.sqrt(sum(areas)):
        return [SHAPELESS]
    extent = cv2.contourArea(cv2.convexHull(np.concatenate(outer)))
    if extent > 3 * area:
        widest = 2 * float(cv2.distanceTransform(own, cv2.DIST_L2, 3).max())
        return [SPARSE] if widest < _THIN * np.sqrt(extent) else []
    return []


def _is_a_mask(image: Image) -> bool:
    high = image.max()
    parts = (image[::8, ::8], image)  # most pictures are told by few pixels
    two = all(((own == 0) | (own == high)).all() for own in parts)
    return bool(two and image.min() < high)


class MaskCheck:
    """Looks at the masks of a folder one by one, and tells at the end what is wrong.

    say: is told what is doubtful; sheet: where to draw masks over their pictures (none: nowhere).
    """

    def __init__(
        self,
        root: Path,
        options: MaskOptions,
        say: Callable[[str], None],
        sheet: Path | None = None,
    ) -> None:
        self.options = options
        self.say = say
        self._root = root
        self._sheet_path = sheet
        self._sheet: ContactSheet | None = None
        self._shares: dict[str, float] = {}
        self._faults: dict[Fault, list[Path]] = {}
        self._numbers: dict[int, Path] = {}

    def watch(self, samples: Iterable[AnySample], total: int) -> Iterator[AnySample]:
        """Look at so many samples as they pass; raises DataError if masks cannot be right."""
        if self._sheet_path is not None:
            self._sheet = ContactSheet(self._sheet_path, total)
        for sample in samples:
            self._add(sample)
            yield sample
        self._finish()

    def faults_of(self, path: Path) -> list[Fault]:
        """List what may be wrong with a picture that was looked at."""
        return [fault for fault, paths in self._faults.items() if path in paths]

    def _add(self, sample: Sample | PosedSample) -> None:
        found, share = faults(sample.image, sample.mask), share_of(sample.mask)
        self._shares[sample.path.name] = share
        for fault in found:
            self._faults.setdefault(fault, []).append(sample.path)
        if sample.number is not None:
            self._numbers.setdefault(sample.number, sample.path)
        if self._sheet is not None:
            caption = f'{sample.path.stem} {share:.1%}'
            self._sheet.add(sample.image, sample.mask, caption, bool(found))

    def _finish(self) -> None:
        look = ''
        if self._sheet is not None and self._shares:
            self._sheet.write()
            self.say(f'{self._told_shares()} Masks over pictures: {self._sheet.path}')
            look = f'look at {self._sheet.path}, and '
        certain: list[str] = []
        doubtful: list[str] = []
        for fault, paths in self._faults.items():
            told = certain if len(paths) >= fault.certain * len(self._shares) else doubtful
            told.append(f'{fault.what} {named(paths)}')
        certain += self._told_numbers()
        if certain and not self.options.trust:
            raise DataError(
                f'{self._root}: {"; ".join(certain)}; {look}mend them, or take them as they are '
                'by --trust-masks'
            )
        for text in (*certain, *doubtful):
            self.say(f'{self._root}: {text}; are the masks right?')

    def _told_shares(self) -> str:
        shares = self._shares
        if len(shares) <= _EACH:
            each = ', '.join(f'{share:.1%} of {name}' for name, share in shares.items())
            return f'The object covers {each}.'
        least, most = min(shares, key=shares.__getitem__), max(shares, key=shares.__getitem__)
        return (
            f'The object covers {shares[least]:.1%} ({least}) to {shares[most]:.1%} ({most}) of a '
            f'picture, {median(shares.values()):.1%} in the middle.'
        )

    def _told_numbers(self) -> list[str]:
        """Say that masks number the object differently, as different objects are numbered."""
        numbers = sorted(self._numbers.items())[:_NUMBERS]
        if len(numbers) < 2:
            return []
        each = ' and '.join(f'{number} in {path.name}' for number, path in numbers)
        every = ' '.join(f'--mask-value {number}' for number, _ in numbers)
        return [f'the object is {each}; if those are one object, say {every}, else one of them']
