"""The goals that a page sends to the grasp node, and what becomes of them."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

from rclpy.task import Future

from don_kp.action import Grasp
from don_kp_ros.clients.asking import arrived, met
from don_kp_ros.clients.cancellation import MAY_MOVE, Cancellation
from don_kp_ros.clients.stack import PATIENCE_S, Stack
from don_kp_ros.errors import RefusedError
from don_kp_ros.nodes.kit.action import PunctualActionClient
from don_kp_ros.page.activity import Activity

_ACTION = 'grasp'
_ROUND_S = 0.1
_GONE_S = 2.0  # for less, it may only not be heard on a busy machine


class Goals:
    """Sends one goal at a time; its phases and its end are told to all who look."""

    def __init__(self, stack: Stack, activity: Activity) -> None:
        """Send goals beside a stack whose node others spin."""
        self._stack, self._activity = stack, activity
        self._client = PunctualActionClient(stack.node, Grasp, _ACTION)
        server = stack.node.resolve_service_name(f'{_ACTION}/_action/send_goal')
        self._met = met(stack.node, server, self._client.server_is_ready)
        self._sent: Future | None = None  # what may run, as far as this page knows

    async def grasp(self, target: str, aligned: bool) -> str:
        """Grasp at a stored point, or a taught object as was taught."""
        mode = Grasp.Goal.ALIGNED if aligned else Grasp.Goal.PINCH
        return await self._run(Grasp.Goal(target=target, mode=mode), f'grasp {target}')

    async def release(self) -> str:
        """Open the hand and move the arm to where it looks from."""
        return await self._run(Grasp.Goal(mode=Grasp.Goal.RELEASE), 'release')

    async def cancel(self) -> None:
        """Stop the goal that runs; raises RefusedError where it may go on."""
        if self._sent is None:
            raise RefusedError('no goal of this page runs; "Stop the arm" stops any')
        cancellation = Cancellation(self._sent)
        await arrived(cancellation.answered)
        cancellation.check()

    def stop(self) -> None:
        """Stop the goal that runs, if there is one; raises RefusedError where it may go on.

        For the end of the page, while the node is spun: no event loop runs any more.
        """
        if self._sent is None:
            return
        print('stopping the arm ...', file=sys.stderr)
        cancellation, end = Cancellation(self._sent), time.monotonic() + PATIENCE_S
        gone_since = math.inf
        while not cancellation.answered.done() and time.monotonic() < end:
            ready = self._client.server_is_ready()
            gone_since = math.inf if ready else min(gone_since, time.monotonic())
            if time.monotonic() > gone_since + _GONE_S:
                return  # the arm comes to rest where the grasp node has ended
            time.sleep(_ROUND_S)
        cancellation.check()

    async def _run(self, goal: Grasp.Goal, words: str) -> str:
        await arrived(self._met)
        if self._activity.told.runs:
            raise RefusedError('a goal of this page runs; cancel it, or wait for its end')
        if not self._client.server_is_ready():
            raise self._stack.missing(self._stack.node.resolve_service_name(_ACTION))
        self._activity.begin(words)
        end, done = f'it is not known how the goal ended; {MAY_MOVE}', False
        try:
            end, done = await self._result(goal), True
        except RefusedError as error:
            end = str(error)
            raise
        finally:
            self._activity.finish(end, done)
        return end

    async def _result(self, goal: Grasp.Goal) -> str:
        before = self._sent  # it may run still, if it is not known how it ended
        self._sent = sent = self._client.send_goal_async(goal, self._on_feedback)
        if not await arrived(sent):
            Cancellation(sent)  # nobody will look at it
            raise RefusedError(
                f'the grasp node has not answered within {PATIENCE_S:g} s; the goal is withdrawn '
                'once it does'
            )
        handle = sent.result()
        if not handle.accepted:
            self._sent = before
            raise RefusedError('another goal is running; wait for its end, or stop it')
        ended = handle.get_result_async()
        while not await arrived(ended):
            if not self._client.server_is_ready():
                raise RefusedError('the grasp node has ended before the goal; see its log')
        self._sent = None
        result = ended.result().result
        if not result.success:
            raise RefusedError(f'not done: {result.message}')
        return str(result.message)

    def _on_feedback(self, message: Any) -> None:
        self._activity.phase(message.feedback.phase, message.feedback.detail)
