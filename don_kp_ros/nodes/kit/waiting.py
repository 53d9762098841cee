"""Wait in callbacks without blocking their thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future

_LOOKS_EVERY_S = 0.2
_STEADY = Clock(clock_type=ClockType.STEADY_TIME)  # also where simulated time stands still


async def at_most(
    node: Node, seconds: float, future: Future, worthwhile: Callable[[], bool] = lambda: True
) -> None:
    """Await a future of a node that others spin.

    It is cancelled after some seconds, or as soon as to wait is not ``worthwhile``.
    """
    end, over = time.monotonic() + seconds, False

    def look() -> None:
        nonlocal over
        # Where all stood still, a timer comes before the answer: that has one more round.
        if over or not worthwhile():
            future.cancel()
        over = time.monotonic() >= end

    with _every(node, min(seconds, _LOOKS_EVERY_S), look):
        await future


async def pause(node: Node, seconds: float) -> None:
    """Wait some seconds in a callback of a node that others spin."""
    over = Future()
    with _every(node, seconds, over.cancel):
        await over


@contextmanager
def _every(node: Node, seconds: float, call: Callable[[], None]) -> Iterator[None]:
    """Call something again and again meanwhile."""
    # A group of its own: a group never lets go of what was in it.
    timer = node.create_timer(
        seconds, call, callback_group=ReentrantCallbackGroup(), clock=_STEADY
    )
    try:
        yield
    finally:
        node.destroy_timer(timer)
