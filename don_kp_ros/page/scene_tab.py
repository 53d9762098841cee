"""The 3D scene: the robot's links, what the camera saw, objects, the planned grasp and path."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from nicegui import ui

from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry.frames import OBJECTS
from don_kp_ros.page.port import Array, Scene, Stack

_EVERY_S = 0.5
_LINK, _OBJECT, _GRASP = '#606060', 0.08, 0.06  # colour; lengths of axes, metres
_CAMERA = 'color_optical_frame'
_PATH = '#ffaa00'
_COLOURS = ('#e02020', '#20a020', '#2040e0')  # of x, y and z


class SceneTab:
    """Draws where everything is, while it is looked at."""

    def __init__(self, stack: Stack, is_open: Callable[[], bool]) -> None:
        """Build the tab; it asks for the scene while ``is_open``."""
        self._stack, self._is_open = stack, is_open
        self._told = ui.label()
        camera = ui.scene.perspective_camera(fov=50)
        camera.x, camera.y, camera.z = 1.5, -1.1, 1.0
        camera.look_at_x, camera.look_at_z = 0.3, 0.2
        self._scene = ui.scene(600, 450, camera=camera, fps=10)
        self._drawn: list[Any] = []
        self._cloud: Any = None
        self._path, self._path_lines = np.zeros((0, 3)), list[Any]()
        ui.timer(_EVERY_S, self._update)

    async def _update(self) -> None:
        if not self._is_open():
            return
        try:
            scene = await self._stack.scene()
        except RefusedError as error:
            self._told.set_text(str(error))
            return
        self._told.set_text(scene.lacks)
        self._draw(scene)

    def _draw(self, scene: Scene) -> None:
        old, self._drawn = self._drawn, []
        with self._scene:
            for child, parent in scene.bones:
                start, end = scene.frames[parent][:3, 3], scene.frames[child][:3, 3]
                self._drawn.append(self._line(start, end, _LINK))
            for name, T in scene.frames.items():
                if name.startswith(OBJECTS) or name.endswith(_CAMERA):
                    self._axes(T, _OBJECT)
                if name.startswith(OBJECTS):
                    label = self._scene.text(name.removeprefix(OBJECTS)).move(*T[:3, 3].tolist())
                    self._drawn.append(label)
            if scene.grasp is not None:
                self._axes(scene.grasp, _GRASP)
            if len(scene.cloud):
                if self._cloud is not None:  # else the last one stays
                    self._cloud.delete()
                places, colours = np.round(scene.cloud, 3).tolist(), _by_height(scene.cloud)
                self._cloud = self._scene.point_cloud(places, colours, point_size=0.01)
        for one in old:
            one.delete()
        if not np.array_equal(scene.path, self._path):
            self._draw_path(scene.path)

    def _draw_path(self, path: Array) -> None:
        for one in self._path_lines:
            one.delete()
        with self._scene:
            ends = zip(path, path[1:], strict=False)
            self._path_lines = [self._line(start, end, _PATH) for start, end in ends]
        self._path = path

    def _axes(self, T: Array, length: float) -> None:
        for axis, colour in enumerate(_COLOURS):
            line = self._line(T[:3, 3], T[:3, 3] + length * T[:3, axis], colour)
            self._drawn.append(line)

    def _line(self, start: Array, end: Array, colour: str) -> Any:
        return self._scene.line(start.tolist(), end.tolist()).material(colour)


def _by_height(cloud: Array) -> list[list[float]]:
    """Colour points from blue, on the table, to yellow, 20 cm above it."""
    share = np.clip(cloud[:, 2] / 0.2, 0.0, 1.0)
    return np.round(np.stack([share, 0.3 + 0.5 * share, 1 - share], axis=1), 2).tolist()
