"""`don_kp data`: examine a folder of pictures with masks, or make one of other tools' files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

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
    for command in (check, importing):
        command.add_argument(
            '--sheet',
            type=Path,
            default=Path('output/masks.png'),
            help='masks drawn over pictures, %(default)s',
        )
    return parser
