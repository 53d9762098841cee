"""Stops a goal of the grasp node, and knows whether it stops."""

from __future__ import annotations

from typing import Any

from action_msgs.srv import CancelGoal
from rclpy.task import Future

from don_kp_ros.clients.stack import PATIENCE_S
from don_kp_ros.errors import RefusedError

MAY_MOVE = 'the arm may move: press the emergency stop; see the log of the grasp node'
_ASKED = 5  # times
_OVER = (CancelGoal.Response.ERROR_UNKNOWN_GOAL_ID, CancelGoal.Response.ERROR_GOAL_TERMINATED)


class Cancellation:
    """Cancels a goal once it is accepted, again where that is refused although it runs."""

    def __init__(self, sent: Future) -> None:
        """Cancel what `send_goal_async` has sent, on a node that others spin."""
        self.answered = Future()
        """Tells whether the goal stops, or is over."""
        self._left = _ASKED
        sent.add_done_callback(self._on_sent)

    def check(self) -> None:
        """Raise RefusedError unless the goal is known by now to stop, or to be over."""
        if not self.answered.done():
            raise RefusedError(
                f'the grasp node did not answer within {PATIENCE_S:g} s; {MAY_MOVE}'
            )
        if not self.answered.result():
            raise RefusedError(f'the grasp node does not stop the goal; {MAY_MOVE}')

    def _on_sent(self, sent: Future) -> None:
        handle = sent.result()
        if handle.accepted:
            self._ask(handle)
        else:
            self.answered.set_result(True)

    def _ask(self, handle: Any) -> None:
        self._left -= 1
        handle.cancel_goal_async().add_done_callback(lambda asked: self._on_answer(handle, asked))

    def _on_answer(self, handle: Any, asked: Future) -> None:
        answer = asked.result()
        if answer.goals_canceling or answer.return_code in _OVER:
            self.answered.set_result(True)
        elif self._left:
            self._ask(handle)
        else:
            self.answered.set_result(False)
