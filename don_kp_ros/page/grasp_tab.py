"""The buttons that move the arm, and the phases of the goal that runs."""

from __future__ import annotations

from nicegui import ui

from don_kp_ros.page import pointing
from don_kp_ros.page.activity import Activity, Told
from don_kp_ros.page.port import Stack
from don_kp_ros.page.telling import refusals_told, tell


class GraspTab:
    """Grasp, cancel, release; stop, and let the arm move again."""

    def __init__(self, stack: Stack, activity: Activity) -> None:
        """Build the tab."""
        self._stack, self._activity = stack, activity
        self._shown: Told | None = None
        with ui.row().classes('items-center'):
            self._target = ui.input('name of a point or an object')
            self._target.props(f'maxlength={pointing.LONGEST_NAME}')
            self._how = ui.toggle({'pinch': 'at the point', 'aligned': 'as was taught'})
            self._how.set_value('pinch')
        with ui.row():
            self._grasp = ui.button('Grasp', on_click=self._on_grasp)
            self._release = ui.button('Release', on_click=self._on_release)
            self._cancel = ui.button('Cancel', on_click=self._on_cancel)
        with ui.row():
            ui.button('Stop the arm', on_click=lambda: self._enable(False)).props('color=red')
            ui.button('Let the arm move', on_click=lambda: self._enable(True)).props('outline')
        self._show()
        ui.timer(0.1, self._look)

    def _look(self) -> None:
        if (told := self._activity.told) is not self._shown:
            self._shown = told
            self._show.refresh()

    @ui.refreshable_method
    def _show(self) -> None:
        told = self._activity.told
        for button in (self._grasp, self._release):
            button.set_enabled(not told.runs)
        self._cancel.set_enabled(told.runs)
        if told.goal:
            ui.label(told.goal).classes('font-bold')
        for phase, detail in told.phases:
            ui.label(f'{phase}: {detail}' if detail else phase).classes('phase')
        if told.end:
            colour = 'text-green-700' if told.ok else 'text-red-700'
            ui.label(told.end).classes(f'{colour} end')

    @refusals_told
    async def _on_grasp(self) -> None:
        target = pointing.name(self._target.value)
        tell(await self._stack.grasp(target, self._how.value == 'aligned'))

    @refusals_told
    async def _on_release(self) -> None:
        tell(await self._stack.release())

    @refusals_told
    async def _on_cancel(self) -> None:
        await self._stack.cancel()

    @refusals_told
    async def _enable(self, on: bool) -> None:
        tell(await self._stack.enable(on))
