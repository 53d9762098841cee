"""Objects, cameras and matches with known truth."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.geometry.depth import DepthImage
from don_kp_ros.matching.candidates import Candidates
from don_kp_ros.matching.maps import cell_centres
from don_kp_ros.matching.view import View
from don_kp_ros.pose.constellation import Constellation

Array = NDArray[np.float64]

CAMERA = Camera(640, 480, 615.0, 610.0, 319.5, 239.5)


def constellation_of(points: Array, seed: int = 0, dimension: int = 16) -> Constellation:
    """Give points descriptors at random."""
    rng = np.random.default_rng(seed)
    descriptors = rng.normal(size=(len(points), dimension))
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    return Constellation(points, descriptors, np.ones(len(points)), 'a model')


def blob(number: int = 64, seed: int = 0) -> Constellation:
    """Points of an object of 10 cm without symmetry."""
    rng = np.random.default_rng(seed)
    return constellation_of(rng.uniform(-1, 1, (number, 3)) * [0.05, 0.04, 0.03])


def pose(seed: int = 0) -> Array:
    """Draw `T_camera_object` (4, 4) of an object half a metre away, turned anyhow."""
    rng = np.random.default_rng(seed)
    turn = rigid.rotation_about(rng.normal(size=3), rng.uniform(-np.pi, np.pi))
    return rigid.transform(turn, [*rng.uniform(-0.05, 0.05, 2), rng.uniform(0.4, 0.7)])


def candidates_at(position: Array, query: NDArray[np.int64] | None = None) -> Candidates:
    """Make candidates at positions (K, 3), one of each point if not said otherwise."""
    number = len(position)
    query = np.arange(number) if query is None else query
    instance = np.arange(number) - np.searchsorted(query, query)
    every = np.ones(number)
    uv = CAMERA.project(position)
    return Candidates(query, instance, uv, 0.9 * every, 0 * every, position, ('',) * number)


@dataclass(frozen=True)
class Egg:
    """An ellipsoid (x / a)^2 + ... = 1 whose looks change smoothly from place to place."""

    T_camera_object: Array
    seed: int = 0
    axes: tuple[float, float, float] = (0.06, 0.045, 0.04)

    def hit(self, rays: Array) -> Array:
        """Return the depth (...) at which rays (..., 3) with z = 1 meet it, infinite elsewhere."""
        T = rigid.inverse(self.T_camera_object)
        origin, towards = T[:3, 3] / self.axes, rays @ T[:3, :3].T / self.axes
        a, b = (towards**2).sum(axis=-1), towards @ origin
        root = b**2 - a * (origin @ origin - 1)
        return np.where(root >= 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)

    def looks(self, points: Array) -> Array:
        return looks_at(rigid.apply(rigid.inverse(self.T_camera_object), points), self.seed)


def looks_at(places: Array, seed: int) -> Array:
    """Return descriptors (..., 16) that change over two centimetres or so."""
    rng = np.random.default_rng(seed)
    waves = np.sin(places / 0.02 @ rng.normal(size=(3, 16)) + rng.uniform(0, 6, 16))
    return np.asarray(waves / np.linalg.norm(waves, axis=-1, keepdims=True))


@dataclass(frozen=True)
class Scene:
    """Eggs on a table, seen from above and aslant; depth, masks and descriptors are exact."""

    eggs: tuple[Egg, ...]
    T_camera_base: Array

    @classmethod
    def of(cls, *places: tuple[float, float, float], tilt: float = 0.3, seed: int = 0) -> 'Scene':
        """Put equal eggs at x, y and turned by yaw; the camera is 0.55 m from the middle."""
        turn = rigid.rotation_about([1, 0, 0], np.pi - tilt)
        T_camera_base = rigid.transform(turn, [0, 0, 0.55])
        eggs = tuple(
            Egg(
                T_camera_base
                @ rigid.transform(rigid.rotation_about([0, 0, 1], yaw), [x, y, Egg.axes[2]]),
                seed,
            )
            for x, y, yaw in places
        )
        return cls(eggs, T_camera_base)

    def _traced(self, uv: Array) -> tuple[Array, NDArray[np.int64]]:
        """Return the points (..., 3) that pixels show, and which egg: -1 for the table."""
        rays = CAMERA.deproject(uv, np.ones(uv.shape[:-1]))
        normal = self.T_camera_base[:3, 2]
        table = normal @ self.T_camera_base[:3, 3] / (rays @ normal)
        depths = np.stack([table, *(egg.hit(rays) for egg in self.eggs)])
        return rays * depths.min(axis=0)[..., None], depths.argmin(axis=0) - 1

    def view(self) -> View:
        v, u = np.indices((CAMERA.height, CAMERA.width))
        points, _ = self._traced(np.stack([u, v], axis=-1).astype(np.float64))
        size = (CAMERA.height, CAMERA.width)
        return View(size, DepthImage(points[..., 2].astype(np.float32)), CAMERA)

    def mask(self, egg: int = 0) -> NDArray[np.bool_]:
        v, u = np.indices((CAMERA.height, CAMERA.width))
        return np.asarray(self._traced(np.stack([u, v], axis=-1).astype(np.float64))[1] == egg)

    def cells(self) -> torch.Tensor:
        """Describe the picture by a map (16, 60, 80)."""
        u, v = np.meshgrid(*cell_centres((60, 80), (CAMERA.height, CAMERA.width)))
        points, which = self._traced(np.stack([u, v], axis=-1))
        found = looks_at(rigid.apply(rigid.inverse(self.T_camera_base), points), 99)
        for number, egg in enumerate(self.eggs):
            found[which == number] = egg.looks(points[which == number])
        return torch.from_numpy(np.moveaxis(found, 2, 0).astype(np.float32))

    def click(self, egg: int = 0) -> tuple[float, float]:
        u, v = CAMERA.project(self.eggs[egg].T_camera_object[:3, 3])
        return float(u), float(v)


def halves_that_look_alike() -> tuple[torch.Tensor, View, NDArray[np.bool_]]:
    """Make an egg seen from above whose far half looks as the near one does, half a turn on.

    Returns its picture's map (16, 60, 80), the view, and the egg's mask.
    """
    scene = Scene.of((0.0, 0.0, 0.0), tilt=0.0)
    cells = scene.cells()
    near = torch.arange(60)[:, None] < 30
    return torch.where(near, cells, cells.flip(1, 2)), scene.view(), scene.mask()
