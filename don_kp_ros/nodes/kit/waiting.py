"""Wait in callbacks without blocking their thread."""

from __future__ import annotations

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future

_STEADY = Clock(clock_type=ClockType.STEADY_TIME)  # also where simulated time stands still


async def at_most(node: Node, seconds: float, future: Future) -> None:
    """Await a future of a node that others spin; cancel it after some seconds."""
    # A group of its own: a group never lets go of what was in it.
    timer = node.create_timer(
        seconds, future.cancel, callback_group=ReentrantCallbackGroup(), clock=_STEADY
    )
    try:
        await future
    finally:
        node.destroy_timer(timer)


async def pause(node: Node, seconds: float) -> None:
    """Wait some seconds in a callback of a node that others spin."""
    await at_most(node, seconds, Future())
