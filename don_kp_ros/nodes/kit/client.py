"""Ask another node's service."""

from __future__ import annotations

from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.task import Future

from don_kp_ros.errors import RefusedError
from don_kp_ros.nodes.kit.graph import Several, two_servers
from don_kp_ros.nodes.kit.waiting import at_most

PATIENCE_S = 8.0  # less than that of who asks the asker


class UnansweredError(RefusedError):
    """Nobody serves, or several do, or nobody answered in time."""


class ServiceClient:
    """A service whose answers have `success` and `message`, as all of don_kp's have.

    Whatever keeps it from answering is a RefusedError that names the service and the remedy.
    """

    def __init__(
        self, node: Node, kind: Any, name: str, remedy: str, patience_s: float | None = None
    ) -> None:
        """Look for a service on a node that others spin; ``remedy`` is what its user can do.

        ``ask`` waits for an answer for so many seconds, `PATIENCE_S` if none are given, and no
        longer than somebody serves.
        """
        self._node, self._remedy, self._patience_s = node, remedy, patience_s
        self._client = node.create_client(kind, name, callback_group=ReentrantCallbackGroup())

    @property
    def name(self) -> str:
        """The service's full name."""
        return str(self._client.service_name)

    @property
    def ready(self) -> bool:
        """Tell whether somebody serves."""
        return bool(self._client.service_is_ready())

    @property
    def several(self) -> Several | None:
        """Who serves, if there is more than one."""
        return two_servers(self._node, self.name)

    async def ask(self, request: Any) -> Any:
        """Return the answer; waits for it without blocking the thread."""
        future = self.send(request)
        patience_s = self._patience_s or PATIENCE_S
        await at_most(self._node, patience_s, future, lambda: self.ready)
        return self.answer(future)

    def send(self, request: Any) -> Future:
        """Send a request; `answer` reads what the future brings."""
        name = self.name
        if not self.ready:
            raise UnansweredError(f'no node serves {name}; {self._remedy}')
        if several := self.several:  # the first to answer would be believed
            raise UnansweredError(str(several))
        return self._client.call_async(request)

    def answer(self, future: Future) -> Any:
        """Return the answer that has come; one that has not come by now is no longer awaited."""
        if not future.done():
            self.forget(future)
            name = self.name
            if not self.ready:
                raise UnansweredError(f'who served {name} has gone; {self._remedy}')
            raise UnansweredError(
                f'{name} did not answer in time: who serves it is busy, or hangs; see its log'
            )
        response = future.result()
        if not response.success:
            raise RefusedError(response.message)
        return response

    def forget(self, future: Future) -> None:
        """Await an answer no longer."""
        self._client.remove_pending_request(future)
