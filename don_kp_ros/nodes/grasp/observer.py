"""What the grasp node sees, in the robot's base frame: several images, and the scene in them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile
from std_msgs.msg import Header

from don_kp.action import Grasp
from don_kp.srv import Describe, Scene, Transform
from don_kp_ros.errors import RefusedError
from don_kp_ros.motion.port import MotionCode, MotionError
from don_kp_ros.nodes.kit.client import PATIENCE_S, ServiceClient, UnansweredError
from don_kp_ros.nodes.kit.clock import RosTime, StoppedClockError
from don_kp_ros.nodes.kit.conversions import (
    matrix_from_pose,
    matrix_from_transform,
    point_message,
    points_from_cloud,
    seconds_from_stamp,
)
from don_kp_ros.nodes.kit.graph import LEASE_S, Several, two_publishers
from don_kp_ros.nodes.kit.qos import RESULT

Array = NDArray[np.float64]

_PAUSE_S = 0.02
# What the arm can reach and the camera see of it, in the base frame, metres.
_LOWEST, _HIGHEST = (-0.3, -1.0, -0.3), (1.3, 1.0, 1.3)


class GoalRefusedError(RefusedError):
    """A goal is refused, by what a look shows; carries the code of don_kp/action/Grasp."""

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
    max_turn: float = 0.15  # radians


class Observer:
    """Asks perception what there is to grasp, in the base frame.

    It hears what perception publishes only while it looks. Its calls block; they raise
    GoalRefusedError where there is nothing fit to act on, and MotionError CANCELLED once
    ``cancelled`` is set.
    """

    def __init__(
        self, node: Node, base_frame: str, parameters: LookParameters, cancelled: threading.Event
    ) -> None:
        """Look for perception's services on a node that others spin."""
        self._node = node
        self._time = RosTime(node)
        self._base_frame = base_frame
        self._parameters = parameters
        self._cancelled = cancelled
        self.newest: Header | None = None  # of the images that were heard last
        self.beside_hand: Callable[[Array, Time], Array] = lambda points, _: points
        """Leaves out of points (N, 3) seen at a time those of what the hand holds."""
        remedy = 'is the perception node running?'
        self._describe = ServiceClient(node, Describe, 'perception/describe', remedy)
        self._scene = ServiceClient(node, Scene, 'perception/scene', remedy)
        self._transform = ServiceClient(node, Transform, 'perception/transform', remedy)

    def hear(
        self, kind: Any, topic: str, name: str, images: int = 0, most: float = np.inf
    ) -> tuple[list[Any], float]:
        """Return what perception says on a topic of several images, and until when to ask more.

        Of so many images, or as many as the parameter `looks` says. They are taken from now on,
        with the arm at rest: what was seen before may be gone. They are waited for as long as the
        parameter `look_timeout` says, or ``most`` seconds if that is less.
        """
        self._wait_for_the_dead(lambda: two_publishers(self._node, topic))
        p, since = self._parameters, self._time.now()
        timeout = min(p.timeout, most)
        deadline, number = since + timeout, images or p.looks

        def seen() -> list[Any]:
            return [message for message in list(heard) if _stamp(message) >= since]

        with self._hearing(kind, topic) as heard:
            self._wait(lambda: len(seen()) >= number, timeout)
        if several := two_publishers(self._node, topic):
            raise GoalRefusedError(Grasp.Result.STALE_DATA, str(several))
        found, now = seen()[-number:], self._now_after(since, f'{name} was looked for')
        age = now - (_stamp(found[-1]) if found else since)
        if len(found) < number or age > p.max_age:
            raise GoalRefusedError(
                Grasp.Result.STALE_DATA,
                f'{len(found)} of {number} images were searched within {timeout:g} s, the '
                f'newest {age:.1f} s ago ({p.max_age:g} s are allowed); {self._why_blind()}',
            )
        self.newest = found[-1].header
        return found, deadline

    def _why_blind(self) -> str:
        """Ask perception why it sees nothing, or too little."""
        request = Describe.Request(u=[0.0], v=[0.0], max_age=self._parameters.max_age)
        try:
            self.describe(request)
        except UnansweredError:
            return 'is the camera running, and the perception node?'
        except RefusedError as error:
            return str(error)
        return (
            'pictures come too slowly: raise look_timeout and max_age of the grasp node, or '
            "perception's max_rate_hz, or lower looks"
        )

    def describe(self, request: Describe.Request) -> Describe.Response:
        """Ask perception what it saw at pixels; raises RefusedError where it does not tell."""
        response: Describe.Response = self.answer(self._describe, request)
        return response

    def now(self) -> float:
        """Return the time, seconds of ROS time."""
        return self._time.now()

    def newest_points(self) -> Array:
        """Return the points (N, 3) of the newest depth image, metres."""
        return self._points([Time()], self._time.now() + self._parameters.timeout)

    def points_of(self, seen: Sequence[Any], deadline: float) -> Array:
        """Return the points (N, 3) of the newest image, of messages, whose depth has come.

        A camera loses one now and then.
        """
        return self._points([message.header.stamp for message in reversed(seen)], deadline)

    def _points(self, stamps: Sequence[Time], deadline: float) -> Array:
        """Return the points (N, 3) in the base frame of the first depth image that is there."""
        requests = [
            Scene.Request(
                stamp=stamp,
                max_age=self._parameters.max_age,
                frame=self._base_frame,
                lowest=point_message(_LOWEST),
                highest=point_message(_HIGHEST),
            )
            for stamp in stamps
        ]
        cloud = self._ask(self._scene, requests, deadline).cloud
        return self.beside_hand(points_from_cloud(cloud), cloud.header.stamp)

    def pose_of(self, frame: str, stamp: Time, deadline: float) -> Array:
        """Return ``T_base_frame`` at a time, waiting for the transform until a deadline."""
        request = Transform.Request(target=self._base_frame, source=frame, stamp=stamp)
        answer = self._ask(self._transform, [request], deadline)
        return matrix_from_transform(answer.transform)

    def _now_after(self, since: float, meanwhile: str) -> float:
        """Return the time, seconds; raises GoalRefusedError where it was set back since."""
        now = self._time.now()
        if now < since:
            raise GoalRefusedError(
                Grasp.Result.STALE_DATA,
                f'ROS time was set back by {since - now:.1f} s while {meanwhile}; send the goal '
                'again',
            )
        return now

    def _ask(self, client: ServiceClient, requests: Sequence[Any], deadline: float) -> Any:
        """Return perception's first answer; what it refuses may yet come, until a deadline."""
        since = self._time.now()
        while True:
            reasons = []
            for request in requests:
                try:
                    return self.answer(client, request)
                except GoalRefusedError:
                    raise
                except RefusedError as error:
                    reasons.append(str(error))
            if self._now_after(since, f'{client.name} was asked') > deadline:
                raise GoalRefusedError(Grasp.Result.STALE_DATA, reasons[0])
            self._wait(lambda: False, _PAUSE_S)

    def answer(self, client: ServiceClient, request: Any) -> Any:
        """Return a service's answer; raises RefusedError where there is none."""
        self._wait_for_the_dead(lambda: client.several)
        future = client.send(request)
        try:
            self._wait(lambda: bool(future.done()) or not client.ready, PATIENCE_S)
        except (GoalRefusedError, MotionError):
            client.forget(future)
            raise
        return client.answer(future)

    def to_base(self, pose: PoseStamped) -> Array:
        """Return a pose (4, 4) in the base frame.

        The frame may move: the transform is that of the pose's time, or of now if it has none.
        """
        base, frame = self._base_frame, pose.header.frame_id
        try:
            T = matrix_from_pose(pose.pose)
            if not np.isfinite(T).all():
                raise ValueError('its position is not finite')
        except ValueError as error:
            raise GoalRefusedError(
                Grasp.Result.INVALID_GOAL, f'the pose is of no use: {error}'
            ) from None
        if frame == base:
            return T
        deadline = self._time.now() + self._parameters.timeout
        known = Transform.Request(target=base, source=frame)
        try:
            self.answer(self._transform, known)
        except UnansweredError as error:
            raise GoalRefusedError(Grasp.Result.STALE_DATA, str(error)) from None
        except RefusedError as error:
            raise GoalRefusedError(
                Grasp.Result.INVALID_GOAL, f'the pose is of no use: {error}'
            ) from None
        stamp = pose.header.stamp
        if stamp == Time():
            stamp = self._node.get_clock().now().to_msg()
        return self.pose_of(frame, stamp, deadline) @ T

    def check_age(self, header: Header) -> None:
        """Refuse what was seen too long ago, or is still to come; what has no stamp is of now."""
        allowed = self._parameters.max_age
        age = self._time.now() - seconds_from_stamp(header.stamp)
        if header.stamp == Time() or abs(age) <= allowed:
            return
        when = f'{age:.1f} s old' if age > 0 else f'of {-age:.1f} s from now'
        raise GoalRefusedError(
            Grasp.Result.STALE_DATA,
            f'the pose is {when}; {allowed:g} s are allowed (max_age): look anew or, where it '
            'holds at any time, give it without a stamp',
        )

    @contextmanager
    def _hearing(self, kind: Any, topic: str) -> Iterator[list[Any]]:
        """Collect messages meanwhile; to hear them always costs time, and goals are few."""
        heard: list[Any] = []
        subscription = self._node.create_subscription(
            kind,
            topic,
            heard.append,
            QoSProfile(depth=max(RESULT.depth, self._parameters.looks)),  # a reliable one
            callback_group=MutuallyExclusiveCallbackGroup(),
        )
        try:
            yield heard
        finally:
            self._node.destroy_subscription(subscription)

    def _wait_for_the_dead(self, several: Callable[[], Several | None]) -> None:
        """Where one has crashed and was started again, wait until it counts once."""
        end = time.monotonic() + LEASE_S
        while (found := several()) and found.namesakes and time.monotonic() < end:
            self._node.get_logger().warning(f'waiting: {found}', throttle_duration_sec=LEASE_S)
            self._wait(lambda: not several(), 1.0)

    def _wait(self, done: Callable[[], bool], seconds: float) -> None:
        """Wait for something, some seconds of ROS time at most."""
        try:
            for _ in self._time.rounds(seconds):
                if done():
                    return
                if self._cancelled.wait(_PAUSE_S):
                    raise MotionError(MotionCode.CANCELLED, 'cancelled')
        except StoppedClockError as error:
            raise GoalRefusedError(Grasp.Result.STALE_DATA, str(error)) from None


def _stamp(message: Any) -> float:
    return seconds_from_stamp(message.header.stamp)
