"""Have a controller's action done, from threads that do not spin."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from action_msgs.msg import GoalStatus
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future

from don_kp_ros.motion.port import MotionCode, MotionError
from don_kp_ros.nodes.kit.action import PunctualActionClient
from don_kp_ros.nodes.kit.clock import RosTime, StoppedClockError

_CONNECT_S, _ANSWER_S = 3.0, 3.0
_PAUSE_S = 0.02
_WORDS = {
    GoalStatus.STATUS_SUCCEEDED: 'succeeded',
    GoalStatus.STATUS_CANCELED: 'was cancelled',
    GoalStatus.STATUS_ABORTED: 'was aborted',
}


class ControllerAction:
    """An action of a controller. ``check`` is called while it waits, and raises to end that."""

    def __init__(
        self, node: Node, kind: Any, name: str, changed: threading.Condition, remedy: str
    ) -> None:
        """Look for an action on a node that others spin; ``changed`` wakes who waits."""
        self.kind, self.name = kind, node.resolve_service_name(name)
        self._changed, self._remedy, self._time = changed, remedy, RosTime(node)
        self._client = PunctualActionClient(
            node, kind, name, callback_group=ReentrantCallbackGroup()
        )

    def start(self, goal: Any, check: Callable[[], None]) -> Any:
        """Send a goal and return its handle. A goal whose answer is not awaited is cancelled.

        Raises MotionError NOT_FOLLOWED where there is no server or it refuses.
        """
        self._wait(self._client.server_is_ready, _CONNECT_S, check, f'nobody serves {self.name}')
        sent = self._client.send_goal_async(goal)
        try:
            self._wait(sent.done, _ANSWER_S, check, f'{self.name} does not answer')
        except MotionError:
            sent.add_done_callback(_cancel)
            raise
        handle = sent.result()
        if not handle.accepted:
            raise MotionError(
                MotionCode.NOT_FOLLOWED,
                f'{self.name} rejected the goal; the log of its controller says why',
            )
        return handle

    def result(self, handle: Any, check: Callable[[], None], seconds: float) -> Any:
        """Wait for a goal's end; return its ``status``, which `how` words, and its ``result``."""
        future = handle.get_result_async()
        self._wait(future.done, seconds, check, f'{self.name} did not end within {seconds:.0f} s')
        return future.result()

    def _wait(
        self, done: Callable[[], bool], seconds: float, check: Callable[[], None], complaint: str
    ) -> None:
        try:
            for _ in self._time.rounds(seconds):
                check()
                if done():
                    return
                with self._changed:
                    self._changed.wait(_PAUSE_S)
        except StoppedClockError as error:
            raise MotionError(MotionCode.STALE_STATE, str(error)) from None
        raise MotionError(MotionCode.NOT_FOLLOWED, f'{complaint}; {self._remedy}')


def how(status: int) -> str:
    """Return how a goal ended, in words."""
    return _WORDS.get(status, f'ended with status {status}')


def _cancel(sent: Future) -> None:
    if sent.result().accepted:
        sent.result().cancel_goal_async()
