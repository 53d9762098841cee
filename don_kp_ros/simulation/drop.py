"""Several objects that fell onto a table and came to rest, and two views of them.

Physics places the objects, light and table are random (Wen et al. 2020, as in paper 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from don_kp_ros.data.folder import DataError, Image
from don_kp_ros.geometry import rigid
from don_kp_ros.simulation import objects
from don_kp_ros.simulation.camera import Frame, is_whole
from don_kp_ros.simulation.posed import SMALLEST, Subject, Viewpoints
from don_kp_ros.simulation.renderer import StillScene
from don_kp_ros.simulation.scene import TABLE_CENTRE, Layout, add_body, build

Array = NDArray[np.float64]

_SCENES, _SHOTS = 6, 25  # attempts
_SPREAD = 0.11  # metres about the table's middle in which objects are let go
_LOWEST, _APART = 0.10, 0.13  # metres above the table of the first, and between two
_MESH_MASS = 0.3  # kg of a mesh, whose file does not tell
# They fall slowly, and what stands in for rolling friction stops cans.
_DAMPING = (1.0, 1.0, 1.0, 5e-4, 5e-4, 5e-4)  # N s/m, N m s
_LONGEST = 6.0  # seconds until everything is at rest
_STILL = (0.01, 0.1)  # m/s, rad/s
_GROUND = 128  # grey about a lone object


@dataclass(frozen=True)
class Look:
    """A view: exact images, the objects' numbers (H, W) from 1, and the camera's pose (4, 4)."""

    frame: Frame
    numbers: NDArray[np.uint8]
    T_scene_camera: Array


class Drop(StillScene):
    """Objects at rest on a table, none of which fell off it; numbered from 1."""

    def __init__(self, subjects: Sequence[Subject], rng: np.random.Generator) -> None:
        """Let objects fall one above the other until all are at rest; raises DataError."""
        # They may lie on any side, and built-in objects have no underside.
        super().__init__(_fallen(subjects, rng), None, both_sides=True)
        self._names = [_name(number) for number in range(1, len(subjects) + 1)]

    @property
    def T_scene_object(self) -> tuple[Array, ...]:
        """The poses (4, 4) of the objects."""
        bodies = [self.data.body(name) for name in self._names]
        return tuple(rigid.transform(body.xmat.reshape(3, 3), body.xpos) for body in bodies)

    @property
    def middle(self) -> Array:
        """The middle (3,) of the objects' centres of mass."""
        return np.mean([self.data.body(name).xipos for name in self._names], axis=0)

    def numbers(self, T_scene_camera: Array) -> NDArray[np.uint8]:
        """Tell which object each pixel (H, W) shows; 0: none."""
        bodies = self._renderer.bodies(self.data, T_scene_camera)
        result = np.zeros(bodies.shape, np.uint8)
        for number, name in enumerate(self._names, start=1):
            result[bodies == self.model.body(name).id] = number
        return result

    def look(self, T_scene_camera: Array) -> Look:
        """Take a view from a camera pose (4, 4)."""
        numbers = self.numbers(T_scene_camera)
        return Look(self.render(T_scene_camera), numbers, T_scene_camera)

    def alone(self, T_scene_camera: Array, number: int) -> Image:
        """Draw an object without all others, the table and the sky: (H, W, 3) RGB."""
        colour, shown = self._renderer.alone(self.data, T_scene_camera, _name(number))
        return np.where(shown[..., None], colour, np.uint8(_GROUND))

    def find(
        self, viewpoints: Viewpoints, apart: float, rng: np.random.Generator
    ) -> tuple[Look, Look] | None:
        """Draw two views that show two objects or more, large enough; None if none do.

        Their borders cut nothing off. apart: degrees by which the second camera is turned about
        the objects, at most.
        """
        fewest = min(2, len(self._names))
        for _ in range(_SHOTS):
            first = viewpoints.draw(self.middle, rng)
            second = _beside(first, self.middle, apart, rng)
            if not _above(second, self.middle):
                continue
            numbers = [self.numbers(T) for T in (first, second)]
            if not all(is_whole(shown > 0) for shown in numbers):
                continue
            sizes = [
                np.bincount(shown.ravel(), minlength=len(self._names) + 1)[1:] for shown in numbers
            ]
            if np.count_nonzero(np.minimum(*sizes) >= SMALLEST) >= fewest:
                return self.look(first), self.look(second)
        return None


def drop(
    subjects: Sequence[Subject], viewpoints: Viewpoints, apart: float, rng: np.random.Generator
) -> tuple[Drop, Look, Look]:
    """Let objects fall and find two views of them; raises DataError where that fails.

    The scene is to be closed by whoever takes it (`with`).
    """
    for _ in range(_SCENES):
        with ExitStack() as opened:
            scene = opened.enter_context(Drop(subjects, rng))
            views = scene.find(viewpoints, apart, rng)
            if views is not None:
                opened.pop_all()
                return scene, *views
    names = ', '.join(subject.name for subject in subjects)
    raise DataError(
        f'{names}: in {_SCENES * _SHOTS} pairs of views none shows two of them with {SMALLEST} '
        'pixels or more; change --distance, --tilt or --apart, or --size of a mesh'
    )


def _name(number: int) -> str:
    return f'object_{number}'


def _fallen(subjects: Sequence[Subject], rng: np.random.Generator) -> mujoco.MjModel:
    """Compile a model whose bodies lie where they come to rest; raises DataError."""
    for _ in range(_SCENES):
        model = _released(subjects, rng)
        data = mujoco.MjData(model)
        while data.time < _LONGEST and not _at_rest(data):
            mujoco.mj_step(model, data)
        bodies = [data.body(_name(number)) for number in range(1, len(subjects) + 1)]
        if _at_rest(data) and all(body.xipos[2] > 0 for body in bodies):
            model.qpos0[:] = data.qpos
            return model
    names = ', '.join(subject.name for subject in subjects)
    raise DataError(
        f'{names}: in {_SCENES} drops they do not come to rest on the table; take fewer objects '
        '(--objects), or give the true size of a mesh (--size)'
    )


def _released(subjects: Sequence[Subject], rng: np.random.Generator) -> mujoco.MjModel:
    """Compile a model of objects in the air, in any orientation, above a random table."""
    spec = mujoco.MjSpec()
    for number, subject in enumerate(subjects, start=1):
        turn = rigid.from_quaternion(rng.normal(size=4))
        height = _LOWEST + _APART * (number - 1)
        turn[:3, 3] = [*(TABLE_CENTRE[:2] + rng.uniform(-_SPREAD, _SPREAD, 2)), height]
        body = add_body(spec, _name(number), turn, free=True)
        subject.add(spec, body)
        if subject.mesh is not None:
            objects.add_hull(spec, body, 'hull', subject.mesh.vertices, _MESH_MASS)
    model, _ = build(Layout(int(rng.integers(2**62)), None), spec)
    model.dof_damping[:] = np.tile(_DAMPING, len(subjects))
    return model


def _at_rest(data: mujoco.MjData) -> bool:
    if data.time < 0.2:  # they have just been let go
        return False
    speeds = np.abs(data.qvel.reshape(-1, 6))
    return bool((speeds[:, :3] < _STILL[0]).all() and (speeds[:, 3:] < _STILL[1]).all())


def _beside(T_scene_camera: Array, middle: Array, apart: float, rng: np.random.Generator) -> Array:
    """Turn a camera's pose (4, 4) about an axis through a point (3,), and move it along."""
    axis = rng.normal(size=3)
    angle = np.deg2rad(rng.uniform(0.3, 1.0) * apart)
    turn = rigid.rotation_about(axis / np.linalg.norm(axis), angle)
    about = rigid.transform(turn, middle - turn @ middle)
    result = about @ T_scene_camera
    result[:3, 3] += (rng.uniform(0.85, 1.2) - 1) * (result[:3, 3] - middle)
    return result


def _above(T_scene_camera: Array, middle: Array) -> bool:
    """Tell whether a camera looks down at a point (3,) by 10 degrees or more."""
    away = T_scene_camera[:3, 3] - middle
    return bool(away[2] > np.sin(np.deg2rad(10)) * np.linalg.norm(away))
