"""`don_kp data`: examine pictures with masks; make folders of other tools' files or recordings."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from don_kp_ros.arguments import Parser
from don_kp_ros.configuration import ConfigurationError
from don_kp_ros.data.mask_options import MaskOptions, add_mask_arguments
from don_kp_ros.errors import RefusedError
from don_kp_ros.outputs import check_writable

FORMATS = ('bop', 'coco', 'cut-outs', 'labelme', 'sam', 'voc')


def main(argv: list[str]) -> int:
    """Run `don_kp data`; the exit status is 1 where something is refused."""
    options = _parser().parse_args(argv)
    # Only now: OpenCV is slow to import.
    from don_kp_ros.data.folder import DataError

    try:
        if options.command == 'from-bag':
            return _from_bag(options)
        check_writable(options.sheet)
        masks = MaskOptions()
        if options.command == 'import':
            _import(options)
        else:
            masks = MaskOptions.read(options)
        return _check(options.folder, masks, options.sheet)
    except (ConfigurationError, DataError, RefusedError, OSError) as error:
        print(f'don_kp data {options.command}: {error}', file=sys.stderr)
        return 1


def _import(options: argparse.Namespace) -> None:
    from don_kp_ros.annotation.importing import write_folder
    from don_kp_ros.annotation.selection import Wanted, choose
    from don_kp_ros.annotation.sources import read_source

    name, pictures = read_source(options.source, options.pictures, options.format)
    wanted = Wanted.read(options.object, options.several, pictures)
    choice = choose(options.source, pictures, wanted)
    left_out = [*choice.left_out, *write_folder(options.folder, choice)]
    print(f'{options.source}: {name}, {len(pictures)} pictures')
    print('\n'.join(left_out), end='\n' * bool(left_out))


def _from_bag(options: argparse.Namespace) -> int:
    from don_kp_ros.recordings.from_bag import Request, folder_from_bag

    names = ('colour', 'depth', 'most', 'object', 'fixed', 'depth_unit')
    request = Request(**{name: getattr(options, name) for name in names})
    print('\n'.join(folder_from_bag(options.recording, options.folder, request)))
    print(f'Now make the masks: don_kp mask {options.folder}')
    return 0


def _check(folder: Path, masks: MaskOptions, sheet: Path) -> int:
    """Examine a folder, and the one held in it; return the exit status."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from don_kp_ros.annotation.checking import check

    console = Console(highlight=False, markup=False)
    held = folder / 'validation'
    roots = {folder: sheet, **({held: _beside(sheet)} if held.is_dir() else {})}
    refused: list[str] = []
    for root, drawn in roots.items():
        verdict = check(root, masks, drawn, lambda text: console.print(text, soft_wrap=True))
        if verdict.findings:
            table = Table('picture', 'object', 'what looks wrong', box=box.SIMPLE)
            for finding in verdict.findings:
                share = '' if finding.share is None else f'{finding.share:.1%}'
                table.add_row(finding.picture, share, finding.what)
            console.print(table)
        well = verdict.pictures - len(verdict.findings)
        console.print(
            f'{root}: {verdict.pictures} pictures, nothing is wrong with {well}', soft_wrap=True
        )
        refused += verdict.refused
    for text in refused:
        print(f'refused: {text}', file=sys.stderr)
    return 1 if refused else 0


def _beside(sheet: Path) -> Path:
    return sheet.with_name(f'{sheet.stem}-validation{sheet.suffix}')


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog='don_kp data', description=__doc__)
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    told = 'examine a folder as a training does, and more: exit status 1 where it is refused'
    check = commands.add_parser('check', help=told, description=told)
    check.add_argument('folder', metavar='FOLDER', type=Path)
    add_mask_arguments(check)
    told = "make a folder of other tools' annotations, and examine it"
    importing = commands.add_parser('import', help=told, description=told)
    importing.add_argument('source', metavar='SOURCE', type=Path, help='folder or file')
    importing.add_argument('folder', metavar='FOLDER', type=Path, help='that is made')
    importing.add_argument(
        '--object',
        metavar='[PICTURE=]NAME|ID',
        action='append',
        help='which one, where several are marked; of all pictures, or of one',
    )
    importing.add_argument(
        '--several',
        choices=('together', 'leave-out'),
        help='pictures that mark it several times: as one mask, or not at all',
    )
    importing.add_argument(
        '--pictures', metavar='FOLDER', type=Path, help='where pictures lie, if not in SOURCE'
    )
    importing.add_argument('--format', choices=FORMATS, help='where several lie in SOURCE')
    _add_from_bag(commands)
    for command in (check, importing):
        command.add_argument(
            '--sheet',
            type=Path,
            default=Path('output/masks.png'),
            help='masks drawn over pictures, %(default)s',
        )
    return parser


def _add_from_bag(commands: Any) -> None:
    told = (
        'make a folder of sharp, different pictures of a recording; they are posed views where it '
        'has depth and the transforms to a camera that moves'
    )
    from_bag = commands.add_parser('from-bag', help=told, description=told)
    from_bag.add_argument(
        'recording', metavar='FILE', type=Path, help='folder of rosbag2, or its .mcap or .db3 file'
    )
    from_bag.add_argument('folder', metavar='FOLDER', type=Path, help='that is made')
    from_bag.add_argument('--colour', metavar='TOPIC', default='', help='where there are several')
    from_bag.add_argument('--depth', metavar='TOPIC', default='', help='aligned to the pictures')
    from_bag.add_argument(
        '--most', type=_count, default=200, metavar='N', help='pictures, %(default)s'
    )
    from_bag.add_argument(
        '--object', default='object', metavar='NAME', help='that all views show, %(default)s'
    )
    from_bag.add_argument(
        '--fixed',
        default='',
        metavar='FRAME',
        help='that stands still with the object, the topmost of the transforms',
    )
    from_bag.add_argument(
        '--depth-unit', type=float, default=0.001, metavar='M', help='of a count, %(default)s'
    )


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError(f'{text!r}; it must be a whole number above 0')
    return int(text)
