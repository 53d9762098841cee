"""Pictures prepared for warping: not larger than the network needs, and checked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from don_kp_ros.data.folder import SMALLEST_OBJECT, DataError, Image, Sample

_LARGER = 'raise preprocessing.input_size, or crop the picture about the object'


@dataclass(frozen=True)
class Source:
    """A picture prepared for warping.

    object_uv (K, 2): its pixels on the object, with a depth if it has any; centre (2,): of the
    object's bounding box; zoom: network pixels per pixel of this picture, at the scale of
    inference; depth (H, W): metres, NaN where there is none.
    """

    image: Image
    mask: Image
    object_uv: NDArray[np.float32]
    centre: NDArray[np.float64]
    zoom: float
    depth: NDArray[np.float32] | None = None
    path: Path = Path()


def prepare(
    sample: Sample, input_size: int, oversampling: float = 1.25, remedy: str = _LARGER
) -> Source:
    """Resize a picture for warping: a little finer than the network's input, to stay sharp.

    Raises DataError, with the remedy, if too little of the object or of its depth is left.
    """
    longest = max(sample.image.shape[:2])
    scale = min(1.0, oversampling * input_size / longest)
    image, mask = _resized(sample.image, scale), _resized(sample.mask, scale)
    depth = sample.depth
    shown = mask > 127
    _check_size(sample.path, 'the object', shown, remedy)
    if depth is not None:
        size = (image.shape[1], image.shape[0])
        depth = cv2.resize(depth, size, interpolation=cv2.INTER_NEAREST_EXACT).astype(np.float32)
        shown &= np.isfinite(depth)
        _check_size(sample.path, "the object's depth", shown, remedy)
    v, u = np.nonzero(shown)
    uv = np.stack([u, v], axis=1).astype(np.float32)
    centre = (uv.min(axis=0) + uv.max(axis=0)) / 2.0
    zoom = input_size / longest / scale
    return Source(image, mask, uv, centre.astype(np.float64), zoom, depth, sample.path)


def prepare_background(image: Image, input_size: int) -> Image:
    """Resize a background picture to the network's input."""
    return _resized(image, min(1.0, input_size / max(image.shape[:2])))


def _resized(image: Image, scale: float) -> Image:
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    if scale == 1:
        return image
    return cv2.resize(image, (size[0], size[1]), interpolation=cv2.INTER_AREA).astype(np.uint8)


def _check_size(path: Path, what: str, shown: NDArray[np.bool_], remedy: str) -> None:
    area = int(np.count_nonzero(shown))
    if area < SMALLEST_OBJECT:
        height, width = shown.shape
        raise DataError(
            f'{path}: {what} has {area} pixels in the {width}x{height} that the picture is '
            f'resized to; at least {SMALLEST_OBJECT} are needed: {remedy}'
        )
