"""The whole simulated stack in processes of its own, with a judge of what it does."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import rclpy
from rclpy.signals import SignalHandlerOptions

from don_kp_ros.bringup import description
from don_kp_ros.bringup.domain import free_domain
from don_kp_ros.bringup.processes import Bringup, NodeParameters
from don_kp_ros.demo.judge import Judge, StackEndedError

START_SECONDS = 120.0  # of this machine's time, for all nodes


@contextlib.contextmanager
def judged(
    model: Path,
    logs: Path,
    real_time_factor: float = 0.0,
    domain: int | None = None,
    parameters: NodeParameters | None = None,
) -> Iterator[Judge]:
    """Run the stack with an empty database, and judge it.

    The judge raises StackEndedError once a node has ended, with the end of its log. domain: of
    ROS; None: a free one. parameters: of nodes by their names, e.g. ``{'grasp': {'looks': 1}}``.
    """
    with tempfile.TemporaryDirectory(prefix='don_kp-') as folder:
        arguments = {
            'simulation': 'true',
            'simulation_domain': str(free_domain() if domain is None else domain),
            'real_time_factor': f'{real_time_factor:g}',
            'database': f'{folder}/descriptors.sqlite',
            'model': str(model),
        }
        stack = Bringup(arguments, logs, parameters)
        # For this process too: no real robot must hear of these goals.
        os.environ.update(description.environment(stack.arguments))

        def check() -> None:
            ended = stack.poll()
            if ended is not None:
                raise StackEndedError(
                    f'{ended.node} ended with exit code {ended.code}\n{stack.tail(ended.node)}'
                )

        with stack:
            # The signals are this process's: rclpy's handlers would end it under its own feet.
            rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
            judge = Judge(check)
            try:
                judge.wait_until_ready(START_SECONDS)
                yield judge
            finally:
                judge.close()
                rclpy.try_shutdown()
