"""The element that shows a channel's pictures and hears the pointer."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import ui

CHANNEL = '/pictures'
Said = Callable[[dict[str, Any]], Awaitable[None]]


def picture(
    click: Said | None = None,
    outline: Said | None = None,
    pointer: Said | None = None,
    channel: str = CHANNEL,
    name: str = 'picture',
) -> ui.element:
    """Show a channel's pictures; the handlers get what the browser says (picture.js)."""
    canvas = ui.element('canvas').props(f'id={name}')
    canvas.classes('w-full').style('touch-action: none; cursor: crosshair; background: #222')
    events = {}
    for kind, handler in ('click', click), ('outline', outline), ('pointer', pointer):
        events[kind] = f'{name}_{kind}'
        if handler is not None:
            ui.on(events[kind], _heard(handler))
    begin = f'showPictures(document.getElementById("{name}"), "{channel}", {json.dumps(events)})'
    ui.run_javascript(begin)
    return canvas


def want_examined(on: bool, name: str = 'picture') -> None:
    """Have examined pictures shown, to point at, or the newest ones again."""
    ui.run_javascript(f'document.getElementById("{name}").want("{"examined" if on else "live"}")')


def _heard(handler: Said) -> Callable[[Any], Awaitable[None]]:
    async def heard(event: Any) -> None:
        if isinstance(event.args, dict):
            await handler(event.args)

    return heard
