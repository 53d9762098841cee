"""What rclpy's actions leave to chance."""

from __future__ import annotations

import threading
from typing import Any

from rclpy._rclpy_pybind11 import RCLError
from rclpy.action import ActionClient
from rclpy.action.server import ServerGoalHandle
from rclpy.task import Future


def begin(handle: ServerGoalHandle) -> None:
    """Have a goal executed, also one whose cancellation comes in this moment."""
    try:
        handle.execute()
    except RCLError:
        handle.execute()  # it sees the cancellation now


class PunctualActionClient(ActionClient):
    """An action client that any thread may use.

    rclpy's own notes what it asks after it has sent it: an answer that comes in between is lost.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Make an action client."""
        self._asking = threading.RLock()
        super().__init__(*arguments, **named)

    def send_goal_async(self, *arguments: Any, **named: Any) -> Future:
        """Send a goal."""
        with self._asking:
            return super().send_goal_async(*arguments, **named)

    def _cancel_goal_async(self, *arguments: Any) -> Future:
        with self._asking:
            return super()._cancel_goal_async(*arguments)

    def _get_result_async(self, *arguments: Any) -> Future:
        with self._asking:
            return super()._get_result_async(*arguments)

    async def execute(self, taken: Any) -> None:
        """Hand over an answer that has come."""
        with self._asking:
            pass  # what was being asked is noted now
        await super().execute(taken)
