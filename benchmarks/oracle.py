"""Descriptors as a good network would give them, and scenes of objects whose poses are known."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import trimesh
from numpy.typing import NDArray

from don_kp_ros.evaluation.poses import add
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.meshes.raster import Raster, rasterise
from don_kp_ros.meshes.reading import read
from don_kp_ros.meshes.simplification import evened
from don_kp_ros.pose.comparison import Live, Surface
from don_kp_ros.pose.render_and_compare import middle

Array = NDArray[np.float64]
Floats = NDArray[np.float32]

CAMERA = Camera(640, 480, 615.0, 615.0, 319.5, 239.5)
CELLS = CAMERA.resized(160, 120)
DIMENSION = 16
FACES = 3000
NOISE, BLUR = 0.1, 0.8  # of each number of a descriptor; cells
_POINTS = 1000  # of a mesh, for its measures
_FEATURES = (0.01, 0.06)  # metres over which descriptors change


@dataclass(frozen=True)
class Thing:
    """An object of known shape, with its descriptors."""

    name: str
    surface: Surface
    diameter: float

    @classmethod
    def of(cls, name: str, vertices: Array, faces: NDArray[np.int64]) -> Thing:
        """Give a mesh descriptors; its frame is moved to its middle."""
        vertices = vertices - middle(vertices)
        few, fewer = evened(vertices, faces, FACES)
        diameter = max(float(np.linalg.norm(few - one, axis=1).max()) for one in few)
        return cls(name, Surface(few, fewer, descriptors(few, sum(map(ord, name)))), diameter)

    def add(self, T: Array, true: Array) -> float:
        """Return the mean distance of the vertices at two poses, metres."""
        return add(T, true, self.surface.vertices)

    def found(self, T: Array, true: Array) -> bool:
        """Tell whether they are off by less than a tenth of the diameter."""
        return self.add(T, true) < 0.1 * self.diameter


def built_in() -> list[Thing]:
    """Make objects of the size of groceries and tools."""
    box, cylinder = trimesh.creation.box, trimesh.creation.cylinder
    neck = cylinder(0.017, 0.06, sections=32)
    neck.apply_translation([0, 0, 0.11])
    handle, bit = box([0.035, 0.045, 0.13]), cylinder(0.012, 0.06, sections=24)
    handle.apply_translation([0, 0, -0.09])
    bit.apply_transform(rigid.transform(rigid.rotation_about([0, 1, 0], np.pi / 2), [0.12, 0, 0]))
    bottom = cylinder(0.038, 0.004, sections=48)
    bottom.apply_translation([0, 0, -0.038])
    grip = box([0.03, 0.012, 0.05])
    grip.apply_translation([0.053, 0, 0])
    shapes = {
        'cereals': [box([0.16, 0.06, 0.21])],
        'sugar': [box([0.09, 0.04, 0.175])],
        'soup': [cylinder(0.034, 0.1, sections=48)],
        'bottle': [box([0.09, 0.06, 0.16]), neck],
        'mug': [trimesh.creation.annulus(0.036, 0.04, 0.08, sections=48), bottom, grip],
        'drill': [box([0.18, 0.05, 0.06]), handle, bit],
    }
    things = []
    for name, parts in shapes.items():
        mesh: Any = trimesh.util.concatenate(parts)
        things.append(Thing.of(name, np.asarray(mesh.vertices), np.asarray(mesh.faces)))
    return things


def files(folder: Path | str | None = None) -> list[Path]:
    """List the meshes NAME/textured.obj of a folder, DATA if none is given."""
    folder = folder or os.environ.get('DATA')
    found = sorted(Path(folder).glob('*/textured.obj')) if folder else []
    if not found:
        raise SystemExit(
            f"DATA is '{folder or ''}'; give a folder of meshes NAME/textured.obj, such as those "
            'of the YCB object and model set'
        )
    return found


def from_files(paths: Sequence[Path]) -> list[Thing]:
    """Read meshes NAME/textured.obj."""
    meshes = {path.parent.name: read(path) for path in paths}
    return [Thing.of(name, mesh.vertices, mesh.faces) for name, mesh in meshes.items()]


def some_of(vertices: Array) -> Array:
    """Choose points (N, 3) to measure by, equal ones of equal vertices."""
    return vertices[np.random.default_rng(0).permutation(len(vertices))[:_POINTS]]


def descriptors(places: Array, seed: int) -> Floats:
    """Return descriptors (N, 16) of places (N, 3), some of which change fast and some slowly."""
    rng = np.random.default_rng(seed)
    low, high = np.log(_FEATURES)
    waves = rng.normal(size=(3, 64)) / np.exp(rng.uniform(low, high, 64))
    numbers = np.sin(places @ waves + rng.uniform(0, 2 * np.pi, 64)) @ rng.normal(
        size=(64, DIMENSION)
    )
    return unit(numbers)


def unit(numbers: NDArray[Any]) -> Floats:
    """Scale vectors (..., D) to unit length."""
    return np.asarray(numbers / np.linalg.norm(numbers, axis=-1, keepdims=True), np.float32)


@dataclass(frozen=True)
class Seen:
    """A scene: its objects, their true poses (4, 4), what each cell shows, and the live map."""

    things: Sequence[Thing]
    T: list[Array]
    owner: NDArray[np.int64]  # (h, w), -1 where none
    live: Live

    @property
    def surfaces(self) -> list[Surface]:
        """The objects' surfaces."""
        return [thing.surface for thing in self.things]

    def visible(self, number: int) -> float:
        """Return the share of an object's cells that nothing hides."""
        alone = _drawn(self.surfaces[number : number + 1], self.T[number : number + 1])
        return float((self.owner == number).sum() / max(alone.mask.sum(), 1))


def look(
    things: Sequence[Thing],
    rng: np.random.Generator,
    noise: float = NOISE,
    blur: float = BLUR,
    with_depth: bool = False,
    wide: float = 0.1,
) -> Seen:
    """Place objects anyhow half a metre or more away, ``wide`` about the middle, and look."""
    T = []
    for _ in things:
        turn = rigid.rotation_about(rng.normal(size=3), rng.uniform(0, np.pi))
        aside = rng.uniform(-1, 1, 2) * [wide, 0.75 * wide]
        T.append(rigid.transform(turn, [*aside, rng.uniform(0.5, 0.8)]))
    surfaces = [thing.surface for thing in things]
    drawn = _drawn(surfaces, T)
    first = np.cumsum([0, *(len(surface.vertices) for surface in surfaces)])
    faces = np.concatenate([s.faces + n for s, n in zip(surfaces, first, strict=False)])
    owners = np.repeat(np.arange(len(surfaces)), [len(s.faces) for s in surfaces])
    owner = np.where(drawn.mask, owners[drawn.face], -1)
    coarse = rng.normal(size=(12, 16, DIMENSION)).astype(np.float32)
    cells = unit(cv2.resize(coarse, (CELLS.width, CELLS.height), interpolation=cv2.INTER_CUBIC))
    every = np.concatenate([surface.descriptors for surface in surfaces])
    cells[drawn.mask] = drawn.values(every, faces)[drawn.mask]
    if blur:
        cells = np.asarray(cv2.GaussianBlur(cells, (0, 0), blur), np.float32)
    cells = (cells + rng.normal(0, noise, cells.shape)).astype(np.float32)
    depth = None
    if with_depth:
        wall = max(one[2, 3] for one in T) + 0.15
        true = np.where(drawn.mask, drawn.depth, wall)
        depth = (true + rng.normal(0, 0.002, true.shape)).astype(np.float32)
    return Seen(things, T, owner, Live(cells, CELLS, depth))


def _drawn(surfaces: Sequence[Surface], T: Sequence[Array]) -> Raster:
    first = np.cumsum([0, *(len(surface.vertices) for surface in surfaces)])
    faces = np.concatenate([s.faces + n for s, n in zip(surfaces, first, strict=False)])
    vertices = [rigid.apply(one, s.vertices) for one, s in zip(T, surfaces, strict=True)]
    return rasterise(np.concatenate(vertices), faces, CELLS)


def off(T: Array, degrees: float, metres: float, rng: np.random.Generator) -> Array:
    """Turn a pose (4, 4) about any axis through its origin, and shift it any way."""
    turn = rigid.rotation_about(rng.normal(size=3), np.deg2rad(degrees))
    way = rng.normal(size=3)
    return rigid.transform(turn @ T[:3, :3], T[:3, 3] + metres * way / np.linalg.norm(way))
