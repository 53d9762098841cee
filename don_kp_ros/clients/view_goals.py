"""The goals that a page sends to the grasp node, and what becomes of them."""

from __future__ import annotations

import threading
from typing import Any

from rclpy.task import Future

from don_kp.action import Grasp
from don_kp_ros.clients.asking import arrived
from don_kp_ros.clients.stack import Stack
from don_kp_ros.errors import RefusedError
from don_kp_ros.nodes.kit.action import PunctualActionClient
from don_kp_ros.page.activity import Activity

_ACTION = 'grasp'
_LAST_WORDS_S = 1.0


class Goals:
    """Sends one goal at a time; its phases and its end are told to all who look."""

    def __init__(self, stack: Stack, activity: Activity) -> None:
        """Send goals beside a stack whose node others spin."""
        self._stack, self._activity = stack, activity
        self._client = PunctualActionClient(stack.node, Grasp, _ACTION)
        self._sent: Future | None = None  # the goal that runs, as far as this page knows

    async def grasp(self, target: str, aligned: bool) -> str:
        """Grasp at a stored point, or a taught object as was taught."""
        mode = Grasp.Goal.ALIGNED if aligned else Grasp.Goal.PINCH
        return await self._run(Grasp.Goal(target=target, mode=mode), f'grasp {target}')

    async def release(self) -> str:
        """Open the hand and move the arm to where it looks from."""
        return await self._run(Grasp.Goal(mode=Grasp.Goal.RELEASE), 'release')

    async def cancel(self) -> None:
        """Stop the goal that runs."""
        if self._sent is None:
            raise RefusedError('no goal of this page runs; "Stop the arm" stops any')
        self._sent.add_done_callback(_cancel)

    def stop(self) -> None:
        """Stop the goal that runs, if there is one, and wait until that is known."""
        if self._sent is not None:
            known = threading.Event()
            self._sent.add_done_callback(lambda sent: _cancel(sent, known))
            known.wait(_LAST_WORDS_S)

    async def _run(self, goal: Grasp.Goal, words: str) -> str:
        if self._activity.told.runs:
            raise RefusedError('a goal of this page runs; cancel it, or wait for its end')
        if not self._client.server_is_ready():
            raise self._stack.missing(self._stack.node.resolve_service_name(_ACTION))
        self._activity.begin(words)
        try:
            message = await self._result(goal)
        except RefusedError as error:
            self._sent = None
            self._activity.finish(str(error), ok=False)
            raise
        self._sent = None
        self._activity.finish(message, ok=True)
        return message

    async def _result(self, goal: Grasp.Goal) -> str:
        self._sent = sent = self._client.send_goal_async(goal, self._on_feedback)
        if not await arrived(sent):
            sent.add_done_callback(_cancel)  # nobody will look at it
            raise RefusedError('the grasp node did not answer in time; see its log')
        handle = sent.result()
        if not handle.accepted:
            raise RefusedError('another goal is running; wait for its end, or stop it')
        ended = handle.get_result_async()
        while not await arrived(ended):
            if not self._client.server_is_ready():
                raise RefusedError('the grasp node has ended before the goal; see its log')
        result = ended.result().result
        if not result.success:
            raise RefusedError(f'not done: {result.message}')
        return str(result.message)

    def _on_feedback(self, message: Any) -> None:
        self._activity.phase(message.feedback.phase, message.feedback.detail)


def _cancel(sent: Future, known: threading.Event | None = None) -> None:
    """Cancel a goal that has been sent; set an event once that is known."""
    handle = sent.result()
    if handle is not None and handle.accepted:
        asked = handle.cancel_goal_async()
        if known is not None:
            asked.add_done_callback(lambda _: known.set())
    elif known is not None:
        known.set()
