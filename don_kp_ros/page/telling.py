"""How a page tells what was done, and what was refused."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import ui

from don_kp_ros.errors import RefusedError

Handler = Callable[..., Awaitable[None]]
_LONGEST = 500  # characters


def tell(text: str, refused: bool = False) -> None:
    """Show a sentence for some seconds; it is text, whatever it holds."""
    ui.notify(
        text[:_LONGEST],
        type='negative' if refused else 'positive',
        multi_line=True,
        timeout=8000,
        close_button='OK',
    )


def refusals_told(handler: Handler) -> Handler:
    """Have a page's handler tell what it is refused, and go on."""

    @functools.wraps(handler)
    async def told(*arguments: Any, **named: Any) -> None:
        try:
            await handler(*arguments, **named)
        except RefusedError as error:
            tell(str(error), refused=True)

    return told
