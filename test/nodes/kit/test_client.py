"""A service of one node, asked by another."""

import threading

import pytest
import rclpy

from don_kp.srv import DeleteDescriptor
from don_kp_ros.errors import RefusedError
from don_kp_ros.nodes.kit import client as client_module
from don_kp_ros.nodes.kit.client import ServiceClient, UnansweredError


@pytest.fixture(scope='module')
def asker(context, spun):
    """A node with one thread, which must be free while an answer is awaited."""
    node = rclpy.create_node('asker', context=context)
    client = ServiceClient(node, DeleteDescriptor, 'served', 'start it')

    async def asked(name):
        try:
            return await client.ask(DeleteDescriptor.Request(name=name))
        except RefusedError as error:
            return error

    def ask(name):
        return ask.executor.create_task(asked, name)

    ask.ready = lambda: client.ready
    with spun(node) as ask.executor:
        yield ask


@pytest.fixture
def served(peer):
    """A service that answers with the name it is asked for, or not before it may."""
    free = threading.Event()

    def answer(request, response):
        if request.name == 'late':
            free.wait(30.0)
        response.success, response.message = request.name == 'good', request.name
        return response

    service = peer.node.create_service(DeleteDescriptor, 'served', answer)
    yield free
    free.set()
    peer.node.destroy_service(service)


@pytest.fixture
def ended(peer):
    """Wait for the end of a task; return its answer, or error."""

    def end(task):
        peer.wait_until(task.done)
        return task.result()

    return end


def test_a_service_that_is_not_there_is_named_with_the_remedy(asker, ended):
    error = ended(asker('good'))
    assert isinstance(error, UnansweredError)
    assert str(error) == 'no node serves /served; start it'


def met(peer, asker, ended):
    return peer.wait_until(lambda: getattr(ended(asker('good')), 'success', False))


def test_an_answer_is_returned_and_a_refusal_raised(peer, asker, ended, served):
    met(peer, asker, ended)
    assert ended(asker('good')).message == 'good'
    error = ended(asker('bad'))
    assert type(error) is RefusedError
    assert str(error) == 'bad'


def test_who_waits_for_an_answer_blocks_nobody(peer, asker, ended, served, monkeypatch):
    met(peer, asker, ended)
    monkeypatch.setattr(client_module, 'PATIENCE_S', 3600.0)
    late = asker('late')
    assert ended(asker.executor.create_task(lambda: 'free')) == 'free'
    assert not late.done()
    served.set()
    assert str(ended(late)) == 'late'


def test_an_answer_that_does_not_come_is_awaited_no_longer(
    peer, asker, ended, served, monkeypatch
):
    met(peer, asker, ended)
    monkeypatch.setattr(client_module, 'PATIENCE_S', 0.1)
    error = ended(asker('late'))
    assert isinstance(error, UnansweredError)
    assert str(error) == (
        '/served did not answer in time: who serves it is busy, or hangs; see its log'
    )


def test_of_who_has_gone_no_answer_is_awaited(peer, asker, ended, context, monkeypatch):
    monkeypatch.setattr(client_module, 'PATIENCE_S', 3600.0)
    silent = rclpy.create_node('silent', context=context)  # that nobody spins
    silent.create_service(DeleteDescriptor, '/served', lambda _, response: response)
    peer.wait_until(asker.ready)
    unanswered = asker('good')
    assert ended(asker.executor.create_task(lambda: 'asked')) == 'asked'
    silent.destroy_node()
    error = ended(unanswered)
    assert isinstance(error, UnansweredError)
    assert str(error) == 'who served /served has gone; start it'


def test_of_two_servers_none_is_asked(peer, asker, ended, served, context):
    met(peer, asker, ended)
    other = rclpy.create_node('other', namespace='robot2', context=context)
    other.create_service(DeleteDescriptor, '/served', lambda _, response: response)

    def refused():
        """Return the refusal that names both; a server that has just gone may be named twice."""
        error = ended(asker('good'))
        assert isinstance(error, UnansweredError) or error.success
        return '/robot2/other and /test_peer;' in str(error) and str(error)

    error = peer.wait_until(refused)
    assert 'several nodes serve /served: /robot2/other and /test_peer;' in error
    assert '(namespace:=robot1)' in error
    other.destroy_node()
    met(peer, asker, ended)
