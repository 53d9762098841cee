"""`don_kp match`: find pixels of one image in another."""

from __future__ import annotations

import sys
from pathlib import Path

from don_kp_ros.arguments import Parser
from don_kp_ros.networks.device import check_device
from don_kp_ros.outputs import check_writable


def main(argv: list[str]) -> int:
    """Print the pixel of IMAGE_B that shows what pixel (U, V) of IMAGE_A shows; draw both."""
    arguments = _parser().parse_args(argv)
    # Only now: torch takes seconds to import.
    from don_kp_ros.data.picture_file import DataError
    from don_kp_ros.matching.lookup import look_up
    from don_kp_ros.networks.checkpoint import CheckpointError

    try:
        check_writable(arguments.output)
        check_device(arguments.device)
        found = look_up(
            arguments.image_a,
            [(arguments.u, arguments.v), *map(tuple, arguments.point)],
            arguments.image_b,
            arguments.model,
            arguments.output,
            arguments.device,
        )
    except (CheckpointError, DataError, OSError, ValueError) as error:
        print(f'don_kp match: {error}', file=sys.stderr)
        return 1
    return 0 if found else 1


def _parser() -> Parser:
    parser = Parser(
        prog='don_kp match',
        description=main.__doc__,
        epilog='The exit status is 1 where a point is not found.',
    )
    parser.add_argument('image_a', metavar='IMAGE_A', type=Path)
    parser.add_argument('u', metavar='U', type=float, help='pixels to the right, from 0')
    parser.add_argument('v', metavar='V', type=float, help='pixels down, from 0')
    parser.add_argument('image_b', metavar='IMAGE_B', type=Path)
    parser.add_argument(
        '--point',
        metavar=('U', 'V'),
        type=float,
        nargs=2,
        action='append',
        default=[],
        help='find another pixel of IMAGE_A, too; may be given again and again',
    )
    parser.add_argument('--model', type=Path, help='checkpoint; the shipped one if left out')
    parser.add_argument(
        '--output', type=Path, default=Path('output/match.png'), help='picture, %(default)s'
    )
    parser.add_argument('--device', default='cpu', help='to match on: cpu, cuda, ...')
    return parser
