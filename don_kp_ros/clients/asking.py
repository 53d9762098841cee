"""Ask the stack from an event loop, while a thread spins the node."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from rclpy.task import Future

from don_kp_ros.clients.stack import PATIENCE_S, Stack
from don_kp_ros.nodes.kit.client import ServiceClient
from don_kp_ros.nodes.kit.guard import guarded
from don_kp_ros.nodes.kit.meeting import Meeting

REMEDY = 'does the stack run? `don_kp bringup` starts it'
_MEETING_S, _ROUND_S = 5.0, 0.05  # that a new client has to find its server


@contextlib.contextmanager
def spun(stack: Stack) -> Iterator[None]:
    """Spin the stack's node in a thread."""
    ending, node = threading.Event(), stack.node

    @guarded
    def spin(_: Node) -> None:
        # What is looked at no longer may be about to be waited for; a signal ends the page, and
        # what the page still has to say is sent afterwards.
        with contextlib.suppress(InvalidHandle, KeyboardInterrupt):
            stack.wait(ending.is_set, math.inf)

    def run() -> None:
        while not ending.is_set() and node.context.ok():
            spin(node)

    thread = threading.Thread(target=run, name='spin')
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


async def arrived(future: Future, seconds: float = PATIENCE_S) -> bool:
    """Wait for a future of the spun node, without blocking the loop; tell whether it has come."""
    loop = asyncio.get_running_loop()
    come = loop.create_future()

    def wake(_: Future) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(come.set_result, None)

    future.add_done_callback(wake)
    await asyncio.wait([come], timeout=seconds)  # `wait_for` may swallow the end of the page
    return bool(future.done())


def met(node: Node, service: str, ready: Callable[[], bool]) -> Future:
    """Return a future that is done once a new client has met the server of a service.

    They may find each other within 5 s; it is done then, too. The node is spun by others.
    """
    meeting, done = Meeting(node, service), Future()
    end = time.monotonic() + _MEETING_S

    def look() -> None:
        if time.monotonic() > end or (ready() and meeting.over()):
            node.destroy_timer(timer)
            meeting.close()
            done.set_result(None)

    timer = node.create_timer(_ROUND_S, look)
    return done


class Services:
    """The stack's services, each met when it is first asked, or before."""

    def __init__(self, stack: Stack) -> None:
        """Ask beside a stack whose node is spun."""
        self._node = stack.node
        self._met: dict[str, tuple[ServiceClient, Future]] = {}

    async def ask(
        self, kind: Any, name: str, seconds: float = PATIENCE_S, /, **fields: Any
    ) -> Any:
        """Return an answer; raises RefusedError where nobody gives one, or it is no."""
        client, future = await self._sent(kind, name, fields)
        await arrived(future, seconds)
        return client.answer(future)

    async def ask_any(self, kind: Any, name: str, /, **fields: Any) -> Any:
        """Return the answer of a service that does not say `success`, as those of ROS; or None."""
        _, future = await self._sent(kind, name, fields)
        return future.result() if await arrived(future) else None

    def meet(self, kind: Any, name: str) -> tuple[ServiceClient, Future]:
        """Return a service's client, and the future of its having met its server.

        It is met once, whoever asks meanwhile; one that nobody serves is given up after 5 s.
        """
        if name not in self._met:
            client = ServiceClient(self._node, kind, name, REMEDY)
            self._met[name] = client, met(self._node, client.name, lambda: client.ready)
        return self._met[name]

    async def _sent(self, kind: Any, name: str, fields: Any) -> tuple[ServiceClient, Future]:
        client, met = self.meet(kind, name)
        await arrived(met)
        return client, client.send(kind.Request(**fields))
