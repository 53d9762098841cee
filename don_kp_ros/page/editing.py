"""The dialog in which a stored thing gets another name, or other tags."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from nicegui import ui

from don_kp_ros.page import pointing
from don_kp_ros.page.telling import refusals_told, tell

Change = Callable[[str, tuple[str, ...] | None], Awaitable[str]]


class Editing:
    """Asks what a thing is called and, of a point, by which tags it is found."""

    def __init__(self, changed: Callable[[], Awaitable[None]], tagged: bool = True) -> None:
        """Build the dialog; ``changed`` is called after each change, ``tagged``: it has tags."""
        self._changed = changed
        self._change: Change | None = None
        self._tags: tuple[str, ...] = ()
        with ui.dialog() as self._dialog, ui.card().classes('editing'):
            self._name, self._typed = name_input('name'), tags_input()
            self._typed.set_visibility(tagged)
            with ui.row():
                ui.button('Change it', on_click=self._on_done)
                ui.button('Never mind', on_click=self._dialog.close).props('flat')
        self._name.on('keydown.enter', self._on_done)

    def open(self, name: str, tags: tuple[str, ...], change: Change) -> None:
        """Ask about a thing; ``change`` gets its new name and tags."""
        self._change, self._tags = change, tags
        self._name.set_value(name)
        self._typed.set_value(_joined(tags))
        self._dialog.open()

    @refusals_told
    async def _on_done(self) -> None:
        if self._change is None:
            return
        # One tag may have commas in it: what nobody has changed is not taken apart.
        same = self._typed.value == _joined(self._tags)
        tags = None if same else pointing.tags(self._typed.value)
        tell(await self._change(pointing.name(self._name.value), tags))
        self._dialog.close()
        await self._changed()


def name_input(label: str) -> ui.input:
    """Make a field for a name."""
    limit = f'maxlength={pointing.LONGEST_NAME} autofocus'
    return ui.input(label).props(limit).classes('w-64')


def tags_input() -> ui.input:
    """Make a field for tags."""
    limit = pointing.MOST_TAGS * (pointing.LONGEST_NAME + 2)
    return ui.input('tags, by commas').props(f'maxlength={limit}').classes('w-64')


def _joined(tags: tuple[str, ...]) -> str:
    return ', '.join(tags)
