"""`don_kp inspect`: point at one picture, and see in another where that is found."""

from __future__ import annotations

import sys
from pathlib import Path

from don_kp_ros.arguments import Parser
from don_kp_ros.networks.device import check_device
from don_kp_ros.page.options import add_page_options


def main(argv: list[str]) -> int:
    """Serve a page on which the pixel under the pointer in IMAGE_A is found in IMAGE_B."""
    options = _parser().parse_args(argv)
    # Only now: torch takes seconds to import.
    from don_kp_ros.data.picture_file import DataError
    from don_kp_ros.networks.checkpoint import CheckpointError
    from don_kp_ros.page.inspect import inspect

    try:
        check_device(options.device)
        inspect(
            options.image_a,
            options.image_b,
            options.model,
            options.device,
            options.host,
            options.port,
        )
    except (CheckpointError, DataError, OSError, ValueError) as error:
        print(f'don_kp inspect: {error}', file=sys.stderr)
        return 1
    return 0


def _parser() -> Parser:
    parser = Parser('don_kp inspect', description=main.__doc__)
    parser.add_argument('image_a', metavar='IMAGE_A', type=Path)
    parser.add_argument('image_b', metavar='IMAGE_B', type=Path)
    parser.add_argument('--model', type=Path, help='checkpoint; the shipped one if left out')
    parser.add_argument('--device', default='cpu', help='to describe on: cpu, cuda, ...')
    add_page_options(parser)
    return parser
