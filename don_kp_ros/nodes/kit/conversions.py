"""ROS messages to and from what the library works with; no cv_bridge, no tf2.

Errors are ValueErrors that say what is wrong with the message.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point, Pose, Quaternion, Transform, Vector3
from numpy.typing import ArrayLike, NDArray
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header

from don_kp.msg import DescriptorMap
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.geometry.depth import MILLIMETRE, DepthImage
from don_kp_ros.nodes.kit import encodings

_MODELS = {'plumb_bob': (4, 5), 'rational_polynomial': (8, 12, 14), 'equidistant': (4,)}
_NO_DISTORTION = 1e-4  # of a coefficient: it moves no pixel by a tenth


def image_array(message: Image) -> NDArray[Any]:
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


def rgb_image(message: Image) -> NDArray[np.uint8]:
    """Read a colour or grey image as (H, W, 3) uint8 RGB."""
    encodings.check_colour(message.encoding)
    return encodings.to_rgb(image_array(message), message.encoding)


def depth_image(message: Image, unit: float = MILLIMETRE) -> DepthImage:
    """Read a depth image, 16UC1 in counts of ``unit`` metres or 32FC1 in metres (REP 118).

    It shares the message's memory; the conversion to metres is left to where it is read.
    """
    if message.encoding not in encodings.DEPTHS:
        raise ValueError(
            f"depth encoding is '{message.encoding}'; known are {', '.join(encodings.DEPTHS)}"
        )
    return DepthImage(image_array(message), unit)


def image_message(pixels: NDArray[Any], encoding: str, header: Header) -> Image:
    """Make an image message of (H, W) or (H, W, C) pixels."""
    layout = encodings.encoding(encoding)
    channels = () if layout.channels == 1 else (layout.channels,)
    if pixels.dtype != layout.dtype or pixels.shape[2:] != channels:
        raise ValueError(
            f'pixels are {pixels.shape} {pixels.dtype}; {encoding} takes another form'
        )
    height, width = pixels.shape[:2]
    if layout.planes:
        height = height * 2 // 3
    message = Image(header=header, height=height, width=width, encoding=encoding)
    message.step = width * layout.channels * pixels.dtype.itemsize
    message.is_bigendian = int(sys.byteorder == 'big')
    message.data = bytes_field(pixels)
    return message


def bytes_field(values: NDArray[Any]) -> array[int]:
    """Copy an array into what rclpy assigns to a uint8[] field without checking every byte."""
    field = array('B')
    field.frombytes(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
    return field


def camera_from_info(message: CameraInfo, rectified: bool = False) -> Camera:
    """Read a camera and its lens.

    Of a rectified image P holds, and there is no distortion. So it is taken, too, where K is all
    zero, as some drivers leave it (depthai).
    """
    size = message.width, message.height
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


def info_from_camera(camera: Camera, header: Header) -> CameraInfo:
    """Make the info message of a camera; P is that of the rectified image of the same focus."""
    message = CameraInfo(header=header, width=camera.width, height=camera.height)
    pinhole = 'plumb_bob' if len(camera.distortion) <= 5 else 'rational_polynomial'
    message.distortion_model = 'equidistant' if camera.fisheye else pinhole
    message.d = list(camera.distortion) or [0.0] * 5
    message.k = camera.K.ravel()
    message.r = np.eye(3).ravel()
    message.p = np.hstack([camera.K, np.zeros((3, 1))]).ravel()
    return message


def map_message(
    descriptor_map: NDArray[np.floating[Any]], size: tuple[int, int], model: str, header: Header
) -> DescriptorMap:
    """Make the message of a map (D, h, w) of an image of size (H, W)."""
    dimension, rows, columns = descriptor_map.shape
    return DescriptorMap(
        header=header,
        model=model,
        image_width=size[1],
        image_height=size[0],
        dimension=dimension,
        rows=rows,
        columns=columns,
        data=bytes_field(descriptor_map.astype('<f2')),
    )


def map_from_message(message: DescriptorMap) -> NDArray[np.float32]:
    """Read a map (D, h, w) float32."""
    shape = (message.dimension, message.rows, message.columns)
    if 0 in shape or 0 in (message.image_width, message.image_height):
        raise ValueError(f'the descriptor map is empty: D x h x w = {shape}')
    if len(message.data) != 2 * math.prod(shape):
        raise ValueError(
            f'a descriptor map of D x h x w = {shape} has {len(message.data)} bytes; '
            f'{2 * math.prod(shape)} are needed'
        )
    return np.frombuffer(message.data, dtype='<f2').reshape(shape).astype(np.float32)


def cloud_message(points: ArrayLike, stamp: Time, frame: str) -> PointCloud2:
    """Make the cloud of points (N, 3) in a frame, metres."""
    xyz = np.asarray(points, dtype='<f4').reshape(-1, 3)
    message = PointCloud2(header=Header(stamp=stamp, frame_id=frame), height=1, width=len(xyz))
    message.fields = [
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, name in enumerate('xyz')
    ]
    message.point_step, message.row_step, message.is_dense = 12, 12 * len(xyz), True
    message.data = bytes_field(xyz)
    return message


def points_from_cloud(message: PointCloud2) -> NDArray[np.float64]:
    """Read the points (N, 3) of a cloud that `cloud_message` made, metres."""
    return np.frombuffer(message.data, dtype='<f4').reshape(-1, 3).astype(np.float64)


def seconds_from_stamp(stamp: Time | Duration) -> float:
    """Read a stamp, or a duration, in seconds."""
    return float(stamp.sec) + 1e-9 * float(stamp.nanosec)


def stamp_from_seconds(seconds: float) -> Time:
    """Make a stamp."""
    nanoseconds = round(seconds * 1e9)
    return Time(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)


def point_message(xyz: ArrayLike) -> Point:
    """Make a point of (3,) metres."""
    x, y, z = (float(value) for value in np.asarray(xyz))
    return Point(x=x, y=y, z=z)


def matrix_from_transform(message: Transform) -> NDArray[np.float64]:
    """Read a transform as 4x4. Raises ValueError for a zero quaternion."""
    t = message.translation
    return rigid.from_quaternion(_xyzw(message.rotation), [t.x, t.y, t.z])


def transform_from_matrix(T: ArrayLike) -> Transform:
    """Make a transform of 4x4."""
    x, y, z = (float(value) for value in np.asarray(T)[:3, 3])
    return Transform(translation=Vector3(x=x, y=y, z=z), rotation=_quaternion(T))


def matrix_from_pose(message: Pose) -> NDArray[np.float64]:
    """Read a pose as 4x4. Raises ValueError for a zero quaternion."""
    p = message.position
    return rigid.from_quaternion(_xyzw(message.orientation), [p.x, p.y, p.z])


def pose_from_matrix(T: ArrayLike) -> Pose:
    """Make a pose of 4x4."""
    return Pose(position=point_message(np.asarray(T)[:3, 3]), orientation=_quaternion(T))


def _xyzw(message: Quaternion) -> list[float]:
    return [message.x, message.y, message.z, message.w]


def _quaternion(T: ArrayLike) -> Quaternion:
    x, y, z, w = (float(value) for value in rigid.to_quaternion(T))
    return Quaternion(x=x, y=y, z=z, w=w)
