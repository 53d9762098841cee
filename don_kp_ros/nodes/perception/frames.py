"""What the camera saw in the last two seconds, and what the network made of it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from torch import Tensor

from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.geometry.depth import DepthImage
from don_kp_ros.matching.view import View
from don_kp_ros.nodes.kit import camera_topics
from don_kp_ros.nodes.kit.buffers import Latest, Stamped
from don_kp_ros.nodes.kit.clock import RosTime, when_set_back
from don_kp_ros.nodes.kit.conversions import (
    camera_from_info,
    depth_image,
    rgb_image,
    seconds_from_stamp,
)
from don_kp_ros.nodes.perception.parameters import PerceptionParameters
from don_kp_ros.nodes.perception.stream import Stream

KEPT_S = 2.0
_MOST_KEPT = 128
_NEAREST_NAMED = 3
# Half of a depth image lies within these; of it, every eighth row and column are looked at.
_NEAREST_M, _FARTHEST_M, _SPARSE = 0.03, 10.0, 8


@dataclass(frozen=True)
class Frame:
    """An image that was described."""

    header: Header
    picture: NDArray[np.uint8]  # (H, W, 3) RGB
    cells: Tensor  # (D, h, w), the descriptor map
    model: str  # fingerprint of what made it

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.picture.shape[0], self.picture.shape[1]


class Frames:
    """Keeps images, depths, the camera and descriptor maps. Thread-safe.

    What is not there, too old or of no use is a RefusedError; for one cause, all give one reason.
    """

    def __init__(self, node: Node, settings: Callable[[], PerceptionParameters]) -> None:
        """Subscribe to the camera on a node that others spin."""
        self._time, self._settings = RosTime(node), settings
        self._colours = Latest[Image](self._time)
        self._depths = Latest[Image](self._time, _MOST_KEPT, KEPT_S)
        self._described = Latest[Frame](self._time, _MOST_KEPT, KEPT_S)
        # The camera, or what is wrong with its info; in one, so that they always fit.
        self._camera: tuple[Camera | None, str] = None, ''
        self._image_fault = self._lacks = ''
        self._turn = threading.Lock()  # guards what an image is told to be of
        self.era = 0  # another one has begun where images were forgotten
        start = 'start the camera'
        self.colour = Stream(
            node, Image, camera_topics.COLOUR, 'image', start, self._colours.put, self._forget
        )
        self.depths = Stream(
            node,
            Image,
            camera_topics.DEPTH,
            'depth image',
            f'{start} with align_depth.enable:=true',
            self._depths.put,
            self._depths.clear,
        )
        self.infos = Stream(
            node,
            CameraInfo,
            camera_topics.COLOUR_INFO,
            'camera info',
            start,
            self._on_info,
            _nothing,
        )
        self._jumps = when_set_back(node, self._forget_all, 'images')

    def close(self) -> None:
        """End the subscriptions."""
        self._jumps.unregister()
        for stream in (self.colour, self.depths, self.infos):
            stream.close()

    def wake(self) -> None:
        """End all waiting for a depth image, from now on."""
        self._depths.end()

    @property
    def fault(self) -> str:
        """What keeps the newest image, or its depth, from being used; empty: nothing."""
        seen = self.colour.silence or self._image_fault or self._lacks
        return seen or self.colour.stamp_fault

    def watch(self) -> None:
        """Look whether the streams go on; to be called every `WATCH_S` of ROS time."""
        for stream in (self.colour, self.depths, self.infos):
            stream.watch()

    def wait_for_newer(
        self, than: Stamped[Image] | None, patience: float
    ) -> tuple[Stamped[Image] | None, int]:
        """Wait for another image than the one given; return it with the era that it is of.

        None after ``patience`` s, and where another era began meanwhile.
        """
        era = self.era
        image = self._colours.wait_for_newer(than, patience)
        with self._turn:
            return (image, era) if era == self.era else (None, self.era)

    def picture(self, image: Image) -> NDArray[np.uint8]:
        """Read an image as (H, W, 3) RGB."""
        if image.header.stamp == Time():
            raise RefusedError(self.colour.unstamped)
        try:
            return rgb_image(image)
        except ValueError as error:
            raise RefusedError(f'{self.colour.topic}: {error}') from error

    def refuse(self, reason: str, era: int) -> bool:
        """Note why the newest image is of no use.

        Not if it is of an era that is over: tell whether it is noted.
        """
        with self._turn:
            if era != self.era:
                return False
            self._image_fault = reason
            return True

    def keep(self, frame: Frame, view: View, era: int) -> bool:
        """Keep the newest image with its map, and note what its view lacks.

        Not if it is of an era that is over: tell whether it is kept.
        """
        with self._turn:
            if era != self.era:
                return False
            self._image_fault, self._lacks = '', view.lacks
            self._described.put(frame, seconds_from_stamp(frame.header.stamp))
            return True

    def view(self, frame: Frame, timeout: float = 0.0) -> View:
        """Gather depth and camera of an image, or what is missing; wait for the depth.

        The depth is the nearest whose stamp differs by at most ``depth_tolerance_s``.
        """
        stamp, (camera, lacks) = seconds_from_stamp(frame.header.stamp), self._camera
        if self.depths.silence:
            timeout = 0.0  # none will come
        depth = self._depths.nearest(stamp, self._settings().depth_tolerance_s, timeout)
        try:
            if camera is None:
                return View(frame.size, lacks=lacks or self.infos.absence)
            if depth is None:
                return View(frame.size, camera=camera, lacks=self._no_depth(stamp))
            return View(frame.size, self._metric(depth.value), camera)
        except ValueError as error:
            fits = camera is not None and (camera.height, camera.width) == frame.size
            return View(frame.size, camera=camera if fits else None, lacks=str(error))

    def described(self, stamp: Time, max_age: float) -> Frame:
        """Return the described image with a stamp, or the newest if it is not too old.

        max_age: seconds; 0 allows any age.
        """
        kept = self._described.all()
        if kept and stamp != Time():
            return _with_stamp(kept, stamp)
        if self._image_fault:
            raise RefusedError(self.colour.silence or self._image_fault)
        if not kept:
            why = self.colour.fault if self.colour.count else self.colour.absence
            raise RefusedError(f'no image has been described yet{why and f": {why}"}')
        self._check_age('described image', kept[-1], max_age, self.colour)
        return kept[-1].value

    def scene(self, stamp: Time, max_age: float) -> tuple[Header, View]:
        """Return the view of the depth image of a moment, or of the newest if it is not too old.

        Its picture is as large as the camera info says.
        """
        depth, (camera, lacks) = self._depth(stamp, max_age), self._camera
        if camera is None:
            raise RefusedError(lacks or self.infos.absence)
        try:
            size = camera.height, camera.width
            return depth.value.header, View(size, self._metric(depth.value), camera)
        except ValueError as error:
            raise RefusedError(str(error)) from error

    def _depth(self, stamp: Time, max_age: float) -> Stamped[Image]:
        newest, wanted = self._depths.get(), seconds_from_stamp(stamp)
        if newest is None:
            raise RefusedError(self.depths.absence)
        if stamp == Time():
            self._check_age('depth image', newest, max_age, self.depths)
            return newest
        near = self._depths.nearest(wanted, self._settings().depth_tolerance_s)
        if near is None:
            raise RefusedError(self._no_depth(wanted))
        return near

    def _metric(self, depth: Image) -> DepthImage:
        """Read a depth image; raises ValueError for one that no camera for grasping makes."""
        unit = self._settings().depth_unit_m
        try:
            read = depth_image(depth, unit)
            few = read.metres(slice(None, None, _SPARSE), slice(None, None, _SPARSE))
            if not np.isfinite(few).any():
                few = read.metres()
            if not np.isfinite(few).any():
                raise ValueError(
                    'no pixel has a depth; is something in front of the camera, or all of it '
                    'nearer than it measures?'
                )
            middle = float(np.nanmedian(few))
            if middle < _NEAREST_M or middle > _FARTHEST_M:
                asked = f'is a count of it {unit:g} m (depth_unit_m)?'
                if depth.encoding == '32FC1':
                    asked = '32FC1 must be in metres (REP 118)'
                raise ValueError(
                    f'the median depth is {middle:.3g} m, which no camera for grasping measures '
                    f'({_NEAREST_M:g} to {_FARTHEST_M:g} m): {asked}'
                )
        except ValueError as error:
            raise ValueError(f'{self.depths.topic}: {error}') from error
        return read

    def _no_depth(self, stamp: float) -> str:
        """Say why there is no depth image of a moment."""
        nearest = self._depths.nearest(stamp, math.inf)
        if nearest is None or self.depths.silence:
            return self.depths.absence
        off = nearest.stamp - stamp
        why = self.depths.stamp_fault if abs(off) > 1 else ''
        if not why:
            far = f'{1000 * abs(off):.0f} ms' if abs(off) < 1 else f'{abs(off):.1f} s'
            when = 'later' if off > 0 else 'earlier'
            why = f'the nearest is {far} {when}; start the camera with enable_sync:=true'
        tolerance = self._settings().depth_tolerance_s
        return f'no depth image within {tolerance:g} s of the image on {self.depths.topic}: {why}'

    def _check_age(
        self, what: str, newest: Stamped[Any], most: float, stream: Stream[Image]
    ) -> None:
        age = newest.age(self._time.now())
        if most and not age <= most:
            why = stream.fault or 'check that the camera runs'
            raise RefusedError(
                f'the newest {what} is {age:.1f} s old, allowed are {most:g} s; {why}'
            )

    def _forget(self) -> None:
        with self._turn:
            self.era += 1
            self._image_fault = self._lacks = ''
            self._colours.clear()
            self._described.clear()

    def _forget_all(self) -> None:
        self._forget()
        self._depths.clear()

    def _on_info(self, message: CameraInfo, _: float) -> None:
        known: tuple[Camera | None, str] = None, f'{self.infos.topic}: it cannot be read'
        try:
            rectified = 'rect' in self.colour.topic.rpartition('/')[2]
            known = camera_from_info(message, rectified), ''
        except ValueError as error:
            known = None, f'{self.infos.topic}: {error}'
        finally:  # whatever happened, what was known before is not true any more
            self._camera = known


def _nothing() -> None:
    """Keep the camera: it does not grow old."""


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
