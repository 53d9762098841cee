"""A node's time: the robot's, which may be simulated, slowed or stopped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from rclpy.clock import JumpHandle, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.node import Node

from don_kp_ros.errors import RefusedError

# Simulated time that stands still for so long on this machine's clock has stopped.
STANDSTILL_S = 10.0


class StoppedClockError(RefusedError):
    """Simulated time stands still: what is waited for cannot come."""


class RosTime:
    """The time of a node that others spin, in seconds."""

    def __init__(self, node: Node) -> None:
        """Read a node's clock."""
        self._clock, self._context = node.get_clock(), node.context
        self._topic = node.resolve_topic_name('/clock')

    def now(self) -> float:
        """Return the time in seconds."""
        return 1e-9 * float(self._clock.now().nanoseconds)

    def rounds(self, seconds: float) -> Iterator[None]:
        """Yield again and again for some seconds; the caller looks, then pauses, each time.

        It yields once more after the time is over: a busy machine may hand over the clock's
        newest message before those that came with it. Where the node ends, so does this. Raises
        StoppedClockError.
        """
        begun = last = self.now()
        moved = time.monotonic()
        over = False
        while True:
            yield
            if over or not self._context.ok():
                return
            now = self.now()
            if now < last:
                begun -= last - now  # the clock was set back
            if now != last:
                last, moved = now, time.monotonic()
            elif time.monotonic() - moved > STANDSTILL_S:
                raise StoppedClockError(
                    f'simulated time has stood still for {STANDSTILL_S:g} s: nothing new comes '
                    f'on {self._topic}; is the simulation running?'
                )
            over = now - begun > seconds


def when_set_back(node: Node, forget: Callable[[], object], what: str) -> JumpHandle:
    """Have a node forget what it knows of a time that is set back, as tf2 does, and say so.

    That is the case where a bag begins anew, or a simulation. Keep what is returned.
    """

    def jumped(jump: TimeJump) -> None:
        forget()
        seconds = -1e-9 * jump.delta.nanoseconds
        node.get_logger().warning(
            f'ROS time was set back by {seconds:.3f} s: {what} known before are forgotten',
            throttle_duration_sec=1.0,
        )

    any_step = JumpThreshold(
        min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False
    )
    return node.get_clock().create_jump_callback(any_step, post_callback=jumped)
