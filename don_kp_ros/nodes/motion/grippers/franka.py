"""Fingers moved by the actions of franka_gripper."""

from __future__ import annotations

import threading
from collections.abc import Callable

from franka_msgs.action import Grasp, Move
from rclpy.node import Node

from don_kp_ros.motion.port import MotionCode, MotionError
from don_kp_ros.nodes.motion.action import ControllerAction

_SPEED = 0.1  # m/s, between the fingers
_SECONDS = 10.0


class FrankaFingers:
    """Closes by franka_gripper's grasp, and opens by its move."""

    def __init__(
        self, node: Node, prefix: str, open_width: float, changed: threading.Condition
    ) -> None:
        """Connect to the actions below a prefix."""
        self._open_width = open_width
        self._grasp, self._move = (
            ControllerAction(node, kind, f'{prefix}/{name}', changed, 'is franka_gripper running?')
            for kind, name in ((Grasp, 'grasp'), (Move, 'move'))
        )

    def move(self, width: float, force: float, closing: bool, check: Callable[[], None]) -> None:
        """Bring the fingers to a width in metres, or until they press with a force in newtons."""
        if closing:
            goal = Grasp.Goal(width=width, speed=_SPEED, force=force)
            # The object's width is unknown: any counts as held, and the caller reads it.
            goal.epsilon.inner = goal.epsilon.outer = self._open_width
            self._run(self._grasp, goal, check)
            return
        result = self._run(self._move, Move.Goal(width=width, speed=_SPEED), check)
        if not result.success:
            raise MotionError(MotionCode.NOT_FOLLOWED, f'{self._move.name} failed: {result.error}')

    def _run(
        self, action: ControllerAction, goal: Grasp.Goal | Move.Goal, check: Callable[[], None]
    ) -> Grasp.Result | Move.Result:
        handle = action.start(goal, check)
        try:
            return action.result(handle, check, _SECONDS).result
        except MotionError:
            handle.cancel_goal_async()
            raise
