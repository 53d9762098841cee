"""The page of a running stack: the picture and its tools, and the tabs beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from nicegui import ui
from numpy.typing import NDArray

from don_kp_ros.errors import RefusedError
from don_kp_ros.page import pointing
from don_kp_ros.page.activity import Activity
from don_kp_ros.page.canvas import Canvas, Stamp
from don_kp_ros.page.editing import name_input, tags_input
from don_kp_ros.page.grasp_tab import GraspTab
from don_kp_ros.page.lists import ObjectList, PointList
from don_kp_ros.page.mask_dialog import MaskDialog
from don_kp_ros.page.picture import picture, want_examined
from don_kp_ros.page.port import Existing, Stack
from don_kp_ros.page.scene_tab import SceneTab
from don_kp_ros.page.telling import refusals_told, tell

_TOOLS = {'look': 'What is this?', 'store': 'Store a point', 'teach': 'Teach an object'}
_EXISTING = {'refuse': 'is refused', 'replace': 'is replaced', 'add': 'gets this view, too'}
_STALE_S = 2.0  # of this machine's time without a picture
_NO_PICTURE = 'No picture comes from the camera: does its driver run?'


class StackPage:
    """One browser's view of the stack."""

    def __init__(self, stack: Stack, canvas: Canvas, activity: Activity) -> None:
        """Build the page."""
        self._stack, self._canvas = stack, canvas
        self._pointed: dict[str, Any] | None = None
        self._asking = False
        self._last: object = None
        self._quiet_s, self._lacks = 0.0, ''
        with ui.row().classes('w-full no-wrap items-start'):
            with ui.column().classes('w-1/2'):
                self._build_tools()
                picture(click=self._on_click, outline=self._on_outline, pointer=self._on_pointer)
                self._what = ui.label().classes('what')
            with ui.column().classes('w-1/2'):
                self._build_tabs(activity)
        self._build_question()
        self._masks = MaskDialog(self._stop_pointing)
        ui.timer(0.5, self._watch)

    def _build_tools(self) -> None:
        with ui.row().classes('items-center'):
            self._tool = ui.toggle(_TOOLS, value='look', on_change=self._on_tool)
            self._heatmap = ui.select(
                {'': 'no heatmap'}, value='', label='heatmap of', on_change=self._on_heatmap
            ).classes('w-40')
        self._hint = ui.label().classes('hint h-6')

    def _build_tabs(self, activity: Activity) -> None:
        with ui.tabs().classes('w-full') as tabs:
            points, objects, grasp, scene = map(ui.tab, ('Points', 'Objects', 'Grasp', '3D'))
        # Of the tabs, only the one that is open is in the document: the scene costs a lot.
        with ui.tab_panels(tabs, value=points).classes('w-full'):
            with ui.tab_panel(points):
                self._points = PointList(self._stack, self._on_points)
            with ui.tab_panel(objects):
                self._objects = ObjectList(self._stack)
            with ui.tab_panel(grasp):
                GraspTab(self._stack, activity)
            with ui.tab_panel(scene):
                SceneTab(self._stack, lambda: tabs.value == '3D')

    def _build_question(self) -> None:
        with ui.dialog() as self._question, ui.card():
            self._asked = ui.label()
            self._name, self._tags = name_input('name, such as cap/brim'), tags_input()
            self._name.on('keydown.enter', self._on_named)
            self._existing = ui.select(_EXISTING, value='refuse', label='what has it already')
            with ui.row():
                ui.button('Go on', on_click=self._on_named)
                ui.button('Never mind', on_click=self._on_nothing).props('flat')

    def _on_tool(self) -> None:
        want_examined(self._tool.value != 'look')
        if self._tool.value == 'look':
            self._hint.set_text('')
            return
        thing = 'the point' if self._tool.value == 'store' else 'the object'
        # Asked first: perception keeps a picture for two seconds, and typing takes longer.
        self._asked.set_text(f'What is {thing} called?')
        self._tags.set_visibility(self._tool.value == 'store')
        self._hint.set_text('')
        self._question.open()

    @refusals_told
    async def _on_named(self) -> None:
        name = pointing.name(self._name.value)
        pointing.tags(self._tags.value)
        how = '' if self._tool.value == 'store' else ', or draw its outline'
        self._hint.set_text(f'Now click on {name} in the picture{how}.')
        self._question.close()

    def _on_nothing(self) -> None:
        self._question.close()
        self._stop_pointing()

    def _stop_pointing(self) -> None:
        self._tool.set_value('look')

    @refusals_told
    async def _on_click(self, said: dict[str, Any]) -> None:
        if not self._hint.text:
            self._tool.set_value('store' if self._tool.value == 'look' else self._tool.value)
            self._question.open()
            return
        u, v = pointing.place(said)
        stamp, name, existing = pointing.stamp(said), self._given(), self._given_existing()
        pixel = (round(u), round(v))
        if self._tool.value == 'teach':
            await self._propose(stamp, pixel, [])
            return
        tags = pointing.tags(self._tags.value)
        done = await self._stack.store(name, stamp, pixel, tags, existing)
        await self._points.refresh()
        self._done(done)

    @refusals_told
    async def _on_outline(self, said: dict[str, Any]) -> None:
        if not (self._hint.text and self._tool.value == 'teach'):
            raise RefusedError('an outline teaches an object: choose that first')
        corners = pointing.outline(said)
        await self._propose(pointing.stamp(said), (0, 0), corners)

    async def _propose(
        self, stamp: Stamp, pixel: tuple[int, int], outline: Sequence[tuple[float, float]]
    ) -> None:
        """Show the mask of what was pointed at, to be corrected and then taught."""
        name, existing = self._given(), self._given_existing()
        proposed = await self._stack.propose(stamp, pixel, outline)

        async def teach(mask: NDArray[np.uint8]) -> None:
            done = await self._stack.teach(name, proposed.stamp, mask, existing)
            await self._objects.refresh()
            self._done(done)

        await self._masks.open(name, proposed, teach)

    def _given(self) -> str:
        return pointing.name(self._name.value)

    def _given_existing(self) -> Existing:
        value = self._existing.value
        return value if value in ('replace', 'add') else 'refuse'

    def _done(self, told: str) -> None:
        tell(told)
        self._existing.set_value('refuse')
        self._tool.set_value('look')

    async def _on_pointer(self, said: dict[str, Any]) -> None:
        self._pointed = said
        if self._asking or self._tool.value != 'look':
            return
        self._asking = True
        try:
            while self._pointed is not None:  # the newest place alone
                said, self._pointed = self._pointed, None
                try:
                    told = await self._stack.rank(pointing.place(said))
                except RefusedError as error:
                    told = str(error)
                self._what.set_text(told)
        finally:
            self._asking = False

    @refusals_told
    async def _on_heatmap(self) -> None:
        await self._stack.show_heatmap(str(self._heatmap.value or ''))

    def _on_points(self, names: list[str]) -> None:
        self._heatmap.set_options({'': 'no heatmap', **{name: name for name in names}})

    def _watch(self) -> None:
        newest = self._canvas.picture
        self._quiet_s = 0.0 if newest is not self._last else self._quiet_s + 0.5
        self._last = newest
        lacks = _NO_PICTURE if self._quiet_s >= _STALE_S else self._canvas.lacks
        if lacks or self._what.text == self._lacks:
            self._what.set_text(lacks)
        self._lacks = lacks


def root(stack: Stack, canvas: Canvas, activity: Activity) -> Callable[[], None]:
    """Return what makes the page for each browser."""

    def build() -> None:
        StackPage(stack, canvas, activity)

    return build
