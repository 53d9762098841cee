"""Fingers moved by a gripper controller's action control_msgs/GripperCommand."""

from __future__ import annotations

import threading
from collections.abc import Callable

from control_msgs.action import GripperCommand
from rclpy.node import Node

from don_kp_ros.motion.port import MotionError
from don_kp_ros.nodes.motion.action import ControllerAction

_SECONDS = 10.0


class CommandFingers:
    """Moves the fingers by a gripper controller, or by franka_gripper's gripper_action."""

    def __init__(self, node: Node, action: str, changed: threading.Condition) -> None:
        """Connect to the action."""
        remedy = 'is the gripper controller, or franka_gripper, running?'
        self._action = ControllerAction(node, GripperCommand, action, changed, remedy)

    def move(self, width: float, force: float, closing: bool, check: Callable[[], None]) -> None:
        """Bring the fingers to a width in metres, or until they press with a force in newtons."""
        goal = GripperCommand.Goal()
        goal.command.position, goal.command.max_effort = width / 2, force
        handle = self._action.start(goal, check)
        try:
            # Stalled on an object, some controllers abort: whoever reads the width knows better.
            self._action.result(handle, check, _SECONDS)
        except MotionError:
            handle.cancel_goal_async()
            raise
