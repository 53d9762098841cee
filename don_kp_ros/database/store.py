"""The descriptor store that nodes and commands use, on SQLite or PostgreSQL."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import ArrayLike, NDArray

from don_kp_ros.database import records, rows, statements
from don_kp_ros.database.errors import (
    DamagedError,
    InvalidDescriptorError,
    NameTakenError,
    UnknownNameError,
)
from don_kp_ros.database.known_models import KnownModels
from don_kp_ros.database.objects import ObjectStore
from don_kp_ros.database.records import Filter, Observation, StoredDescriptor
from don_kp_ros.database.rows import is_text
from don_kp_ros.database.schema import descriptors, models, objects, observations
from don_kp_ros.database.schema import tags as tags_table
from don_kp_ros.database.text import shortened, shown
from don_kp_ros.errors import RefusedError

_ANEW = 'store it anew with replace: true'


class DescriptorStore(KnownModels):
    """Descriptors by name and model. Thread-safe; many processes and robots may share it.

    A write is durable when the call returns. Every method raises StoreError if the database fails,
    and a RefusedError if the request is wrong. In both cases nothing has changed.
    """

    @cached_property
    def objects(self) -> ObjectStore:
        """The taught objects of the same database."""
        return ObjectStore(self._database, self._service)

    def put(
        self,
        name: str,
        model: str,
        values: ArrayLike | Observation,
        replace: bool = False,
        add: bool = False,
        object: str | None = None,
        tags: Sequence[str] = (),
    ) -> StoredDescriptor:
        """Store an observation, or values (D,), under a name, unique per model.

        With `add`, it is one more observation of a stored name, or the first: the descriptor
        becomes the mean of all, and the tags are added. With `replace`, a stored name starts
        again. `object` is by default the name up to its last slash. Raises NameTakenError with
        neither, InvalidNameError, InvalidDescriptorError, InvalidObservationError.
        """
        records.check_name(name, 'name')
        records.check_name(model, 'model')
        if object is not None:
            records.check_name(object, 'object')
        if add and replace:
            raise RefusedError('add and replace were both given; choose one')
        labels = records.checked_tags(tags)
        seen = records.checked(values)
        existing = 'add' if add else 'replace' if replace else 'refuse'
        with self.transaction():
            self._write(name, model, [seen], object, labels, existing)
            return self.get(name, model)

    def put_back(self, descriptor: StoredDescriptor, seen: Sequence[Observation]) -> None:
        """Store a descriptor as it was, times included, in place of what its name holds now.

        `seen` are its observations, oldest first; its values are their mean. Raises as `put` does.
        """
        checked = [records.checked(observation) for observation in seen]
        put = records.checked_descriptor(dataclasses.replace(descriptor, observations=len(seen)))
        times = {'created': put.created, 'updated': put.updated}
        self._write(put.name, put.model, checked, put.object, put.tags, 'replace', times)

    def has(self, name: str, model: str) -> bool:
        """Tell whether a name is stored for a model, damaged or not."""
        with self._database.transaction() as connection:
            return statements.find(connection, name, model) is not None

    def get(self, name: str, model: str) -> StoredDescriptor:
        """Read a descriptor. Raises UnknownNameError, with the nearest names, or DamagedError."""
        with self._database.transaction() as connection:
            return self._record(self._identified(connection, name, model))

    def observations(self, name: str, model: str) -> list[Observation]:
        """Read a descriptor's observations, oldest first.

        Raises UnknownNameError, DamagedError.
        """
        with self._database.transaction() as connection:
            known = self._identified(connection, name, model)
            query = sa.select(observations).order_by(observations.c.id)
            found = connection.execute(query.where(observations.c.descriptor_id == known.id)).all()
        told = f'an observation of {shown(name)} of model {shown(model)}'
        with self._database.damage_named(told, _ANEW):
            return [rows.observation(row._mapping, known.dimension) for row in found]

    def list(
        self,
        wanted: Filter = records.ALL,
        after: tuple[str, str] | None = None,
        limit: int | None = None,
    ) -> list[StoredDescriptor]:
        """List descriptors as `page` does, but not damaged ones."""
        return list(self.page(wanted, after, limit)[0])

    def page(
        self,
        wanted: Filter = records.ALL,
        after: tuple[str, str] | None = None,
        limit: int | None = None,
    ) -> tuple[Sequence[StoredDescriptor], Sequence[DamagedError]]:
        """List descriptors in order of (name, model), and the damaged ones met on the way.

        A page is `limit` long; `after` is the (name, model) that the one before ended at.
        """
        query = statements.select(wanted, after)
        found: list[StoredDescriptor] = []
        damaged: list[DamagedError] = []
        read = 0
        with self._database.transaction() as connection:
            while True:
                missing = None if limit is None else limit - len(found)
                page = connection.execute(query.limit(missing).offset(read)).all()
                for row in page:
                    try:
                        found.append(self._record(row))
                    except DamagedError as error:
                        damaged.append(error)
                read += len(page)
                if missing is None or len(page) < missing or len(found) == limit:
                    return found, damaged

    def count(self, wanted: Filter = records.ALL) -> int:
        """Count what `list` would return, including damaged ones."""
        query = sa.select(sa.func.count()).select_from(descriptors)
        query = query.where(*statements.conditions(wanted))
        with self._database.transaction() as connection:
            return int(connection.execute(query).scalar_one())

    def damaged(self, wanted: Filter = records.ALL) -> Sequence[DamagedError]:
        """List the descriptors that `list` leaves out because they cannot be read."""
        damaged = []
        with self._database.transaction() as connection:
            # One by one, so that sound ones are not kept in memory.
            for row in connection.execute(statements.select(wanted)):
                try:
                    self._record(row)
                except DamagedError as error:
                    damaged.append(error)
        return damaged

    def matrix(self, model: str) -> tuple[Sequence[str], NDArray[np.float32]]:
        """Return the names of a model's descriptors, in order, and their values (N, D).

        Damaged ones are left out. A model that has none gives (0, 0).
        """
        query = sa.select(descriptors.c.name, descriptors.c['values'], models.c.dimension)
        query = query.select_from(descriptors.join(models)).order_by(descriptors.c.name)
        query = query.where(*statements.conditions(Filter(model=model)))
        with self._database.transaction() as connection:
            found = connection.execute(query).all()
        size = found[0].dimension if found else 0
        sound = [
            (name, blob) for name, blob, _ in found if len(blob) == 4 * size and is_text(name)
        ]
        joined = b''.join(blob for _, blob in sound)
        matrix = np.frombuffer(joined, '<f4').astype(np.float32).reshape(len(sound), size)
        finite = np.flatnonzero(np.isfinite(matrix).all(axis=1))
        return [sound[i][0] for i in finite], matrix[finite]

    def change(
        self,
        name: str,
        model: str,
        new_name: str | None = None,
        object: str | None = None,
        tags: Sequence[str] | None = None,
    ) -> StoredDescriptor:
        """Give a descriptor another name, object or tags; None: as it is.

        Its observations stay. Without `object`, one that was in the name is taken from the new
        name. Raises UnknownNameError, NameTakenError, InvalidNameError, DamagedError.
        """
        new_name = name if new_name is None else new_name
        records.check_name(new_name, 'new name')
        if object is not None:
            records.check_name(object, 'object')
        labels = None if tags is None else records.checked_tags(tags)
        with self._database.transaction(write=True) as connection:
            row = self._identified(connection, name, model)
            number = row.id
            if new_name != name:
                if statements.find(connection, new_name, model) is not None:
                    raise NameTakenError(
                        f'{shown(new_name)} is already stored for model {shortened(model)}; '
                        'choose another name, or delete that one first'
                    )
                number = statements.rename(connection, number, new_name)
            if object is None and row.object == records.object_of(name):
                object = records.object_of(new_name)
            if object is not None:
                thing = statements.object_id(connection, object)
                statements.update(connection, number, object_id=thing)
            if labels is not None:
                statements.forget(connection, tags_table, number)
                statements.add_tags(connection, number, labels)
            statements.update(connection, number, updated=records.now())
            self._database.changed(connection)
            return self.get(new_name, model)

    def delete(self, name: str, model: str, time: datetime | None = None) -> None:
        """Delete a descriptor, damaged or not; `restore` can bring it back.

        `time` tells when that was, by default now. Raises UnknownNameError, with the nearest
        names.
        """
        with self._database.transaction(write=True) as connection:
            number = self._identified(connection, name, model).id
            deleted = records.checked_time(time or records.now())
            statements.update(connection, number, deleted=deleted)
            self._database.changed(connection)

    def restore(self, name: str, model: str) -> StoredDescriptor:
        """Restore the descriptor that was last deleted under a name.

        Raises UnknownNameError, or NameTakenError if the name is in use again.
        """
        with self._database.transaction(write=True) as connection:
            if statements.find(connection, name, model) is not None:
                raise NameTakenError(
                    f'{shown(name)} is in use again for model {shortened(model)}; delete that one '
                    'first, then restore'
                )
            row = statements.find(connection, name, model, statements.last_deleted())
            if row is None:
                raise UnknownNameError(
                    f'nothing was deleted under {shown(name)} for model {shortened(model)}, or it '
                    'was pruned; list the deleted ones'
                )
            statements.update(connection, row.id, deleted=None)
            self._database.changed(connection)
            return self.get(name, model)

    def prunable(self, before: datetime) -> Sequence[str]:
        """Return the names of what `prune` would remove, damaged ones too."""
        gone = descriptors.c.deleted < records.checked_time(before)
        query = sa.select(descriptors.c.name).where(gone).order_by(descriptors.c.name)
        with self._database.transaction() as connection:
            return connection.scalars(query).all()

    def prune(self, before: datetime) -> int:
        """Remove permanently what was deleted before a time; return the number."""
        gone = descriptors.c.deleted < records.checked_time(before)
        with self._database.transaction(write=True) as connection:
            number = connection.execute(descriptors.delete().where(gone)).rowcount
            if number:
                used = sa.exists().where(descriptors.c.object_id == objects.c.id)
                connection.execute(objects.delete().where(~used))
                self._database.changed(connection)
            return int(number)

    def _write(
        self,
        name: str,
        model: str,
        seen: Sequence[Observation],
        object: str | None,
        labels: Sequence[str],
        existing: str,
        times: Mapping[str, datetime] | None = None,
    ) -> None:
        """Write observations under a name: `existing` ones refuse, or are replaced or added to."""
        with self._database.transaction(write=True) as connection:
            for size in {len(each.values) for each in seen}:
                model_id = statements.model_id(connection, model, size)
            former = statements.find(connection, name, model)
            if former is not None and existing == 'refuse':
                raise NameTakenError(
                    f'{shown(name)} is already stored for model {shortened(model)}; call again '
                    'with replace: true to overwrite it, with add: true to add an observation, '
                    'or choose another name'
                )
            added_to = former if existing == 'add' else None
            before = [] if added_to is None else self._observed(connection, added_to)
            known = () if added_to is None else rows.tags(added_to.tags)
            records.checked_tags([*known, *labels])
            mean = records.unit_mean(np.stack([*before, *(each.values for each in seen)]))
            content: dict[str, Any] = {'updated': records.now(), **(times or {})}
            content['values'] = rows.blob(mean)
            content['observations'] = len(before) + len(seen)
            if object is not None or added_to is None:
                thing = object or records.object_of(name)
                content['object_id'] = statements.object_id(connection, thing)
            if former is None:
                content = {'created': content['updated'], 'model_id': model_id, **content}
                number = statements.insert(connection, descriptors, name=name, **content)
            else:
                number = former.id
                statements.update(connection, number, **content)
                if added_to is None:
                    for table in observations, tags_table:
                        statements.forget(connection, table, number)
            for each in seen:
                row = rows.from_observation(each)
                connection.execute(observations.insert().values(**row, descriptor_id=number))
            statements.add_tags(connection, number, [tag for tag in labels if tag not in known])
            self._database.changed(connection)

    def _observed(self, connection: sa.Connection, stored: sa.Row) -> Sequence[Any]:
        """Read the values (D,) of all observations of a descriptor that takes one more."""
        query = sa.select(observations.c['values']).order_by(observations.c.id)
        blobs = connection.scalars(query.where(observations.c.descriptor_id == stored.id)).all()
        if len(blobs) >= records.MOST_OBSERVATIONS:
            raise InvalidDescriptorError(
                f'{shown(stored.name)} has {len(blobs)} observations; allowed are '
                f'{records.MOST_OBSERVATIONS}: replace them'
            )
        with self._database.damage_named(f'an observation of {shown(stored.name)}', _ANEW):
            return [rows.vector(blob, stored.dimension) for blob in blobs]

    def _identified(self, connection: sa.Connection, name: str, model: str) -> sa.Row:
        row = statements.find(connection, name, model)
        if row is None:
            raise statements.unknown(connection, name, model, self._service)
        return row

    def _record(self, row: sa.Row) -> StoredDescriptor:
        told = f'{shown(row.name)} of model {shown(row.model)}'
        remedy = f'delete it with {self._service("delete_descriptor")}, then store it again'
        with self._database.damage_named(told, remedy):
            return rows.descriptor(row._mapping)
