"""What the camera saw in the last two seconds, and what the network made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from torch import Tensor

from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.matching.view import View
from don_kp_ros.nodes.kit import camera_topics
from don_kp_ros.nodes.kit.buffers import Latest, Stamped
from don_kp_ros.nodes.kit.clock import RosTime
from don_kp_ros.nodes.kit.conversions import camera_from_info, depth_image, seconds_from_stamp
from don_kp_ros.nodes.kit.guard import guarded
from don_kp_ros.nodes.kit.qos import SENSOR

KEPT_S = 2.0
_MOST_KEPT = 128
_NEAREST_NAMED = 3


@dataclass(frozen=True)
class Frame:
    """An image that was described."""

    header: Header
    picture: NDArray[np.uint8]  # (H, W, 3) RGB
    cells: Tensor  # (D, h, w), the descriptor map

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.picture.shape[0], self.picture.shape[1]


class Frames:
    """Keeps images, depths, the camera and descriptor maps. Thread-safe.

    What is not there, or too old, is a RefusedError.
    """

    def __init__(self, node: Node) -> None:
        """Subscribe to the camera on a node that others spin."""
        self._node = node
        self._time = RosTime(node)
        self._colours = Latest[Image](self._time)
        self._depths = Latest[Image](self._time, _MOST_KEPT, KEPT_S)
        self._described = Latest[Frame](self._time, _MOST_KEPT, KEPT_S)
        self._camera: Camera | None = None
        self._camera_fault = ''
        self.colour_topic, self._depth_topic, self._info_topic = (
            # One message of a topic at a time: their order is that of their arrival.
            node.create_subscription(
                kind, topic, callback, SENSOR, callback_group=MutuallyExclusiveCallbackGroup()
            ).topic_name
            for kind, topic, callback in (
                (Image, camera_topics.COLOUR, self._on_colour),
                (Image, camera_topics.DEPTH, self._on_depth),
                (CameraInfo, camera_topics.COLOUR_INFO, self._on_info),
            )
        )

    def wait_for_newer(
        self, than: Stamped[Image] | None, patience: float
    ) -> Stamped[Image] | None:
        """Wait for another image than the one given; None after ``patience`` s."""
        return self._colours.wait_for_newer(than, patience)

    def keep(self, frame: Frame) -> None:
        """Keep an image with its map."""
        self._described.put(frame, seconds_from_stamp(frame.header.stamp))

    def view(self, frame: Frame, tolerance: float, timeout: float = 0.0) -> View:
        """Gather depth and camera of an image, or what is missing; wait for the depth.

        The depth is the nearest whose stamp differs by at most ``tolerance`` s.
        """
        stamp, camera = seconds_from_stamp(frame.header.stamp), self._camera
        depth = self._depths.nearest(stamp, tolerance, timeout)
        try:
            if camera is None:
                return View(frame.size, lacks=self._no_camera())
            if depth is None:
                lacks = f'no depth image within {tolerance:g} s of the colour image'
                return View(frame.size, camera=camera, lacks=f'{lacks} on {self._depth_topic}')
            return View(frame.size, depth_image(depth.value), camera)
        except ValueError as error:
            fits = camera is not None and (camera.height, camera.width) == frame.size
            return View(frame.size, camera=camera if fits else None, lacks=str(error))

    def described(self, stamp: Time, max_age: float) -> Frame:
        """Return the described image with a stamp, or the newest if it is not too old.

        max_age: seconds; 0 allows any age.
        """
        kept = self._described.all()
        if not kept:
            raise RefusedError(
                f'no image has been described yet; check that the camera runs and publishes '
                f'{self.colour_topic}'
            )
        if stamp != Time():
            return _with_stamp(kept, stamp)
        self._check_age('described image', kept[-1], max_age)
        return kept[-1].value

    def depth(self, stamp: Time, max_age: float, tolerance: float) -> Stamped[Image]:
        """Return the depth image of a moment, or the newest if it is not too old."""
        newest = self._depths.get()
        if newest is None:
            raise RefusedError(
                f'no depth image has come on {self._depth_topic}; start the camera with '
                'align_depth.enable:=true'
            )
        if stamp == Time():
            self._check_age('depth image', newest, max_age)
            return newest
        near = self._depths.nearest(seconds_from_stamp(stamp), tolerance)
        if near is None:
            raise RefusedError(
                f'no depth image within {tolerance:g} s of {_text(stamp)} has come on '
                f'{self._depth_topic}; start the camera with enable_sync:=true'
            )
        return near

    @property
    def camera(self) -> Camera:
        """The camera, as its newest info says."""
        if self._camera is None:
            raise RefusedError(self._no_camera())
        return self._camera

    def _no_camera(self) -> str:
        return self._camera_fault or f'no camera info on {self._info_topic} yet'

    def _check_age(self, what: str, newest: Stamped[Frame] | Stamped[Image], most: float) -> None:
        age = newest.age(self._time.now())
        if most and not age <= most:
            raise RefusedError(
                f'the newest {what} is {age:.1f} s old, allowed are {most:g} s; '
                "check that the camera runs, and that the machines' clocks agree"
            )

    @guarded
    def _on_colour(self, message: Image) -> None:
        self._colours.put(message, seconds_from_stamp(message.header.stamp))

    @guarded
    def _on_depth(self, message: Image) -> None:
        self._depths.put(message, seconds_from_stamp(message.header.stamp))

    @guarded
    def _on_info(self, message: CameraInfo) -> None:
        try:
            self._camera, self._camera_fault = camera_from_info(message), ''
        except ValueError as error:
            self._camera, self._camera_fault = None, f'{self._info_topic}: {error}'


def _with_stamp(kept: Sequence[Stamped[Frame]], stamp: Time) -> Frame:
    for one in kept:
        if one.value.header.stamp == stamp:
            return one.value
    wanted = seconds_from_stamp(stamp)
    nearest = sorted(kept, key=lambda one: abs(one.stamp - wanted))[:_NEAREST_NAMED]
    raise RefusedError(
        f'no described image with stamp {_text(stamp)} is kept, nearest are '
        f'{", ".join(_text(one.value.header.stamp) for one in nearest)}; give the stamp of one '
        f'that perception described in the last {KEPT_S:g} s, or none for the newest'
    )


def _text(stamp: Time) -> str:
    return f'{stamp.sec}.{stamp.nanosec:09d}'
