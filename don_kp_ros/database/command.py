"""`don_kp db`: look at, move, migrate and examine a descriptor database."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from don_kp_ros.arguments import Parser
from don_kp_ros.database.location import URL_VARIABLE, default_path

_UNITS = {'m': 'minutes', 'h': 'hours', 'd': 'days', 'w': 'weeks'}
_OLDEST = timedelta(days=18_000)  # not before 1970


def main(argv: Sequence[str]) -> int:
    """Run `don_kp db`; return the exit status."""
    arguments = _parser().parse_args(list(argv))
    # Only now: SQLAlchemy is slow to import.
    from don_kp_ros.database import tasks

    return tasks.run(arguments)


def _parser() -> Parser:
    # Before or after the command's name: a default in both places would undo the first.
    place = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    either = place.add_mutually_exclusive_group()
    either.add_argument(
        '--database', metavar='FILE', help=f'SQLite file (default: {default_path()})'
    )
    either.add_argument(
        '--url',
        help='PostgreSQL database, such as postgresql+psycopg://user@host/name; by default '
        f'{URL_VARIABLE}, if it is set. Others see a password here: let it lie in ~/.pgpass',
    )
    common: dict[str, Any] = {'parents': [place]}
    told = 'Look at, move, migrate and examine stored descriptors.'
    parser = Parser('don_kp db', description=told, **common)
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')

    def command(name: str, told: str) -> Parser:
        added = commands.add_parser(name, help=told, description=told, **common)
        added.set_defaults(prefix='', deleted=False)
        return added

    listing = command('list', 'list descriptors')
    export = command('export', 'write descriptors and objects to a file that imports anywhere')
    for filtered in listing, export:
        filtered.add_argument('--model', help='of this model (the beginning of its fingerprint)')
        filtered.add_argument('--object', help='only on this object')
        filtered.add_argument('--tag', help='only with this tag')
    listing.add_argument('prefix', nargs='?', default='', help='only names that begin with it')
    listing.add_argument('--deleted', action='store_true', help='those that can be restored')
    listing.add_argument('--limit', type=int, default=100, help='rows (100); 0: all')
    listing.add_argument('--json', action='store_true', help='as JSON, one line each')
    export.add_argument('file', type=Path)

    objects = command('objects', 'list taught objects')
    objects.add_argument('--model', help='of this model (the beginning of its fingerprint)')
    objects.add_argument('--json', action='store_true', help='as JSON, one line each')

    show = command('show', 'tell all that is known of a descriptor')
    show.add_argument('name')
    show.add_argument('--model', help='the beginning of its fingerprint, if several have the name')
    show.add_argument('--patch', type=Path, metavar='FILE.png', help='write the newest patch')
    show.add_argument('--json', action='store_true')

    load = command('import', 'read a file of export; all of it, or nothing')
    load.add_argument('file', type=Path)
    existing = load.add_mutually_exclusive_group()
    for choice, told in ('replace', 'overwrite'), ('keep', 'leave as they are'):
        existing.add_argument(
            f'--{choice}',
            dest='existing',
            action='store_const',
            const=choice,
            default='refuse',
            help=f'{told} names that have other content',
        )

    prune = command('prune', 'remove for good what was deleted long ago')
    prune.add_argument(
        '--older-than', required=True, type=_age, metavar='30d', help='m, h, d or w'
    )
    prune.add_argument('--yes', action='store_true', help='do not ask')

    migrate = command('migrate', 'bring the schema to that of this don_kp')
    migrate.add_argument('--dry-run', action='store_true', help='tell what would be done')

    doctor = command('doctor', 'examine the database; 0: well, 1: heed it, 2: wrong')
    told = 'rename a damaged file, and save what can be read into a new one'
    doctor.add_argument('--set-aside', action='store_true', help=told)
    return parser


def _age(text: str) -> timedelta:
    match = re.fullmatch(r'(\d{1,5})([mhdw])', text)
    if match is None:
        raise argparse.ArgumentTypeError(f'{text!r}; write 30d, 12h or 4w')
    age = timedelta(**{_UNITS[match[2]]: int(match[1])})
    if age > _OLDEST:
        raise argparse.ArgumentTypeError(f'{text!r}; nothing is older than {_OLDEST.days}d')
    return age
