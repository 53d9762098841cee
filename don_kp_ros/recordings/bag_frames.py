"""Pictures, depth, camera and transforms of a recording, without ROS."""

from __future__ import annotations

import math
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_typestore

from don_kp_ros.data.camera_messages import camera_from_info, depth_image, rgb_image
from don_kp_ros.data.encodings import COLOURS, DEPTHS
from don_kp_ros.errors import RefusedError, did_you_mean
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.geometry.frames import LONGEST_GAP_S, SET_BACK_S, TransformError, TransformTree
from don_kp_ros.recordings.reading import Bag

_IMAGE, _INFO = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CameraInfo'
_COMPRESSED = 'sensor_msgs/msg/CompressedImage'
_TRANSFORMS = 'tf2_msgs/msg/TFMessage'
_TOGETHER_S = 0.01  # between the stamps of a picture and its depth


@dataclass(frozen=True)
class Shot:
    """A picture message with its stamp in seconds."""

    stamp: float
    message: Any


class BagFrames:
    """A recording's camera: the topics of its pictures and, where there is one, of its depth.

    Which topics they are is told by the encodings; depth has the frame and the size of the
    pictures, for only aligned depth is of use.
    """

    def __init__(self, bag: Bag, colour: str = '', depth: str = '') -> None:
        """Find the topics, or take those that are named; raises RefusedError."""
        self._bag = bag
        self._types = get_typestore(Stores.ROS2_JAZZY)
        firsts = {one.topic: self._first(one) for one in self._of(_IMAGE)}
        pictures = [topic for topic, one in firsts.items() if self._pictures(topic, one)]
        if not pictures and (compressed := sorted(one.topic for one in self._of(_COMPRESSED))):
            raise RefusedError(
                f'{", ".join(compressed)}: of colour images the recording has compressed ones '
                'alone; make raw ones by `ros2 run image_transport republish` beside a replay, '
                'and record those'
            )
        self.colour = _one(colour, pictures, 'colour')
        picture = firsts[self.colour]
        size = picture.height, picture.width, picture.header.frame_id
        aligned = [
            topic
            for topic, one in firsts.items()
            if one.encoding in DEPTHS
            and topic != self.colour
            and (one.height, one.width, one.header.frame_id) == size
        ]
        self.depth = _one(depth, aligned, 'depth') if aligned or depth else ''
        self.frame: str = picture.header.frame_id
        self.camera: Camera | None = None
        self.no_camera = ''  # why there is none
        try:
            self.camera = self._camera()
        except RefusedError as error:
            self.no_camera = str(error)
        if self.camera and (self.camera.height, self.camera.width) != size[:2]:
            raise RefusedError(
                f'{self.colour} is {picture.width}x{picture.height}, and the camera_info beside '
                f'it says {self.camera.width}x{self.camera.height}: record the pictures that it '
                'is of, or choose others by --colour'
            )

    def pictures(self) -> Iterator[Shot]:
        """Yield the picture messages; raises RefusedError."""
        return self._shots(self.colour)

    def depths(self) -> Iterator[Shot]:
        """Yield the depth messages; raises RefusedError."""
        return self._shots(self.depth)

    def transforms(self) -> tuple[TransformTree, dict[str, str]]:
        """Read all transforms, and by frame what is odd; those that cannot be are left out."""
        tree, odd = TransformTree(math.inf, LONGEST_GAP_S), {}
        connections = self._of(_TRANSFORMS)
        for connection, _, data in self._bag.messages(connections):
            static = connection.topic.endswith('tf_static')
            for one in self._read(data, _TRANSFORMS).transforms:
                try:
                    T = _matrix(one.transform)
                    stamp = _seconds(one.header.stamp)
                    told = tree.set(one.header.frame_id, one.child_frame_id, stamp, T, static)
                except (TransformError, ValueError):
                    continue
                if told:
                    odd[one.child_frame_id] = told
        return tree, odd

    def _camera(self) -> Camera:
        """Return the camera of the pictures; raises RefusedError where it is not told."""
        topic = posixpath.join(posixpath.dirname(self.colour), 'camera_info')
        cameras = set()
        rectified = 'rect' in self.colour.rpartition('/')[2]
        for _, _, data in self._bag.messages([c for c in self._of(_INFO) if c.topic == topic]):
            try:
                cameras.add(camera_from_info(self._read(data, _INFO), rectified))
            except ValueError as error:
                raise RefusedError(f'{topic}: {error}') from error
            if len(cameras) > 1:
                raise RefusedError(
                    f'{topic}: the camera changed during the recording: '
                    f'{" and ".join(map(str, cameras))}; record each by itself'
                )
        if not cameras:
            raise RefusedError(f'no camera_info was recorded beside {self.colour}')
        return cameras.pop()

    def _pictures(self, topic: str, first: Any) -> bool:
        """Tell whether a topic has a camera's pictures, not such as somebody drew."""
        info = posixpath.join(posixpath.dirname(topic), 'camera_info')
        known = {one.topic for one in self._of(_INFO)}
        colours = first.encoding in COLOURS and first.encoding not in DEPTHS
        return colours and (info in known or not known)

    def _of(self, kind: str) -> list[Connection]:
        return [one for one in self._bag.connections if one.msgtype == kind]

    def _first(self, connection: Connection) -> Any:
        return self._read(next(self._bag.messages([connection])).data, _IMAGE)

    def _shots(self, topic: str) -> Iterator[Shot]:
        last = -math.inf
        for _, _, data in self._bag.messages([c for c in self._of(_IMAGE) if c.topic == topic]):
            message = self._read(data, _IMAGE)
            stamp = _seconds(message.header.stamp)
            if stamp < last - SET_BACK_S:
                raise RefusedError(
                    f'{topic}: time was set back by {last - stamp:.3f} s at {stamp:.3f} s; cut '
                    'the recording there'
                )
            last = stamp
            yield Shot(stamp, message)

    def _read(self, data: bytes, kind: str) -> Any:
        try:
            return self._types.deserialize_cdr(data, kind)
        except Exception as error:  # whatever bytes of another kind make of a reader
            raise RefusedError(f'a message is no {kind} ({error})') from error


def picture_of(shot: Shot) -> NDArray[np.uint8]:
    """Return a picture (H, W, 3) RGB; raises RefusedError."""
    try:
        return rgb_image(shot.message)
    except ValueError as error:
        raise RefusedError(f'the picture at {shot.stamp:.3f} s: {error}') from error


def depth_of(shot: Shot, unit: float) -> NDArray[np.float32]:
    """Return depth (H, W) in metres, NaN where there is none; raises RefusedError.

    unit: of a count, metres.
    """
    try:
        return depth_image(shot.message, unit).metres()
    except ValueError as error:
        raise RefusedError(f'the depth at {shot.stamp:.3f} s: {error}') from error


def together(stamps: list[float], depths: list[float]) -> dict[int, int]:
    """Find for each picture's stamp the number of the nearest depth's, where it is near enough."""
    if not depths:
        return {}
    off = np.abs(np.subtract.outer(np.array(stamps), np.array(depths)))
    nearest = off.argmin(axis=1)
    return {n: int(at) for n, at in enumerate(nearest) if off[n, at] <= _TOGETHER_S}


def _one(named: str, found: list[str], what: str) -> str:
    """Return the topic that is named, or the only one there is; raises RefusedError."""
    if named:
        if named not in found:
            raise RefusedError(
                f'--{what} is {named}, which has none{did_you_mean(named, found) or "."} There '
                f'are {", ".join(sorted(found)) or "no such topics"}'
            )
        return named
    if len(found) != 1:
        several = f'are {", ".join(sorted(found))}: choose by --{what}'
        raise RefusedError(
            f'of {what} images there {several if found else "are none in the recording"}'
        )
    return found[0]


def _matrix(transform: Any) -> NDArray[np.float64]:
    t, q = transform.translation, transform.rotation
    return rigid.from_quaternion([q.x, q.y, q.z, q.w], [t.x, t.y, t.z])


def _seconds(stamp: Any) -> float:
    return float(stamp.sec) + 1e-9 * float(stamp.nanosec)
