"""The location of the descriptor database; quick to import."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from don_kp_ros.database.errors import StoreError
from don_kp_ros.database.text import printable
from don_kp_ros.resources import user_path

if TYPE_CHECKING:
    import sqlalchemy as sa

SQLITE = 'sqlite'
POSTGRESQL = 'postgresql+psycopg'
URL_VARIABLE = 'DON_KP_DATABASE_URL'  # of the environment; others cannot read a password there


def default_path() -> Path:
    """Return descriptors.sqlite in the user's data folder (XDG base directories)."""
    return user_path('data', 'descriptors.sqlite')


def database_url(database: Path | str | None = None) -> sa.URL:
    """Return the URL of a database given by path or URL, by default `default_path()`.

    The password is moved to the URL's `password` from anywhere in the text, so that no repr shows
    it. Raises StoreError unless it is a path or a URL of a known kind; the error does not show the
    text, which may hold a password.
    """
    # Only here: the default needs no SQLAlchemy, and it is slow to import.
    import sqlalchemy as sa
    from sqlalchemy.exc import ArgumentError

    text = str(database or default_path())
    if '://' not in text:
        return sa.URL.create(SQLITE, database=text)
    advice = f'give {POSTGRESQL}://user@host/database, {SQLITE}:///file, or the path of a file'
    try:
        url = sa.make_url(text)
    except (ArgumentError, ValueError) as error:
        raise StoreError(f'the URL of the database cannot be read; {advice}') from error
    if url.drivername == SQLITE:
        if url.database in (None, '', ':memory:') or url.query or url.host:
            raise StoreError(f'the URL {SQLITE}:// names no file; {advice}')
        return url
    if url.drivername not in (POSTGRESQL, 'postgresql'):
        raise StoreError(f'the URL is of kind {url.drivername.split("+")[0]!r}; {advice}')
    if '@' in (url.host or ''):
        raise StoreError('the URL has two @; write the one in its password as %40')
    password = url.query.get('password')
    if isinstance(password, str):
        url = url.set(password=password)
    return url.set(drivername=POSTGRESQL).difference_update_query(['password'])


def check_folder(database: Path | str) -> None:
    """Raise StoreError for a file in a folder that does not exist, which may be a slip.

    Only the default's folder is made.
    """
    url = database_url(database)
    if url.drivername != SQLITE:
        return
    path = Path(str(url.database)).absolute()
    if path != default_path() and not path.parent.is_dir():
        raise StoreError(
            f'there is no folder {printable(str(path.parent))} for the descriptor database '
            f'{printable(path.name)}; mend the path, or make the folder (mkdir -p)'
        )


def has_password(database: Path | str | None) -> bool:
    """Tell whether a database is given by a URL that holds a password. Raises StoreError."""
    url = database_url(database)
    return url.password is not None or 'sslpassword' in url.query


def without_password(database: Path | str | sa.URL | None) -> str:
    """Write a database as a path, or a URL without its password. Raises StoreError."""
    url = database if isinstance(database, tuple) else database_url(database)
    if url.drivername == SQLITE:
        return str(url.database)
    # Leave out the rest of the query, too: it may name a key file and its password.
    public = url.set(query={})._replace(password=None)
    return public.render_as_string()
