"""What a camera's ROS messages hold, whoever has read them: rclpy, or a reader of recordings.

Errors are ValueErrors that say what is wrong with the message.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.data import encodings
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.geometry.depth import MILLIMETRE, DepthImage

_MODELS = {'plumb_bob': (4, 5), 'rational_polynomial': (8, 12, 14), 'equidistant': (4,)}
_NO_DISTORTION = 1e-4  # of a coefficient: it moves no pixel by a tenth


class ImageMessage(Protocol):
    """A sensor_msgs/Image."""

    height: int
    width: int
    encoding: str
    is_bigendian: int
    step: int
    data: Any


class InfoMessage(Protocol):
    """A sensor_msgs/CameraInfo."""

    height: int
    width: int
    distortion_model: str
    d: Any
    k: Any
    p: Any
    binning_x: int
    binning_y: int
    roi: Any


def image_array(message: ImageMessage) -> NDArray[Any]:
    """Read the rows of an image as (H, W) or (H, W, C) in native byte order.

    nv12 and nv21 have half as many rows again. The array shares the message's memory where the
    rows are dense and in native order.
    """
    encoding = encodings.encoding(message.encoding)
    dtype, channels = np.dtype(encoding.dtype), encoding.channels
    size = f'{message.width}x{message.height}'
    if message.width == 0 or message.height == 0:
        raise ValueError(f'image is {size} pixels: empty')
    if encoding.pairs and (message.width % 2 or (encoding.planes and message.height % 2)):
        raise ValueError(f'a {message.encoding} image is {size} pixels; even sizes are needed')
    rows = message.height * 3 // 2 if encoding.planes else message.height
    row = message.width * channels * dtype.itemsize
    least, most = message.step * (rows - 1) + row, message.step * rows
    short = message.step < row or len(message.data) < least
    if short or len(message.data) > most:
        raise ValueError(
            f'a {size} {message.encoding} image has step {message.step} and '
            f'{len(message.data)} bytes; that is too {"little" if short else "much"}'
        )
    stored = dtype.newbyteorder('>' if message.is_bigendian else '<')
    shape = (rows, message.width, channels)
    strides = (message.step, channels * dtype.itemsize, dtype.itemsize)
    pixels: NDArray[Any] = np.ndarray(shape, stored, message.data, strides=strides)
    return np.ascontiguousarray(pixels[..., 0] if channels == 1 else pixels, dtype=dtype)


def rgb_image(message: ImageMessage) -> NDArray[np.uint8]:
    """Read a colour or grey image as (H, W, 3) uint8 RGB."""
    encodings.check_colour(message.encoding)
    return encodings.to_rgb(image_array(message), message.encoding)


def depth_image(message: ImageMessage, unit: float = MILLIMETRE) -> DepthImage:
    """Read a depth image, 16UC1 in counts of ``unit`` metres or 32FC1 in metres (REP 118).

    It shares the message's memory; the conversion to metres is left to where it is read.
    """
    if message.encoding not in encodings.DEPTHS:
        raise ValueError(
            f"depth encoding is '{message.encoding}'; known are {', '.join(encodings.DEPTHS)}: "
            'take the topic of the depth itself, not of a picture of it'
        )
    return DepthImage(image_array(message), unit)


def camera_from_info(message: InfoMessage, rectified: bool = False) -> Camera:
    """Read a camera and its lens.

    Of a rectified image P holds, and there is no distortion. So it is taken, too, where K is all
    zero, as some drivers leave it (depthai).
    """
    size = message.width, message.height
    part = message.roi
    if max(message.binning_x, message.binning_y) > 1 or part.x_offset or part.y_offset:
        raise ValueError(
            f'the picture is binned {message.binning_x}x{message.binning_y}, or a part of the '
            f"sensor's from pixel ({part.x_offset}, {part.y_offset}): switch binning and ROI off "
            'in the driver, or give pictures of the full sensor'
        )
    if (rectified or not np.any(message.k)) and np.any(message.p):
        P = np.reshape(message.p, (3, 4))
        if P[0, 3] or P[1, 3]:
            raise ValueError(
                f'P says that the camera is the other one of a stereo pair, {P[:2, 3]} away in '
                'pixels times metres; take the one whose frame the images have'
            )
        return Camera.from_K(P[:, :3], *size)
    return Camera.from_K(message.k, *size, *_lens(message.distortion_model, message.d))


def _lens(model: str, coefficients: Sequence[float]) -> tuple[tuple[float, ...], bool]:
    """Return the distortion and whether it is a fisheye's, as `Camera` takes them."""
    D = [float(value) for value in coefficients]
    # Without coefficients a fisheye still is none of a pinhole.
    if not D or (model != 'equidistant' and all(abs(one) < _NO_DISTORTION for one in D)):
        return (), False
    while D and D[-1] == 0.0:
        D.pop()
    length = next((n for n in _MODELS.get(model, ()) if n >= len(D)), None)
    if length is None:
        raise ValueError(
            f"the distortion model is '{model}' with {len(D)} coefficients; known are "
            + ', '.join(f'{name} with {lengths[-1]}' for name, lengths in _MODELS.items())
            + ': calibrate the camera as one of them, or give rectified images'
        )
    return tuple(D + [0.0] * (length - len(D))), model == 'equidistant'
