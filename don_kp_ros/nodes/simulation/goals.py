"""Goals of actions that a loop in another thread works on."""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future

from don_kp_ros.nodes.kit.action import begin

Refusal = Callable[[Any], str]


class Goal:
    """An accepted goal; whoever works on it ends it once."""

    def __init__(self, node: Node, handle: ServerGoalHandle) -> None:
        """Keep the handle."""
        self._node, self._handle = node, handle
        self.ended = Future()

    @property
    def request(self) -> Any:
        """What is asked for."""
        return self._handle.request

    @property
    def cancelled(self) -> bool:
        """Whether its client wants it no more."""
        return bool(self._handle.is_cancel_requested)

    def report(self, feedback: Any) -> None:
        """Tell its client how far it is."""
        self._handle.publish_feedback(feedback)

    def end(self, how: str, result: Any) -> None:
        """End it; ``how`` is succeed, abort or canceled, a method of the handle."""
        self.ended.set_result((getattr(self._handle, how), result))
        if self._node.executor is not None:
            self._node.executor.wake()  # else the waiting coroutine is looked at by and by


class GoalServer:
    """Serves an action: what is not refused waits in a queue."""

    def __init__(self, node: Node, kind: Any, name: str, refusal: Refusal) -> None:
        """Serve on a node that others spin; ``refusal`` returns why not, or nothing."""
        self._node, self._refusal = node, refusal
        self._name = node.resolve_service_name(name)
        self._accepted: SimpleQueue[Goal] = SimpleQueue()
        self.server = ActionServer(
            node,
            kind,
            name,
            self._execute,
            goal_callback=self._on_goal,
            handle_accepted_callback=begin,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            callback_group=ReentrantCallbackGroup(),
        )

    def accepted(self) -> list[Goal]:
        """Return the goals that came since the last call, the newest last."""
        return [self._accepted.get() for _ in range(self._accepted.qsize())]

    def _on_goal(self, request: Any) -> GoalResponse:
        reason = self._refusal(request)
        if not reason:
            return GoalResponse.ACCEPT
        self._node.get_logger().error(f'goal of {self._name} rejected: {reason}')
        return GoalResponse.REJECT

    async def _execute(self, handle: ServerGoalHandle) -> Any:
        goal = Goal(self._node, handle)
        self._accepted.put(goal)
        end, result = await goal.ended
        end()
        return result
