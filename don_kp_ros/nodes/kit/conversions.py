"""ROS messages to and from what the library works with; no cv_bridge, no tf2.

Errors are ValueErrors that say what is wrong with the message.
"""

from __future__ import annotations

import math
import sys
from array import array
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point, Pose, Quaternion, Transform, Vector3
from numpy.typing import ArrayLike, NDArray
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header

from don_kp.msg import DescriptorMap
from don_kp_ros.data import encodings
from don_kp_ros.data.camera_messages import camera_from_info as camera_from_info
from don_kp_ros.data.camera_messages import depth_image as depth_image
from don_kp_ros.data.camera_messages import image_array as image_array
from don_kp_ros.data.camera_messages import rgb_image as rgb_image
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera


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
