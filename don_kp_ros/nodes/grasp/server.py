"""The action /grasp: one goal at a time, each cancelled by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from don_kp.action import Grasp
from don_kp_ros.nodes.kit.action import begin

# An accepted goal that has not begun by then never will: its acceptance could not be sent.
_BEGIN_S = 4.0
# The arm is stopped within a fraction of it; only then may the process end, however busy it is.
_END_S = 5.0


class GraspServer:
    """Accepts a goal where none runs, and stops the one that is meant."""

    def __init__(
        self,
        node: Node,
        serve: Callable[[ServerGoalHandle], Grasp.Result],
        prepare: Callable[[], None],
        stop: Callable[[], None],
        release: Callable[[], None],
    ) -> None:
        """Serve on a node that others spin with several threads.

        ``prepare`` is called when a goal is accepted, then ``serve`` for its result, whose code
        says how it ended; ``stop`` makes that return soon. ``release`` undoes ``prepare`` for a
        goal that never begins.
        """
        self._node, self._serve, self._prepare, self._stop = node, serve, prepare, stop
        self._release = release
        # Guards what follows: a goal that begins, ends or is cancelled, and the end of all.
        self._turn = threading.Condition()
        self._reserved: Grasp.Goal | None = None  # accepted, not yet begun
        self._patience = threading.Timer(0.0, lambda: None)  # with it
        self._running: ServerGoalHandle | None = None
        self._ending = self._cancelling = False
        self._server = ActionServer(
            node,
            Grasp,
            'grasp',
            self._execute,
            goal_callback=self._on_goal,
            handle_accepted_callback=self._on_accepted,
            cancel_callback=self._on_cancel,
            callback_group=ReentrantCallbackGroup(),
        )

    def stop(self) -> None:
        """Stop what runs."""
        with self._turn:
            self._stop()

    def end(self) -> None:
        """Stop what runs while messages still flow, let it end, and accept nothing more."""
        with self._turn:
            self._ending = True
            self._stop()
            self._turn.wait_for(self._idle, _END_S)

    def _idle(self) -> bool:
        return self._running is None and self._reserved is None

    def destroy(self) -> None:
        """Leave."""
        self._patience.cancel()
        self._server.destroy()

    def _on_goal(self, goal: Grasp.Goal) -> GoalResponse:
        with self._turn:
            if self._ending or not self._idle():
                why = 'the node ends' if self._ending else 'another grasp is running; cancel it'
                self._node.get_logger().warning(f'goal rejected: {why}')
                return GoalResponse.REJECT
            self._reserved, self._cancelling = goal, False
            self._patience = threading.Timer(_BEGIN_S, self._withdraw, [goal])
            self._patience.daemon = True
            self._patience.start()
            self._prepare()
            return GoalResponse.ACCEPT

    def _withdraw(self, goal: Grasp.Goal) -> None:
        with self._turn:
            if self._reserved is goal:
                self._reserved = None
                self._release()
                self._turn.notify_all()
                self._node.get_logger().warning(
                    'a goal that was accepted has not begun: it is over'
                )

    def _on_accepted(self, handle: ServerGoalHandle) -> None:
        with self._turn:
            if handle.request is self._reserved:
                self._patience.cancel()
                self._running, self._reserved = handle, None
                self._turn.notify_all()
        begin(handle)

    def _on_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        with self._turn:
            # One that has been accepted may yet have to begin: it then does so stopped.
            if handle is not self._running and handle.request is not self._reserved:
                return CancelResponse.REJECT  # it has ended; another may be running
            self._cancelling = True
            self._stop()
            return CancelResponse.ACCEPT

    def _execute(self, handle: ServerGoalHandle) -> Grasp.Result:
        if handle is not self._running:
            handle.abort()
            return Grasp.Result(
                code=Grasp.Result.FAULT, message='it began too late; send it again'
            )
        result = self._serve(handle)
        until = time.monotonic() + 1.0
        while self._cancelling and not handle.is_cancel_requested and time.monotonic() < until:
            time.sleep(0.001)  # rclpy notes it after it has asked
        return self._ended(handle, result)

    def _ended(self, handle: ServerGoalHandle, result: Grasp.Result) -> Grasp.Result:
        """Tell how a goal ended; from here on it cannot be cancelled."""
        with self._turn:
            result.success = result.code == Grasp.Result.SUCCEEDED
            if result.success:
                handle.succeed()
            elif handle.is_cancel_requested:
                result.code = Grasp.Result.CANCELLED
                handle.canceled()
            else:
                handle.abort()
            self._running = None
            self._turn.notify_all()
        if result.success:
            self._node.get_logger().info(result.message)
        else:
            self._node.get_logger().warning(result.message)
        return result
