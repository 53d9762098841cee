"""Listens to a camera for some seconds, and judges what it says."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
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
_LOOKS_EVERY_S = 0.1  # of this machine's time, at the clock
_MEETING_S = 1.0  # of this machine's time; by then a camera that runs is mostly heard
_WATCHES = 2  # at least, to say why a stream is silent


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

    def begin(self) -> None:
        """Leave out what came before."""
        for kept in (self.stamps, self.arrivals, self.messages):
            kept.clear()

    def absence(self) -> Iterator[Finding]:
        """Say why nothing comes, or with stamps that are of no use, where that is so."""
        fault = self.stream.fault if self.stamps else self.stream.absence
        if fault:
            yield Finding(self.stream.topic, f'{len(self.stamps)} came', fault)

    def timing(self, profile: str) -> Iterator[Finding]:
        """Judge its times, or say why there are none."""
        told = list(self.absence())
        stamps, arrivals = np.array(self.stamps), np.array(self.arrivals)
        end = self._time.now()
        yield from told or [timing(self.stream.topic, stamps, arrivals, end, profile)]


def check(
    stack: Stack, arguments: Mapping[str, str], seconds: float, depth_unit: float
) -> Iterator[Finding]:
    """Listen for some seconds of ROS time, and say what there is to say.

    arguments: of the stack, checked; depth_unit: metres of a count of a 16-bit depth image. Raises
    StoppedClockError where the time stands still.
    """
    names = dict(description.remappings(arguments))

    def heard(kind: Any, topic: str, what: str, remedy: str) -> _Heard:
        return _Heard(stack, kind, names.get(topic, topic), what, remedy)

    start = 'start the camera'
    colour = heard(Image, camera_topics.COLOUR, 'image', start)
    aligned = f'{start} with align_depth.enable:=true'
    depth = heard(Image, camera_topics.DEPTH, 'depth image', aligned)
    infos = heard(CameraInfo, camera_topics.COLOUR_INFO, 'camera info', start)
    every = (colour, depth, infos)
    try:
        _listen(stack, seconds, every)
        told = [
            *colour.timing('rgb_camera.color_profile'),
            *depth.timing('depth_module.depth_profile'),
            *infos.absence(),
        ]
    finally:
        for one in every:
            one.stream.close()
    yield from told
    yield from _read(infos, 'camera info', lambda info: str(camera_from_info(info, False)))
    yield from _read(colour, 'colour', lambda image: _described(image, rgb_image(image)))
    yield from _read(
        depth, 'depth', lambda image: _described(image, depth_image(image, depth_unit).raw)
    )
    yield from _sizes(colour, depth, infos)
    if colour.stamps and depth.stamps:
        yield pairing(np.array(colour.stamps), np.array(depth.stamps))
    yield from _seen(colour, depth, depth_unit)


def _listen(stack: Stack, seconds: float, every: Sequence[_Heard]) -> None:
    """Hear what comes in some seconds of ROS time.

    They begin once every stream is heard, or one knows who is on the graph.
    """
    if not stack.wait(lambda: all(one.stamps for one in every), _MEETING_S):
        stack.settle()
    for one in every:
        one.begin()
    time, watches = RosTime(stack.node), 0
    watched = time.now()
    for _ in time.rounds(seconds):
        stack.wait(lambda: False, _LOOKS_EVERY_S)
        if time.now() - watched >= WATCH_S:
            watched, watches = time.now(), watches + 1
            _watch(every)
    for _ in range(watches, _WATCHES):
        _watch(every)


def _watch(every: Sequence[_Heard]) -> None:
    for one in every:
        one.stream.watch()


def _sizes(*every: _Heard) -> Iterator[Finding]:
    """Say so where colour, depth and camera info are not of one size."""
    newest = [heard.messages[-1] for heard in every if heard.messages]
    if len({(one.width, one.height) for one in newest}) > 1:
        told = ', '.join(
            f'{heard.stream.topic} {heard.messages[-1].width}x{heard.messages[-1].height}'
            for heard in every
            if heard.messages
        )
        fault = 'they differ: give align_depth.enable:=true, and its topics and camera info'
        yield Finding('sizes', told, fault)


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
    if all(shot.colour.shape[:2] == shot.depth.shape for shot in shots):
        yield alignment(shots)


def _shots(colour: _Heard, depth: _Heard, unit: float) -> Iterator[Shot]:
    """Pair some of the last images with the depth nearest in time."""
    depths = list(depth.messages)
    stamps = np.array([seconds_from_stamp(one.header.stamp) for one in depths])
    images = list(colour.messages)[-1 :: -max(1, len(colour.messages) // _JUDGED)]
    for image in images if depths else ():
        nearest = int(np.abs(stamps - seconds_from_stamp(image.header.stamp)).argmin())
        yield Shot(rgb_image(image), depth_image(depths[nearest], unit).metres())
