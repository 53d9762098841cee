"""labelme: a JSON file of shapes for each picture (https://github.com/wkentaro/labelme).

The picture lies in the file, or where it says. Shapes with one label and one group_id are one
object. labelme draws them by Pillow, and so does this; it shows pictures upright.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw

from don_kp_ros.annotation.formats.coco import image_size
from don_kp_ros.annotation.formats.marks import Mark, Marked, Pictures
from don_kp_ros.data.picture_file import DataError, PictureFile
from don_kp_ros.pose.segmentation import Mask

_REGIONS = ('polygon', 'rectangle', 'circle', 'mask')


def fits(content: Any) -> bool:
    """Tell whether a JSON file's content is of this format."""
    return isinstance(content, dict) and {'shapes', 'imagePath'} <= content.keys()


def read(path: Path, content: Any, pictures: Pictures) -> Marked:
    """Read the picture of a JSON file; raises DataError."""
    opened: Callable[[], PictureFile]
    try:
        name = str(content['imagePath']).replace('\\', '/')
        size = image_size({'height': content['imageHeight'], 'width': content['imageWidth']})
        objects: dict[tuple[Any, ...], list[Any]] = {}
        for index, shape in enumerate(content['shapes']):
            group = shape.get('group_id')
            key = (shape['label'], index) if group is None else (shape['label'], 'group', group)
            objects.setdefault(key, []).append(shape)
        marks = tuple(
            Mark(str(key[0]), None, partial(_drawn, path, shapes, size))
            for key, shapes in objects.items()
        )
        if content.get('imageData'):
            data = base64.b64decode(content['imageData'], validate=True)
            opened = partial(PictureFile.of, path.with_name(Path(name).name), data)
        else:
            beside = path.parent / name
            found = partial(PictureFile.open, beside)
            opened = found if beside.is_file() else pictures.opener(name, path)
    except (KeyError, TypeError, AttributeError, ValueError, binascii.Error) as error:
        raise DataError(f'{path}: is no file of labelme that can be read ({error!r})') from error
    return Marked(Path(name).stem, opened, marks, size, upright=True)


def _drawn(path: Path, shapes: list[Any], size: tuple[int, int]) -> Mask:
    shown = np.zeros(size, np.bool_)
    for shape in shapes:
        try:
            shown |= _region(path, shape, size)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f'{path}: a shape of {shape["label"]}: {error}') from error
    return shown


def _region(path: Path, shape: Any, size: tuple[int, int]) -> Mask:
    kind = shape.get('shape_type') or 'polygon'
    if kind not in _REGIONS:
        raise ValueError(f'it is a {kind}, which has no area; draw a {", ".join(_REGIONS)}')
    points = [(float(u), float(v)) for u, v in shape['points']]
    if not np.isfinite(points).all():
        raise ValueError('a point is not finite')
    if len(points) < 3 if kind == 'polygon' else len(points) != 2:
        raise ValueError(f'a {kind} with {len(points)} points')
    if kind == 'mask':
        return _pasted(path, shape['mask'], points, size)
    canvas = PIL.Image.new('L', size[::-1])
    draw = PIL.ImageDraw.Draw(canvas)
    if kind == 'polygon':
        draw.polygon(points, fill=1, outline=1)
    elif kind == 'rectangle':
        (left, right), (top, bottom) = (sorted(ends) for ends in zip(*points, strict=True))
        draw.rectangle([left, top, right, bottom], fill=1, outline=1)
    else:
        (u, v), edge = points[0], points[1]
        radius = math.dist(points[0], edge)
        draw.ellipse([u - radius, v - radius, u + radius, v + radius], fill=1, outline=1)
    return np.asarray(canvas) > 0


def _pasted(
    path: Path, text: str, points: list[tuple[float, float]], size: tuple[int, int]
) -> Mask:
    """Paste a picture of the shape's own box, whose corner pixels are its two points."""
    (left, top), (right, bottom) = ((round(u), round(v)) for u, v in points)
    file = PictureFile.of(path, base64.b64decode(text, validate=True))
    own = file.decoded_by_pillow('L') > 0
    expected = (bottom - top + 1, right - left + 1)
    if own.shape != expected or min(left, top) < 0 or bottom >= size[0] or right >= size[1]:
        raise ValueError(f'a mask of shape {own.shape} for pixels {points}')
    shown = np.zeros(size, np.bool_)
    shown[top : bottom + 1, left : right + 1] = own
    return shown
