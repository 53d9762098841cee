"""An open descriptor database: what is the same whatever is stored in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from don_kp_ros.database.engine import Database
from don_kp_ros.database.location import SQLITE, database_url
from don_kp_ros.database.schema import revision
from don_kp_ros.database.sqlite import SqliteDatabase

Opened = TypeVar('Opened', bound='OpenDatabase')


def connect(database: Path | str | None = None) -> Database:
    """Return the database at a path or URL, by default `default_path()`. Opens nothing yet.

    Raises StoreError unless it is a path or a URL of a known kind.
    """
    url = database_url(database)
    if url.drivername == SQLITE:
        return SqliteDatabase(url)
    # Only here: psycopg is not needed for a file.
    from don_kp_ros.database.postgresql import PostgresqlDatabase

    return PostgresqlDatabase(url)


class OpenDatabase:
    """A database with its transactions, and a number that tells of changes. Thread-safe."""

    def __init__(
        self, database: Path | str | None = None, service: Callable[[str], str] = '/{}'.format
    ) -> None:
        """Open a database by path or URL, by default `default_path()`; create it if missing.

        ``service`` tells the full name of a service, which remedies name.

        An older schema is migrated. Raises DamagedFileError, SchemaError (a newer schema, or not
        don_kp's), UnavailableError (the server does not answer) or another StoreError, and then
        leaves the database as it is.
        """
        self._database, self._service = connect(database), service
        self.location = self._database.location  # for messages; without a password
        try:
            self._database.prepare()
            self.is_new = self._database.is_new  # made by this call
        except BaseException:
            self.close()
            raise

    def __enter__(self: Opened) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write all changes that this thread makes within, or none of them if an error leaves it.

        Other writers wait meanwhile, so keep it short.
        """
        with self._database.transaction(write=True):
            yield

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Give this thread one consistent state to read, whatever others write meanwhile."""
        with self._database.transaction(snapshot=True):
            yield

    def revision(self) -> int:
        """Return a number that grows with every change by any process."""
        with self._database.transaction() as connection:
            return int(connection.execute(sa.select(revision.c.number)).scalar_one())

    def listening(self) -> AbstractContextManager[Callable[[float], bool]]:
        """Listen to changes; `changes.Watcher` does it in a thread. See `Database.listening`."""
        return self._database.listening()
