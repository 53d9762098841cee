"""The newest joint states of a robot, with their age."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.subscription import Subscription
from sensor_msgs.msg import JointState

from don_kp_ros.motion.port import MotionCode, MotionError
from don_kp_ros.nodes.kit.clock import RosTime, StoppedClockError, when_set_back
from don_kp_ros.nodes.kit.conversions import seconds_from_stamp
from don_kp_ros.nodes.kit.graph import published_elsewhere
from don_kp_ros.nodes.kit.guard import guarded
from don_kp_ros.robots.preset import RobotPreset

Array = NDArray[np.float64]

_TOPIC = 'joint_states'
# Joint states older than this are not acted on, seconds; a motion under way bears longer gaps.
STALE = 0.5
STALE_MOVING = 1.0
# Planning may starve the thread that spins: fresh ones are waited for, seconds; longer for the
# first, which comes once the subscription is known to the publisher.
_PATIENCE, _FIRST_PATIENCE = 1.0, 3.0
_PAUSE = 0.02
# What is remembered, seconds of the robot's time; by so much less that time was set back.
_MEMORY, _SET_BACK = 3.0, 1.0


class JointMonitor:
    """Reads joint_states on a node that another thread spins, from start() to stop().

    `changed` guards the histories and is notified with every message.
    """

    def __init__(self, node: Node, preset: RobotPreset) -> None:
        """Prepare for a robot's joints; nothing is subscribed yet."""
        self._node = node
        self.changed = threading.Condition()
        topic = node.resolve_topic_name(_TOPIC)
        self.time = RosTime(node)
        self.arm = History(node, topic, self.time)
        self.finger = History(node, topic, self.time)
        self._parts = ((self.arm, preset.arm_joints), (self.finger, (preset.finger_joint,)))
        self._subscription: Subscription | None = None
        self._jumps = when_set_back(node, self._forget, f'positions on {topic}')

    def start(self) -> None:
        """Subscribe, unless that is done, with nothing remembered of the time before."""
        if self._subscription is not None:
            return
        self._forget()
        self._subscription = self._node.create_subscription(
            JointState,
            _TOPIC,
            self._on_joint_states,
            qos_profile_sensor_data,
            callback_group=MutuallyExclusiveCallbackGroup(),
        )

    def stop(self) -> None:
        """End the subscription."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def joint_positions(self) -> Array:
        """Return the arm's joint positions (7,); MotionError STALE_STATE if they are old."""
        return self._fresh(self.arm).copy()

    def gripper_width(self) -> float:
        """Return the width between the fingers in metres; MotionError STALE_STATE if it is old."""
        return 2.0 * float(self._fresh(self.finger)[0])

    def _fresh(self, history: History) -> Array:
        with self.changed:
            patience = _PATIENCE if history.known else _FIRST_PATIENCE
            try:
                for _ in self.time.rounds(patience):
                    if history.age <= STALE:
                        return history.latest
                    self.changed.wait(_PAUSE)
            except StoppedClockError as error:
                raise MotionError(MotionCode.STALE_STATE, str(error)) from None
            raise history.stale()

    def wait(self, seconds: float, check: Callable[[], bool | None]) -> None:
        """Wait some seconds of ROS time; ``check`` is called meanwhile, and may end it.

        It does so by returning True, or by raising an error. Raises MotionError STALE_STATE where
        time stands still.
        """
        try:
            for _ in self.time.rounds(seconds):
                if check():
                    return
                with self.changed:
                    self.changed.wait(_PAUSE)
        except StoppedClockError as error:
            raise MotionError(MotionCode.STALE_STATE, str(error)) from None

    def _forget(self) -> None:
        with self.changed:
            for history, _ in self._parts:
                history.clear()

    @guarded
    def _on_joint_states(self, message: JointState) -> None:
        position = dict(zip(message.name, message.position, strict=False))
        stamp = seconds_from_stamp(message.header.stamp)
        with self.changed:
            for history, joints in self._parts:
                # The hand's driver may publish its joints in messages of their own.
                if not all(joint in position for joint in joints):
                    continue
                if history.add(stamp, np.array([position[joint] for joint in joints])):
                    self._node.get_logger().warning(
                        f"the robot's time was set back to {stamp:.3f} s: its positions before "
                        'are forgotten',
                        throttle_duration_sec=1.0,
                    )
            self.changed.notify_all()


def joint_states_elsewhere(node: Node, topic: str) -> str:
    """Say on which other topics joint states are published, and what to do; or nothing."""
    found = ' and '.join(published_elsewhere(node, 'sensor_msgs/msg/JointState', topic))
    return f' There are some on {found}: choose by joint_states:=' if found else ''


class History:
    """The positions of some joints over the last seconds of the robot's time."""

    def __init__(self, node: Node, topic: str, time: RosTime) -> None:
        """Start empty; errors name the topic."""
        self._node, self._topic, self._time = node, topic, time
        self._samples: deque[tuple[float, Array]] = deque()
        self._received = -np.inf
        self._unstamped = False  # whether the newest have stamp zero

    def clear(self) -> None:
        """Forget everything."""
        self._samples.clear()
        self._received, self._unstamped = -np.inf, False

    def add(self, stamp: float, position: Array) -> bool:
        """Take positions at a time of the robot's clock in seconds; tell whether it was set back.

        Those of the time before are forgotten then.
        """
        if not np.isfinite(position).all():
            return False
        self._unstamped, set_back = stamp == 0, False
        if self._samples and stamp <= self._samples[-1][0]:
            set_back = stamp <= self._samples[-1][0] - _SET_BACK
            if not set_back:
                return False
            self._samples.clear()
        self._samples.append((stamp, position))
        self._received = self._time.now()
        while self._samples[0][0] < stamp - _MEMORY:
            self._samples.popleft()
        return set_back

    def stale(self) -> MotionError:
        """Return the error that says how old the newest positions are."""
        if self._unstamped:
            return MotionError(
                MotionCode.STALE_STATE,
                f'the joint states on {self._topic} have stamp zero; their driver must stamp them',
            )
        known = f'the last is {self.age:.1f} s old' if self.known else 'none came yet'
        elsewhere = '' if self.known else joint_states_elsewhere(self._node, self._topic)
        return MotionError(
            MotionCode.STALE_STATE,
            f'no fresh joint states on {self._topic}: {known}; is the robot running?{elsewhere}',
        )

    @property
    def known(self) -> bool:
        """Tell whether any positions came."""
        return bool(self._samples)

    @property
    def age(self) -> float:
        """Return the seconds since the newest positions came, or by which they are ahead."""
        return abs(self._time.now() - self._received)

    @property
    def stamp(self) -> float:
        """Return the robot's time of the newest positions in seconds; -inf without any."""
        return self._samples[-1][0] if self._samples else -np.inf

    @property
    def latest(self) -> Array:
        """Return the newest positions."""
        return self._samples[-1][1]

    def moved(self, seconds: float) -> float:
        """Return how far any joint moved within the last seconds; infinite if not known."""
        since = self.stamp - seconds
        if not self._samples or self._samples[0][0] > since:
            return float('inf')
        recent = [position for stamp, position in self._samples if stamp > since]
        # What was before a gap says how far they moved in it.
        before = next(position for stamp, position in reversed(self._samples) if stamp <= since)
        return float(np.ptp([before, *recent], axis=0).max())
