"""The database node on a PostgreSQL server that other robots use, and that comes and goes."""

import time
from urllib.parse import urlsplit

import numpy as np
import pytest

from benchmarks.postgresql_server import PostgresqlServer
from don_kp_ros.database.store import DescriptorStore

VALUES = np.array([0.6, 0.0, 0.8, 0.0], dtype=np.float32)
MODEL = 'ab12cd34ef567890'


@pytest.fixture(scope='module')
def server(_postgresql_installed):
    """A server that the tests stop and start."""
    with PostgresqlServer() as started:
        yield started


@pytest.fixture(scope='module')
def url(server):
    return server.database()


@pytest.fixture(scope='module')
def desk(server, url, open_desk):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('PGPASSWORD', server.password)
        yield open_desk(database_url=url.replace(f':{server.password}@', '@'))


# In this order: the last test leaves the server as the others found it.


def test_a_url_without_the_password_serves(desk, server, url):
    assert f'0 descriptors in {url.replace(f":{server.password}@", "@")}' in desk.node.output
    assert desk.store('cap/brim', values=VALUES, model=MODEL, author='one').success
    np.testing.assert_array_equal(desk.get('cap/brim', MODEL).descriptor.values, VALUES)
    desk.told(lambda names: names == ['cap/brim'])


def test_what_another_robot_does_is_told(desk, url):
    with DescriptorStore(url) as other:
        assert [stored.name for stored in other.list()] == ['cap/brim']
        other.put('cap/peak', MODEL, VALUES)
        desk.told(lambda names: names == ['cap/brim', 'cap/peak'])
        other.delete('cap/peak', MODEL)
        desk.told(lambda names: names == ['cap/brim'])


def test_a_server_that_goes_and_comes_back_loses_nothing(desk, server, url):
    assert desk.store('before', values=VALUES, model=MODEL).success
    server.stop()
    try:
        began = time.monotonic()
        answers = [
            desk.store('while down', values=VALUES, model=MODEL),
            desk.get('before', MODEL),
            desk.list(),
            desk.delete('before', MODEL),
            desk.export('down.jsonl'),
        ]
        # Each within 2 s; on a machine that is not busy within milliseconds.
        assert time.monotonic() - began < 2 * len(answers) + 10
        for answer in answers:
            assert not answer.success
            assert 'does not answer' in answer.message
            assert urlsplit(url).hostname in answer.message
    finally:
        server.start()
    desk.peer.wait_until(lambda: desk.list().success)
    assert desk.names() == ['before', 'cap/brim']
    assert desk.store('after', values=VALUES, model=MODEL).success
    desk.told(lambda names: names == ['after', 'before', 'cap/brim'])
    with DescriptorStore(url) as other:
        other.put('by another', MODEL, VALUES)
        desk.told(lambda names: 'by another' in names)
    assert server.password not in desk.node.output


def test_a_node_that_starts_before_its_server_serves_as_soon_as_it_is_there(
    desk, server, url, start_node, monkeypatch
):
    desk.close()
    server.stop()
    monkeypatch.setenv('DON_KP_DATABASE_URL', url)
    desk.latched.clear()
    node = start_node('descriptor_database')
    try:
        node.wait_for('does not answer')
        refused = desk.peer.wait_until(lambda: None if desk.list().success else desk.list())
        assert 'does not answer' in refused.message
        assert server.password not in refused.message
        assert node.process.poll() is None
    finally:
        server.start()
    node.wait_for('4 descriptors in postgresql+psycopg://')
    desk.peer.wait_until(lambda: desk.list().success)
    assert 'cap/brim' in [d.name for d in desk.told(lambda names: len(names) == 4)]
    assert node.end() == 0
    assert server.password not in node.output


def test_a_server_that_refuses_prevents_the_start_in_one_line(
    server, url, start_node, monkeypatch
):
    monkeypatch.setenv('PGPASSWORD', 'not it')
    node = start_node('descriptor_database', database_url=url.replace(f':{server.password}@', '@'))
    assert node.process.wait(60) == 1
    assert 'refuses the connection' in node.output
    assert 'not it' not in node.output
    assert node.output.count('\n') == 1, node.output
