"""Serve a page: one process, one port, until a signal comes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import warnings
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from nicegui import core, ui
from starlette.routing import WebSocketRoute
from starlette.staticfiles import StaticFiles

from don_kp_ros.errors import RefusedError
from don_kp_ros.page.access import LARGEST_HEADERS, Access
from don_kp_ros.page.channel import Channel

_SCRIPTS = Path(__file__).parent / 'static'
_LONGEST_MESSAGE = 1 << 18  # bytes of a websocket's message: an outline drawn by hand takes 20 kB
_AWAY_S = 60.0  # a browser that says nothing for so long, as on a busy machine, begins anew
_SOON_S, _POLL_S = 0.02, 0.2


def serve(
    root: Callable[[], object],
    channels: Mapping[str, Channel],
    title: str,
    host: str,
    port: int,
    ended: Callable[[], bool] = lambda: False,
) -> None:
    """Serve a page until a signal comes, or ``ended``.

    ``root`` makes its content for each browser; ``channels`` are those of its pictures, by path.
    Prints the address once it is served.
    Raises RefusedError where the port cannot be had.
    """
    bound = _bound(host, port)
    port = bound.getsockname()[1]
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.mount('/page', StaticFiles(directory=_SCRIPTS))
    app.router.routes += [WebSocketRoute(at, one.serve) for at, one in channels.items()]
    access = Access(app, host, port)

    def build() -> None:
        ui.add_body_html('<script src="/page/picture.js"></script>')
        root()

    ui.run_with(
        app, root=build, title=title, show_welcome_message=False, reconnect_timeout=_AWAY_S
    )
    core.sio.eio.max_http_buffer_size = _LONGEST_MESSAGE
    config = uvicorn.Config(
        access,
        log_level='warning',
        http='h11',  # which limits what it keeps of headers that never end
        h11_max_incomplete_event_size=LARGEST_HEADERS,
        ws_max_size=_LONGEST_MESSAGE,
        timeout_graceful_shutdown=1,
        server_header=False,
        proxy_headers=False,
    )
    server = uvicorn.Server(config)
    # NiceGUI looks for the server among all objects there are, torch's deprecated ones as well.
    warnings.filterwarnings('ignore', category=FutureWarning, module='nicegui')
    inner = app.router.lifespan_context

    async def watch() -> None:
        while not server.started:
            await asyncio.sleep(_SOON_S)
        # What is there by now stays: looking through all of it for garbage takes 80 ms, now and
        # then, in which no picture is sent.
        gc.freeze()
        token = f'?token={access.token}' if access.token else ''
        print(f'The page is at http://{access.url_host}:{port}/{token}', flush=True)
        while not ended():
            await asyncio.sleep(_POLL_S)
        server.should_exit = True

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        watching = asyncio.create_task(watch())
        async with inner(app) as state:
            yield state
        watching.cancel()

    app.router.lifespan_context = lifespan
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=[bound])


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise RefusedError(
            f'nobody can be served at {host}, port {port}: {error.strerror}; choose another by '
            '--host or --port (0: any that is free)'
        ) from error
    return listening
