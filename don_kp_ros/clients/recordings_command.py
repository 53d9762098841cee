"""`don_kp record` and `don_kp replay`: keep what is said on the graph, and say it again."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from don_kp_ros.arguments import Parser, positive
from don_kp_ros.bringup import description
from don_kp_ros.clients.graph_arguments import add_graph, enter_graph

_NAMES = ('namespace', 'camera_namespace', 'camera_name', 'joint_states')  # launch arguments


def main(argv: Sequence[str]) -> int:
    """Run the command that argv begins with; the exit status is 1 where something is refused."""
    options = _parser().parse_args(argv)
    try:
        return _record(options) if options.command == 'record' else _replay(options)
    except ValueError as error:  # RefusedError, too
        print(f'don_kp {options.command}: {error}', file=sys.stderr)
        return 1


def _record(options: argparse.Namespace) -> int:
    arguments, clock = enter_graph(options, *_NAMES)
    # Only now: rclpy and the messages are slow to import.
    from don_kp_ros.clients.record import record, topics
    from don_kp_ros.clients.stack import Stack

    wanted = topics(arguments, options.topic)
    with Stack(description.namespace(arguments), clock) as stack:
        return 0 if record(stack, options.folder, wanted, options.seconds) else 1


def _replay(options: argparse.Namespace) -> int:
    # Nothing that was recorded is to reach a robot, whatever the environment says.
    domain = {} if options.domain is None else {'simulation_domain': options.domain}
    os.environ.update(
        description.environment(description.checked({'simulation': 'true', **domain}))
    )
    from don_kp_ros.clients.replay import Replay
    from don_kp_ros.clients.stack import Stack
    from don_kp_ros.recordings.reading import open_bag

    with open_bag(options.recording) as bag, Stack('/') as stack:
        replay = Replay(stack, bag, options.topic, options.inputs, options.clock)
        replay.meet(options.wait_for)
        while True:
            replay.play(options.rate)
            if not options.loop:
                return 0


def _parser() -> Parser:
    parser = Parser('don_kp', description='Record what is said on the graph, or replay it.')
    commands = parser.add_subparsers(dest='command', required=True)
    told = (
        "Record the camera's topics, joint states, transforms, and what the stack makes of them, "
        'as `ros2 bag record` does, until Ctrl-C.'
    )
    record = commands.add_parser('record', description=told)
    record.add_argument('folder', metavar='FOLDER', type=Path, help='that is made')
    record.add_argument(
        '--seconds', type=positive, default=math.inf, help='of ROS time, after which it ends'
    )
    record.add_argument(
        '--topic',
        action='append',
        default=[],
        metavar='TOPIC',
        help='another one, such as don_kp/heatmap; as often as needed',
    )
    add_graph(record, *_NAMES)

    told = (
        'Publish what was recorded, with its qualities of service, and its time on /clock, in a '
        'ROS domain of its own: that of simulations of this machine.'
    )
    replay = commands.add_parser('replay', description=told)
    replay.add_argument(
        'recording', metavar='FILE', type=Path, help='a folder of rosbag2, or a .mcap or .db3 file'
    )
    replay.add_argument('--rate', type=positive, default=1.0, help='times as fast, %(default)s')
    replay.add_argument('--loop', action='store_true', help='again and again')
    chosen = replay.add_mutually_exclusive_group()
    chosen.add_argument(
        '--inputs',
        action='store_true',
        help='only what camera and robot said, for a stack that runs and says the rest',
    )
    chosen.add_argument(
        '--topic',
        action='append',
        default=[],
        metavar='TOPIC',
        help='only this one, by its full name; as often as needed',
    )
    replay.add_argument(
        '--wait-for',
        action='append',
        default=[],
        metavar='TOPIC',
        help='begin when somebody listens to it; as often as needed',
    )
    replay.add_argument('--domain', help='another ROS domain of this machine')
    replay.add_argument('--clock', default='/clock', help='where to tell the time, %(default)s')
    return parser
