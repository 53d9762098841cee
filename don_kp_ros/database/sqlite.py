"""One SQLite file as the descriptor database."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import exc

from don_kp_ros.database.engine import Database
from don_kp_ros.database.errors import DamagedFileError, StoreError
from don_kp_ros.database.text import printable

BUSY_TIMEOUT_S = 5.0
# Smaller files are checked whenever they are opened (about 1 GB/s), larger ones only by doctor.
CHECKED_BYTES = 256 << 20


def open_file(path: Path, timeout_s: float = 0.0, mode: str = 'rw') -> sqlite3.Connection:
    """Open a file that exists, with a mode as in SQLite's URIs; transactions begin as told."""
    connection = sqlite3.connect(
        f'file:{quote(str(path))}?mode={mode}',
        uri=True,
        timeout=timeout_s,
        isolation_level=None,  # the driver begins transactions too late
        check_same_thread=False,
    )
    # A name that damage made invalid UTF-8 must not make the others unreadable.
    connection.text_factory = lambda raw: raw.decode('utf-8', 'surrogateescape')
    return connection


def open_to_read(path: Path, timeout_s: float = 0.0) -> sqlite3.Connection:
    """Open a file that exists so that closing it leaves in the journal what waits there.

    The last connection that may write, writes that into the file when it is closed.
    """
    wal = path.with_name(f'{path.name}-wal')
    waits = wal.exists() and wal.stat().st_size > 0
    return open_file(path, timeout_s, 'ro' if waits else 'rw')


class SqliteDatabase(Database):
    """A file, in WAL mode: a transaction is on the disk when its commit returns."""

    def __init__(self, url: sa.URL) -> None:
        """Keep the location of the file."""
        self.path = Path(str(url.database))
        self._opened: tuple[int, int] | None = None
        super().__init__(url)

    def prepare(self) -> None:
        """Create the file if it is missing, check it, and migrate it if it is older."""
        self._make()
        self._opened = self._identity()
        self._check()
        # Writing from the start: a file that cannot be written fails now, not at the first store.
        with self._failures_named(), self._engine.connect() as connection:
            connection = connection.execution_options(begin='BEGIN IMMEDIATE')
            with connection.begin():
                self._bring_up_to_date(connection)
        # Only now: setting the journal mode writes to the file.
        with self._failures_named(), self._engine.connect() as connection:
            connection = connection.execution_options(begin=None)
            connection.exec_driver_sql('PRAGMA journal_mode = WAL')

    def revision(self) -> str | None:
        """Return the revision of the schema, as `Database` does. Raises DamagedFileError."""
        self._check()
        return super().revision()

    @contextmanager
    def listening(self) -> Iterator[Callable[[float], bool]]:
        """Wait, and ask to look: a file tells nobody of changes."""

        def hears(seconds: float) -> bool:
            time.sleep(seconds)
            return True

        yield hears

    def _create_engine(self, url: sa.URL) -> sa.Engine:
        engine = sa.create_engine(
            url, creator=self._connect, poolclass=sa.QueuePool, hide_parameters=True
        )
        sa.event.listen(engine, 'begin', _begin)
        return engine

    def _connect(self) -> sqlite3.Connection:
        self._refuse_another_file()
        connection = open_file(self.path, BUSY_TIMEOUT_S)
        connection.execute('PRAGMA foreign_keys = ON')
        connection.execute('PRAGMA synchronous = FULL')
        return connection

    def _options(self, connection: sa.Connection, write: bool, snapshot: bool) -> sa.Connection:
        try:
            self._refuse_another_file()
        except StoreError:
            # It may be one to that file, and must not serve when the right one is back.
            connection.invalidate()
            raise
        return connection.execution_options(begin='BEGIN IMMEDIATE' if write else 'BEGIN')

    def _check(self) -> None:
        """Raise DamagedFileError for a file that does not pass SQLite's check, if it is small."""
        if self.path.stat().st_size > CHECKED_BYTES:
            return
        try:
            with closing(open_to_read(self.path, BUSY_TIMEOUT_S)) as connection:
                verdict = connection.execute('PRAGMA quick_check(1)').fetchone()[0]
        except sqlite3.Error as error:
            raise self._named(error) from error
        if verdict != 'ok':
            raise self._damaged(str(verdict))

    def _make(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self.path.exists():
                self.path.touch()
        except (OSError, ValueError) as error:
            reason = getattr(error, 'strerror', None) or error
            raise StoreError(
                f'cannot make the descriptor database {printable(str(self.path))}: {reason}; '
                'choose another file, or make its folder writable'
            ) from error

    def _refuse_another_file(self) -> None:
        if self._opened is not None and self._identity() != self._opened:
            raise StoreError(
                f'{self.path} was moved, deleted or replaced while it was open; bring it back, '
                'or start again to open what lies there now'
            )

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _named(self, error: exc.SQLAlchemyError | sqlite3.Error) -> StoreError:
        reason = printable(str(getattr(error, 'orig', error)))
        if 'malformed' in reason or 'not a database' in reason:
            return self._damaged(reason)
        if 'locked' in reason:
            return StoreError(
                f'{self.path} has been locked for {BUSY_TIMEOUT_S:g} s: others are writing, '
                'perhaps an import; try again'
            )
        if 'readonly' in reason or 'unable to open' in reason:
            return StoreError(
                f'{self.path} cannot be written ({reason}); make the file and its folder '
                'writable, or choose another file'
            )
        if 'full' in reason:
            return StoreError(f'no space is left for {self.path}; free some, nothing was stored')
        return StoreError(
            f'the descriptor database {self.path} failed: {reason}; `don_kp db doctor` examines it'
        )

    def _damaged(self, reason: str) -> DamagedFileError:
        return DamagedFileError(
            f'{self.path} is damaged, or is no descriptor database ({printable(reason)}); it was '
            'left as it is: `don_kp db doctor` examines it and sets it aside, or move it away '
            'with its -wal and -shm, and put a backup in its place'
        )


def _begin(connection: sa.Connection) -> None:
    statement = connection.get_execution_options().get('begin', 'BEGIN')
    if statement is not None:
        connection.exec_driver_sql(statement)
