"""A hand, whichever action moves it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from rclpy.node import Node

from don_kp_ros.motion.port import MotionCode, MotionError
from don_kp_ros.nodes.kit.clock import StoppedClockError
from don_kp_ros.nodes.motion.joint_monitor import JointMonitor
from don_kp_ros.robots.preset import RobotPreset

# The fingers rest once they have moved less than this for so long, metres and seconds; after their
# action has ended they are given so long to do so.
_REST, _REST_S, _PATIENCE_S = 0.0003, 0.3, 5.0
# An action may end at once within its tolerance. Until they are farther than this from where they
# were, metres, they may not have begun to move: they rest only so long after its end, and longer
# where they are not within this of what was asked, seconds.
_THERE, _LATE_S = 0.002, 1.0
_PAUSE_S = 0.02


class Fingers(Protocol):
    """What moves the fingers; calls block, and raise MotionError when they fail."""

    def move(self, width: float, force: float, closing: bool, check: Callable[[], None]) -> None:
        """Bring the fingers to a width in metres, or until they press with a force in newtons.

        ``check`` is called meanwhile; what it raises stops the fingers.
        """


class Hand:
    """Brings the fingers to a width and waits until they rest."""

    def __init__(
        self, node: Node, preset: RobotPreset, monitor: JointMonitor, check: Callable[[], None]
    ) -> None:
        """Connect to the preset's action; ``check`` raises MotionError once stopped."""
        self._open_width, self._monitor, self._check = preset.open_width, monitor, check
        self._fingers = _fingers(node, preset, monitor.changed)

    def set_width(self, width: float, force: float) -> float:
        """Bring the fingers to a width in metres; return the width at which they settled.

        Actions end before the fingers rest, some on an object with an error: the width tells.
        """
        if not 0.0 <= width <= self._open_width + 1e-6:
            raise ValueError(
                f'width is {width} m; the gripper goes from 0 to {self._open_width} m'
            )
        self._check()
        before = self._monitor.gripper_width()
        closing = width < before - 0.001
        self._fingers.move(min(width, self._open_width), force, closing, self._check)
        finger, changed = self._monitor.finger, self._monitor.changed
        try:
            with changed:
                ended = finger.stamp
                for _ in self._monitor.time.rounds(_PATIENCE_S):
                    self._check()
                    if not finger.known:  # time was set back
                        raise finger.stale()
                    now = 2.0 * float(finger.latest[0])
                    begun, there = abs(now - before) > _THERE, abs(now - width) < _THERE
                    rest = _REST_S if begun or there else _LATE_S
                    due = begun or finger.stamp - ended >= rest
                    if due and finger.moved(rest) < _REST:
                        break
                    changed.wait(_PAUSE_S)
        except StoppedClockError as error:
            raise MotionError(MotionCode.STALE_STATE, str(error)) from None
        return self._monitor.gripper_width()


def _fingers(node: Node, preset: RobotPreset, changed: threading.Condition) -> Fingers:
    """Return what moves a robot's fingers; only the chosen kind is imported."""
    if preset.gripper.kind == 'franka':
        from don_kp_ros.nodes.motion.grippers.franka import FrankaFingers

        return FrankaFingers(node, preset.gripper.action, preset.open_width, changed)
    from don_kp_ros.nodes.motion.grippers.command import CommandFingers

    return CommandFingers(node, preset.gripper.action, changed)
