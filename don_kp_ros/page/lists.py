"""The lists of what is stored: points with their pictures, and taught objects."""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable

from nicegui import ui
from nicegui.events import ValueChangeEventArguments

from don_kp_ros.page.editing import Editing
from don_kp_ros.page.port import Stack, StoredObject, StoredPoint
from don_kp_ros.page.telling import refusals_told, tell

_SHOWN = 12  # points at a time: each has a picture
_PNG = b'\x89PNG\r\n\x1a\n'
_LARGEST_PATCH = 1 << 20  # bytes


class PointList:
    """The stored points, a page of them at a time, and those that can be restored."""

    def __init__(self, stack: Stack, on_names: Callable[[list[str]], None]) -> None:
        """Build the list; ``on_names`` gets the names of the stored points."""
        self._stack, self._on_names = stack, on_names
        self._found: list[StoredPoint] = []
        self._images: list[tuple[ui.image, StoredPoint]] = []
        with ui.row().classes('items-center'):
            self._prefix = ui.input('name or tag', on_change=self._draw)
            self._deleted = ui.switch('deleted ones', on_change=self.refresh)
            ui.button(icon='refresh', on_click=self.refresh).props('flat round')
        self._page = 1
        self._editing = Editing(self.refresh)
        self._show()
        ui.timer(0.1, self.refresh, once=True)

    @refusals_told
    async def refresh(self) -> None:
        """Ask for the list anew."""
        self._found = await self._stack.points(self._deleted.value)
        if not self._deleted.value:
            self._on_names([one.name for one in self._found])
        await self._draw()

    async def _draw(self) -> None:
        self._images = []
        await self._show.refresh()
        if not self._deleted.value:
            for image, point in self._images:
                await self._fill(image, point)

    @ui.refreshable_method
    def _show(self) -> None:
        wanted = self._prefix.value or ''
        found = [p for p in self._found if wanted in p.name or wanted in p.tags]
        pages = max(1, -(-len(found) // _SHOWN))
        self._page = min(self._page, pages)
        if not found:
            ui.label('None.')
        for point in found[(self._page - 1) * _SHOWN : self._page * _SHOWN]:
            self._row(point)
        if pages > 1:
            ui.pagination(1, pages, value=self._page, on_change=self._turn)

    def _row(self, point: StoredPoint) -> None:
        with ui.row().classes('items-center w-full point'):
            self._images.append((ui.image().classes('w-16 h-16'), point))
            with ui.column().classes('gap-0 grow'):
                ui.label(point.name).classes('font-bold')
                seen = f'{point.observations} looks' if point.observations > 1 else '1 look'
                ui.label(f'on {point.object}, {seen}, model {point.model[:12]}').classes('text-xs')
                with ui.row().classes('gap-1'):
                    for tag in point.tags:
                        ui.badge(tag)
            if self._deleted.value:
                ui.button('Restore', on_click=lambda: self._restore(point)).props('flat')
            else:
                ui.button('Edit', on_click=lambda: self._edit(point)).props('flat')
                ui.button('Delete', on_click=lambda: self._delete(point)).props('flat')

    def _edit(self, point: StoredPoint) -> None:
        change = functools.partial(self._stack.change_point, point)
        self._editing.open(point.name, point.tags, change)

    @refusals_told
    async def _fill(self, image: ui.image, point: StoredPoint) -> None:
        patch = await self._stack.patch(point)
        if patch.startswith(_PNG) and len(patch) <= _LARGEST_PATCH:
            image.set_source('data:image/png;base64,' + base64.b64encode(patch).decode())

    async def _turn(self, event: ValueChangeEventArguments) -> None:
        self._page = event.value
        await self._draw()

    @refusals_told
    async def _delete(self, point: StoredPoint) -> None:
        tell(await self._stack.delete_point(point))
        await self.refresh()

    @refusals_told
    async def _restore(self, point: StoredPoint) -> None:
        tell(await self._stack.restore_point(point))
        await self.refresh()


class ObjectList:
    """The taught objects."""

    def __init__(self, stack: Stack) -> None:
        """Build the list."""
        self._stack = stack
        self._found: list[StoredObject] = []
        ui.button(icon='refresh', on_click=self.refresh).props('flat round')
        self._editing = Editing(self.refresh, tagged=False)
        self._show()
        ui.timer(0.1, self.refresh, once=True)

    @refusals_told
    async def refresh(self) -> None:
        """Ask for the list anew."""
        self._found = await self._stack.objects()
        self._show.refresh()

    @ui.refreshable_method
    def _show(self) -> None:
        if not self._found:
            ui.label('None is taught.')
        for taught in self._found:
            with ui.row().classes('items-center w-full object'):
                with ui.column().classes('gap-0 grow'):
                    ui.label(taught.name).classes('font-bold')
                    views = f'{taught.views} views' if taught.views > 1 else '1 view'
                    grasps = ', '.join(taught.grasps) or 'none'
                    ui.label(
                        f'{taught.points} points of {views}; grasps: {grasps}; '
                        f'model {taught.model[:12]}'
                    ).classes('text-xs')
                self._buttons(taught)

    def _buttons(self, taught: StoredObject) -> None:
        async def rename(name: str, _: tuple[str, ...] | None) -> str:
            return await self._stack.rename_object(taught, name)

        rename_it = functools.partial(self._editing.open, taught.name, (), rename)
        ui.button('Rename', on_click=rename_it).props('flat')
        # There is no service that brings an object back: deleting is asked about.
        with ui.dialog() as sure, ui.card():
            ui.label(f'Delete {taught.name}? It cannot be restored.')
            with ui.row():
                ui.button('Delete it', on_click=lambda: self._delete(taught))
                ui.button('Keep it', on_click=sure.close).props('flat')
        ui.button('Delete', on_click=sure.open).props('flat')

    @refusals_told
    async def _delete(self, taught: StoredObject) -> None:
        tell(await self._stack.delete_object(taught))
        await self.refresh()
