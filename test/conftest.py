import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

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
        folder = tmp_path_factory.mktemp('fastdds')
        patch.setenv('FASTRTPS_DEFAULT_PROFILES_FILE', str(fastdds_that_logs_into(folder)))
        yield


def fastdds_that_logs_into(folder: Path) -> Path:
    """Write config/fastdds.xml with its log in a file; return its path.

    Fast DDS complains of shared memory that belongs to other processes of the machine, such as
    one that another test has stopped on purpose. Here only our own words are judged.
    """
    profile = ElementTree.parse(config_path('fastdds.xml'))
    space = '{http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles}'
    consumer = profile.getroot().find(f'{space}log/{space}consumer')
    consumer.find(f'{space}class').text = 'FileConsumer'
    for tag, text in (('name', 'filename'), ('value', str(folder / 'fastdds.log'))):
        consumer.find(f'{space}property/{space}{tag}').text = text
    ElementTree.register_namespace('', space[1:-1])
    profile.write(path := folder / 'fastdds.xml')
    return path
