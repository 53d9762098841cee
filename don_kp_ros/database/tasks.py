"""What the commands of `don_kp db` do."""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from rich.console import Console
from rich.text import Text

from don_kp_ros.database import display, exchange, schema
from don_kp_ros.database.display import utc
from don_kp_ros.database.doctor import State, examine
from don_kp_ros.database.errors import StoreError
from don_kp_ros.database.exchange_file import read
from don_kp_ros.database.location import (
    SQLITE,
    URL_VARIABLE,
    check_folder,
    database_url,
    default_path,
)
from don_kp_ros.database.opened import connect
from don_kp_ros.database.records import Filter, now
from don_kp_ros.database.salvage import set_aside
from don_kp_ros.database.sqlite import SqliteDatabase
from don_kp_ros.database.store import DescriptorStore
from don_kp_ros.database.text import shown
from don_kp_ros.errors import RefusedError

_STATES = {
    State.WELL: Text('well', 'green'),
    State.NOTE: Text('note', 'yellow'),
    State.WRONG: Text('wrong', 'red'),
}


def run(arguments: argparse.Namespace) -> int:
    """Run a command, with the arguments that `don_kp db` takes; return the exit status."""
    try:
        return _TASKS[arguments.command](arguments, _console())
    except (RefusedError, StoreError, OSError) as error:
        print(f'don_kp db {arguments.command}: {error}', file=sys.stderr)
        return 2 if arguments.command == 'doctor' else 1


def _list(arguments: argparse.Namespace, console: Console) -> int:
    if arguments.limit < 0:
        raise RefusedError(f'--limit is {arguments.limit}; give 0 for all, or more')
    with _opened(arguments) as store:
        wanted = _filter(arguments, store)
        with store.snapshot():
            found = store.list(wanted, limit=arguments.limit or None)
            number = store.count(wanted)
            damaged = store.damaged(wanted) if len(found) < number else ()
        if arguments.json:
            for stored in found:
                print(json.dumps(display.plain(stored), ensure_ascii=False))
        else:
            console.print(display.table(found, arguments.deleted))
            if len(found) + len(damaged) < number:
                _say(console, f'{len(found)} of {number}; a prefix or --limit 0 shows others')
            else:
                _say(console, f'{len(found)} descriptors in {store.location}')
    for error in damaged:
        print(f'don_kp db list: left out: {error}', file=sys.stderr)
    return 1 if damaged else 0


def _objects(arguments: argparse.Namespace, console: Console) -> int:
    with _opened(arguments) as store:
        wanted = Filter(model=_fingerprint(store, arguments.model))
        found, damaged = store.objects.list(wanted)
        if arguments.json:
            for one in found:
                print(json.dumps(display.plain(one), ensure_ascii=False))
        else:
            console.print(display.object_table(found))
            _say(console, f'{len(found)} objects in {store.location}')
    for error in damaged:
        print(f'don_kp db objects: left out: {error}', file=sys.stderr)
    return 1 if damaged else 0


def _show(arguments: argparse.Namespace, console: Console) -> int:
    with _opened(arguments) as store, store.snapshot():
        model = _fingerprint(store, arguments.model)
        if model is None:
            model = _only_model(store, arguments.name)
        stored = store.get(arguments.name, model)
        seen = store.observations(arguments.name, model)
    if arguments.patch:
        patches = [each.patch for each in seen if each.patch is not None]
        if not patches:
            raise RefusedError(f'{shown(stored.name)} has no patch; it was stored without image')
        arguments.patch.write_bytes(patches[-1])
    if arguments.json:
        values = [float(value) for value in stored.values]
        observed = list(map(display.plain, seen))
        told = {**display.plain(stored), 'values': values, 'observations': observed}
        print(json.dumps(told, ensure_ascii=False))
        return 0
    for part in display.description(stored, seen):
        console.print(part, soft_wrap=isinstance(part, Text))
    if arguments.patch:
        _say(console, f'picture: {arguments.patch}')
    return 0


def _export(arguments: argparse.Namespace, console: Console) -> int:
    with _opened(arguments) as store:
        written = exchange.export(store, arguments.file, _filter(arguments, store))
    for told in written.left_out:
        print(f'don_kp db export: left out: {told}', file=sys.stderr)
    told = (
        f'{written.descriptors} descriptors of {written.models} models, {written.objects} objects'
    )
    _say(console, f'{told}: {arguments.file}')
    return 1 if written.left_out else 0


def _import(arguments: argparse.Namespace, console: Console) -> int:
    check_folder(_database(arguments, missing=True))
    next(read(arguments.file), None)  # a wrong file makes no empty database
    with _opened(arguments, create=True) as store:
        try:
            done = exchange.load(store, arguments.file, arguments.existing)
        except exchange.ConflictError as error:
            raise RefusedError(f'{error} (--replace, or --keep)') from error
    _say(
        console,
        f'{done.added} added, {done.replaced} replaced, {done.kept} kept as they were, '
        f'{done.unchanged} unchanged, in {store.location}',
    )
    return 0


def _prune(arguments: argparse.Namespace, console: Console) -> int:
    before = now() - arguments.older_than
    with _opened(arguments) as store:
        names = store.prunable(before)
        if not names:
            _say(console, f'nothing was deleted before {utc(before)}')
            return 0
        listed = ', '.join(map(shown, names[:10])) + (', ...' if len(names) > 10 else '')
        _say(console, f'{len(names)} deleted before {utc(before)} would go for good: {listed}')
        if not arguments.yes and not _agreed():
            raise RefusedError('nothing was removed; answer y, or give --yes')
        _say(console, f'{store.prune(before)} removed from {store.location}')
    return 0


def _agreed() -> bool:
    try:
        return input('remove them? [y/N] ').strip().lower() in ('y', 'yes')
    except EOFError:
        return False


def _migrate(arguments: argparse.Namespace, console: Console) -> int:
    # Only here: Alembic is slow to import.
    from don_kp_ros.database import migrations

    database = _database(arguments)
    with closing(connect(database)) as place:
        revision = place.revision()
    if revision == schema.REVISION:
        _say(console, f'{place.location} has the newest schema, {revision}')
        return 0
    _say(console, f'{place.location} has the schema {revision or "of nothing yet"}; to do:')
    for step, told in migrations.steps(revision):
        _say(console, f'  {step}  {told}')
    if arguments.dry_run:
        return 0
    if isinstance(place, SqliteDatabase) and revision is not None:
        _say(console, f'copy of what was: {_copied(place.path, revision)}')
    DescriptorStore(database).close()
    _say(console, f'{place.location} now has the schema {schema.REVISION}')
    return 0


def _copied(path: Path, revision: str) -> Path:
    copy = path.with_name(f'{path.name}.{revision}-{now():%Y%m%d-%H%M%S}')
    if copy.exists():
        raise RefusedError(f'{copy} exists; move it away, then try again')
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
    except sqlite3.Error as error:
        copy.unlink(missing_ok=True)
        raise RefusedError(
            f'{copy} cannot be written ({error}); make the folder writable and free some space; '
            'nothing was migrated'
        ) from error
    return copy


def _doctor(arguments: argparse.Namespace, console: Console) -> int:
    database = _database(arguments, missing=True)
    table = display.grid('', 'looked at', 'found')
    worst, damaged = State.WELL, False
    for finding in examine(database):
        table.add_row(_STATES[finding.state], finding.what, Text(finding.told))
        worst = max(worst, finding.state)
        damaged |= finding.what == 'integrity' and finding.state is State.WRONG
    console.print(table)
    if not arguments.set_aside:
        return int(worst)
    if not damaged:
        raise RefusedError('only a damaged file is set aside; nothing was done')
    done = set_aside(Path(str(database_url(database).database)))
    _say(console, f'the damaged file is now {done.aside}')
    _say(console, f'{done.saved} descriptors were saved into a new one, {done.objects} objects')
    for missing in done.missing:
        _say(console, f'missing: {missing}')
    return int(State.NOTE if done.missing else State.WELL)


def _database(arguments: argparse.Namespace, missing: bool = False) -> Path | str:
    """Return the chosen database; raises RefusedError for a missing file."""
    given = getattr(arguments, 'database', None) or getattr(arguments, 'url', None)
    given = given or os.environ.get(URL_VARIABLE) or default_path()
    url = database_url(given)
    if url.drivername == SQLITE and not missing and not Path(str(url.database)).is_file():
        raise RefusedError(
            f'there is no database {url.database} yet; the database node makes it, or '
            'choose another one with --database or --url'
        )
    return given


def _opened(arguments: argparse.Namespace, create: bool = False) -> DescriptorStore:
    return DescriptorStore(_database(arguments, missing=create))


def _filter(arguments: argparse.Namespace, store: DescriptorStore) -> Filter:
    model = _fingerprint(store, arguments.model)
    return Filter(arguments.prefix, model, arguments.object, arguments.tag, arguments.deleted)


def _fingerprint(store: DescriptorStore, beginning: str | None) -> str | None:
    if beginning is None:
        return None
    known = [model.fingerprint for model in store.models()]
    found = [model for model in known if model.startswith(beginning)]
    if beginning in found:
        return beginning
    if len(found) == 1:
        return found[0]
    listed = ', '.join(map(shown, found or known)) or 'none'
    raise RefusedError(
        f'--model {shown(beginning)} is the beginning of {len(found)} fingerprints; stored are: '
        f'{listed}'
    )


def _only_model(store: DescriptorStore, name: str) -> str:
    """Return the model that a name is stored for, or else was deleted for, or else any."""
    known = [model.fingerprint for model in store.models()]
    found = [model for model in known if store.has(name, model)]
    if len(found) > 1:
        listed = ', '.join(map(shown, found))
        raise RefusedError(f'{shown(name)} is stored for {len(found)} models; --model: {listed}')
    if not known:
        raise RefusedError(f'nothing is stored in {store.location} yet')
    deleted = store.list(Filter(prefix=name, deleted=True))
    found = found or [one.model for one in deleted if one.name == name]
    return (found or known)[0]


def _say(console: Console, text: str) -> None:
    console.print(Text(text), soft_wrap=True)


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=160)


_TASKS = {
    'list': _list,
    'objects': _objects,
    'show': _show,
    'export': _export,
    'import': _import,
    'prune': _prune,
    'migrate': _migrate,
    'doctor': _doctor,
}
