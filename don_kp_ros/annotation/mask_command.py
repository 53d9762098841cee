"""`don_kp mask`: masks for pictures that have none."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from don_kp_ros.arguments import Parser
from don_kp_ros.errors import RefusedError
from don_kp_ros.outputs import check_writable


def main(argv: list[str]) -> int:
    """Write masks for the pictures of a folder that have none, by depth or by colour."""
    options = _parser().parse_args(argv)
    # Only now: OpenCV and SciPy are slow to import.
    from don_kp_ros.annotation.making import How, Task
    from don_kp_ros.annotation.prompts import Prompts
    from don_kp_ros.data.folder import MASKS, DataError

    failed = doubtful = 0
    try:
        at = Prompts.read('--at', options.at, 2)
        off = Prompts.read('--off', options.off, 2)
        box = Prompts.read('--box', options.box, 4)
        task = Task.open(options.folder, options.overwrite)
        for prompts in (at, off, box):
            prompts.check(task.pictures)
        check_writable(options.sheet)
        check_writable(options.folder / MASKS / '0.png')
        how = How(options.by, at, off, box, options.intrinsics and tuple(options.intrinsics))
        if not task.pictures:
            print(f'{options.folder}: every picture has a mask; --overwrite makes them anew')
            return 0
        for made in task.masks(how, options.sheet):
            said = '; '.join(made.said)
            if made.share is None:
                failed += 1
                none = 'its old mask stays' if made.picture in task.old else 'no mask'
                print(f'{made.picture.name}: {none}: {said}', flush=True)
            else:
                doubtful += bool(said)
                doubt = f', doubtful: {said}' if said else ''
                print(f'{made.picture.name}: {made.share:.1%}{doubt}', flush=True)
    except (DataError, RefusedError, OSError, ValueError) as error:
        print(f'don_kp mask: {error}', file=sys.stderr)
        return 1
    written = len(task.pictures) - failed
    print(f'{written} masks, {doubtful} doubtful; {failed} pictures got none')
    if written:
        print(f'masks over pictures: {options.sheet}')
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog='don_kp mask',
        description=main.__doc__,
        epilog='--at, --off and --box are for all pictures, or for the one whose name stands '
        'before the numbers; give them as often as needed. The exit status is 1 where a picture '
        'gets no mask.',
    )
    parser.add_argument('folder', metavar='FOLDER', type=Path, help='its rgbs/ hold the pictures')
    parser.add_argument(
        '--by',
        choices=('depth', 'colour'),
        help='how: what stands on a table, or GrabCut (by depth where depths/ has one)',
    )
    for name, numbers, told in (
        ('at', 'U V', "a pixel of the object (by depth: what is nearest to the picture's middle)"),
        ('off', 'U V', 'a pixel that is not the object, by colour'),
        ('box', 'U V W H', 'that the object lies in, by colour (a tenth off the border)'),
    ):
        parser.add_argument(
            f'--{name}', nargs='+', action='append', metavar=('[NAME]', numbers), help=told
        )
    parser.add_argument(
        '--intrinsics',
        type=float,
        nargs=4,
        metavar=('FX', 'FY', 'CX', 'CY'),
        help='of the camera, pixels, where the folder has no views.json',
    )
    parser.add_argument('--overwrite', action='store_true', help='make existing masks anew')
    parser.add_argument(
        '--sheet', type=Path, default=Path('output/masks.png'), help='masks drawn, %(default)s'
    )
    return parser
