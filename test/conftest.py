import contextlib
import functools
import os
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import hypothesis
import pytest
import waiting

from benchmarks import postgresql_server
from don_kp_ros.bringup.domain import free_domain, leave_domain
from don_kp_ros.resources import config_path

# How long an example takes says nothing of it on a busy machine.
hypothesis.settings.register_profile(
    'any speed', deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile('any speed')


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


@pytest.fixture(scope='module')
def own_domain(ros_environment):
    """Give a module a graph of its own: what earlier ones may have left is not in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('ROS_DOMAIN_ID', str(domain := free_domain()))
        yield
    leave_domain(domain)


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


PATIENCE_S = 180.0  # for what takes seconds on an idle machine
READY = {
    'perception': 'waiting for images',
    'descriptor_database': ' descriptors in ',
    'simulation': 'simulating a',
    'grasp': 'ready for goals',
}


@pytest.fixture(scope='session')
def wait_until():
    """Wait for a true value; return it, or fail."""
    return functools.partial(waiting.wait_until, seconds=PATIENCE_S)


@pytest.fixture(scope='session')
def nodes_ready():
    """Tell by a folder of a stack's logs whether all its nodes have begun."""

    def ready(logs: Path) -> bool:
        files = {name: logs / f'{name}.log' for name in READY}
        return all(
            file.exists() and READY[name] in file.read_text() for name, file in files.items()
        )

    return ready


@pytest.fixture(scope='session')
def paced(wait_until):
    """Let a judge's simulation run so many times as fast as real time meanwhile."""

    @contextlib.contextmanager
    def pace(judge, factor: float):
        from rclpy.parameter import Parameter
        from rclpy.parameter_client import AsyncParameterClient

        client = AsyncParameterClient(judge, 'simulation')

        def run(times: float) -> None:
            wait_until(client.services_are_ready)
            done = client.set_parameters([Parameter('real_time_factor', value=times)])
            wait_until(done.done)
            assert all(result.successful for result in done.result().results)

        before = client.get_parameters(['real_time_factor'])
        wait_until(before.done)
        run(factor)
        try:
            yield
        finally:
            run(before.result().values[0].double_value)

    return pace
