"""Empty databases of both kinds."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from benchmarks.postgresql_server import PostgresqlServer
from don_kp_ros.database import postgresql as postgresql_engine
from don_kp_ros.database import sqlite
from don_kp_ros.database.store import DescriptorStore


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for other writers, and for the server, as long as a busy machine needs."""
    monkeypatch.setattr(sqlite, 'BUSY_TIMEOUT_S', 60.0)
    monkeypatch.setattr(postgresql_engine, '_ANSWER_S', 60.0)
    monkeypatch.setitem(postgresql_engine._NETWORK, 'connect_timeout', 60)


@pytest.fixture(scope='session')
def postgresql(_postgresql_installed: None) -> Iterator[PostgresqlServer]:
    """Start a private PostgreSQL server. Not for tests that stop it."""
    # A server that is killed loses nothing by it; only a machine that loses its power would.
    with PostgresqlServer('fsync = off') as server:
        yield server


@pytest.fixture(scope='session')
def tables(postgresql: PostgresqlServer) -> str:
    """Make a database with tables, once: that takes as long as many tests. Return its URL."""
    url = postgresql.database()
    DescriptorStore(url).close()
    return url


@pytest.fixture
def postgresql_url(tables: str) -> str:
    """Return the URL of an empty database on a server."""
    engine = sa.create_engine(tables)
    with engine.begin() as connection:
        connection.exec_driver_sql('TRUNCATE objects, models CASCADE')
    engine.dispose()
    return tables


@pytest.fixture(params=['sqlite', 'postgresql'])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return path or URL of an empty database."""
    if request.param == 'sqlite':
        return str(tmp_path / 'd.sqlite')
    url: str = request.getfixturevalue('postgresql_url')
    return url


@pytest.fixture
def store(database: str) -> Iterator[DescriptorStore]:
    with DescriptorStore(database) as opened:
        yield opened


@pytest.fixture
def other(database: str) -> Iterator[DescriptorStore]:
    """Open the same database once more, as another process would."""
    with DescriptorStore(database) as opened:
        yield opened
