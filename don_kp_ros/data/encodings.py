"""The encodings of images that are known here: those of sensor_msgs/image_encodings.hpp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_REMEDY = (
    "choose one of them by the camera driver's parameter (realsense2_camera: "
    'rgb_camera.color_format, v4l2_camera: output_encoding, usb_cam: pixel_format)'
)


@dataclass(frozen=True)
class Encoding:
    """How a pixel is written."""

    dtype: type[np.generic]
    channels: int
    # OpenCV's name of the conversion to RGB; empty: it is RGB; None: these are no colours.
    to_rgb: str | None = None
    pairs: bool = False  # two pixels share their colour
    planes: bool = False  # the brightness is followed by half as many rows of colours


_BAYER = {
    f'bayer_{order}{bits}': Encoding(dtype, 1, f'Bayer{order.upper()}2RGB')
    for bits, dtype in ((8, np.uint8), (16, np.uint16))
    for order in ('rggb', 'bggr', 'gbrg', 'grbg')
}
_KNOWN = {
    'rgb8': Encoding(np.uint8, 3, ''),
    'bgr8': Encoding(np.uint8, 3, 'BGR2RGB'),
    'rgba8': Encoding(np.uint8, 4, 'RGBA2RGB'),
    'bgra8': Encoding(np.uint8, 4, 'BGRA2RGB'),
    'mono8': Encoding(np.uint8, 1, 'GRAY2RGB'),
    'mono16': Encoding(np.uint16, 1, 'GRAY2RGB'),
    # These say nothing of an order: it is OpenCV's, whose arrays cv_bridge publishes like that.
    '8UC1': Encoding(np.uint8, 1, 'GRAY2RGB'),
    '8UC3': Encoding(np.uint8, 3, 'BGR2RGB'),
    '8UC4': Encoding(np.uint8, 4, 'BGRA2RGB'),
    'yuv422': Encoding(np.uint8, 2, 'YUV2RGB_UYVY', pairs=True),
    'uyvy': Encoding(np.uint8, 2, 'YUV2RGB_UYVY', pairs=True),
    'yuv422_yuy2': Encoding(np.uint8, 2, 'YUV2RGB_YUY2', pairs=True),
    'yuyv': Encoding(np.uint8, 2, 'YUV2RGB_YUY2', pairs=True),
    'nv12': Encoding(np.uint8, 1, 'YUV2RGB_NV12', pairs=True, planes=True),
    'nv21': Encoding(np.uint8, 1, 'YUV2RGB_NV21', pairs=True, planes=True),
    **_BAYER,
    '16UC1': Encoding(np.uint16, 1),
    '32FC1': Encoding(np.float32, 1),
}
DEPTHS = ('16UC1', 'mono16', '32FC1')
COLOURS = tuple(name for name, one in _KNOWN.items() if one.to_rgb is not None)


def encoding(name: str) -> Encoding:
    """Return an encoding by its name; raises ValueError that names those that are known."""
    if name not in _KNOWN:
        raise ValueError(f"image encoding is '{name}'; known are {', '.join(_KNOWN)}")
    return _KNOWN[name]


def check_colour(name: str) -> None:
    """Raise ValueError unless it is an encoding of colours or of grey."""
    if name not in COLOURS:
        raise ValueError(
            f"the image's encoding is '{name}'; known are {', '.join(COLOURS)}: {_REMEDY}"
        )


def to_rgb(pixels: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Convert the rows of an image, (H, W) or (H, W, C), to (H, W, 3) RGB.

    Of 16 bits the upper 8 are kept, as cv_bridge does.
    """
    if pixels.dtype == np.uint16:
        pixels = (pixels >> 8).astype(np.uint8)
    code = encoding(name).to_rgb
    if not code:
        return pixels
    import cv2  # not for nodes that have no pictures

    return np.asarray(cv2.cvtColor(pixels, getattr(cv2, f'COLOR_{code}')))
