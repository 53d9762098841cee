"""`don_kp store`, `teach`, `list`, `where`, `pick` and `release`: ask the running stack."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from don_kp_ros.arguments import Parser
from don_kp_ros.bringup import description
from don_kp_ros.clients.graph_arguments import enter_graph
from don_kp_ros.meshes.units import UNITS

_LARGEST = 2**31 - 1  # of an int32


def main(argv: Sequence[str]) -> int:
    """Run the command that argv begins with; return the exit status.

    It is 0 where what was asked for is done, and 1 where it is refused or not found.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    place = getattr(arguments, 'place', None)
    if place is not None and not (len(place) in (3, 4) and all(map(math.isfinite, place))):
        parser.error(f'--place has {place}; it takes X Y Z in metres, and YAW in degrees or none')
    command = f'don_kp {arguments.command}'
    try:
        stack, _ = enter_graph(arguments, 'namespace')
        # Only now: rclpy and the messages are slow to import.
        from don_kp_ros.clients import tasks
        from don_kp_ros.clients.stack import Stack

        with Stack(description.namespace(stack)) as running:
            return tasks.run(arguments, running)
    except ValueError as error:  # RefusedError, too
        print(f'{command}: {error}', file=sys.stderr)
        return 1


def _parser() -> Parser:
    parser = Parser('don_kp', description='Ask the running stack.')
    commands = parser.add_subparsers(dest='command', required=True)

    def command(name: str, told: str, among: Any = commands) -> Parser:
        added: Parser = among.add_parser(
            name,
            description=told,
            epilog='The exit status is 0 where it is done, 1 where it is refused or not found.',
        )
        added.add_argument('--namespace', default='', help="the stack's, such as robot1")
        added.add_argument(
            '--simulation',
            action='store_true',
            help='ask a simulation of this machine, in its ROS domain, not that of ROS_DOMAIN_ID',
        )
        return added

    store = command('store', 'Store the point that the camera shows at a pixel, under a name.')
    store.add_argument('name', metavar='NAME', help='such as cap/brim: object and point')
    store.add_argument('u', metavar='U', type=_pixel, help='pixels to the right, from 0')
    store.add_argument('v', metavar='V', type=_pixel, help='pixels down, from 0')
    existing = store.add_mutually_exclusive_group()
    existing.add_argument('--replace', action='store_true', help='what has the name already')
    existing.add_argument('--add', action='store_true', help='to it: their mean is looked for')

    teach = commands.add_parser(
        'teach', description='Teach an object, its mesh, or how to hold it.'
    )
    kinds = teach.add_subparsers(dest='kind', required=True)

    thing = command('object', 'Teach the object that the camera shows at a pixel.', kinds)
    thing.add_argument('name', metavar='NAME', help='such as cap')
    thing.add_argument('u', metavar='U', type=_pixel, help='pixels to the right, from 0')
    thing.add_argument('v', metavar='V', type=_pixel, help='pixels down, from 0')
    existing = thing.add_mutually_exclusive_group()
    existing.add_argument('--replace', action='store_true', help='what has the name already')
    existing.add_argument('--add', action='store_true', help='what this view shows to it')

    grasp = command(
        'grasp',
        'Teach how to hold an object that was taught. Without --pixels or --pose, it is looked '
        'at first; then you bring the hand to it, close the fingers, and press Enter.',
        kinds,
    )
    grasp.add_argument('object', metavar='OBJECT', help='such as cap')
    grasp.add_argument('name', metavar='NAME', nargs='?', default='', help='or its number')
    grasp.add_argument('--replace', action='store_true', help='the grasp of that name')
    how = grasp.add_mutually_exclusive_group()
    how.add_argument(
        '--pixels',
        nargs=4,
        type=_pixel,
        metavar=('U', 'V', 'U', 'V'),
        help='two points that the fingers close on, as the camera shows them',
    )
    how.add_argument(
        '--pose',
        nargs=8,
        type=float,
        metavar=('X', 'Y', 'Z', 'QX', 'QY', 'QZ', 'QW', 'WIDTH'),
        help="of the tool centre point in the object's frame, and between the fingers; metres",
    )

    mesh = command(
        'mesh',
        'Give a taught object its mesh, by which its pose is refined. Without --pose, the camera '
        'must see the object: where the mesh is in it is found out.',
        kinds,
    )
    mesh.add_argument('object', metavar='OBJECT', help='such as cap')
    mesh.add_argument('file', metavar='FILE', type=Path, help='.obj, .glb or .ply')
    mesh.add_argument('--unit', choices=UNITS, default='m', help="of the file's numbers, m")
    mesh.add_argument('--replace', action='store_true', help='the mesh that it has')
    mesh.add_argument(
        '--pose',
        nargs=7,
        type=float,
        metavar=('X', 'Y', 'Z', 'QX', 'QY', 'QZ', 'QW'),
        help="of the mesh's frame in the object's; metres",
    )

    listing = command('list', 'List the stored points.')
    listing.add_argument('prefix', metavar='PREFIX', nargs='?', default='', help='of their names')

    where = command('where', 'Tell where the camera sees a stored point: pixel, score, metres.')
    where.add_argument('name', metavar='NAME')

    pick = command(
        'pick',
        'Grasp at a stored point, or an object as was taught, and lift it. Ctrl-C stops the arm.',
    )
    pick.add_argument('name', metavar='NAME')
    pick.add_argument('--aligned', action='store_true', help='NAME is a taught object')
    then = pick.add_mutually_exclusive_group()
    then.add_argument(
        '--place',
        nargs='+',
        type=float,
        metavar=('X', 'Y'),
        help="X Y Z [YAW]: then put it down, the point or the object's origin at X Y of the base "
        "frame, on what is Z high (0: the table), turned by YAW degrees; an object's frame to YAW",
    )
    then.add_argument(
        '--place-at',
        metavar='PLACE',
        help='then put it down where this stored point, or taught object, is seen before',
    )
    then.add_argument('--release', action='store_true', help='then put it down where it stood')

    command('release', 'Open the hand, and move the arm to where it looks from.')
    return parser


def _pixel(text: str) -> int:
    if not (text.isdecimal() and int(text) <= _LARGEST):
        raise argparse.ArgumentTypeError(f'{text!r}; a pixel is a whole number, from 0')
    return int(text)
