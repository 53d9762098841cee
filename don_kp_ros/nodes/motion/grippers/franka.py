"""Franka's hand, moved by the actions of franka_gripper."""

from __future__ import annotations

import threading
import time
from typing import Any

from rclpy.action import ActionClient
from rclpy.node import Node

from don_kp_ros.motion.port import MotionCode, MotionError
from don_kp_ros.nodes.motion.installation import installed
from don_kp_ros.robots.preset import RobotPreset

_SPEED = 0.05  # m/s
_SECONDS = 10.0


class FrankaGripper:
    """Moves the fingers by the actions of franka_gripper."""

    def __init__(self, node: Node, preset: RobotPreset, stopped: threading.Event) -> None:
        """Connect to the preset's actions; calls raise CANCELLED while ``stopped`` is set.

        Raises StartupError where franka_msgs is missing.
        """
        prefix = preset.moveit.gripper_action
        actions = installed('franka_msgs.action')
        self._actions, self._stopped = actions, stopped
        self._open_width = preset.open_width
        self._grasp = ActionClient(node, actions.Grasp, f'{prefix}/grasp')
        self._move = ActionClient(node, actions.Move, f'{prefix}/move')

    def move(self, width: float, force: float, closing: bool) -> None:
        """Bring the fingers to a width in metres, or until they press with a force in newtons."""
        if closing:
            goal = self._actions.Grasp.Goal(width=width, speed=_SPEED, force=force)
            # The object's width is unknown: any counts as held, and the caller reads it.
            goal.epsilon.inner = goal.epsilon.outer = self._open_width
            self._call(self._grasp, goal)
        else:
            self._call(self._move, self._actions.Move.Goal(width=width, speed=_SPEED))

    def _call(self, client: Any, goal: Any) -> None:
        deadline = time.monotonic() + _SECONDS
        while not client.server_is_ready():
            self._pause(deadline, 'no gripper action server; is franka_gripper running?')
        sent = client.send_goal_async(goal)
        try:
            while not sent.done():
                self._pause(deadline, 'the gripper does not answer')
        except MotionError:
            sent.add_done_callback(lambda answer: answer.result().cancel_goal_async())
            raise
        handle = sent.result()
        if not handle.accepted:
            raise MotionError(MotionCode.NOT_FOLLOWED, 'the gripper rejected the goal')
        result = handle.get_result_async()
        try:
            while not result.done():
                self._pause(deadline, 'the gripper does not finish')
        except MotionError:
            handle.cancel_goal_async()
            raise
        outcome = result.result().result
        if not outcome.success and client is self._move:
            raise MotionError(MotionCode.NOT_FOLLOWED, f'the gripper failed: {outcome.error}')

    def _pause(self, deadline: float, complaint: str) -> None:
        if self._stopped.wait(0.02):
            raise MotionError(MotionCode.CANCELLED, 'the motion was stopped')
        if time.monotonic() > deadline:
            raise MotionError(MotionCode.TIMEOUT, complaint)
