"""By which names a page may be called, and that nobody is asked about them while it is served."""

from __future__ import annotations

import socket
from typing import Any

import asynchrony
import pytest

from don_kp_ros.page.access import Access


async def page(_: Any, __: Any, send: Any) -> None:
    await send({'type': 'http.response.start', 'status': 200, 'headers': []})
    await send({'type': 'http.response.body', 'body': b''})


def status(access: Access, host: str) -> int:
    """Ask for the page by a name or an address; return the status of the answer."""
    scope = {'type': 'http', 'method': 'GET', 'path': '/', 'query_string': b''}
    scope |= {'headers': [(b'host', host.encode())]}
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> None:
        raise AssertionError('nothing is to be received')

    asynchrony.run(access(scope, receive, send))
    return sent[0]['status']


def test_no_name_server_is_asked_while_a_page_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, 'gethostname', lambda: 'Robot')
    monkeypatch.setattr(socket, 'getfqdn', lambda: 'robot.lab.example')
    access = Access(page, '0.0.0.0', 8080)
    asked: list[int] = []
    monkeypatch.setattr(socket, 'getfqdn', lambda: asked.append(1) or 'robot.lab.example')
    for own in ('robot', 'robot.local', 'Robot.lab.example', '10.0.0.1', '[fe80::1]', 'localhost'):
        assert status(access, f'{own}:8080') == 403, own  # it lacks the token alone
    for foreign in ('evil.example', 'lab.example', 'robot.evil.example'):
        assert status(access, f'{foreign}:8080') == 421, foreign
    assert asked == []


@pytest.mark.parametrize(
    ('host', 'served', 'refused'),
    [
        ('127.0.0.2', ['127.0.0.2', '127.0.0.1', 'localhost'], ['127.0.0.3', '10.0.0.1']),
        ('localhost', ['127.0.0.1', '[::1]'], ['127.0.0.2', 'robot']),
        ('::1', ['[::1]', 'localhost'], ['[::2]', '[::ffff:10.0.0.1]']),
    ],
)
def test_a_page_of_this_machine_is_called_by_where_it_is_bound(
    host: str, served: list[str], refused: list[str]
) -> None:
    access = Access(page, host, 8080)
    assert [status(access, f'{one}:8080') for one in served] == [200] * len(served)
    assert [status(access, f'{one}:8080') for one in refused] == [421] * len(refused)
