"""What the page asks of a running stack is answered, whenever it asks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import asynchrony
import pytest
from std_srvs.srv import SetBool
from waiting import wait_until

from don_kp.srv import ListObjects
from don_kp_ros.clients.asking import Services, spun
from don_kp_ros.clients.stack import Stack
from don_kp_ros.clients.view_stack import ViewedStack
from don_kp_ros.page.activity import Activity
from don_kp_ros.page.canvas import Canvas


@contextlib.contextmanager
def served(peer, kind, name: str) -> Iterator[None]:
    """Agree to whatever is asked, meanwhile."""

    def answer(_, response):
        response.success, response.message = True, 'yes'
        return response

    service = peer.node.create_service(kind, name, answer)
    try:
        yield
    finally:
        peer.node.destroy_service(service)


@pytest.fixture
def stack() -> Iterator[Stack]:
    with Stack('/') as made, spun(made):
        yield made


def test_who_asks_while_the_server_is_being_met_waits_too(peer, stack: Stack) -> None:
    services = Services(stack)

    async def scene() -> list:
        return await asyncio.gather(
            *(services.ask(ListObjects, 'list_objects') for _ in range(2)),
        )

    with served(peer, ListObjects, 'list_objects'):
        assert [one.success for one in asynchrony.run(scene())] == [True, True]


def test_an_error_in_a_callback_leaves_the_page_its_answers(peer, stack: Stack, capfd) -> None:
    failed = []

    def fail() -> None:
        failed.append(stack.node.destroy_timer(timer))
        raise KeyError('a bug')

    with served(peer, ListObjects, 'list_objects'):
        timer = stack.node.create_timer(0.001, fail)
        wait_until(lambda: failed)
        assert asynchrony.run(Services(stack).ask(ListObjects, 'list_objects')).success
    assert "KeyError: 'a bug'" in capfd.readouterr().err


def test_the_arm_can_be_stopped_before_anything_was_asked(peer, stack: Stack) -> None:
    with served(peer, SetBool, 'enable'):
        viewed = ViewedStack(stack, Canvas(), Activity(), 'camera/camera')
        wait_until(lambda: peer.node.count_clients('/enable'))
        assert asynchrony.run(viewed.enable(False)) == 'yes'
