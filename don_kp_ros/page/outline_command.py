"""`don_kp outline`: masks for pictures that have none, by clicks in the browser."""

from __future__ import annotations

import sys
from pathlib import Path

from don_kp_ros.arguments import Parser
from don_kp_ros.page.options import add_page_options


def main(argv: list[str]) -> int:
    """Serve a page on which the objects of FOLDER's pictures are clicked on, and masks saved."""
    options = _parser().parse_args(argv)
    # Only now: OpenCV and SciPy are slow to import.
    from don_kp_ros.annotation.making import Task
    from don_kp_ros.data.folder import MASKS, DataError
    from don_kp_ros.outputs import check_writable
    from don_kp_ros.page.canvas import Canvas
    from don_kp_ros.page.channel import Channel
    from don_kp_ros.page.outline_page import root
    from don_kp_ros.page.outlining import Outlining
    from don_kp_ros.page.picture import CHANNEL
    from don_kp_ros.page.server import serve

    try:
        task = Task.open(options.folder, options.overwrite)
        check_writable(options.folder / MASKS / '0.png')
        if not task.pictures:
            print(f'{options.folder}: every picture has a mask; --overwrite makes them anew')
            return 0
        outlining, canvas = Outlining(task), Canvas()
        for told in outlining.left_out:
            print(told, file=sys.stderr)
        made = root(outlining, canvas)
        serve(made, {CHANNEL: Channel(canvas)}, 'don_kp outline', options.host, options.port)
    except (DataError, OSError, ValueError) as error:
        print(f'don_kp outline: {error}', file=sys.stderr)
        return 1
    print(f'{outlining.written} masks written; `don_kp data check {options.folder}` draws all')
    return 0


def _parser() -> Parser:
    parser = Parser('don_kp outline', description=main.__doc__)
    parser.add_argument('folder', metavar='FOLDER', type=Path, help='its rgbs/ hold the pictures')
    parser.add_argument('--overwrite', action='store_true', help='pictures with masks, too')
    add_page_options(parser)
    return parser
