"""Sends a goal to the grasp node, and stops the arm where the user says so."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from rclpy.action import ActionClient
from rclpy.task import Future

from don_kp.action import Grasp
from don_kp_ros.clients.cancellation import MAY_MOVE, Cancellation
from don_kp_ros.clients.stack import PATIENCE_S, Stack
from don_kp_ros.errors import RefusedError

_SENDS_GOALS = 'grasp/_action/send_goal'


class Goals:
    """Goals of a command, one after the other."""

    def __init__(self, stack: Stack) -> None:
        """Meet the grasp node; raises RefusedError where there is none."""
        self._stack = stack
        self._client = ActionClient(stack.node, Grasp, 'grasp')
        stack.settle()  # an arm that was found a moment before another is not to be the one
        stack.meet(_SENDS_GOALS, self._client.server_is_ready)

    def run(
        self, goal: Grasp.Goal, tell: Callable[[Any], None] | None = None
    ) -> tuple[Grasp.Result, bool]:
        """Send a goal and wait until it has ended; tell whether a signal has cancelled it.

        `tell` hears the feedback. Raises RefusedError where the node does not serve it.
        """
        sent = self._client.send_goal_async(goal, tell)
        try:
            return self._result(sent), False
        except KeyboardInterrupt:
            print('stopping the arm ...', file=sys.stderr)
        try:
            self._accepted(sent)
            self._cancel(sent)
            return self._result(sent), True
        except KeyboardInterrupt:
            raise RefusedError(f'left before the arm was stopped; {MAY_MOVE}') from None

    def _cancel(self, sent: Future) -> None:
        cancellation = Cancellation(sent)
        self._stack.wait(cancellation.answered.done)
        cancellation.check()

    def _accepted(self, sent: Future) -> Any:
        """Wait for the goal to be accepted; one that is not answered in time is withdrawn."""
        if not self._stack.wait(sent.done):
            print(
                f'the grasp node has not answered within {PATIENCE_S:g} s; the goal is withdrawn '
                'once it does',
                file=sys.stderr,
            )
            while not self._stack.wait(sent.done):
                if not self._client.server_is_ready():
                    raise RefusedError('the grasp node has ended; see its log')
            self._cancel(sent)
            raise RefusedError('the grasp node was too busy, and the goal is withdrawn')
        handle = sent.result()
        if not handle.accepted:
            raise RefusedError('another goal is running; wait for its end, or stop it')
        return handle

    def _result(self, sent: Future) -> Grasp.Result:
        ended = self._accepted(sent).get_result_async()
        while not self._stack.wait(ended.done):
            if not self._client.server_is_ready():
                raise RefusedError('the grasp node has ended before the goal; see its log')
        return ended.result().result
