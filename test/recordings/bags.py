"""Messages of a small camera on a hand, and recordings of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera

TYPES = get_typestore(Stores.ROS2_JAZZY)
CAMERA = Camera(96, 72, 80.0, 81.0, 47.0, 35.0)
FRAME = 'camera_color_optical_frame'
COLOUR, INFO, DEPTH = '/cam/color/image_raw', '/cam/color/camera_info', '/cam/aligned/image_raw'


def write_bag(folder: Path, said: Iterable[tuple[float, str, Any]]) -> Path:
    """Write a recording of messages with the seconds when they came, and their topics."""
    with Writer(folder, version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
        topics: dict[str, Any] = {}
        for seconds, topic, message in sorted(said, key=lambda one: one[0]):
            kind = message.__msgtype__
            if topic not in topics:
                topics[topic] = writer.add_connection(topic, kind, typestore=TYPES)
            data = TYPES.serialize_cdr(message, kind)
            writer.write(topics[topic], round(seconds * 1e9), data)
    return folder


def make(kind: str, **fields):
    return TYPES.types[kind](**fields)


def header(seconds: float, frame: str = FRAME):
    stamp = make('builtin_interfaces/msg/Time', sec=int(seconds), nanosec=round(seconds % 1 * 1e9))
    return make('std_msgs/msg/Header', stamp=stamp, frame_id=frame)


def image(pixels: np.ndarray, encoding: str, seconds: float, frame: str = FRAME):
    data = np.ascontiguousarray(pixels).view(np.uint8).ravel()
    return make(
        'sensor_msgs/msg/Image',
        header=header(seconds, frame),
        height=pixels.shape[0],
        width=pixels.shape[1],
        encoding=encoding,
        is_bigendian=0,
        step=len(data) // pixels.shape[0],
        data=data,
    )


def info(seconds: float, distortion: float = 0.0, camera: Camera = CAMERA):
    roi = make(
        'sensor_msgs/msg/RegionOfInterest',
        x_offset=0, y_offset=0, height=0, width=0, do_rectify=False,
    )  # fmt: skip
    return make(
        'sensor_msgs/msg/CameraInfo',
        header=header(seconds),
        height=camera.height,
        width=camera.width,
        distortion_model='plumb_bob',
        d=np.array([distortion, 0, 0, 0, 0.0]),
        k=camera.K.ravel(),
        r=np.eye(3).ravel(),
        p=np.hstack([camera.K, np.zeros((3, 1))]).ravel(),
        binning_x=0,
        binning_y=0,
        roi=roi,
    )


def transform(seconds: float, parent: str, child: str, T: np.ndarray):
    x, y, z = (float(value) for value in T[:3, 3])
    qx, qy, qz, qw = (float(value) for value in rigid.to_quaternion(T))
    stamped = make(
        'geometry_msgs/msg/TransformStamped',
        header=header(seconds, parent),
        child_frame_id=child,
        transform=make(
            'geometry_msgs/msg/Transform',
            translation=make('geometry_msgs/msg/Vector3', x=x, y=y, z=z),
            rotation=make('geometry_msgs/msg/Quaternion', x=qx, y=qy, z=qz, w=qw),
        ),
    )
    return make('tf2_msgs/msg/TFMessage', transforms=[stamped])
