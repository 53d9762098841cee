"""Examines a descriptor database and names its faults; changes no content, nor a damaged file."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import sqlalchemy as sa

from don_kp_ros.database import schema
from don_kp_ros.database.engine import Database
from don_kp_ros.database.errors import DamagedError, SchemaError, StoreError, UnknownNameError
from don_kp_ros.database.object_records import StoredObject
from don_kp_ros.database.opened import connect
from don_kp_ros.database.records import Filter, loaded
from don_kp_ros.database.rows import is_text
from don_kp_ros.database.sqlite import SqliteDatabase, open_file, open_to_read
from don_kp_ros.database.store import DescriptorStore
from don_kp_ros.database.text import printable

_LEAST_SPACE = 256 << 20  # bytes
_LARGE_WAL = 64 << 20  # bytes
_MOST_TOLD = 20
_SET_ASIDE = '`don_kp db doctor --set-aside` keeps the file and saves what can be read'


class State(IntEnum):
    """How bad a finding is."""

    WELL = 0
    NOTE = 1  # it works, but needs attention
    WRONG = 2  # it cannot be used as it is


@dataclass(frozen=True)
class Finding:
    """A check, its result, and the remedy if the result is bad."""

    what: str
    state: State
    told: str


def examine(database: Path | str | None = None) -> Iterator[Finding]:
    """Yield findings until one prevents further checks. Raises StoreError for a wrong URL."""
    with closing(connect(database)) as place:
        locked = False
        if isinstance(place, SqliteDatabase):
            for finding in _file(place.path):
                yield finding
                if finding.state is State.WRONG:
                    return
                locked |= finding.what == 'lock' and finding.state is State.NOTE
        yield (finding := _schema(place))
        if finding.state is State.WELL and not locked:
            yield _content(place, database)


def users(path: Path) -> list[str]:
    """Name the other processes that have a file open, as far as this user may know."""
    found = []
    for process in Path('/proc').glob('[0-9]*'):
        # Processes may end meanwhile, and those of other users cannot be read.
        with suppress(OSError):
            opened = {os.readlink(link) for link in (process / 'fd').iterdir()}
            if str(path.resolve()) in opened and process.name != str(os.getpid()):
                name = (process / 'comm').read_text().strip()
                found.append(f'{printable(name)} (process {process.name})')
    return found


def _finding(what: str, wrong: str, well: str, state: State = State.NOTE) -> Finding:
    """Tell what is wrong, if anything is."""
    return Finding(what, state, wrong) if wrong else Finding(what, State.WELL, well)


def _file(path: Path) -> Iterator[Finding]:
    if not path.is_file():
        yield Finding('file', State.WRONG, f'{path} is missing; the first store makes it')
        return
    size = path.stat().st_size
    unwritable = [str(each) for each in (path, path.parent) if not os.access(each, os.W_OK)]
    wrong = ' and '.join(unwritable)
    wrong = wrong and f'{wrong} cannot be written; make writable: chmod u+w, or chown'
    yield _finding('file', wrong, f'{path}, {_size(size)}, writable', State.WRONG)
    free = shutil.disk_usage(path.parent).free
    wrong = f'{_size(free)} are left beside {_size(size)}; free some before it is full'
    enough = free >= max(_LEAST_SPACE, size)
    yield _finding('space', '' if enough else wrong, f'{_size(free)} are left')
    wal = path.with_name(f'{path.name}-wal')
    waiting = wal.stat().st_size if wal.exists() else 0
    well = f'{_size(waiting)} wait in {wal.name}'
    wrong = f'{well}; end what reads the file for long' if waiting > _LARGE_WAL else ''
    yield _finding('journal', wrong, well)
    integrity = _integrity(path)
    if integrity.state is State.WELL:  # to try the lock, the file is opened to be written
        using = f'open in {", ".join(users(path)) or "no other process that can be seen"}'
        wrong = f'locked for writing; {using}: one writes, perhaps an import; wait for its end'
        yield _finding('lock', wrong if _is_locked(path) else '', f'not locked; {using}')
    yield integrity


def _is_locked(path: Path) -> bool:
    try:
        with closing(open_file(path)) as connection:
            connection.execute('BEGIN IMMEDIATE')
            connection.execute('ROLLBACK')
    except sqlite3.DatabaseError as error:
        return 'locked' in str(error)
    return False


def _integrity(path: Path) -> Finding:
    try:
        with closing(open_to_read(path)) as connection:
            query = f'PRAGMA integrity_check({_MOST_TOLD})'
            verdicts = [str(row[0]) for row in connection.execute(query)]
            orphans = connection.execute('PRAGMA foreign_key_check').fetchmany(_MOST_TOLD)
    except sqlite3.DatabaseError as error:
        verdicts, orphans = [str(error)], []
    wrong = ''
    if verdicts != ['ok']:
        wrong = f'{path} is damaged: {"; ".join(map(printable, verdicts))}; {_SET_ASIDE}'
    elif orphans:
        loose = ', '.join(f'row {row[1]} of {row[0]} without its {row[2]}' for row in orphans)
        wrong = f'{path} has loose ends: {loose}; {_SET_ASIDE}'
    well = "SQLite's check and all references are well"
    return _finding('integrity', wrong, well, State.WRONG)


def _schema(place: Database) -> Finding:
    try:
        revision = place.revision()
    except SchemaError as error:
        return Finding('schema', State.WRONG, str(error))
    except StoreError as error:
        return Finding('connection', State.WRONG, str(error))
    wrong = ''
    if revision is None:
        wrong = f'{place.location} is empty; the first store fills it'
    elif revision != schema.REVISION:
        wrong = f'{revision}, older than {schema.REVISION}; `don_kp db migrate` keeps a copy of it'
    return _finding('schema', wrong, f'{revision}, the newest')


def _content(place: Database, database: Path | str | None) -> Finding:
    try:
        with DescriptorStore(database) as store:
            number, deleted = store.count(), store.count(Filter(deleted=True))
            objects, broken = store.objects.list()
            broken = [*store.damaged(), *store.damaged_cards(), *broken]
            damaged = list(map(str, broken))
            damaged += _damaged_meshes(store, objects)
        unreadable = _damaged_observations(place)
    except StoreError as error:
        return Finding('content', State.WRONG, str(error))
    told = damaged[:_MOST_TOLD]
    if len(damaged) > len(told):
        told.append(f'and {len(damaged) - len(told)} more')
    if unreadable:
        told.append(f'{unreadable} observations are damaged; store those descriptors anew')
    well = f'{number} descriptors, {deleted} deleted ones that can be restored'
    return _finding('content', '; '.join(told), f'{well}, and {len(objects)} objects')


def _damaged_meshes(store: DescriptorStore, objects: Sequence[StoredObject]) -> Iterator[str]:
    """Tell which objects' meshes cannot be read."""
    for one in objects:
        try:
            store.objects.with_mesh(one)
        except (DamagedError, UnknownNameError) as error:
            yield f'{printable(one.name)}: {error}'


def _damaged_observations(place: Database) -> int:
    """Count observations with values of the wrong length, or texts that cannot be read."""
    seen = schema.observations.c
    joined = schema.observations.join(schema.descriptors).join(schema.models)
    length = sa.func.length(sa.cast(seen['values'], sa.LargeBinary))
    kinds = length != 4 * schema.models.c.dimension, seen.author, seen.camera
    query = sa.select(*kinds, sa.func.count()).select_from(joined).group_by(*kinds)
    with place.transaction() as connection:
        found = connection.execute(query).all()
    return sum(
        number
        for wrong, author, camera, number in found
        if wrong or not is_text(author) or not _is_readable(camera)
    )


def _is_readable(camera: str | None) -> bool:
    try:
        if camera is not None:
            loaded(camera)
    except (TypeError, ValueError):
        return False
    return True


def _size(number: int) -> str:
    return f'{number / 1e6:.1f} MB'
