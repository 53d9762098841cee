"""The page of two pictures: what is pointed at in one is shown in the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from nicegui import ui

from don_kp_ros.errors import RefusedError
from don_kp_ros.page import pointing
from don_kp_ros.page.canvas import Canvas, Marker, Picture, Stamp
from don_kp_ros.page.inspection import COLDEST, HOTTEST, SHARE, TEMPERATURE, Found, Inspection
from don_kp_ros.page.picture import picture

LEFT, RIGHT = '/pictures/a', '/pictures/b'


class InspectPage:
    """One browser's view of two pictures."""

    def __init__(self, inspection: Inspection, left: Canvas, right: Canvas) -> None:
        """Build the page."""
        self._inspection, self._left, self._right = inspection, left, right
        self._place: tuple[float, float] | None = None
        self._changed = self._looking = False
        self._count = 0
        with ui.row().classes('w-full items-center pt-8'):
            ui.label('temperature t of eq. 8')
            self._temperature = ui.slider(
                min=COLDEST, max=HOTTEST, step=0.1, value=TEMPERATURE, on_change=self._look
            )
            self._temperature.props('label-always').classes('w-64 temperature')
            ui.label('modes from a share of')
            self._share = ui.slider(
                min=0.05, max=1.0, step=0.05, value=SHARE, on_change=self._look
            )
            self._share.props('label-always').classes('w-64 share')
        with ui.row().classes('w-full no-wrap items-start'):
            with ui.column().classes('w-1/2'):
                picture(pointer=self._on_pointer, channel=LEFT, name='a')
                self._what = ui.label('Point at something in this picture.').classes('what')
            with ui.column().classes('w-1/2'):
                picture(channel=RIGHT, name='b')
                self._modes = ui.column().classes('gap-0')

    async def _on_pointer(self, said: dict[str, Any]) -> None:
        try:
            self._place = pointing.place(said)
        except RefusedError as error:
            self._what.set_text(str(error))
            return
        await self._look()

    async def _look(self) -> None:
        """Look at the newest place with the newest numbers; what comes meanwhile is one look."""
        self._changed = True
        if self._looking:
            return
        self._looking = True
        try:
            while self._changed and self._place is not None:
                self._changed = False
                numbers = float(self._temperature.value), float(self._share.value)
                found = await asyncio.to_thread(self._inspection.look, self._place, *numbers)
                self._show(found)
        finally:
            self._looking = False

    def _show(self, found: Found) -> None:
        self._count += 1
        self._left.mark('points', [Marker(*found.drawn)])
        marks = [
            Marker(*one.drawn, f'{number}: {one.similarity:.3f}', sure=number == 1)
            for number, one in enumerate(found.modes, start=1)
        ]
        self._right.mark('points', marks)
        self._right.show(Picture(Stamp(self._count, 0), found.heatmap))
        u, v = found.uv
        self._what.set_text(
            f'({u:.0f}, {v:.0f}); ambiguity {found.ambiguity:.3f}, '
            f'spread over {100 * found.spread:.1f} % of the picture'
        )
        self._modes.clear()
        with self._modes:
            for number, one in enumerate(found.modes, start=1):
                u, v = one.uv
                ui.label(
                    f'{number}: ({u:.0f}, {v:.0f}), similarity {one.similarity:.3f}, '
                    f'share {one.share:.3f}'
                ).classes('mode')


def root(inspection: Inspection, left: Canvas, right: Canvas) -> Callable[[], None]:
    """Return what makes the page for each browser."""

    def build() -> None:
        InspectPage(inspection, left, right)

    return build
