"""The descriptor store: one SQLite file, through SQLAlchemy."""

from __future__ import annotations

import difflib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import ArrayLike, NDArray
from sqlalchemy import exc
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from don_kp_ros.database.location import default_path

SCHEMA_VERSION = 1
LONGEST_NAME = 128
_BUSY_TIMEOUT_S = 5.0
_UNIT_TOLERANCE = 1e-4

_metadata = sa.MetaData()
_schema = sa.Table('schema_version', _metadata, sa.Column('version', sa.Integer, primary_key=True))
_models = sa.Table(
    'models',
    _metadata,
    sa.Column('id', sa.Integer, primary_key=True),
    sa.Column('fingerprint', sa.String(LONGEST_NAME), nullable=False, unique=True),
    sa.Column('dimension', sa.Integer, nullable=False),
)
_descriptors = sa.Table(
    'descriptors',
    _metadata,
    sa.Column('id', sa.Integer, primary_key=True),
    sa.Column('model_id', sa.ForeignKey('models.id'), nullable=False),
    sa.Column('name', sa.String(LONGEST_NAME), nullable=False),
    sa.Column('values', sa.LargeBinary, nullable=False),  # float32, little endian
    sa.Column('created', sa.Float, nullable=False),  # seconds since 1970, UTC
    sa.Column('updated', sa.Float, nullable=False),
    sa.UniqueConstraint('model_id', 'name'),
)
_joined = _descriptors.join(_models)
_columns = (
    _descriptors.c.name,
    _models.c.fingerprint,
    _models.c.dimension,
    sa.cast(_descriptors.c['values'], sa.LargeBinary),  # also where damage made it a number
    _descriptors.c.created,
    _descriptors.c.updated,
)


class StoreError(Exception):
    """The database cannot be read or written; the message names the file and the remedy."""


class DamagedError(StoreError):
    """A stored descriptor cannot be read, the others can; the message names it and the remedy."""


class RefusedError(ValueError):
    """A request that changed nothing; the message says why and what to do."""


class InvalidNameError(RefusedError):
    """A name or fingerprint that is empty, too long, or not printable."""


class InvalidDescriptorError(RefusedError):
    """Values that are not a descriptor, or not one of that model."""


class NameTakenError(RefusedError):
    """A name that is stored already, and was not to be replaced."""


class UnknownNameError(RefusedError):
    """A name that is not stored for that model."""


@dataclass(frozen=True)
class StoredDescriptor:
    """A named point as a model describes it."""

    name: str
    model: str  # fingerprint
    values: NDArray[np.float32]  # (D,), unit length, read-only
    created: datetime  # UTC
    updated: datetime  # UTC


class DescriptorStore:
    """Descriptors by name and model. Thread-safe; several processes may share the file.

    A write is on the disk when the call returns. Every method raises StoreError where the
    database fails, and a RefusedError where the request is wrong; then nothing has changed.
    """

    def __init__(self, path: Path | str | None = None) -> None:
        """Open a database file, by default `default_path()`; create it where it is missing.

        Raises StoreError where the file is damaged, belongs to something else, or has the schema
        of a newer version. Such a file is left as it is.
        """
        self.path = Path(path) if path is not None else default_path()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f'cannot make the folder of the descriptor database {self.path}: '
                f'{error.strerror}; choose another file, or make the folder writable'
            ) from error
        url = sa.URL.create('sqlite', database=str(self.path))
        self._engine = sa.create_engine(url, connect_args={'timeout': _BUSY_TIMEOUT_S})
        sa.event.listen(self._engine, 'connect', _configure)
        sa.event.listen(self._engine, 'begin', _begin)
        try:
            self._prepare()
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
        """Close the file."""
        self._engine.dispose()

    def put(
        self, name: str, model: str, values: ArrayLike, replace: bool = False
    ) -> StoredDescriptor:
        """Store values (D,) under a name, unique per model; scale them to unit length if need be.

        Raises InvalidNameError, InvalidDescriptorError, or NameTakenError unless ``replace``.
        """
        _check_name(name, 'name')
        _check_name(model, 'model')
        descriptor = _unit_vector(values)
        stored = {'values': descriptor.astype('<f4').tobytes(), 'updated': time.time()}
        with self._transaction(write=True) as connection:
            model_id = _model_id(connection, model, len(descriptor))
            same = (_descriptors.c.model_id == model_id) & (_descriptors.c.name == name)
            if connection.scalar(sa.select(_descriptors.c.id).where(same)) is None:
                connection.execute(
                    _descriptors.insert().values(
                        model_id=model_id, name=name, created=stored['updated'], **stored
                    )
                )
            elif replace:
                connection.execute(_descriptors.update().where(same).values(**stored))
            else:
                raise NameTakenError(
                    f'{shown(name)} is already stored for model {shortened(model)}; call again '
                    'with replace: true to overwrite it, or choose another name'
                )
            written = self._find(connection, name, model)
        assert written is not None
        return written

    def get(self, name: str, model: str) -> StoredDescriptor:
        """Read a descriptor. Raises UnknownNameError, with the nearest names, or DamagedError."""
        with self._transaction() as connection:
            descriptor = self._find(connection, name, model)
            if descriptor is None:
                raise _unknown(connection, name, model)
        return descriptor

    def list(self, prefix: str = '', model: str | None = None) -> list[StoredDescriptor]:
        """List descriptors in order of name, of one model or of all (None), but not `damaged`."""
        records = self._records(prefix, model)
        return [record for record in records if not isinstance(record, DamagedError)]

    def damaged(self, prefix: str = '', model: str | None = None) -> Sequence[DamagedError]:
        """List what `list` leaves out, because it cannot be read."""
        records = self._records(prefix, model)
        return [record for record in records if isinstance(record, DamagedError)]

    def delete(self, name: str, model: str) -> None:
        """Delete a descriptor, damaged or not. Raises UnknownNameError, with the nearest names."""
        model_id = sa.select(_models.c.id).where(_models.c.fingerprint == _encodable(model))
        delete = _descriptors.delete().where(
            _descriptors.c.name == _encodable(name),
            _descriptors.c.model_id == model_id.scalar_subquery(),
        )
        with self._transaction(write=True) as connection:
            if connection.execute(delete).rowcount == 0:
                raise _unknown(connection, name, model)

    def _records(
        self, prefix: str, model: str | None
    ) -> Sequence[StoredDescriptor | DamagedError]:
        query = sa.select(*_columns).select_from(_joined)
        query = query.order_by(_descriptors.c.name, _models.c.fingerprint)
        if model is not None:
            query = query.where(_models.c.fingerprint == _encodable(model))
        if prefix:
            # Not LIKE, which ignores the case of ASCII letters in SQLite.
            beginning = sa.func.substr(_descriptors.c.name, 1, len(prefix))
            query = query.where(beginning == _encodable(prefix))
        with self._transaction() as connection:
            return [self._record(tuple(row)) for row in connection.execute(query)]

    def _find(self, connection: sa.Connection, name: str, model: str) -> StoredDescriptor | None:
        query = sa.select(*_columns).select_from(_joined)
        query = query.where(_descriptors.c.name == _encodable(name))
        query = query.where(_models.c.fingerprint == _encodable(model))
        row = connection.execute(query).one_or_none()
        if row is None:
            return None
        record = self._record(tuple(row))
        if isinstance(record, DamagedError):
            raise record
        return record

    def _record(self, row: tuple[Any, ...]) -> StoredDescriptor | DamagedError:
        name, model, dimension, blob, created, updated = row
        try:
            if len(blob) != 4 * dimension:
                raise ValueError(f'it holds {len(blob)} bytes, not {4 * dimension}')
            values = np.frombuffer(blob, dtype='<f4').astype(np.float32)
            if not np.isfinite(values).all():
                raise ValueError('not all of its values are finite')
            values.flags.writeable = False
            return StoredDescriptor(name, model, values, _utc(created), _utc(updated))
        except (TypeError, ValueError, OverflowError, OSError) as error:
            return DamagedError(
                f'{shown(name)} of model {shown(model)} is damaged in {self.path} ({error}); '
                'delete it with /delete_descriptor, then store it again'
            )

    def _prepare(self) -> None:
        with self._transaction(write=True) as connection:
            tables = set(sa.inspect(connection).get_table_names())
            if not tables:
                _metadata.create_all(connection)
                connection.execute(_schema.insert().values(version=SCHEMA_VERSION))
            else:
                self._check_contents(connection, tables)
        # Only now: to set the journal mode writes to the file.
        with self._failures_named(), self._engine.connect() as connection:
            connection = connection.execution_options(begin=None)
            connection.exec_driver_sql('PRAGMA journal_mode = WAL')

    def _check_contents(self, connection: sa.Connection, tables: set[str]) -> None:
        if missing := sorted(_metadata.tables.keys() - tables):
            raise StoreError(
                f'{self.path} is an SQLite database, but not one of descriptors (it has no table '
                f'{missing[0]}); it was left as it is: choose another file'
            )
        version = connection.scalar(sa.select(_schema.c.version))
        if version != SCHEMA_VERSION:
            raise StoreError(
                f'{self.path} has schema version {version}, this don_kp reads {SCHEMA_VERSION}; '
                'it was left as it is: update don_kp, or choose another file'
            )
        verdict = connection.exec_driver_sql('PRAGMA quick_check(1)').scalar()
        if verdict != 'ok':
            raise self._damaged(str(verdict))

    @contextmanager
    def _transaction(self, write: bool = False) -> Iterator[sa.Connection]:
        with self._failures_named(), self._engine.connect() as connection:
            if write:
                connection = connection.execution_options(begin='BEGIN IMMEDIATE')
            with connection.begin():
                yield connection

    @contextmanager
    def _failures_named(self) -> Iterator[None]:
        try:
            yield
        except exc.SQLAlchemyError as error:
            raise self._named(error) from error

    def _named(self, error: exc.SQLAlchemyError) -> StoreError:
        reason = str(getattr(error, 'orig', error))
        if 'malformed' in reason or 'not a database' in reason:
            return self._damaged(reason)
        if 'locked' in reason:
            return StoreError(
                f'{self.path} has been locked by another process for {_BUSY_TIMEOUT_S:g} s; end '
                'that process, or choose another file'
            )
        if 'readonly' in reason or 'unable to open' in reason:
            return StoreError(
                f'{self.path} cannot be written ({reason}); make the file and its folder '
                'writable, or choose another file'
            )
        if 'full' in reason:
            return StoreError(f'no space is left for {self.path}; free some, nothing was stored')
        return StoreError(f'the descriptor database {self.path} failed: {reason}')

    def _damaged(self, reason: str) -> StoreError:
        return StoreError(
            f'{self.path} is damaged, or is no descriptor database ({reason}); it was left as it '
            'is: move it away or restore a backup, then start again'
        )


def shown(name: str) -> str:
    """Quote a name for a message: escaped where it is not printable, cut where it is long."""
    return repr(name if len(name) <= 48 else name[:47] + '…')


def shortened(model: str) -> str:
    """Shorten a fingerprint for a message."""
    quoted = repr(model)[1:-1]
    return quoted if len(quoted) <= 12 else quoted[:12] + '…'


def _configure(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    # SQLAlchemy begins transactions itself (_begin); the driver would begin them too late.
    connection.isolation_level = None
    # A name that is no UTF-8 any more must not keep the others from being read.
    connection.text_factory = lambda raw: raw.decode('utf-8', 'replace')
    cursor = connection.cursor()
    cursor.execute('PRAGMA foreign_keys = ON')
    cursor.execute('PRAGMA synchronous = FULL')
    cursor.close()


def _begin(connection: sa.Connection) -> None:
    statement = connection.get_execution_options().get('begin', 'BEGIN')
    if statement is not None:
        connection.exec_driver_sql(statement)


def _check_name(name: str, what: str) -> None:
    if not name.strip():
        raise InvalidNameError(f'the {what} is empty; give 1 to {LONGEST_NAME} characters')
    if len(name) > LONGEST_NAME:
        raise InvalidNameError(
            f'the {what} {shown(name)} has {len(name)} characters; allowed are {LONGEST_NAME}'
        )
    if not name.isprintable() or name != name.strip():
        raise InvalidNameError(
            f'the {what} {shown(name)} has characters that cannot be printed, or begins or ends '
            'with a space; use letters, digits, signs and spaces, such as cap/brim'
        )


def _unit_vector(values: ArrayLike) -> NDArray[np.float32]:
    try:
        with np.errstate(over='ignore'):
            vector = np.array(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidDescriptorError(f'the values are not numbers: {error}') from error
    if vector.ndim != 1 or vector.size == 0:
        raise InvalidDescriptorError(
            f'the values have shape {vector.shape}; give the D numbers of one descriptor'
        )
    if wrong := np.flatnonzero(~np.isfinite(vector)).tolist():
        raise InvalidDescriptorError(
            f'value {wrong[0]} of {vector.size} is {vector[wrong[0]]}; all must be finite'
        )
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if length < 1e-6:
        raise InvalidDescriptorError(
            f'the {vector.size} values have length {length:.3g}; a descriptor has a direction'
        )
    if abs(length - 1) <= _UNIT_TOLERANCE:
        return vector
    return (vector / np.float64(length)).astype(np.float32)


def _model_id(connection: sa.Connection, model: str, dimension: int) -> int:
    query = sa.select(_models.c.id, _models.c.dimension).where(_models.c.fingerprint == model)
    row = connection.execute(query).one_or_none()
    if row is None:
        insert = _models.insert().values(fingerprint=model, dimension=dimension)
        return int(connection.execute(insert.returning(_models.c.id)).scalar_one())
    if row.dimension != dimension:
        raise InvalidDescriptorError(
            f'{dimension} values were given; descriptors of model {shortened(model)} have '
            f'{row.dimension}'
        )
    return int(row.id)


def _unknown(connection: sa.Connection, name: str, model: str) -> UnknownNameError:
    query = sa.select(_descriptors.c.name).select_from(_joined).order_by(_descriptors.c.name)
    query = query.where(_models.c.fingerprint == _encodable(model)).limit(1000)
    names = list(connection.scalars(query))
    if not names:
        return UnknownNameError(
            f'{shown(name)} is not stored: nothing is, for model {shortened(model)}; store it '
            'with /store_descriptor'
        )
    nearest = difflib.get_close_matches(name[:LONGEST_NAME], names, n=3, cutoff=0.4) or names[:3]
    return UnknownNameError(
        f'{shown(name)} is not stored for model {shortened(model)}; nearest names: '
        + ', '.join(shown(near) for near in nearest)
    )


def _encodable(text: str) -> str:
    """Replace what UTF-8 cannot carry (lone surrogates): no stored name has it."""
    return text.encode('utf-8', 'replace').decode('utf-8')


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
