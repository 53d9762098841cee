"""How pictures get into browsers: the newest one, as soon as the one before has been drawn."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections.abc import Callable

from starlette.websockets import WebSocket, WebSocketDisconnect

from don_kp_ros.page.canvas import Canvas, plain

MOST_VIEWERS = 8


class Channel:
    """Sends a canvas to browsers.

    A round is one text message of JSON, {"layers": {name: marks}, "picture": bool}, and where
    there is a new picture a binary one: its stamp as two little-endian uint32, then JPEG. The next
    round waits for the browser's word that it has drawn this one: what comes meanwhile is skipped,
    and a browser that is hidden, or slow, costs nothing. That word is the kind of picture that it
    wants next: "live", or "examined" where its user is about to point at something.
    """

    def __init__(self, canvas: Canvas, on_viewers: Callable[[int], None] = lambda _: None) -> None:
        """Send a canvas; ``on_viewers`` gets the number of browsers whenever it changes."""
        self._canvas, self._on_viewers = canvas, on_viewers
        self._viewers = 0

    async def serve(self, websocket: WebSocket) -> None:
        """Serve a browser until it goes."""
        if self._viewers >= MOST_VIEWERS:
            await websocket.close(1013)
            return
        await websocket.accept()
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def changed() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(news.set)

        end = self._canvas.listen(changed)
        self._count(1)
        news.set()
        try:
            await self._send(websocket, news)
        except WebSocketDisconnect:
            pass
        finally:
            end()
            self._count(-1)

    async def _send(self, websocket: WebSocket, news: asyncio.Event) -> None:
        sent, kind = None, 'live'
        said = asyncio.create_task(websocket.receive_text())
        try:
            while True:
                waiting = asyncio.create_task(news.wait())
                try:
                    await asyncio.wait({waiting, said}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    waiting.cancel()
                if said.done():
                    kind, sent = said.result(), None  # raises where the browser has gone
                    said = asyncio.create_task(websocket.receive_text())
                news.clear()
                picture = self._canvas.examined if kind == 'examined' else self._canvas.picture
                layers = {name: plain(marks) for name, marks in self._canvas.layers().items()}
                new = picture is not None and picture is not sent
                await websocket.send_text(json.dumps({'layers': layers, 'picture': new}))
                if picture is not None and new:
                    jpeg = await asyncio.to_thread(getattr, picture, 'jpeg')
                    await websocket.send_bytes(struct.pack('<II', *picture.stamp) + jpeg)
                    sent = picture
                kind = await said  # it is drawn
                said = asyncio.create_task(websocket.receive_text())
        finally:
            said.cancel()
            with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect):
                await said

    def _count(self, change: int) -> None:
        self._viewers += change
        self._on_viewers(self._viewers)
