"""PASCAL VOC's segmentation, and CVAT's "Segmentation mask", which adds labelmap.txt.

SegmentationClass/ says by index (or, with labelmap.txt, by colour) what is seen at each pixel, and
SegmentationObject/, if it is there, tells objects of one class apart. Index 255 is of no object.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.annotation.formats.marks import Mark, Marked, Pictures
from don_kp_ros.data.pairing import by_stem
from don_kp_ros.data.picture_file import DataError, PictureFile, list_images, named
from don_kp_ros.pose.segmentation import Mask

CLASSES, OBJECTS, LABELS, PHOTOS = (
    'SegmentationClass', 'SegmentationObject', 'labelmap.txt', 'JPEGImages'
)  # fmt: skip
_NAMES = (
    'background', 'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair',
    'cow', 'diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa',
    'train', 'tvmonitor',
)  # fmt: skip
_VOID = 255
_VOID_COLOUR = 0xE0E0C0

Numbers = NDArray[np.int64]


class _Label(NamedTuple):
    name: str
    number: int


def read(root: Path, pictures: Pictures) -> list[Marked]:
    """Read every picture that has a mask of classes; raises DataError."""
    labels = _labels(root / LABELS) if (root / LABELS).is_file() else None
    classes, objects = by_stem(list_images(root / CLASSES)), by_stem(list_images(root / OBJECTS))
    if not classes:
        raise DataError(f'{root / CLASSES}: holds no masks')
    if (root / PHOTOS).is_dir():
        pictures = Pictures(root / PHOTOS)
    others = pictures.outside(root / CLASSES, root / OBJECTS)
    result = []
    for stem, path in classes.items():
        if objects and stem not in objects:
            raise DataError(f'{path}: {root / OBJECTS} has none of this name, though others')
        marks, size = _marks(path, objects.get(stem), labels)
        result.append(Marked(stem, others.opener(stem, path, stem=True), marks, size))
    if labels is None and not any(marked.marks for marked in result):
        _refuse_void(classes.values())
    return result


def _refuse_void(paths: Iterable[Path]) -> None:
    """Say why nothing is marked where masks show the number that marks nothing."""
    void = [path for path in paths if (_numbers(path, False) == _VOID).any()]
    if void:
        raise DataError(
            f'{named(void)}: {_VOID} means in VOC that it is not said what is there, and no other '
            'number is shown; if that is the object, these are masks of two values: put them into '
            'masks/, beside rgbs/'
        )


def _marks(
    path: Path, objects: Path | None, labels: Mapping[int, _Label] | None
) -> tuple[tuple[Mark, ...], tuple[int, int]]:
    """List a picture's marks, and the size (H, W) of its masks."""
    colours = labels is not None
    numbers, void = _numbers(path, colours), _VOID_COLOUR if colours else _VOID
    own = None if objects is None else _numbers(objects, colours)
    if own is not None and own.shape != numbers.shape:
        raise DataError(f'{objects}: is not as large as {path}')
    marks = []
    for number in np.unique(numbers[numbers != void]):
        label = _label(path, int(number), labels)
        if label.name == 'background':
            continue
        mine = [None] if own is None else np.unique(own[numbers == number])
        for one in mine:
            if one not in (0, void):
                marks.append(Mark(*label, partial(_drawn, path, number, objects, one, colours)))
    height, width = numbers.shape
    return tuple(marks), (height, width)


def _drawn(path: Path, number: int, objects: Path | None, one: int | None, colours: bool) -> Mask:
    shown = _numbers(path, colours) == number
    return shown if objects is None else shown & (_numbers(objects, colours) == one)


def _numbers(path: Path, colours: bool) -> Numbers:
    """Read indices (H, W), or colours 0xRRGGBB; raises DataError."""
    file = PictureFile.open(path)
    if colours:
        rgb = file.decoded_by_pillow('RGB').astype(np.int64)
        red, green, blue = np.moveaxis(rgb, 2, 0)
        return red << 16 | green << 8 | blue
    if file.header is None or file.header.mode not in ('P', 'L'):
        raise DataError(
            f'{path}: has colours, not the indices of a palette, and there is no {LABELS} to tell '
            'what they mean; export it with that, or with a palette'
        )
    return file.decoded_by_pillow().astype(np.int64)


def _label(path: Path, number: int, labels: Mapping[int, _Label] | None) -> _Label:
    if labels is None:
        return _Label(_NAMES[number] if number < len(_NAMES) else f'class {number}', number)
    if number in labels:
        return labels[number]
    if number == 0:
        return _Label('background', 0)
    raise DataError(f'{path}: holds the colour 0x{number:06x}, which {LABELS} does not name')


def _labels(path: Path) -> dict[int, _Label]:
    """Read `name:red,green,blue:parts:actions` lines, by colour; raises DataError."""
    found: dict[int, _Label] = {}
    lines = path.read_text(encoding='utf-8', errors='replace').splitlines()
    for line in (text.strip() for text in lines):
        if not line or line.startswith('#'):
            continue
        name, _, rest = line.partition(':')
        try:
            red, green, blue = (int(text) for text in rest.partition(':')[0].split(','))
            if not all(0 <= part <= 255 for part in (red, green, blue)):
                raise ValueError('a colour has parts of 0 to 255')
        except ValueError as error:
            raise DataError(f'{path}: {line!r} is not name:red,green,blue:: ({error})') from error
        colour = red << 16 | green << 8 | blue
        if colour in found:
            raise DataError(f'{path}: {found[colour].name} and {name} have the same colour')
        found[colour] = _Label(name, len(found))
    return found
