"""No other robot may share the simulation's names: what is meant for one would move the other."""

from __future__ import annotations

import socket
import time

from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from don_kp_ros.nodes.kit.graph import publishers
from don_kp_ros.nodes.kit.runner import StartupError

# On this machine's clock.
MEETING_SECONDS = 1.5  # by then nodes have found each other, unless the machine is busy
LOOK_SECONDS = 1.0

_UNKNOWN = '_NODE_NAME_UNKNOWN'  # a node's name comes a moment after its publishers


class Neighbours:
    """Looks for another robot before the node is one itself, and then for as long as it lives."""

    def __init__(self, node: Node) -> None:
        """Raise StartupError where somebody publishes joint states under the node's names."""
        self._node, self._topic = node, node.resolve_topic_name('joint_states')
        self._own: list[str] = []
        self._check()
        # Simulations on one machine find each other at once, however busy it is: by a name that
        # Linux gives to one of them, and takes back when that one ends.
        self._name = socket.socket(socket.AF_UNIX)
        try:
            self._name.bind(f'\0don_kp{self._topic}@{node.context.get_domain_id()}')
        except OSError as error:
            self._name.close()
            raise self._refusal('another simulation') from error

    def watch(self) -> None:
        """Look again and again: another may come later, or was not found in time.

        To be called once the node publishes its own joint states; the StartupError ends the node.
        """
        self._own = [self._node.get_fully_qualified_name()]
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # also where simulated time stands still
        self._node.create_timer(LOOK_SECONDS, self._look, clock=steady)

    def close(self) -> None:
        """Let another come."""
        self._name.close()

    def _look(self) -> None:
        if self._node.count_publishers(self._topic) > len(self._own):
            self._check()

    def _check(self) -> None:
        deadline, others = time.monotonic() + MEETING_SECONDS, list[str]()
        while time.monotonic() < deadline:
            others = publishers(self._node, self._topic)
            for name in self._own:
                if name in others:
                    others.remove(name)  # once: another may have the same name
            if others and not any(_UNKNOWN in name for name in others):
                break
            time.sleep(0.05)
        if others:
            raise self._refusal(' and '.join(sorted({*others})))

    def _refusal(self, others: str) -> StartupError:
        return StartupError(
            f'{others} publishes {self._topic} in this ROS domain: a simulated robot would take '
            "its commands, or it the simulated one's; end it, or give another simulation_domain"
        )
