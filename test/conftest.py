import os

import pytest

from benchmarks import postgresql_server
from don_kp_ros.bringup.domain import free_domain
from don_kp_ros.resources import config_path


def pytest_configure(config):
    """Let no test read the user's own robots; modules load presets when they are imported."""
    os.environ['XDG_CONFIG_HOME'] = str(config.cache.mkdir('configuration'))


@pytest.fixture(scope='session')
def _postgresql_installed() -> None:
    """Skip what needs a PostgreSQL server where there is none to start; .ci/run installs it."""
    if postgresql_server.programs() is None:
        pytest.skip('POSTGRESQL IS NOT INSTALLED: apt-get install postgresql; not tested')


@pytest.fixture(scope='session')
def ros_environment(tmp_path_factory):
    """Let no node see another session, or write into the user's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('HOME', str(tmp_path_factory.mktemp('home')))
        patch.delenv('XDG_DATA_HOME', raising=False)
        patch.setenv('ROS_DOMAIN_ID', str(free_domain()))
        patch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
        patch.setenv('FASTRTPS_DEFAULT_PROFILES_FILE', str(config_path('fastdds.xml')))
        yield
