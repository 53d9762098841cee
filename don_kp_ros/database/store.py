"""The descriptor store: what nodes and commands call, on SQLite or PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import ArrayLike, NDArray

from don_kp_ros.database import records, statements
from don_kp_ros.database.connection import connect
from don_kp_ros.database.records import (
    DamagedError,
    InvalidDescriptorError,
    NameTakenError,
    Observation,
    RefusedError,
    StoredDescriptor,
    StoredModel,
    UnknownNameError,
    shortened,
    shown,
)
from don_kp_ros.database.schema import (
    descriptors,
    models,
    objects,
    observations,
    revision,
    tags,
)


class DescriptorStore:
    """Descriptors by name and model. Thread-safe; many processes and robots may share it.

    A write is durable when the call returns. Every method raises StoreError where the database
    fails, and a RefusedError where the request is wrong; then nothing has changed.
    """

    def __init__(self, database: Path | str | None = None) -> None:
        """Open a database by path or URL, by default `default_path()`; create it where missing.

        An older schema is migrated. Raises DamagedFileError, SchemaError (a newer one, or of
        something else), UnavailableError (the server does not answer) or another StoreError; then
        the database is left as it is.
        """
        self._database = connect(database)
        self.location = self._database.location  # for messages; without a password
        try:
            self._database.prepare()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> DescriptorStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write all that this thread does within, or nothing of it where an error leaves it.

        Others wait with their writing meanwhile: keep it short.
        """
        with self._database.transaction(write=True):
            yield

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read one state in all that this thread reads within, whatever others write."""
        with self._database.transaction(snapshot=True):
            yield

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

        With `add`, one more of a stored name, or the first: the descriptor becomes the mean of
        all, and its tags those of before and these. With `replace`, a stored name is begun anew.
        `object` is by default the name up to its last slash. Raises NameTakenError with neither,
        InvalidNameError, InvalidDescriptorError, InvalidObservationError.
        """
        records.check_name(name, 'name')
        records.check_name(model, 'model')
        if object is not None:
            records.check_name(object, 'object')
        if add and replace:
            raise RefusedError('add and replace were both given; choose one')
        labels = records.checked_tags(tags)
        seen = records.checked(values)
        with self._database.transaction(write=True) as connection:
            stored = statements.find(connection, name, model, statements.LIVE)
            if stored is not None:
                statements.model_id(connection, model, len(seen.values))
            if stored is not None and add:
                self._add(connection, stored, seen, object, labels)
            elif stored is None or replace:
                self._begin(connection, stored, name, model, seen, object, labels)
            else:
                raise NameTakenError(
                    f'{shown(name)} is already stored for model {shortened(model)}; call again '
                    'with replace: true to overwrite it, with add: true to add an observation, '
                    'or choose another name'
                )
            self._database.changed(connection)
            return self._found(connection, name, model)

    def put_back(self, descriptor: StoredDescriptor, seen: Sequence[Observation]) -> None:
        """Store a descriptor as it was, times included, in place of what its name has now.

        `seen` are its observations, oldest first; its values are their mean. Raises as `put` does.
        """
        name, model = descriptor.name, descriptor.model
        for text, what in (name, 'name'), (model, 'model'), (descriptor.object, 'object'):
            records.check_name(text, what)
        labels = records.checked_tags(descriptor.tags)
        checked = [records.checked(observation) for observation in seen]
        if not 1 <= len(checked) <= records.MOST_OBSERVATIONS:
            raise InvalidDescriptorError(
                f'{shown(name)} has {len(checked)} observations; allowed are 1 to '
                f'{records.MOST_OBSERVATIONS}'
            )
        sizes = {len(each.values) for each in checked} | {len(descriptor.values)}
        if len(sizes) > 1:
            raise InvalidDescriptorError(
                f'{shown(name)} has observations of {" and ".join(map(str, sorted(sizes)))} '
                'values; all must have as many'
            )
        content = {
            'values': statements.blob(
                records.unit_mean(np.stack([each.values for each in checked]))
            ),
            'observations': len(checked),
            'created': records.checked_time(descriptor.created),
            'updated': records.checked_time(descriptor.updated),
        }
        with self._database.transaction(write=True) as connection:
            statements.model_id(connection, model, len(descriptor.values))
            former = statements.find(connection, name, model, statements.LIVE)
            number = self._begin(
                connection, former, name, model, checked[0], descriptor.object, labels
            )
            for observation in checked[1:]:
                statements.observe(connection, number, observation, [])
            same = descriptors.c.id == number
            connection.execute(descriptors.update().where(same).values(content))
            self._database.changed(connection)

    def has(self, name: str, model: str) -> bool:
        """Tell whether a name is stored for a model, damaged or not."""
        with self._database.transaction() as connection:
            return statements.find(connection, name, model, statements.LIVE) is not None

    def get(self, name: str, model: str) -> StoredDescriptor:
        """Read a descriptor. Raises UnknownNameError, with the nearest names, or DamagedError."""
        with self._database.transaction() as connection:
            return self._found(connection, name, model)

    def observations(self, name: str, model: str) -> list[Observation]:
        """Read a descriptor's observations in the order of their coming.

        Raises UnknownNameError, DamagedError.
        """
        with self._database.transaction() as connection:
            number = self._identified(connection, name, model).id
            query = sa.select(observations, statements.OBSERVED, models.c.dimension)
            query = query.select_from(observations.join(descriptors).join(models))
            query = query.where(observations.c.descriptor_id == number)
            rows = connection.execute(query.order_by(observations.c.id)).all()
        return [self._observation(name, model, row) for row in rows]

    def list(
        self,
        prefix: str = '',
        model: str | None = None,
        object: str | None = None,
        tag: str | None = None,
        deleted: bool = False,
        after: tuple[str, str] | None = None,
        limit: int | None = None,
    ) -> list[StoredDescriptor]:
        """List descriptors as `page` does, but not damaged ones."""
        return list(self.page(prefix, model, object, tag, deleted, after, limit)[0])

    def page(
        self,
        prefix: str = '',
        model: str | None = None,
        object: str | None = None,
        tag: str | None = None,
        deleted: bool = False,
        after: tuple[str, str] | None = None,
        limit: int | None = None,
    ) -> tuple[Sequence[StoredDescriptor], Sequence[DamagedError]]:
        """List descriptors in order of (name, model), and the damaged ones met on the way.

        None means any model, object, tag. With `deleted`, those that `restore` can bring back
        instead. A page is `limit` long; `after` is the (name, model) that the one before ended at.
        """
        wanted = statements.Filter(prefix, model, object, tag, deleted)
        if wanted.impossible():
            return [], []
        query = statements.select(wanted)
        if after is not None:
            # Both engines walk the index of names from here; a row value would keep them from it.
            name, fingerprint = after
            query = query.where(descriptors.c.name >= name).where(
                (descriptors.c.name > name) | (models.c.fingerprint > fingerprint)
            )
        found: list[StoredDescriptor] = []
        damaged: list[DamagedError] = []
        read = 0
        with self._database.transaction() as connection:
            while True:
                missing = None if limit is None else limit - len(found)
                rows = connection.execute(query.limit(missing).offset(read)).all()
                for record in map(self._record, rows):
                    if isinstance(record, DamagedError):
                        damaged.append(record)
                    else:
                        found.append(record)
                read += len(rows)
                if missing is None or len(rows) < missing or len(found) == limit:
                    return found, damaged

    def count(
        self,
        prefix: str = '',
        model: str | None = None,
        object: str | None = None,
        tag: str | None = None,
        deleted: bool = False,
    ) -> int:
        """Count what `list` would give, with damaged ones."""
        wanted = statements.Filter(prefix, model, object, tag, deleted)
        if wanted.impossible():
            return 0
        query = sa.select(sa.func.count()).select_from(descriptors).where(*wanted.conditions())
        with self._database.transaction() as connection:
            return int(connection.execute(query).scalar_one())

    def damaged(
        self,
        prefix: str = '',
        model: str | None = None,
        object: str | None = None,
        tag: str | None = None,
        deleted: bool = False,
    ) -> Sequence[DamagedError]:
        """List what `list` leaves out, because it cannot be read."""
        wanted = statements.Filter(prefix, model, object, tag, deleted)
        if wanted.impossible():
            return []
        with self._database.transaction() as connection:
            # One by one: sound ones are not kept.
            found = map(self._record, connection.execute(statements.select(wanted)))
            return [record for record in found if isinstance(record, DamagedError)]

    def matrix(self, model: str) -> tuple[Sequence[str], NDArray[np.float32]]:
        """Return the names of a model's descriptors, in order, and their values (N, D).

        Damaged ones are left out. An unknown model has none: (0, 0).
        """
        wanted = statements.Filter('', model, None, None, False)
        if wanted.impossible():
            return [], np.empty((0, 0), np.float32)
        dimension = sa.select(models.c.dimension).where(models.c.fingerprint == model)
        query = sa.select(descriptors.c.name, statements.VALUES).where(*wanted.conditions())
        with self._database.transaction() as connection:
            size = connection.scalar(dimension) or 0
            rows = connection.execute(query.order_by(descriptors.c.name)).all()
        sound = [
            row for row in rows if len(row.values_) == 4 * size and statements.is_text(row.name)
        ]
        blob = b''.join(row.values_ for row in sound)
        matrix = np.frombuffer(blob, '<f4').astype(np.float32).reshape(len(sound), size)
        finite = np.flatnonzero(np.isfinite(matrix).all(axis=1))
        return [sound[i].name for i in finite], matrix[finite]

    def delete(self, name: str, model: str) -> None:
        """Delete a descriptor, damaged or not, such that `restore` brings it back.

        Raises UnknownNameError, with the nearest names.
        """
        with self._database.transaction(write=True) as connection:
            row = self._identified(connection, name, model)
            mark = descriptors.update().where(descriptors.c.id == row.id)
            connection.execute(mark.values(deleted=records.now()))
            self._database.changed(connection)

    def restore(self, name: str, model: str) -> StoredDescriptor:
        """Bring back the descriptor of a name that was deleted last.

        Raises UnknownNameError, or NameTakenError where the name is in use again.
        """
        with self._database.transaction(write=True) as connection:
            if statements.find(connection, name, model, statements.LIVE) is not None:
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
            mark = descriptors.update().where(descriptors.c.id == row.id)
            connection.execute(mark.values(deleted=None))
            self._database.changed(connection)
            return self._found(connection, name, model)

    def prune(self, before: datetime) -> int:
        """Remove for good what was deleted before a time; return how many that were."""
        gone = descriptors.c.deleted < records.checked_time(before)
        with self._database.transaction(write=True) as connection:
            number = connection.execute(descriptors.delete().where(gone)).rowcount
            if number:
                used = sa.exists().where(descriptors.c.object_id == objects.c.id)
                connection.execute(objects.delete().where(~used))
                self._database.changed(connection)
            return int(number)

    def models(self) -> Sequence[StoredModel]:
        """List the models that descriptors were stored for, in order of fingerprint."""
        number = (
            sa.select(sa.func.count())
            .where(descriptors.c.model_id == models.c.id, statements.LIVE)
            .scalar_subquery()
        )
        query = sa.select(models, number.label('number')).order_by(models.c.fingerprint)
        with self._database.transaction() as connection:
            rows = connection.execute(query).all()
        return [
            StoredModel(row.fingerprint, row.dimension, self._card(row), row.number)
            for row in rows
        ]

    def keep_model(self, fingerprint: str, dimension: int, card: Mapping[str, Any]) -> None:
        """Store what is known of a model, in place of what was.

        Raises InvalidNameError, InvalidDescriptorError where its descriptors have another
        dimension, InvalidObservationError for a card that cannot be kept.
        """
        records.check_name(fingerprint, 'model')
        if not 1 <= dimension <= records.LARGEST_DIMENSION:
            raise InvalidDescriptorError(
                f'the dimension is {dimension}; allowed are 1 to {records.LARGEST_DIMENSION}'
            )
        text = records.card_text(card)
        with self._database.transaction(write=True) as connection:
            model_id = statements.model_id(connection, fingerprint, dimension)
            changed = models.update().where(models.c.id == model_id, models.c.card != text)
            if connection.execute(changed.values(card=text)).rowcount:
                self._database.changed(connection)

    def revision(self) -> int:
        """Return a number that grows with every change, whoever made it."""
        with self._database.transaction() as connection:
            return int(connection.execute(sa.select(revision.c.number)).scalar_one())

    def listening(self) -> AbstractContextManager[Callable[[float], bool]]:
        """Listen to changes; `changes.watch` does it in a thread. See `Database.listening`."""
        return self._database.listening()

    def _add(
        self,
        connection: sa.Connection,
        stored: sa.Row,
        seen: Observation,
        object: str | None,
        labels: tuple[str, ...],
    ) -> None:
        """Add an observation to a stored descriptor."""
        query = sa.select(observations.c['values']).order_by(observations.c.id)
        blobs = connection.scalars(query.where(observations.c.descriptor_id == stored.id)).all()
        if len(blobs) >= records.MOST_OBSERVATIONS:
            raise InvalidDescriptorError(
                f'{shown(stored.name)} has {len(blobs)} observations; allowed are '
                f'{records.MOST_OBSERVATIONS}: replace them'
            )
        try:
            former = [statements.vector(blob, stored.dimension) for blob in blobs]
        except (TypeError, ValueError) as error:
            raise DamagedError(
                f'an observation of {shown(stored.name)} is damaged in {self.location} ({error}); '
                'store it anew with replace: true'
            ) from error
        mean = records.unit_mean(np.stack([*former, seen.values]))
        had = connection.scalars(sa.select(tags.c.tag).where(tags.c.descriptor_id == stored.id))
        known = set(had)
        records.checked_tags([*known, *labels])
        changes = {
            'values': statements.blob(mean),
            'observations': len(blobs) + 1,
            'updated': records.now(),
        }
        if object is not None:
            changes['object_id'] = statements.object_id(connection, object)
        same = descriptors.c.id == stored.id
        connection.execute(descriptors.update().where(same).values(changes))
        statements.observe(
            connection, stored.id, seen, [label for label in labels if label not in known]
        )

    def _begin(
        self,
        connection: sa.Connection,
        stored: sa.Row | None,
        name: str,
        model: str,
        seen: Observation,
        object: str | None,
        labels: tuple[str, ...],
    ) -> int:
        """Begin a descriptor, or begin a stored one anew; return its id."""
        content = {
            'object_id': statements.object_id(connection, object or records.object_of(name)),
            'values': statements.blob(seen.values),
            'observations': 1,
            'updated': records.now(),
        }
        if stored is None:
            model_id = statements.model_id(connection, model, len(seen.values))
            insert = descriptors.insert().values(
                **content, model_id=model_id, name=name, created=content['updated']
            )
            number = connection.execute(insert.returning(descriptors.c.id)).scalar_one()
        else:
            number = stored.id
            for table in observations, tags:
                connection.execute(table.delete().where(table.c.descriptor_id == number))
            same = descriptors.c.id == number
            connection.execute(descriptors.update().where(same).values(content))
        statements.observe(connection, number, seen, labels)
        return int(number)

    def _identified(self, connection: sa.Connection, name: str, model: str) -> sa.Row:
        row = statements.find(connection, name, model, statements.LIVE)
        if row is None:
            raise statements.unknown(connection, name, model)
        return row

    def _found(self, connection: sa.Connection, name: str, model: str) -> StoredDescriptor:
        row = None
        if statements.is_text(name) and statements.is_text(model):
            query = statements.select(statements.Filter('', model, None, None, False))
            row = connection.execute(query.where(descriptors.c.name == name)).one_or_none()
        if row is None:
            raise statements.unknown(connection, name, model)
        record = self._record(row)
        if isinstance(record, DamagedError):
            raise record
        return record

    def _record(self, row: sa.Row) -> StoredDescriptor | DamagedError:
        try:
            if not statements.is_text(row.name):
                raise ValueError('its name is no text; `don_kp db doctor` examines the database')
            values = statements.vector(row.values_, row.dimension)
            values.flags.writeable = False
            if row.created is None or row.updated is None:
                raise ValueError('its times cannot be read')
            return StoredDescriptor(
                name=row.name,
                model=row.fingerprint,
                object=row.object,
                values=values,
                tags=tuple(sorted(row.tags.split('\n'))) if row.tags else (),
                observations=row.observations,
                created=row.created,
                updated=row.updated,
                deleted=row.deleted,
            )
        except (TypeError, ValueError) as error:
            return DamagedError(
                f'{shown(row.name)} of model {shown(row.fingerprint)} is damaged in '
                f'{self.location} ({error}); delete it with /delete_descriptor, then store it '
                'again'
            )

    def _observation(self, name: str, model: str, row: sa.Row) -> Observation:
        try:
            if row.created is None:
                raise ValueError('its time cannot be read')
            return Observation(
                values=statements.vector(row.values_, row.dimension),
                pixel=None if row.u is None else (row.u, row.v),
                image_size=None
                if row.image_width is None
                else (row.image_width, row.image_height),
                camera=None if row.camera is None else records.loaded(row.camera),
                position=None if row.x is None else (row.x, row.y, row.z),
                patch=row.patch,
                author=row.author,
                created=row.created,
            )
        except (TypeError, ValueError) as error:
            raise DamagedError(
                f'an observation of {shown(name)} of model {shown(model)} is damaged in '
                f'{self.location} ({error}); store it anew with replace: true'
            ) from error

    def _card(self, row: sa.Row) -> Mapping[str, Any]:
        try:
            return records.loaded(row.card)
        except (TypeError, ValueError) as error:
            raise DamagedError(
                f'the card of model {shown(row.fingerprint)} is damaged in {self.location} '
                f'({error}); start perception with that model to store it again'
            ) from error
