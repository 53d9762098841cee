"""`don_kp camera check`: tell whether a camera is fit for grasping, and what helps if not."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from don_kp_ros.arguments import Parser, positive
from don_kp_ros.clients.graph_arguments import add_graph, enter_graph

_NAMES = ('namespace', 'camera_namespace', 'camera_name')


def main(argv: Sequence[str]) -> int:
    """Run the command; the exit status is 1 where something is wrong."""
    options = _parser().parse_args(argv)
    try:
        arguments, clock = enter_graph(options, *_NAMES)
        # Only now: rclpy and the messages are slow to import.
        from don_kp_ros.bringup import description
        from don_kp_ros.clients.camera_check import check
        from don_kp_ros.clients.stack import Stack

        print(f'listening for {options.seconds:g} s; show it some objects', flush=True)
        with Stack(description.namespace(arguments), clock) as stack:
            findings = list(check(stack, arguments, options.seconds, options.depth_unit))
    except ValueError as error:  # RefusedError, too
        print(f'don_kp camera: {error}', file=sys.stderr)
        return 1
    for one in findings:
        print(f'{one.what}: {one.seen}')
    faults = [one for one in findings if one.fault]
    for one in faults:
        print(f'wrong: {one.what}: {one.fault}')
    unjudged = [one.what for one in findings if not one.judged]
    if not faults:
        print(f'not judged: {", ".join(unjudged)}' if unjudged else 'nothing is wrong')
    return 1 if faults or unjudged else 0


def _parser() -> Parser:
    parser = Parser('don_kp camera', description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    told = (
        'listen to the camera, and judge rates, stamps, encodings, holes, distances, and whether '
        'depth lies on colour'
    )
    check = commands.add_parser(
        'check',
        help=told,
        description=f'{told}. It sees best where objects stand apart from what is behind them.',
        epilog='The exit status is 0 where all was judged and nothing is wrong, else 1.',
    )
    check.add_argument('--seconds', type=positive, default=5.0, help='%(default)g')
    check.add_argument(
        '--depth-unit',
        type=positive,
        default=1e-3,
        metavar='METRES',
        help='of a count of a 16-bit depth image, %(default)g',
    )
    add_graph(check, *_NAMES)
    return parser
