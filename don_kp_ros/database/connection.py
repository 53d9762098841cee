"""The database at a path or URL."""

from __future__ import annotations

from pathlib import Path

from don_kp_ros.database.engine import Database
from don_kp_ros.database.location import SQLITE, database_url
from don_kp_ros.database.sqlite import SqliteDatabase


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
