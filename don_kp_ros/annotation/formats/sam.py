"""Segment Anything: every mask of a picture, without names.

Either a JSON file for each picture, as the SA-1B data set has them or as `amg.py --convert-to-rle`
writes them, or a folder for each picture of 0.png, 1.png, ... and metadata.csv, as amg.py writes
them by default.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from don_kp_ros.annotation.formats import coco
from don_kp_ros.annotation.formats.marks import Mark, Marked, Pictures
from don_kp_ros.data.mask_file import read_mask
from don_kp_ros.data.picture_file import DataError, list_images
from don_kp_ros.pose.segmentation import Mask

METADATA = 'metadata.csv'


def fits(content: Any) -> bool:
    """Tell whether a JSON file's content is of this format."""
    if isinstance(content, dict):
        return {'image', 'annotations'} <= content.keys()
    return bool(content) and isinstance(content, list) and _has_runs(content[0])


def _has_runs(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get('segmentation'), dict)


def read(path: Path, content: Any, pictures: Pictures) -> Marked:
    """Read the picture of a JSON file; raises DataError."""
    try:
        if isinstance(content, dict):
            size = coco.image_size(content['image'])
            entries, name = content['annotations'], content['image']['file_name']
            stem, opened = Path(name).stem, pictures.opener(name, path)
        else:
            entries, stem = content, path.stem
            opened = pictures.opener(stem, path, stem=True)
            height, width = entries[0]['segmentation']['size']
            size = coco.image_size({'height': height, 'width': width})
        marks = [
            Mark('', int(entry.get('id', index)), partial(coco.drawn, path, entry, size))
            for index, entry in enumerate(entries)
        ]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f'{path}: holds no masks of SAM that can be read ({error!r})') from error
    return Marked(stem, opened, tuple(marks), size)


def read_folder(folder: Path, pictures: Pictures) -> Marked:
    """Read the picture of a folder of masks; raises DataError."""
    files = [path for path in list_images(folder) if path.stem.isdecimal()]
    if not files:
        raise DataError(f'{folder}: has a {METADATA}, but no masks 0.png, 1.png, ...')
    marks = [Mark('', int(path.stem), partial(_read, path)) for path in files]
    return Marked(folder.name, pictures.opener(folder.name, folder, stem=True), tuple(marks))


def _read(path: Path) -> Mask:
    return read_mask(path) > 0
