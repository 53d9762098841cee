"""What was seen in the last two seconds: descriptor maps, with their pictures and depths."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from don_kp.msg import DescriptorMap
from don_kp_ros.database.records import Observation, RefusedError, printable
from don_kp_ros.matching.maps import describe_at
from don_kp_ros.matching.pictures import patch_about
from don_kp_ros.matching.view import View, lift
from don_kp_ros.nodes.descriptor_database.messages import time_from_stamp
from don_kp_ros.nodes.kit import qos
from don_kp_ros.nodes.kit.buffers import Latest
from don_kp_ros.nodes.kit.conversions import (
    camera_from_info,
    depth_image,
    map_from_message,
    rgb_image,
    seconds_from_stamp,
)
from don_kp_ros.nodes.kit.guard import guarded

KEPT_S = 2.0
_MOST_KEPT = 128
_DEPTH_TOLERANCE_S = 0.015  # half of the period of a camera of 30 Hz
_PATCH_SIDE = 64  # pixels
_NEAREST_NAMED = 3


class Sightings:
    """Keeps what the camera and perception say. Thread-safe; what it refuses is a RefusedError."""

    def __init__(
        self,
        node: Node,
        max_age_s: Callable[[], float],
        on_models: Callable[[frozenset[str]], None],
    ) -> None:
        """Subscribe on a node that others spin.

        The newest map may be ``max_age_s()`` old; ``on_models`` is told, with every map, of which
        models there are maps.
        """
        self._node, self._max_age_s, self._on_models = node, max_age_s, on_models
        self._maps = Latest[DescriptorMap](_MOST_KEPT, KEPT_S)
        self._colours = Latest[Image](_MOST_KEPT, KEPT_S)
        self._depths = Latest[Image](_MOST_KEPT, KEPT_S)
        self._info: CameraInfo | None = None
        camera = '/camera/camera'
        for kind, topic, callback, quality in (
            (DescriptorMap, '/don_kp/descriptor_map', self._on_map, qos.RESULT),
            (Image, f'{camera}/color/image_raw', self._on_colour, qos.SENSOR),
            (Image, f'{camera}/aligned_depth_to_color/image_raw', self._on_depth, qos.SENSOR),
            (CameraInfo, f'{camera}/color/camera_info', self._on_info, qos.SENSOR),
        ):
            # One message of a topic at a time: their order is that of their arrival.
            group = MutuallyExclusiveCallbackGroup()
            node.create_subscription(kind, topic, callback, quality, callback_group=group)

    @property
    def running(self) -> DescriptorMap | None:
        """The newest map, however old: its model is the one that runs."""
        newest = self._maps.get()
        return None if newest is None else newest.value

    def map_of(self, stamp: Time) -> DescriptorMap:
        """Return the map of the image with a stamp, or the newest, if that is not too old."""
        newest = self._maps.get()
        if newest is None:
            raise RefusedError(
                'no descriptor map has come yet; start perception and the camera, then try again'
            )
        if stamp != Time():
            return self._with_stamp(stamp)
        age = newest.age(1e-9 * self._node.get_clock().now().nanoseconds)
        if age > (allowed := self._max_age_s()):
            raise RefusedError(
                f'the newest descriptor map is {age:.1f} s old, allowed are {allowed:g} s; '
                "check that the camera and perception run, and that the machines' clocks agree"
            )
        return newest.value

    def look(
        self, seen: DescriptorMap, uv: tuple[int, int], author: str
    ) -> tuple[Observation, list[str]]:
        """Gather all that is known of a pixel of a map's image, and what of it is missing."""
        (u, v), width, height = uv, seen.image_width, seen.image_height
        if not (0 <= u < width and 0 <= v < height):
            raise RefusedError(
                f'pixel ({u}, {v}) is outside of the picture, which is {width}x{height}; u goes '
                f'from 0 to {width - 1}, v from 0 to {height - 1}'
            )
        here, size = torch.tensor([uv]), (height, width)
        values = describe_at(torch.from_numpy(cells(seen)), here, size)[0].numpy()
        patch, lacks = None, []
        try:
            patch = self._patch(seen, uv)
        except ValueError as error:
            lacks.append(f'without a picture: {printable(str(error))}')
        view = self._view(seen)
        position, reason = lift(view, uv)
        if reason:
            lacks.append(f'without a position: {printable(reason)}')
        camera: dict[str, object] = {'frame': seen.header.frame_id}
        if view.camera is not None:
            camera.update({name: getattr(view.camera, name) for name in ('fx', 'fy', 'cx', 'cy')})
        x, y, z = position.tolist()
        observation = Observation(
            values=values,
            pixel=(float(u), float(v)),
            image_size=(width, height),
            camera=camera,
            position=None if reason else (x, y, z),
            patch=patch,
            author=author,
            created=time_from_stamp(seen.header.stamp),
        )
        return observation, lacks

    def _with_stamp(self, stamp: Time) -> DescriptorMap:
        kept = self._maps.all()
        for one in kept:
            if one.value.header.stamp == stamp:
                return one.value
        wanted = seconds_from_stamp(stamp)
        kept.sort(key=lambda one: abs(one.stamp - wanted))
        nearest = [one.value.header.stamp for one in kept[:_NEAREST_NAMED]]
        raise RefusedError(
            f'no descriptor map with stamp {_text(stamp)} is kept, nearest are '
            f'{", ".join(map(_text, nearest))}; give the stamp of an image that perception '
            f'described in the last {KEPT_S:g} s, or none for the newest'
        )

    def _patch(self, seen: DescriptorMap, uv: tuple[int, int]) -> bytes:
        for kept in reversed(self._colours.all()):
            if kept.value.header.stamp == seen.header.stamp:
                break
        else:
            raise ValueError('the image that was described did not come')
        picture = rgb_image(kept.value)
        if picture.shape[:2] != (seen.image_height, seen.image_width):
            raise ValueError(
                f'it is {picture.shape[1]}x{picture.shape[0]}, described was one of '
                f'{seen.image_width}x{seen.image_height}'
            )
        patch = cv2.cvtColor(patch_about(picture, uv, _PATCH_SIDE), cv2.COLOR_RGB2BGR)
        return cv2.imencode('.png', patch)[1].tobytes()

    def _view(self, seen: DescriptorMap) -> View:
        """Gather depth and camera of the map's image, or say what is missing."""
        size, info, camera = (seen.image_height, seen.image_width), self._info, None
        depth = self._depths.nearest(seconds_from_stamp(seen.header.stamp), _DEPTH_TOLERANCE_S)
        try:
            if info is None:
                return View(size, lacks='no camera info has come')
            camera = camera_from_info(info)
            if depth is None:
                return View(size, camera=camera, lacks='no depth image of that time has come')
            return View(size, depth_image(depth.value), camera)
        except ValueError as error:
            return View(size, lacks=str(error))

    @guarded
    def _on_map(self, message: DescriptorMap) -> None:
        self._maps.put(message, seconds_from_stamp(message.header.stamp))
        self._on_models(frozenset(kept.value.model for kept in self._maps.all()))

    @guarded
    def _on_colour(self, message: Image) -> None:
        self._colours.put(message, seconds_from_stamp(message.header.stamp))

    @guarded
    def _on_depth(self, message: Image) -> None:
        self._depths.put(message, seconds_from_stamp(message.header.stamp))

    @guarded
    def _on_info(self, message: CameraInfo) -> None:
        self._info = message


def cells(seen: DescriptorMap) -> NDArray[np.float32]:
    """Read a map (D, h, w). Raises RefusedError for a broken one."""
    try:
        return map_from_message(seen)
    except ValueError as error:
        raise RefusedError(f'{error}; restart perception') from error


def _text(stamp: Time) -> str:
    return f'{stamp.sec}.{stamp.nanosec:09d}'
