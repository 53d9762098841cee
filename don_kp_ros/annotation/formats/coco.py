"""COCO: one JSON file of images, categories and annotations (https://cocodataset.org/#format-data).

CVAT, Roboflow, Label Studio and many others write it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from don_kp_ros.annotation.formats import rle
from don_kp_ros.annotation.formats.marks import Mark, Marked, Pictures
from don_kp_ros.data.picture_file import DataError
from don_kp_ros.pose.segmentation import Mask

_LONGEST = 1 << 15  # pixels of a side


def fits(content: Any) -> bool:
    """Tell whether a JSON file's content is of this format."""
    return isinstance(content, dict) and {'images', 'annotations'} <= content.keys()


def read(path: Path, content: Any, pictures: Pictures) -> list[Marked]:
    """Read every image that the file lists; raises DataError."""
    try:
        names = {entry['id']: str(entry['name']) for entry in content.get('categories', ())}
        marks: dict[Any, list[Mark]] = {}
        images = {entry['id']: entry for entry in content['images']}
        if len(images) != len(content['images']):
            raise ValueError('two images have the same id')
        for entry in content['annotations']:
            if entry['image_id'] not in images:
                raise ValueError(f'annotation {entry["id"]} is of an unknown image_id')
            size = image_size(images[entry['image_id']])
            draw = partial(drawn, path, entry, size)
            number = entry['category_id']
            mark = Mark(names[number], number, draw, bool(entry.get('iscrowd')))
            marks.setdefault(entry['image_id'], []).append(mark)
        return [
            Marked(
                name=Path(entry['file_name'].replace('\\', '/')).stem,
                open=pictures.opener(entry['file_name'], path),
                marks=tuple(marks.get(number, ())),
                size=image_size(entry),
            )
            for number, entry in images.items()
        ]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(f'{path}: is no COCO file that can be read ({error!r})') from error


def image_size(entry: Any) -> tuple[int, int]:
    """Read an image's size (H, W); raises ValueError."""
    height, width = entry['height'], entry['width']
    if not all(type(side) is int and 0 < side <= _LONGEST for side in (height, width)):
        raise ValueError(f'an image is {width!r}x{height!r}')
    return height, width


def drawn(path: Path, entry: Any, size: tuple[int, int]) -> Mask:
    """Draw an annotation of a picture of a size (H, W); raises DataError."""
    shape, told = entry.get('segmentation'), f'{path}: annotation {entry.get("id")}'
    try:
        if isinstance(shape, dict):
            if shape['size'] != list(size):
                raise ValueError(f'its mask has the size {shape["size"]}, its image {list(size)}')
            return rle.decode(shape['counts'], size)
        if isinstance(shape, list) and shape:
            return rle.from_polygons(shape, size)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f'{told}: {error}') from error
    raise DataError(f'{told} has no region, only a box; annotate polygons or masks')
