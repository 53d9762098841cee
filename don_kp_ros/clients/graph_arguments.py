"""Which stack a command means: its names, its ROS domain and its clock."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping

from don_kp_ros.bringup import description


def add_graph(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add --simulation, --simulated-time and some of the arguments of `don_kp bringup`."""
    parser.add_argument(
        '--simulation',
        action='store_true',
        help='of this machine, in its ROS domain, not that of ROS_DOMAIN_ID',
    )
    parser.add_argument(
        '--simulated-time', action='store_true', help='of /clock, as of another simulation'
    )
    for name in names:
        parser.add_argument(
            f'--{name.replace("_", "-")}', default='', help='as given to `don_kp bringup`'
        )


def enter_graph(options: argparse.Namespace, *names: str) -> tuple[Mapping[str, str], str]:
    """Set the environment in which ROS meets the stack; to be called before rclpy is imported.

    Returns the stack's arguments, checked, and the topic that tells its time; empty: this machine.
    """
    given = {name: getattr(options, name) for name in names if getattr(options, name)}
    simulation = 'true' if options.simulation else 'false'
    arguments = description.checked({**given, 'simulation': simulation})
    os.environ.update(description.environment(arguments))
    simulated = options.simulation or getattr(options, 'simulated_time', False)
    clock = dict(description.remappings(arguments)).get('/clock', '/clock') if simulated else ''
    return arguments, clock
