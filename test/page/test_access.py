"""Nobody but the page's own user is served, and nothing that is said becomes part of the page."""

from __future__ import annotations

import ast
import functools
import http.server
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import nicegui
import numpy as np
import pytest
from playwright.sync_api import Page

SCRIPT = str(Path(__file__).with_name('pretended_stack.py'))
SOCKET_IO = '/_nicegui_ws/socket.io/?EIO=4&transport=websocket'
UPGRADE = {
    'Upgrade': 'websocket',
    'Connection': 'Upgrade',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
}


@pytest.fixture(scope='module')
def local(served) -> Iterator[object]:
    """A page for this machine alone."""
    with served(SCRIPT, '127.0.0.1') as one:
        yield one


@pytest.fixture(scope='module')
def shared(served) -> Iterator[object]:
    """A page for other machines, too."""
    with served(SCRIPT, '0.0.0.0') as one:
        yield one


def port(one) -> int:
    return int(re.search(r':(\d+)/', one.url)[1])


def token(one) -> str:
    return one.url.rpartition('?token=')[2]


def answer(
    one, path: str = '/', method: str = 'GET', host: str | None = None, **headers: str
) -> tuple[int, str]:
    """Send a request as it is; return the status, 0 where none came, and all else."""
    named = {'Host': f'127.0.0.1:{port(one)}' if host is None else host}
    named |= {key.replace('_', '-'): text for key, text in headers.items()}
    lines = [f'{method} {path} HTTP/1.1', *(f'{k}: {v}' for k, v in named.items())]
    with socket.create_connection(('127.0.0.1', port(one)), timeout=20) as connection:
        connection.sendall('\r\n'.join([*lines, '', '']).encode('latin-1'))
        received = b''
        try:
            while b'\r\n\r\n' not in received or b'101 Switching' not in received:
                more = connection.recv(1 << 16)
                received += more
                length = re.search(rb'content-length: (\d+)', received)
                head, _, body = received.partition(b'\r\n\r\n')
                if not more or (length and len(body) >= int(length[1])):
                    break
        except (TimeoutError, ConnectionResetError):
            pass
    text = received.decode('latin-1')
    status = re.match(r'HTTP/1\.1 (\d+)', text)
    return int(status[1]) if status else 0, text


def shaken(one, path: str, **headers: str) -> int:
    """Ask for a websocket; return the status: 101 where it is granted."""
    return answer(one, path, **{k.replace('-', '_'): v for k, v in UPGRADE.items()}, **headers)[0]


def foreign_names(number: int) -> list[str]:
    return [
        'evil.example', f'evil.example:{number}', f'127.0.0.1.evil.example:{number}',
        f'localhost.evil.example:{number}', f'evil.example:{number}@x', f'0.0.0.0:{number}',
        f'10.0.0.1:{number}', f'[::]:{number}', f'[::ffff:10.0.0.1]:{number}', '',
        f'127.0.0.1:{number}, evil.example', f'127.0.0.1@evil.example:{number}', 'localhost.',
        f'localhost%00.evil.example:{number}', '[::1', 'x' * 500, f'2130706433:{number}',
        f'127.0.0.1 evil.example:{number}', 'evil.example#127.0.0.1', f'127.1:{number}',
    ]  # fmt: skip


def foreign_origins(number: int) -> list[str]:
    return [
        'http://evil.example', 'https://evil.example', 'null', 'file://', '',
        f'http://127.0.0.1:{number + 1}', 'http://127.0.0.1', f'http://localhost:{number}',
        f'http://127.0.0.1.evil.example:{number}', f'http://evil.example:{number}',
        f'http://127.0.0.1:{number}.evil.example', f'http://127.0.0.1:{number}/',
        f'ftp://127.0.0.1:{number}', f'http://evil.example, http://127.0.0.1:{number}',
        f'http://127.0.0.1:{number}@evil.example', f'chrome-extension://127.0.0.1:{number}',
    ]  # fmt: skip


# fmt: off
FILES = f'/_nicegui/{nicegui.__version__}'
TRAVERSALS = [
    f'{start}{up}{end}'
    for start in ('/page/', f'{FILES}/static/', f'{FILES}/resources/x/')
    for up in (
        '../' * 12, '..%2f' * 12, '%2e%2e/' * 12, '%2e%2e%2f' * 12, '..\\' * 12, '..%5c' * 12,
        '%252e%252e%252f' * 12, '....//' * 12, '/',
    )
    for end in ('etc/passwd', 'proc/self/environ')
]
# fmt: on


def test_what_its_user_asks_for_is_served(local, shared) -> None:
    number = port(local)
    assert answer(local)[0] == answer(local, host=f'localhost:{number}')[0] == 200
    assert answer(local, '/page/picture.js')[0] == 200
    own = {'Origin': f'http://127.0.0.1:{number}'}
    assert shaken(local, '/pictures', **own) == shaken(local, SOCKET_IO, **own) == 101
    # With the token in the address comes a cookie, which no script reads and no other site sends.
    status, told = answer(shared, f'/?token={token(shared)}')
    assert status == 303 and token(shared) not in told
    cookie = re.search(r'set-cookie: (\S+); Path=/; HttpOnly; SameSite=Strict', told)[1]
    assert answer(shared, Cookie=cookie)[0] == 200
    own = {'Origin': f'http://127.0.0.1:{port(shared)}', 'Cookie': cookie}
    assert shaken(shared, '/pictures', **own) == 101
    assert answer(shared, host=f'10.0.0.1:{port(shared)}', Cookie=cookie)[0] == 200


def test_two_hundred_hostile_requests_are_not_served(local, shared) -> None:
    number, wrong = port(local), ['', 'x', token(shared)[:-1], token(shared) + 'x', 'é' * 43]
    wrong += ['%00', token(shared).swapcase(), '../' * 9, 'x' * 1500, "' or 1=1 --"]
    sent: list[tuple[str, int, str]] = []

    def send(what: str, one, path: str = '/', **request: str) -> None:
        sent.append((what, *answer(one, path, **request)))

    def shake(what: str, one, path: str, **request: str) -> None:
        sent.append((what, shaken(one, path, **request), ''))

    for host in foreign_names(number):
        send(f'host {host}', local, host=host)
        send(f'script by host {host}', local, '/page/picture.js', host=host)
        origin = f'http://{host}'
        shake(f'socket by host {host}', local, SOCKET_IO, host=host, Origin=origin)
    for origin in foreign_origins(number):
        send(f'origin {origin}', local, Origin=origin)
        shake(f'pictures for {origin}', local, '/pictures', Origin=origin)
        shake(f'socket for {origin}', local, SOCKET_IO, Origin=origin)
    shake('pictures without an origin', local, '/pictures')
    shake('socket without an origin', local, SOCKET_IO)
    for method in ('POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE', 'CONNECT', 'x' * 99):
        send(f'{method} page', local, method=method)
        send(f'{method} socket', local, SOCKET_IO.replace('websocket', 'polling'), method=method)
    for path in TRAVERSALS:
        send(f'path {path}', local, path)
    for kind in ('iframe', 'script', 'image', 'empty', 'frame', 'object'):
        send(f'{kind} of another site', local, Sec_Fetch_Site='cross-site', Sec_Fetch_Dest=kind)
    send('a body', local, Content_Length='5')
    send('a body without a length', local, Transfer_Encoding='chunked')
    send('a long path', local, '/' + 'x' * 3000)
    send('a long question', local, '/?' + 'x' * 3000)
    send('a long header', local, X='x' * 100_000)
    send('no token', shared)
    own = f'http://127.0.0.1:{port(shared)}'
    for text in wrong:
        send(f'token {text}', shared, f'/?token={text}')
        cookie = f'don_kp_page_{port(shared)}={text}'
        send(f'cookie {text}', shared, Cookie=cookie)
        shake(f'socket, cookie {text}', shared, SOCKET_IO, Origin=own, Cookie=cookie)
    send('the token where a file is', shared, f'/page/picture.js?token={token(shared)}')
    send('the token as a header', shared, Authorization=f'Bearer {token(shared)}')
    send('the token as a cookie', shared, Cookie=f'token={token(shared)}')
    shake('pictures without a cookie', shared, '/pictures', Origin=own)
    shake('pictures by token', shared, f'/pictures?token={token(shared)}', Origin=own)
    send('the token by a foreign name', shared, f'/?token={token(shared)}', host='evil.example')

    assert len({what for what, *_ in sent}) == len(sent) >= 200
    granted = [(what, status) for what, status, _ in sent if status and not 400 <= status < 500]
    assert granted == []
    for what, _, told in sent:
        assert 'root:' not in told and 'showPictures' not in told, what
        assert 'cookie: don_kp' not in told and token(shared) not in told, what
    # Of all this the stack has heard nothing, and both pages are still served.
    assert not [line for one in (local, shared) for line in one.said if 'asked' in line]
    assert answer(local)[0] == 200


def test_names_and_sentences_never_become_part_of_the_document(
    local, page: Page, tmp_path: Path
) -> None:
    page.goto(local.url)
    canvas = page.locator('#picture[data-stamp="12.345000000"]')
    canvas.wait_for()
    evil = '<img src=x onerror="window.injected = 1">'
    page.locator('.point').first.get_by_text(evil).first.wait_for()
    canvas.hover()
    page.locator('.what', has_text=evil).wait_for()
    page.get_by_role('button', name='Edit').first.click()
    fields = page.locator('.editing input')
    fields.nth(1).fill(f'{evil}, b')
    assert fields.first.input_value().startswith(evil)
    fields.first.fill(evil)
    page.get_by_role('button', name='Change it').click()
    page.locator('.q-notification', has_text=f'is now {evil}').wait_for()
    page.locator('.q-dialog__backdrop').wait_for(state='detached')
    (changed,) = [line for line in local.said if 'asked: change' in line]
    assert changed.rstrip().endswith(f"{evil!r} ({evil!r}, 'b')")
    page.get_by_role('button', name='Delete').first.click()  # is refused
    page.locator('.q-notification', has_text=evil).first.wait_for()
    page.locator('.q-select').first.click()
    page.get_by_role('option').nth(1).click()  # a heatmap is refused, too
    for tab, shown in ('Objects', '.object'), ('Grasp', 'button'), ('3D', 'canvas'):
        page.get_by_role('tab', name=tab).click()
        page.locator(f'.q-tab-panel {shown}').first.wait_for()
        if tab == 'Objects':
            page.get_by_role('button', name='Rename').click()
            fields.first.fill('b')
            page.get_by_role('button', name='Change it').click()  # is refused
            page.get_by_role('button', name='Never mind').click()
            page.locator('.q-dialog__backdrop').wait_for(state='detached')
    page.get_by_text('object/', exact=False).or_(page.locator('.q-tab-panel')).first.wait_for()
    page.get_by_role('tab', name='Grasp').click()
    page.get_by_label('name of a point or an object').fill(evil)
    page.get_by_role('button', name='Grasp').click()
    page.locator('.end', has_text=evil).wait_for()

    # What is typed is cut to what a name may be, and what the browser says is not believed.
    page.get_by_role('button', name='Store a point').click()
    page.locator('.q-dialog input').first.fill(evil + 'x' * 100_000)
    page.get_by_text('Go on').click()
    page.locator('.hint', has_text=evil).wait_for()
    page.locator('#picture[data-stamp]').wait_for()
    for said in (
        '{}', '{uv: [1, 2]}', '{uv: [1e308, NaN], stamp: [1, 2]}', '{uv: "<b>", stamp: [1, 2]}',
        '{uv: [1, 2], stamp: ["x", {}]}', '{uv: [1, 2, 3], stamp: [-1, 2]}', '"x"', 'null',
        '{uv: [[1], 2], stamp: [1, 2]}', '{corners: [[1, 2]], stamp: [1, 2]}',
    ):  # fmt: skip
        page.evaluate(f'emitEvent("picture_click", {said})')
        page.evaluate(f'emitEvent("picture_outline", {said})')
    canvas.click(position={'x': 5, 'y': 5})
    page.locator('.q-notification', has_text='is stored').first.wait_for()
    local.wait_for('asked: store')
    heard = ('asked: store', 'asked: propose', 'asked: teach')
    (stored,) = [line for line in local.said if any(one in line for one in heard)]
    assert 100 < len(stored) < 250 and '(12, 345000000) (0, 0)' in stored

    page.get_by_role('button', name='Teach an object').click()
    page.get_by_text('Go on').click()
    page.locator('.hint', has_text=evil).wait_for()
    canvas.click(position={'x': 5, 'y': 5})
    mask = page.locator('.mask', has_text=f'Is this {evil}')
    image = mask.locator('img')
    image.hover()  # waits until the dialog has opened wholly
    box = image.bounding_box()
    image.click(position={'x': 100 / 160 * box['width'], 'y': 60 / 120 * box['height']})
    mask.locator('path[stroke="#40ff60"]').wait_for(state='attached')
    mask.get_by_role('button', name='Teach').click()
    page.locator('.q-notification', has_text='is taught').first.wait_for()
    local.wait_for('asked: teach')
    (taught,) = [line for line in local.said if 'asked: teach' in line]
    disc = np.pi * 20**2
    shares = ast.literal_eval(taught.partition('(12, 345000000) ')[2])
    assert shares == pytest.approx([disc / (65 * 120), disc / (95 * 120)], rel=0.05)

    assert page.evaluate('window.injected') is None
    assert page.locator('img[src="x"]').count() == 0
    assert page.evaluate('[...document.scripts].every((s) => !s.text.includes("injected = 1<"))')
    assert 'Traceback' not in ''.join(local.said)
    page.screenshot(path=tmp_path / 'names.png')


def test_the_token_in_the_address_becomes_a_cookie_that_no_script_reads(
    shared, page: Page
) -> None:
    own = f'http://127.0.0.1:{port(shared)}/'
    assert page.goto(own).status == 403
    page.goto(f'{own}?token={token(shared)}')
    page.locator('#picture[data-stamp]').wait_for()
    assert page.url == own and page.evaluate('document.cookie') == ''
    page.reload()
    page.locator('#picture[data-stamp]').wait_for()


@pytest.fixture
def other_site(tmp_path: Path) -> Iterator[int]:
    """Another site, on this machine; its port."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    (tmp_path / 'index.html').write_text('<p id="site">another site</p>')
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_another_site_in_the_same_browser_reaches_nothing(
    local, page: Page, other_site: int
) -> None:
    page.goto(f'http://127.0.0.1:{other_site}/index.html')
    url = local.url
    assert page.evaluate(f'fetch("{url}").then(() => "read", () => "refused")') == 'refused'
    for path in '/pictures', SOCKET_IO:
        opened = page.evaluate(
            f"""new Promise((done) => {{
              const socket = new WebSocket("{url.replace('http', 'ws')[:-1]}{path}");
              socket.onopen = () => done('opened');
              socket.onclose = () => done('refused');
            }})"""
        )
        assert opened == 'refused', path
    shown = page.evaluate(
        f"""new Promise((done) => {{
          const frame = document.createElement('iframe');
          frame.src = "{url}";
          frame.onload = () => {{
            try {{ done(frame.contentDocument ? 'empty' : 'error'); }} catch {{ done('error'); }}
          }};
          document.body.append(frame);
        }})"""
    )
    assert shown in ('empty', 'error')
    assert page.frames[-1].locator('#picture').count() == 0
    ran = page.evaluate(
        f"""new Promise((done) => {{
          const script = document.createElement('script');
          script.src = "{url}page/picture.js";
          script.onload = () => done('ran');
          script.onerror = () => done('refused');
          document.body.append(script);
        }})"""
    )
    assert ran == 'refused'
