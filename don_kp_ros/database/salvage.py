"""Sets a damaged SQLite file aside and saves all readable content into a new one."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sqlite3
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.database import records, rows
from don_kp_ros.database.doctor import users
from don_kp_ros.database.errors import StoreError
from don_kp_ros.database.object_records import (
    StoredMesh,
    checked_mesh,
    mesh_columns,
    read_grasps,
    read_mesh,
)
from don_kp_ros.database.objects import read_object
from don_kp_ros.database.records import Observation, StoredDescriptor, now
from don_kp_ros.database.rows import Row
from don_kp_ros.database.store import DescriptorStore
from don_kp_ros.database.text import printable, shown
from don_kp_ros.errors import RefusedError

_MOST_PROBES = 20_000  # row numbers that are tried beyond the last that was read
_UNIT_TOLERANCE = 1e-3  # from unit length; damaged values are much further away
_TABLES = ('models', 'objects', 'descriptors', 'tags', 'observations', 'taught_objects', 'meshes')
_COVERED = ('TRUE', 'deleted IS NULL')  # conditions under which SQLite uses an index
_ALL_BUT_THE_NAME = 'all but the name'
_LOST = '\ufffd'  # stands for bytes that are no text
_REST = 'this one is what is left of it'
_Rows = dict[int, Row]


@dataclass(frozen=True)
class Salvage:
    """The result of setting a file aside."""

    aside: Path  # the file as it was
    saved: int  # descriptors in the new file, deleted ones too
    objects: int  # taught ones in the new file
    missing: tuple[str, ...]  # what is missing, as far as it is known


def set_aside(path: Path) -> Salvage:
    """Rename a file with its journal, and make a new one of what can be read.

    The old file keeps every byte. Raises StoreError if other processes have it open, or if a file
    cannot be renamed or written.
    """
    if using := users(path):
        raise StoreError(f'{path} is open in {", ".join(using)}; end that first')
    aside = path.with_name(f'{path.name}.damaged-{now():%Y%m%d-%H%M%S}')
    try:
        with tempfile.TemporaryDirectory(prefix=f'.{path.name}.', dir=path.parent) as folder:
            # From a copy: opening a file with a journal writes to both.
            copy, fresh = Path(folder) / 'copy.sqlite', Path(folder) / 'fresh.sqlite'
            for ending in ('', '-wal'):
                with suppress(FileNotFoundError):
                    shutil.copyfile(f'{path}{ending}', f'{copy}{ending}')
            saved, objects, missing = _salvage(copy, fresh)
            # Links, not renames: an existing file of that name stays.
            for ending in ('', '-wal', '-shm'):
                with suppress(FileNotFoundError):
                    os.link(f'{path}{ending}', f'{aside}{ending}')
                    os.unlink(f'{path}{ending}')
            os.link(fresh, path)
    except OSError as error:
        raise StoreError(
            f'{path} cannot be set aside ({error.strerror}); make its folder writable, and free '
            'as much space as it has twice'
        ) from error
    return Salvage(aside, saved, objects, tuple(missing))


def _salvage(damaged: Path, fresh: Path) -> tuple[int, int, list[str]]:
    """Copy what can be read; return how many descriptors and objects, and what is missing."""
    tables, missing = _read(damaged)
    of_descriptor: dict[str, dict[int, list[Row]]] = {}
    for name in 'tags', 'observations':
        of_descriptor[name] = defaultdict(list)
        for row in tables[name].values():
            of_descriptor[name][row['descriptor_id']].append(row)
    saved = 0
    with DescriptorStore(fresh) as store:
        for row in tables['models'].values():
            card: Mapping[str, Any] = {}
            with suppress(ValueError, TypeError):
                card = records.loaded(row.get('card', '{}'))
            if _LOST in str(row.get('fingerprint')):
                missing.append(f'the fingerprint of model {shown(row["fingerprint"])}; {_REST}')
            with suppress(RefusedError, TypeError, KeyError):  # it comes with its descriptors
                store.keep_model(row['fingerprint'], row['dimension'], card)
        # Live ones last: deleted ones may have the same name.
        for row in sorted(tables['descriptors'].values(), key=lambda row: not _deleted(row)):
            told = shown(str(row['name']))
            try:
                if 'model_id' not in row:
                    raise ValueError(_ALL_BUT_THE_NAME)
                model, name = tables['models'][row['model_id']], row['name']
                seen, lacks = _observations(row, of_descriptor['observations'][row['id']], model)
                thing: Any = tables['objects'].get(row.get('object_id', 0), {}).get('name')
                if not _is_whole(thing):
                    thing = records.object_of(name)
                    if 'object_id' in row:
                        lacks.append(f'its object; {shown(thing)} is guessed')
                labels = [tagged['tag'] for tagged in of_descriptor['tags'][row['id']]]
                lacks += [f'its tag {shown(str(one))}' for one in labels if not _is_whole(one)]
                if not _is_whole(name):
                    lacks.append(f'its name; {_REST}')
                if 'created' in row and not (_time(row['created']) and _time(row['updated'])):
                    lacks.append('its times; they are guessed')
                gone = _time(row.get('deleted'))
                if _deleted(row) and gone is None:
                    lacks.append('when it was deleted; now is put there')
                descriptor = StoredDescriptor(
                    name=name,
                    model=model['fingerprint'],
                    object=thing,
                    values=seen[0].values,
                    tags=tuple(filter(_is_whole, labels)),
                    observations=len(seen),
                    created=_time(row.get('created')) or seen[0].created,
                    updated=_time(row.get('updated')) or seen[-1].created,
                    deleted=None,
                )
                if store.has(name, descriptor.model):
                    raise ValueError('another one has that name')
                with store.transaction():
                    store.put_back(descriptor, seen)
                    if _deleted(row):
                        store.delete(name, descriptor.model, gone)
            except (RefusedError, ValueError, TypeError, KeyError) as error:
                missing.append(f'{told}: {printable(str(error))}')
                continue
            saved += 1
            missing += [f'{told}: {one}' for one in lacks]
        objects = _salvage_objects(store, tables, missing)
    return saved, objects, missing


def _salvage_objects(
    store: DescriptorStore, tables: Mapping[str, _Rows], missing: list[str]
) -> int:
    """Copy the objects that can be read; return their number, and name what is missing."""
    saved = 0
    for row in tables['taught_objects'].values():
        try:
            model = tables['models'][row['model_id']]
            if 'values' not in row:
                raise ValueError(_ALL_BUT_THE_NAME)
            dimension = model.get('dimension') or len(row['values']) // len(row['weights'])
            times = {name: _time(row[name]) or now() for name in ('created', 'updated')}
            whole = {**row, **times, 'model': model['fingerprint'], 'dimension': dimension}
            whole['grasps'] = _grasps(row, missing)
            mesh = _mesh(row, tables['meshes'], missing)
            taught = read_object({**whole, **mesh_columns(None)})
            store.objects.put_back(dataclasses.replace(taught, mesh=mesh))
            if not _is_whole(taught.name):
                missing.append(f'object {shown(taught.name)}: its name; {_REST}')
        except (RefusedError, ValueError, TypeError, KeyError, ZeroDivisionError) as error:
            missing.append(f'object {shown(str(row["name"]))}: {printable(str(error))}')
        else:
            saved += 1
    return saved


def _grasps(row: Row, missing: list[str]) -> str:
    """Return an object's grasps, none of older schemas; name those that are damaged."""
    text = row.get('grasps', '[]')
    try:
        read_grasps(text)
    except (ValueError, TypeError) as error:
        told = printable(str(error))
        missing.append(f'the grasps of object {shown(str(row["name"]))}: {told}')
        return '[]'
    if _LOST in text:
        missing.append(f'the grasps of object {shown(str(row["name"]))}: a part of their names')
    return str(text)


def _mesh(row: Row, stored: _Rows, missing: list[str]) -> StoredMesh | None:
    """Return an object's mesh with its data, none of older schemas; name one that is damaged."""
    try:
        mesh = read_mesh(row.get('mesh'), row.get('mesh_pose'))
        if mesh is None:
            return None
        data = [one['data'] for one in stored.values() if one['fingerprint'] == mesh.fingerprint]
        return checked_mesh(dataclasses.replace(mesh, data=bytes(data[0])))
    except (RefusedError, ValueError, TypeError, KeyError, IndexError):
        missing.append(f'the mesh of object {shown(str(row["name"]))}')
        return None


def _read(path: Path) -> tuple[dict[str, _Rows], list[str]]:
    """Read what can be read of every table; name what cannot."""
    tables: dict[str, _Rows] = {name: {} for name in _TABLES}
    missing: list[str] = []
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.row_factory = sqlite3.Row
            connection.text_factory = lambda raw: raw.decode('utf-8', 'replace')
            connection.execute('PRAGMA writable_schema = ON')  # reads past a broken schema
            query = "SELECT name FROM sqlite_master WHERE type = 'table'"
            known = {row['name'] for row in connection.execute(query)}
            for name in tables.keys() & known:
                tables[name], told = _table(connection, name)
                missing += told
    except sqlite3.DatabaseError as error:
        missing.append(
            f'all else, since the schema is damaged too ({printable(str(error))}); the program '
            'sqlite3 may read more, with .recover'
        )
    return tables, missing


def _table(connection: sqlite3.Connection, name: str) -> tuple[_Rows, list[str]]:
    """Read a table from its indexes and its rows, beyond damage one by one; name what may lack."""
    found: _Rows = {}

    def collect(query: str, *values: int) -> bool:
        """Add what a query yields before it meets damage; tell whether it met none."""
        with suppress(sqlite3.DatabaseError):  # also where an index does not cover the condition
            for row in connection.execute(query, values):
                found[row['id']] = {**found.get(row['id'], {}), **dict(row)}
            return True
        return False

    indexes_sound = False
    for index in connection.execute(f'PRAGMA index_list({name})').fetchall():
        held = connection.execute(f'PRAGMA index_info({index["name"]})')
        columns = ', '.join(['rowid AS id', *(column['name'] for column in held)])
        for condition in _COVERED:
            query = f'SELECT {columns} FROM {name} INDEXED BY {index["name"]} WHERE {condition}'
            indexes_sound |= collect(query)
    query = f'SELECT rowid AS id, * FROM {name} NOT INDEXED'
    if collect(query):
        return found, []
    number, last = 1, max(found, default=0)
    while number <= last + _MOST_PROBES:
        if collect(f'{query} WHERE rowid = ?', number) and number in found:
            last = max(last, number)
        number += 1
    if not indexes_sound:
        return found, [f'{name}: an unknown number of rows']
    if name == 'descriptors':
        return found, ['descriptors that were deleted, where their rows are damaged']
    return found, []


def _observations(row: Row, looks: list[Row], model: Row) -> tuple[list[Observation], list[str]]:
    """Return a descriptor's observations, and what is missing of it.

    If not all can be read, their stored mean replaces them if it can be read; otherwise the
    readable ones remain.
    """
    found, lacks = list[Observation](), list[str]()
    for look in looks:
        # Nothing in a damaged observation is trusted.
        with suppress(RefusedError, ValueError, TypeError, KeyError):
            dimension = len(_values(look, model))
            time = _time(look['created']) or now()
            whole = {**look, 'created': time}
            if _LOST in look['author']:
                whole['author'] = ''
            found.append(records.checked(rows.observation(whole, dimension)))
            if whole['author'] != look['author']:
                lacks.append('who made one of its observations')
    if found and len(found) == len(looks) == row.get('observations'):
        return found, lacks
    with suppress(ValueError, TypeError, KeyError):
        mean = Observation(_values(row, model), created=_time(row['updated']) or now())
        return [mean], ['its observations, but for their mean'] if looks else []
    if not found:
        raise ValueError(_ALL_BUT_THE_NAME)
    if len(found) == len(looks):
        guessed = 'times' if 'object_id' in row else 'object and times'
        return found, [*lacks, f'its row; {guessed} are guessed']
    return found, [*lacks, f'all but {len(found)} of its observations; its values may differ']


def _values(row: Row, model: Row) -> NDArray[np.float32]:
    blob = row['values']
    values = rows.vector(blob, model.get('dimension', len(blob) // 4))
    if not abs(np.linalg.norm(values.astype(np.float64)) - 1) < _UNIT_TOLERANCE:
        raise ValueError('its values are damaged')
    return values


def _is_whole(name: Any) -> bool:
    """Tell whether a name, object or tag is as it was stored."""
    return records.could_be_name(name) and _LOST not in name


def _deleted(row: Row) -> bool:
    return row.get('deleted') is not None


def _time(stored: Any) -> datetime | None:
    """Read a time of any schema; None if it is not a time."""
    with suppress(ValueError, TypeError, OverflowError, OSError):
        if isinstance(stored, str):
            time = datetime.fromisoformat(stored).replace(tzinfo=timezone.utc)
        else:
            time = datetime.fromtimestamp(stored, timezone.utc)
        return records.checked_time(time)
    return None
