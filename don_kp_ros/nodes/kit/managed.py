"""A node with states that says why a transition fails."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from lifecycle_msgs.srv import ChangeState
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from don_kp_ros.configuration import ConfigurationError
from don_kp_ros.errors import RefusedError
from don_kp_ros.nodes.kit.runner import StartupError

_EXPECTED = (StartupError, RefusedError, ConfigurationError, FileNotFoundError)


class ManagedNode(LifecycleNode):
    """Unconfigured, inactive, active: `ros2 lifecycle set NODE configure | activate | ...`.

    rclpy swallows what a transition raises. Here a refusal is one line of the log, and the node
    stays in the state that it was in; any other error is logged with its traceback, and the node
    is unconfigured after it. A transition that the present state does not have is refused, which
    rclpy dies of.
    """

    def __init__(self, node_name: str, **options: Any) -> None:
        super().__init__(node_name, **options)
        service = self._service_change_state
        self._change_state, service.callback = service.callback, self._on_change_state

    def configure(self) -> None:
        """Get what the node needs."""

    def activate(self) -> None:
        """Begin to work."""

    def deactivate(self) -> None:
        """Stop to work; must not fail."""

    def cleanup(self) -> None:
        """Free what `configure` got; must not fail."""

    _starting, _failure = False, ''

    def start(self) -> None:
        """Configure and activate; raises StartupError with the reason where that fails."""
        self._starting = True
        for trigger in (self.trigger_configure, self.trigger_activate):
            if trigger() is not TransitionCallbackReturn.SUCCESS:
                raise StartupError(self._failure)
        self._starting = False

    @property
    def state(self) -> str:
        """The name of the state, such as active."""
        return str(self._state_machine.current_state[1])

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Answer the transition."""
        return self._attempt('configure', self.configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Answer the transition."""
        return self._attempt('activate', self.activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Answer the transition."""
        return self._attempt('deactivate', self.deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Answer the transition."""
        return self._attempt('clean up', self.cleanup)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Answer the transition."""
        return self._attempt('shut down', self._end)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything after a transition that failed."""
        return self._attempt('clean up', self._end)

    def destroy_node(self) -> None:
        """Stop to work first."""
        self._end()
        super().destroy_node()

    def _end(self) -> None:
        self.deactivate()
        self.cleanup()

    def _on_change_state(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        asked = request.transition.label or request.transition.id
        available = [one[:2] for one in self._state_machine.available_transitions]
        if any(asked in one for one in available):
            return self._change_state(request, response)
        can = ', '.join(f'{label} ({number})' for number, label in available)
        self.get_logger().error(
            f'transition {asked} is refused: {self.get_fully_qualified_name()} is {self.state}, '
            f'from which it can {f"only {can}" if can else "do nothing; start it anew"}'
        )
        response.success = False
        return response

    def _attempt(self, what: str, act: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            act()
        except _EXPECTED as error:
            self._failure = str(error)
            if not self._starting:  # or its caller says so
                self.get_logger().error(f'cannot {what}: {error}')
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            self._failure = f'internal error: {error!r}'
            told = ''.join(traceback.format_exception(error)).rstrip()
            self.get_logger().error(f'cannot {what}:\n{told}')
            return TransitionCallbackReturn.ERROR
        self.get_logger().debug(f'{what}: done')
        return TransitionCallbackReturn.SUCCESS
