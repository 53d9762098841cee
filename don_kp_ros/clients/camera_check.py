"""Listens to a camera for some seconds, and judges what it says."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image

from don_kp_ros.bringup import description
from don_kp_ros.calibration.camera_health import (
    Finding,
    Shot,
    alignment,
    distances,
    holes,
    pairing,
    timing,
)
from don_kp_ros.clients.stack import Stack
from don_kp_ros.nodes.kit import camera_topics
from don_kp_ros.nodes.kit.clock import RosTime
from don_kp_ros.nodes.kit.conversions import (
    camera_from_info,
    depth_image,
    rgb_image,
    seconds_from_stamp,
)
from don_kp_ros.nodes.perception.stream import WATCH_S, Stream

_KEPT, _JUDGED = 60, 8  # messages, and pairs of them


class _Heard:
    """What came on a topic: all stamps and arrivals, and the last messages."""

    def __init__(self, stack: Stack, kind: Any, topic: str, what: str, remedy: str) -> None:
        self._time = RosTime(stack.node)
        self.stamps: list[float] = []
        self.arrivals: list[float] = []
        self.messages: deque[Any] = deque(maxlen=_KEPT)
        self.stream = Stream(stack.node, kind, topic, what, remedy, self._take, lambda: None)

    def _take(self, message: Any, stamp: float) -> None:
        self.stamps.append(stamp)
        self.arrivals.append(self._time.now())
        self.messages.append(message)

    def timing(self, profile: str) -> Finding:
        """Judge its times, or say why there are none."""
        topic, stream = self.stream.topic, self.stream
        if not self.stamps or stream.stamp_fault:
            seen = f'{len(self.stamps)} came'
            return Finding(topic, seen, stream.stamp_fault or stream.absence)
        return timing(topic, np.array(self.stamps), np.array(self.arrivals), profile)


def check(
    stack: Stack, arguments: Mapping[str, str], seconds: float, depth_unit: float
) -> Iterator[Finding]:
    """Listen for some seconds of ROS time, and say what there is to say, the camera's worst first.

    arguments: of the stack, checked; depth_unit: metres of a count of a 16-bit depth image.
    """
    names = dict(description.remappings(arguments))

    def heard(kind: Any, topic: str, what: str, remedy: str) -> _Heard:
        return _Heard(stack, kind, names.get(topic, topic), what, remedy)

    start = 'start the camera'
    colour = heard(Image, camera_topics.COLOUR, 'image', start)
    aligned = f'{start} with align_depth.enable:=true'
    depth = heard(Image, camera_topics.DEPTH, 'depth image', aligned)
    infos = heard(CameraInfo, camera_topics.COLOUR_INFO, 'camera info', start)
    try:
        for _ in range(max(2, round(seconds / WATCH_S))):
            stack.wait(lambda: False, WATCH_S)
            for one in (colour, depth, infos):
                one.stream.watch()
    finally:
        for one in (colour, depth, infos):
            one.stream.close()
    yield colour.timing('rgb_camera.color_profile')
    yield depth.timing('depth_module.depth_profile')
    yield from _read(infos, 'camera info', lambda info: str(camera_from_info(info, False)))
    yield from _read(colour, 'colour', lambda image: _described(image, rgb_image(image)))
    yield from _read(
        depth, 'depth', lambda image: _described(image, depth_image(image, depth_unit).raw)
    )
    if colour.stamps and depth.stamps:
        yield pairing(np.array(colour.stamps), np.array(depth.stamps))
    yield from _seen(colour, depth, depth_unit)


def _read(heard: _Heard, what: str, read: Callable[[Any], str]) -> Iterator[Finding]:
    """Say what the newest message is, or why it cannot be read."""
    if heard.messages:
        try:
            yield Finding(what, read(heard.messages[-1]))
        except ValueError as error:
            yield Finding(what, 'cannot be used', f'{heard.stream.topic}: {error}')


def _described(image: Image, pixels: NDArray[Any]) -> str:
    return f'{pixels.shape[1]}x{pixels.shape[0]}, {image.encoding}'


def _seen(colour: _Heard, depth: _Heard, unit: float) -> Iterator[Finding]:
    """Judge what is in the images, as far as they can be read."""
    try:
        depths = [depth_image(image, unit).metres() for image in list(depth.messages)[::-8]]
        if depths:
            yield holes(depths)
            yield distances(depths)
        shots = list(_shots(colour, depth, unit))
    except ValueError:  # told already
        return
    if not shots:
        return
    sizes = {shot.colour.shape[:2] for shot in shots} | {shot.depth.shape for shot in shots}
    if len(sizes) > 1:
        told = ' and '.join(f'{width}x{height}' for height, width in sorted(sizes))
        yield Finding('depth on colour', told, 'the sizes differ: give align_depth.enable:=true')
    else:
        yield alignment(shots)


def _shots(colour: _Heard, depth: _Heard, unit: float) -> Iterator[Shot]:
    """Pair some of the last images with the depth nearest in time."""
    depths = list(depth.messages)
    stamps = np.array([seconds_from_stamp(one.header.stamp) for one in depths])
    images = list(colour.messages)[-1 :: -max(1, len(colour.messages) // _JUDGED)]
    for image in images if depths else ():
        nearest = int(np.abs(stamps - seconds_from_stamp(image.header.stamp)).argmin())
        yield Shot(rgb_image(image), depth_image(depths[nearest], unit).metres())
