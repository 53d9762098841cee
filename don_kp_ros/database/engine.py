"""A database behind the store: its transactions, its schema, and its failures in words."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import exc

from don_kp_ros.database import schema
from don_kp_ros.database.errors import DamagedError, SchemaError, StoreError
from don_kp_ros.database.location import without_password
from don_kp_ros.database.text import printable

_FIRST_SCHEMA = {'schema_version', 'models', 'descriptors'}


@dataclass
class _Transaction:
    connection: sa.Connection
    write: bool
    failed: bool = False


class Database(ABC):
    """A descriptor database, made by `store.connect`. Thread-safe; raises StoreError."""

    def __init__(self, url: sa.URL) -> None:
        """Keep the location of a database. Opens nothing yet."""
        self.location = without_password(url)
        self.is_new = False  # until it is prepared
        self._current = threading.local()
        self._engine = self._create_engine(url)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @abstractmethod
    def prepare(self) -> None:
        """Create the database if it is missing, and bring its schema to that of this don_kp.

        Raises SchemaError if it has a newer schema, or belongs to something else.
        """

    def revision(self) -> str | None:
        """Return the revision of the schema, None for an empty database. Changes nothing.

        Raises SchemaError if it has a newer schema, or belongs to something else.
        """
        with self.transaction() as connection:
            return self._revision(connection)

    @contextmanager
    def transaction(self, write: bool = False, snapshot: bool = False) -> Iterator[sa.Connection]:
        """Open a transaction, or join the open one of this thread.

        Writing transactions run one after the other: none starts before the previous one has
        ended. With `snapshot`, several statements read one state. A transaction that fails is
        undone as a whole.
        """
        outer: _Transaction | None = getattr(self._current, 'transaction', None)
        if outer is not None:
            if write and not outer.write:
                raise RuntimeError('this thread is reading a snapshot; write before or after it')
            with self._part_of(outer):
                yield outer.connection
            return
        with self._failures_named(), self._engine.connect() as connection:
            connection = self._options(connection, write, snapshot)
            with connection.begin():
                if write:
                    self._lock(connection)
                self._current.transaction = transaction = _Transaction(connection, write)
                try:
                    with self._part_of(transaction):
                        yield connection
                finally:
                    del self._current.transaction
                if transaction.failed:
                    raise StoreError(
                        f'{self.location} failed earlier in this transaction; nothing of it was '
                        'stored: try all of it again'
                    )
                self._commit(connection, write)

    def changed(self, connection: sa.Connection) -> None:
        """Count a change, within a writing transaction."""
        connection.execute(schema.revision.update().values(number=schema.revision.c.number + 1))

    @contextmanager
    def damage_named(self, what: str, remedy: str) -> Iterator[None]:
        """Raise DamagedError where what is read is not what was stored."""
        try:
            yield
        except (TypeError, ValueError) as error:
            raise DamagedError(
                f'{what} is damaged in {self.location} ({error}); {remedy}'
            ) from error

    @abstractmethod
    def listening(self) -> AbstractContextManager[Callable[[float], bool]]:
        """Listen to changes: the function waits so many seconds, and tells whether to look.

        A change that was committed since this began is told, perhaps one that was before.
        """

    @abstractmethod
    def _create_engine(self, url: sa.URL) -> sa.Engine:
        """Make the engine; connect to nothing."""

    @abstractmethod
    def _options(self, connection: sa.Connection, write: bool, snapshot: bool) -> sa.Connection:
        """Return a connection that begins such a transaction."""

    @abstractmethod
    def _named(self, error: exc.SQLAlchemyError) -> StoreError:
        """Describe a failure in words, with the remedy."""

    def _lock(self, connection: sa.Connection) -> None:
        """Wait for other writers. On SQLite, the transaction's beginning did."""
        connection.execute(sa.select(schema.revision.c.number).with_for_update())

    def _commit(self, connection: sa.Connection, write: bool) -> None:
        connection.commit()

    @contextmanager
    def _part_of(self, transaction: _Transaction) -> Iterator[None]:
        try:
            with self._failures_named():
                yield
        except StoreError as error:
            # A damaged descriptor, for example, leaves the transaction as it was.
            transaction.failed |= isinstance(error.__cause__, exc.SQLAlchemyError)
            raise

    @contextmanager
    def _failures_named(self) -> Iterator[None]:
        try:
            yield
        except exc.SQLAlchemyError as error:
            raise self._named(error) from error

    def _bring_up_to_date(self, connection: sa.Connection) -> None:
        revision = self._revision(connection)
        self.is_new = revision is None
        if revision is None:
            schema.create(connection)
        elif revision != schema.REVISION:
            # Only here: Alembic is slow to import, and seldom needed.
            from don_kp_ros.database import migrations

            migrations.upgrade(connection, revision)

    def _revision(self, connection: sa.Connection) -> str | None:
        tables = set(sa.inspect(connection).get_table_names())
        if not tables:
            return None
        if 'alembic_version' in tables and 'descriptors' in tables:
            revision = str(connection.scalar(sa.select(schema.alembic_version.c.version_num)))
        elif tables >= _FIRST_SCHEMA:
            version = connection.scalar(sa.select(schema.schema_version.c.version))
            revision = '0001' if version == 1 else f'of version {version}'
        else:
            raise SchemaError(
                f'{self.location} is a database, but not one of descriptors (it has a table '
                f'{printable(min(tables))!r}); it was left as it is: choose another one'
            )
        if revision == schema.REVISION:
            if missing := sorted(schema.metadata.tables.keys() - tables):
                raise SchemaError(
                    f'{self.location} lacks the table {missing[0]!r}; it was left as it is: '
                    'restore a backup, or choose another one'
                )
            return revision
        from don_kp_ros.database import migrations

        if revision not in (known for known, _ in migrations.steps(None)):
            raise SchemaError(
                f'{self.location} has the schema {printable(revision)!r}, this don_kp knows those '
                f'up to {schema.REVISION}; it was left as it is: update don_kp, or choose another '
                'database'
            )
        return revision
