import pytest

from benchmarks import postgresql_server


@pytest.fixture(scope='session')
def _postgresql_installed() -> None:
    """Skip what needs a PostgreSQL server where there is none to start; .ci/run installs it."""
    if postgresql_server.programs() is None:
        pytest.skip('POSTGRESQL IS NOT INSTALLED: apt-get install postgresql; not tested')
