"""Ask the stack from an event loop, while a thread spins the node."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
from collections.abc import Iterator
from typing import Any

from rclpy.exceptions import InvalidHandle
from rclpy.executors import ExternalShutdownException
from rclpy.task import Future

from don_kp_ros.clients.stack import PATIENCE_S, Stack
from don_kp_ros.nodes.kit.client import ServiceClient
from don_kp_ros.nodes.kit.meeting import Meeting

REMEDY = 'does the stack run? `don_kp bringup` starts it'
_ROUNDS, _ROUND_S = 100, 0.05  # that a new client has to find its server


@contextlib.contextmanager
def spun(stack: Stack) -> Iterator[None]:
    """Spin the stack's node in a thread."""
    ending = threading.Event()

    def spin() -> None:
        with contextlib.suppress(ExternalShutdownException):
            while not ending.is_set():
                # What is looked at no longer may be about to be waited for; a signal ends the
                # page, and what the page still has to say is sent afterwards.
                with contextlib.suppress(InvalidHandle, KeyboardInterrupt):
                    stack.wait(ending.is_set, math.inf)

    thread = threading.Thread(target=spin, name='spin')
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


class Services:
    """The stack's services, each met when it is first asked."""

    def __init__(self, stack: Stack) -> None:
        """Ask beside a stack whose node is spun."""
        self._stack = stack
        self._clients: dict[str, ServiceClient] = {}

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

    async def _sent(self, kind: Any, name: str, fields: Any) -> tuple[ServiceClient, Future]:
        client = self._clients.get(name)
        if client is None:
            client = ServiceClient(self._stack.node, kind, name, REMEDY)
            self._clients[name] = client
            await self._meet(client)
        return client, client.send(kind.Request(**fields))

    async def _meet(self, client: ServiceClient) -> None:
        """Give a new client time to find its server, and to be found by it."""
        with contextlib.closing(Meeting(self._stack.node, client.name)) as meeting:
            for _ in range(_ROUNDS):
                if client.ready and meeting.over():
                    return
                await asyncio.sleep(_ROUND_S)
