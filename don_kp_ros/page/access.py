"""Who is served: the browser of whoever started the page, and no other site in that browser.

A page that moves a robot must not be reached by a name that another site has pointed at this
machine (DNS rebinding), by a script or a frame of another site, nor, beyond this machine, without
the token that its user was told.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, unquote

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

LOCAL_NAMES = ('localhost', '127.0.0.1', '::1')
_HOST = re.compile(r'(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?', re.ASCII)
LARGEST_HEADERS = 1 << 15  # bytes
_LONGEST_PATH = 2048  # characters of path and query, as they are sent
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    (b'content-security-policy', _POLICY.encode()),
    (b'x-frame-options', b'DENY'),
    (b'x-content-type-options', b'nosniff'),
    (b'referrer-policy', b'no-referrer'),
    (b'cross-origin-opener-policy', b'same-origin'),
    (b'cross-origin-resource-policy', b'same-origin'),
)


class Access:
    """Stands before an ASGI application, and refuses what its user did not ask for.

    Served are GET and HEAD, and websockets that this page itself opened. The names by which a
    browser may call the page are this machine's own; an address needs no name server, so any will
    do where the page is bound to more than this machine. There a token is needed, once in the
    address, then as a cookie.
    """

    def __init__(self, app: Application, host: str, port: int) -> None:
        """Guard what is bound to a host's name or address, and a port."""
        self.app = app
        self._local = is_local(host)
        self._host = host
        self._names = {*LOCAL_NAMES, host.lower()}
        if not self._local:  # once: a name server that does not answer takes seconds
            own = socket.gethostname().lower()
            self._names |= {own, f'{own}.local', socket.getfqdn().lower()}
        self.token = '' if self._local else secrets.token_urlsafe(32)
        self._ticket = secrets.token_urlsafe(32)  # the cookie's: an address may be seen by others
        self._cookie = f'don_kp_page_{port}'  # cookies of one name are those of all ports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or answer why it is not."""
        if scope['type'] == 'lifespan':
            await self.app(scope, receive, send)
            return
        if scope['type'] == 'websocket':
            await self._websocket(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await _answer(send, *refusal)
        elif self._brings_token(scope):
            cookie = f'{self._cookie}={self._ticket}; Path=/; HttpOnly; SameSite=Strict'
            headers = [(b'location', b'/'), (b'set-cookie', cookie.encode())]
            await _answer(send, 303, '', headers)
        elif not self._is_known(scope):
            told = 'Open the address that was printed when the page was started: it has the token.'
            await _answer(send, 403, told)
        else:
            await self.app(scope, receive, _with_headers(send))

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self._refusal(scope) is not None or not self._is_known(scope)
        if refused or 'origin' not in _headers(scope):  # a browser always says it
            await receive()
            await send({'type': 'websocket.close', 'code': 1008})
            return
        await self.app(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Return status and words for a request that is not served, whoever asks."""
        headers = _headers(scope)
        if scope['type'] == 'http' and scope['method'] not in ('GET', 'HEAD'):
            return 405, 'Only GET and HEAD are served.'
        if headers.get('content-length', '0') != '0' or 'transfer-encoding' in headers:
            return 413, 'A request has no body here.'
        if sum(len(key) + len(value) for key, value in scope['headers']) > LARGEST_HEADERS:
            return 431, f'The headers of a request have at most {LARGEST_HEADERS} bytes.'
        if len(scope.get('raw_path') or b'') + len(scope['query_string']) > _LONGEST_PATH:
            return 414, f'An address has at most {_LONGEST_PATH} characters.'
        path = unquote(scope['path'])
        if '\\' in path or '\0' in path or '..' in path.split('/'):
            return 400, 'No such path.'
        host = headers.get('host', '')
        if not self._is_own(host):
            return 421, f'This page is not called by that name; use {self.url_host}.'
        origin = headers.get('origin')
        if origin is not None and not _same(origin, host):
            return 403, 'Another site must not use this page.'
        fetched = headers.get('sec-fetch-site', 'none')
        if fetched not in ('none', 'same-origin') and headers.get('sec-fetch-dest') != 'document':
            return 403, 'Another site must not use this page.'
        return None

    @property
    def url_host(self) -> str:
        """The name to call the page by, from this machine or another one."""
        if self._host in ('0.0.0.0', '::'):
            return socket.gethostname()
        return f'[{self._host}]' if ':' in self._host else self._host

    def _is_own(self, host: str) -> bool:
        matched = _HOST.fullmatch(host.lower())
        if matched is None:
            return False
        name = matched['name'].strip('[]')
        if name in self._names:
            return True
        if self._local:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _brings_token(self, scope: Scope) -> bool:
        if not self.token or scope['path'] != '/':
            return False
        try:
            given = parse_qs(scope['query_string'].decode('ascii'), max_num_fields=8)
        except (UnicodeDecodeError, ValueError):
            return False
        return any(_equal(one, self.token) for one in given.get('token', ()))

    def _is_known(self, scope: Scope) -> bool:
        if not self.token:
            return True
        try:
            cookies = SimpleCookie(_headers(scope).get('cookie', ''))
        except CookieError:
            return False
        ours = cookies.get(self._cookie)
        return ours is not None and _equal(ours.value, self._ticket)


def is_local(host: str) -> bool:
    """Tell whether a name or address reaches this machine alone."""
    if host.lower() == 'localhost':
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _headers(scope: Scope) -> Mapping[str, str]:
    """Return the headers by name; one that is sent twice is joined, and so no name or origin."""
    found: dict[str, str] = {}
    for key, value in scope['headers']:
        name, text = key.decode('latin-1').lower(), value.decode('latin-1')
        found[name] = f'{found[name]}, {text}' if name in found else text
    return found


def _same(origin: str, host: str) -> bool:
    return origin.lower() in (f'http://{host}'.lower(), f'https://{host}'.lower())


def _equal(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode('utf-8', 'replace'), secret.encode())


def _with_headers(send: Send) -> Send:
    async def sent(message: Any) -> None:
        if message['type'] == 'http.response.start':
            message['headers'] = [*message.get('headers', ()), *_HEADERS]
        await send(message)

    return sent


async def _answer(
    send: Send, status: int, text: str, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    body = text.encode()
    told = [
        *(headers or []),
        *_HEADERS,
        (b'content-type', b'text/plain; charset=utf-8'),
        (b'content-length', str(len(body)).encode()),
        (b'cache-control', b'no-store'),
    ]
    await send({'type': 'http.response.start', 'status': status, 'headers': told})
    await send({'type': 'http.response.body', 'body': body})
