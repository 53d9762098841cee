"""The dialog in which the mask of an object is looked at and corrected before it is taught."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from nicegui import ui
from nicegui.events import MouseEventArguments
from numpy.typing import NDArray

from don_kp_ros.errors import RefusedError
from don_kp_ros.page import pointing
from don_kp_ros.page.canvas import Marker, Picture, Stamp
from don_kp_ros.page.cutting import TOOLS, Cutting
from don_kp_ros.page.port import Proposed
from don_kp_ros.page.telling import refusals_told

Teach = Callable[[NDArray[np.uint8]], Awaitable[None]]

_RIGHT = 2  # of the mouse's buttons
_NO_STAMP = Stamp(0, 0)  # nobody asks which picture it is


class MaskDialog:
    """Shows a picture that stands still, with the mask over it; clicks correct it."""

    def __init__(self, on_left: Callable[[], None]) -> None:
        """Build the dialog; ``on_left`` is called where nothing is to be taught after all."""
        self._on_left = on_left
        self._busy = asyncio.Lock()
        self._cutting: Cutting | None = None
        self._teach: Teach | None = None
        with (
            ui.dialog().props('persistent') as self._dialog,
            ui.card().classes('mask').style('max-width: 1000px; width: 1000px'),
        ):
            self._what = ui.label().classes('font-bold')
            self._told = ui.label().classes('told')
            self._image = ui.interactive_image(on_mouse=self._on_mouse, events=['mousedown'])
            self._image.classes('w-full').style('cursor: crosshair')
            self._image.on('contextmenu.prevent', js_handler='() => {}')
            ui.label('Click on what is missing; with the right button on what is too much.')
            with ui.row().classes('items-center'):
                self._tool = ui.toggle(TOOLS, value='inside')
                ui.button('Undo', on_click=self._on_undo).props('flat')
                ui.button('Teach', on_click=self._on_teach)
                ui.button('Never mind', on_click=self._on_nothing).props('flat')

    async def open(self, name: str, proposed: Proposed, teach: Teach) -> None:
        """Show what is proposed for a name; ``teach`` gets the mask (H, W) that is agreed on."""
        self._cutting, self._teach = Cutting(proposed.pixels, proposed.mask > 0), teach
        self._what.set_text(f'Is this {name}?')
        self._tool.set_value('inside')
        await self._look()
        self._dialog.open()

    @refusals_told
    async def _on_mouse(self, said: MouseEventArguments) -> None:
        if self._cutting is None:
            return
        # The centre of pixel (0, 0) is half a pixel inside.
        place: dict[str, Any] = {'uv': [said.image_x, said.image_y]}
        u, v = pointing.place(place)
        inside = said.button != _RIGHT and self._tool.value == 'inside'
        self._cutting.point((u - 0.5, v - 0.5), inside)
        await self._look()

    async def _on_undo(self) -> None:
        if self._cutting is not None:
            self._cutting.undo()
            await self._look()

    @refusals_told
    async def _on_teach(self) -> None:
        async with self._busy:  # once, however often it is clicked on
            if self._cutting is None or self._teach is None:
                return
            shown = await asyncio.to_thread(self._cutting.look)
            if shown.proposal is None:
                raise RefusedError(shown.told)
            await self._teach(shown.proposal.mask)
            self._close()

    def _on_nothing(self) -> None:
        self._close()
        self._on_left()

    def _close(self) -> None:
        self._dialog.close()
        self._cutting = self._teach = None

    async def _look(self) -> None:
        cutting = self._cutting
        if cutting is None:
            return
        async with self._busy:
            shown = await asyncio.to_thread(cutting.look)
        self._told.set_text(shown.told)
        jpeg = base64.b64encode(Picture(_NO_STAMP, shown.pixels).jpeg).decode()
        self._image.set_source(f'data:image/jpeg;base64,{jpeg}')
        self._image.set_content(''.join(map(_cross, shown.marks)))


def _cross(mark: Marker) -> str:
    """Draw a click as SVG: green where it says that this is the object, else red."""
    u, v = mark.u + 0.5, mark.v + 0.5
    arms = f'M{u - 7:.1f} {v:.1f}h14M{u:.1f} {v - 7:.1f}v14'
    colour = '#40ff60' if mark.sure else '#ff6040'
    return f'<path d="{arms}" stroke="{colour}" stroke-width="3" />'
