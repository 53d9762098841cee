"""The page on which masks are drawn by clicks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from nicegui import ui

from don_kp_ros.page import pointing
from don_kp_ros.page.canvas import Canvas, Picture, Stamp
from don_kp_ros.page.cutting import TOOLS
from don_kp_ros.page.outlining import Outlining
from don_kp_ros.page.picture import picture
from don_kp_ros.page.telling import refusals_told, tell


class OutlinePage:
    """One browser's view of the pictures; all browsers work on the same one."""

    def __init__(self, outlining: Outlining, canvas: Canvas) -> None:
        """Build the page."""
        self._outlining, self._canvas = outlining, canvas
        self._looking = asyncio.Lock()  # what was seen last is shown last
        with ui.row().classes('w-full items-center'):
            self._place = ui.label().classes('place')
            self._tool = ui.toggle(TOOLS, value='inside')
            ui.button('Undo', on_click=self._on_undo).props('flat')
            ui.button('Save', on_click=self._on_save)
            ui.button('Back', on_click=lambda: self._on_move(-1)).props('flat')
            ui.button('Next', on_click=lambda: self._on_move(1)).props('flat')
        self._told = ui.label().classes('told')
        with ui.column().classes('w-full').style('max-width: 960px'):
            picture(click=self._on_click, outline=self._on_outline)
        ui.timer(0.0, self._look, once=True)

    @refusals_told
    async def _on_click(self, said: dict[str, Any]) -> None:
        self._outlining.cutting.point(pointing.place(said), self._tool.value == 'inside')
        await self._look()

    @refusals_told
    async def _on_outline(self, said: dict[str, Any]) -> None:
        self._outlining.cutting.enclose(pointing.outline(said))
        await self._look()

    async def _on_undo(self) -> None:
        self._outlining.cutting.undo()
        await self._look()

    @refusals_told
    async def _on_save(self) -> None:
        told = await asyncio.to_thread(self._outlining.save)
        tell(told)
        self._tool.set_value('inside')
        await self._look()

    @refusals_told
    async def _on_move(self, by: int) -> None:
        if left_out := await asyncio.to_thread(self._outlining.move, by):
            tell(left_out, refused=True)
        await self._look()

    async def _look(self) -> None:
        async with self._looking:
            place, shown = await asyncio.to_thread(self._outlining.look)
        before = self._canvas.picture
        number = 0 if before is None else before.stamp.sec + 1
        self._canvas.mark('points', shown.marks)
        self._canvas.show(Picture(Stamp(number, 0), shown.pixels))
        self._place.set_text(place)
        self._told.set_text(shown.told)


def root(outlining: Outlining, canvas: Canvas) -> Callable[[], None]:
    """Return what makes the page for each browser."""

    def build() -> None:
        OutlinePage(outlining, canvas)

    return build
