"""What the grasp node sees: stored points and the depth about them, in the robot's base frame."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from don_kp.action import Grasp
from don_kp.msg import Matches
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.geometry.frames import TransformError
from don_kp_ros.motion.port import MotionCode, MotionError
from don_kp_ros.nodes.kit import qos
from don_kp_ros.nodes.kit.buffers import Latest
from don_kp_ros.nodes.kit.conversions import (
    camera_from_info,
    depth_image,
    matrix_from_pose,
    seconds_from_stamp,
)
from don_kp_ros.nodes.kit.guard import guarded
from don_kp_ros.nodes.kit.transforms import TransformListener

Array = NDArray[np.float64]

DEPTH_TOLERANCE = 0.015  # seconds; half of the period of a camera of 30 Hz


class RefusedError(Exception):
    """A goal fails before anything moves; carries the code of don_kp/action/Grasp."""

    def __init__(self, code: int, message: str) -> None:
        """Keep the code and the message."""
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class LookParameters:
    """Seconds and metres; see the parameters of the grasp node."""

    max_age: float
    timeout: float
    looks: int
    max_spread: float


class Observer:
    """Waits for images, and lifts what they show into the base frame.

    Its calls block; they raise RefusedError where there is nothing fit to act on, and MotionError
    CANCELLED once ``cancelled`` is set.
    """

    def __init__(
        self, node: Node, base_frame: str, parameters: LookParameters, cancelled: threading.Event
    ) -> None:
        """Subscribe to matches, depth, camera info and transforms on a node that others spin."""
        self._node = node
        self._base_frame = base_frame
        self._parameters = parameters
        self._cancelled = cancelled
        self._frames = TransformListener(node)
        self._matches: deque[Matches] = deque(maxlen=parameters.looks)
        self._depths: Latest[Image] = Latest(kept=30)
        self._camera: Camera | None = None
        self._camera_fault = 'there is no camera info yet'
        aligned = '/camera/camera/aligned_depth_to_color'
        info = '/camera/camera/color/camera_info'
        node.create_subscription(Matches, '/don_kp/matches', self._on_matches, 10)
        node.create_subscription(Image, f'{aligned}/image_raw', self._on_depth, qos.SENSOR)
        node.create_subscription(CameraInfo, info, self._on_info, qos.SENSOR)

    def look_for(self, name: str) -> tuple[Array, Array]:
        """Find a stored point in several images; return it and the last one's points.

        The images are taken from now on, with the arm at rest: what was seen before may be gone.
        """
        self._matches.clear()
        since = self._now()
        deadline = time.monotonic() + self._parameters.timeout

        def enough() -> bool:
            return sum(_stamp(m) >= since for m in list(self._matches)) >= self._parameters.looks

        self._wait(enough, deadline)
        seen = [m for m in list(self._matches) if _stamp(m) >= since]
        age = self._now() - (_stamp(seen[-1]) if seen else since)
        if len(seen) < self._parameters.looks or age > self._parameters.max_age:
            raise RefusedError(
                Grasp.Result.STALE_DATA,
                f'{len(seen)} of {self._parameters.looks} images were searched within '
                f'{self._parameters.timeout:g} s, the newest {age:.1f} s ago '
                f'({self._parameters.max_age:g} s are allowed); '
                'is the camera running, and the perception node?',
            )
        positions, reason = [], ''
        for matches in seen:
            found = [match for match in matches.matches if match.name == name]
            if not found:
                known = ', '.join(match.name for match in matches.matches) or 'none'
                raise RefusedError(
                    Grasp.Result.UNKNOWN_TARGET,
                    f"no descriptor '{name}' of the running model is stored; stored are: {known}",
                )
            if not found[0].found:
                reason = found[0].reason
                continue
            p = found[0].position
            T = self._pose_of(matches.header.frame_id, _stamp(matches), deadline)
            positions.append(rigid.apply(T, [p.x, p.y, p.z]))
        if 2 * len(positions) <= len(seen):
            missed = len(seen) - len(positions)
            raise RefusedError(
                Grasp.Result.NOT_FOUND,
                f'{name} not found in {missed} of {len(seen)} images: {reason}',
            )
        target = np.median(positions, axis=0)
        spread = np.linalg.norm(positions - target, axis=1).max()
        if spread > self._parameters.max_spread:
            raise RefusedError(
                Grasp.Result.NOT_FOUND,
                f'{name} is not seen at one place: it moves by {1000 * spread:.0f} mm from image '
                f'to image; {1000 * self._parameters.max_spread:.0f} mm are allowed (max_spread)',
            )
        return target, self._points(_stamp(seen[-1]), deadline)

    def newest_points(self) -> Array:
        """Return the points (N, 3) of the newest depth image, metres."""
        newest = self._depths.get()
        if newest is None:
            raise RefusedError(
                Grasp.Result.STALE_DATA, 'no depth image yet; is the camera running?'
            )
        age = newest.age(self._now())
        if age > self._parameters.max_age:
            raise RefusedError(
                Grasp.Result.STALE_DATA,
                f'the newest depth image is {age:.1f} s old; '
                f'{self._parameters.max_age:g} s are allowed (max_age)',
            )
        return self._points(newest.stamp, time.monotonic() + self._parameters.timeout)

    def _points(self, stamp: float, deadline: float) -> Array:
        """Return the points (N, 3) in the base frame of the depth image of a time."""
        image = self._depths.nearest(stamp, tolerance=DEPTH_TOLERANCE)
        if self._camera is None or image is None:
            raise RefusedError(
                Grasp.Result.STALE_DATA,
                self._camera_fault
                or 'no depth image of that moment; '
                'start the camera with align_depth.enable:=true enable_sync:=true',
            )
        try:
            points = self._camera.deproject_image(depth_image(image.value).metres()).reshape(-1, 3)
        except ValueError as error:
            raise RefusedError(Grasp.Result.STALE_DATA, str(error)) from None
        T_base_camera = self._pose_of(image.value.header.frame_id, image.stamp, deadline)
        return rigid.apply(T_base_camera, points[np.isfinite(points[:, 2])])

    def _pose_of(self, frame: str, stamp: float, deadline: float) -> Array:
        """Return ``T_base_frame`` at a time, waiting for the transform until a deadline."""
        while True:
            try:
                return self._frames.lookup(self._base_frame, frame, stamp)
            except TransformError as error:
                if time.monotonic() > deadline:
                    raise RefusedError(Grasp.Result.STALE_DATA, str(error)) from None
            self._wait(lambda: False, time.monotonic() + 0.02)

    def to_base(self, pose: PoseStamped) -> Array:
        """Return a pose (4, 4) in the base frame.

        The frame may move: the transform is that of the pose's time, or of now if it has none.
        """
        base, frame = self._base_frame, pose.header.frame_id
        try:
            T = matrix_from_pose(pose.pose)
            if not np.isfinite(T).all():
                raise ValueError('its position is not finite')
            if frame == base:
                return T
            self._frames.lookup(base, frame)
        except (ValueError, TransformError) as error:
            raise RefusedError(
                Grasp.Result.INVALID_GOAL, f'the pose is of no use: {error}'
            ) from None
        stamp = seconds_from_stamp(pose.header.stamp) or self._now()
        deadline = time.monotonic() + self._parameters.timeout
        return self._pose_of(frame, stamp, deadline) @ T

    def _now(self) -> float:
        return float(self._node.get_clock().now().nanoseconds) * 1e-9

    def _wait(self, done: Callable[[], bool], deadline: float) -> None:
        while not done() and time.monotonic() < deadline:
            if self._cancelled.wait(0.02):
                raise MotionError(MotionCode.CANCELLED, 'cancelled')

    @guarded
    def _on_matches(self, message: Matches) -> None:
        self._matches.append(message)

    @guarded
    def _on_depth(self, message: Image) -> None:
        self._depths.put(message, seconds_from_stamp(message.header.stamp))

    @guarded
    def _on_info(self, message: CameraInfo) -> None:
        try:
            self._camera, self._camera_fault = camera_from_info(message), ''
        except ValueError as error:
            self._camera, self._camera_fault = None, str(error)


def _stamp(message: Matches) -> float:
    return seconds_from_stamp(message.header.stamp)
