"""The running stack, as a command of its user meets it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from don_kp_ros.errors import RefusedError
from don_kp_ros.nodes.kit.graph import LEASE_S, two_servers
from don_kp_ros.nodes.kit.meeting import Meeting
from don_kp_ros.signals import ending_signals

PATIENCE_S = 10.0  # by then the parts of a stack that runs have answered
TEACHING_S = 30.0  # they look for seconds of ROS time, which a slow simulation stretches
_WAIT_S = 0.1
_SETTLED_S = 2.0  # by then one knows who is on the graph
_STORES = '/store_descriptor'  # every stack has one


class Stack:
    """A node beside the stack, spun while it waits; a context manager.

    A signal is a KeyboardInterrupt of what waits, and of nothing else: raised inside of rclpy, it
    would lose what has just come.
    """

    def __init__(self, namespace: str, clock: str = '') -> None:
        """Look for the stack of a namespace, from the root.

        clock: the topic that tells the time; empty: this machine does.
        """
        self._namespace, self._clock = namespace, clock
        self._interrupted = False
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Stack:
        try:
            rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
        except RuntimeError as error:  # such as a ROS_DOMAIN_ID that is no number
            raise RefusedError(f'ROS does not start: {error}') from error
        for number in ending_signals():
            self._handlers[number] = signal.signal(number, self._interrupt)
        self.node = rclpy.create_node(
            f'don_kp_client_{os.getpid()}',
            namespace=self._namespace,
            enable_rosout=False,
            start_parameter_services=False,
            cli_args=['--ros-args', '-r', f'/clock:={self._clock or "/clock"}'],
            parameter_overrides=[Parameter('use_sim_time', value=bool(self._clock))],
        )
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.try_shutdown()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def ask(self, kind: Any, name: str, request: Any, seconds: float | None = None) -> Any:
        """Call a service; raises RefusedError where nobody answers, or the answer is no.

        seconds: that an answer may take, if it is not `PATIENCE_S`.
        """
        client = self.node.create_client(kind, name)
        try:
            self.meet(name, client.service_is_ready)
            future = client.call_async(request)
            if not self.wait(future.done, seconds):
                raise RefusedError(
                    f'{client.service_name} did not answer within {seconds or PATIENCE_S:g} s'
                )
            response = future.result()
        finally:
            self.node.destroy_client(client)
        if not response.success:
            raise RefusedError(response.message)
        return response

    def meet(self, service: str, ready: Callable[[], bool]) -> None:
        """Wait until a service is there; raises RefusedError where it is not, or is twice."""
        name = self.node.resolve_service_name(service)
        if not self.wait(ready):
            raise self.missing(name)
        # A node that has just appeared counts for less, and one that has gone for more.
        self.wait(lambda: not two_servers(self.node, name), _SETTLED_S)
        if (several := two_servers(self.node, name)) and several.namesakes:
            print(f'waiting: {several}', file=sys.stderr)
            self.wait(lambda: not two_servers(self.node, name), LEASE_S)
        if several := two_servers(self.node, name):
            raise RefusedError(str(several))
        with contextlib.closing(Meeting(self.node, name)) as meeting:
            if not self.wait(meeting.over):
                raise RefusedError(f'who serves {name} is busy, or hangs; see its log')

    def wait(self, done: Callable[[], object], seconds: float | None = None) -> bool:
        """Wait until something is done; tell whether it is. Raises KeyboardInterrupt."""
        end = time.monotonic() + (PATIENCE_S if seconds is None else seconds)
        while not done():
            if self._interrupted:
                self._interrupted = False
                raise KeyboardInterrupt
            left = end - time.monotonic()
            if left < 0:
                return False
            self._executor.spin_once(timeout_sec=min(left, _WAIT_S))
        return True

    def settle(self) -> None:
        """Wait until one knows who is on the graph: a node that has just appeared counts for less.

        It has not changed for a while then. Raises KeyboardInterrupt.
        """
        node, since = self.node, time.monotonic()
        known: list[tuple[str, int]] = []

        def quiet() -> bool:
            nonlocal known, since
            topics = [name for name, _ in node.get_topic_names_and_types()]
            graph = [(name, node.count_publishers(name)) for name in topics]
            if graph != known:
                known, since = graph, time.monotonic()
            return time.monotonic() > since + _SETTLED_S

        self.wait(quiet)

    def missing(self, name: str) -> RefusedError:
        """Return the error that nobody on the graph has a name, and who has it elsewhere."""
        domain = os.environ.get('ROS_DOMAIN_ID') or '0'
        found = self.node.get_service_names_and_types()
        served = [one for one, _ in found if self.node.count_services(one)]  # not asked for alone
        stacks = [one.removesuffix(_STORES) or '/' for one in served if one.endswith(_STORES)]
        if self._namespace in stacks:
            remedy = 'the rest of the stack runs; start this node, too'
        elif stacks:
            remedy = f'a stack runs in namespace {" and ".join(stacks)}: --namespace {stacks[0]}'
        else:
            remedy = (
                'no stack runs there. `don_kp bringup` starts one; --simulation asks that of '
                '`don_kp bringup simulation:=true`; ROS_DOMAIN_ID chooses another domain'
            )
        what = name.partition('/_action/')[0]
        return RefusedError(f'nobody has {what} in ROS domain {domain}: {remedy}')

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._interrupted = True
