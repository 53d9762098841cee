"""Scenes of objects with meshes, as the simulated camera pictures them, whose poses are known.

The simulation draws them with lights, shades, noise and a depth with faults. None of that is in
`don_kp_ros.meshes.picture`, by which the refinement draws what it compares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import mujoco
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.oracle import Seen, Thing, some_of
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.matching.maps import interpolated
from don_kp_ros.meshes.mesh import Mesh
from don_kp_ros.meshes.raster import rasterise
from don_kp_ros.meshes.reading import read
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.pose.close_up import close_up
from don_kp_ros.pose.comparison import Live, Surface
from don_kp_ros.pose.mesh_descriptors import Subject
from don_kp_ros.pose.render_and_compare import middle
from don_kp_ros.simulation import meshes
from don_kp_ros.simulation.camera import D435, is_whole, with_faults
from don_kp_ros.simulation.posed import Viewpoints
from don_kp_ros.simulation.renderer import StillScene
from don_kp_ros.simulation.scene import Layout, add_body, build

Array = NDArray[np.float64]
Image = NDArray[np.uint8]

_VIEWPOINTS = Viewpoints(tilt=(0.0, 60.0), distance=(0.45, 0.8))
_MIDDLE, _WIDE = (0.48, 0.0), 0.14  # metres, on the table: where objects lie, and how far about it
_TRIES, _SHOTS = 50, 30
_SMALLEST = 400  # pixels of an object
_NETWORKS, _FINE = 80, 160  # cells of a picture's longer side: of networks' maps, of colours
_GREY, _CONTRAST = 128.0, 64.0  # of colours


@dataclass(frozen=True)
class Model:
    """A mesh about its middle; the one that is compared, and points (N, 3) to measure by."""

    name: str
    subject: Subject
    points: Array
    diameter: float

    @classmethod
    def of(cls, name: str, mesh: Mesh) -> Model:
        """Move a mesh in metres to its middle."""
        mesh = mesh.moved(rigid.transform(translation=-middle(mesh.vertices)))
        subject = Subject.of(mesh)
        return cls(name, subject, some_of(subject.vertices), mesh.diameter)


def from_files(paths: Sequence[Path]) -> list[Model]:
    """Read meshes NAME/textured.obj."""
    return [Model.of(path.parent.name, read(path).in_metres()) for path in paths]


@dataclass(frozen=True)
class Picture:
    """A picture (H, W, 3) with depth (H, W) or none, its camera, and objects at true poses (4, 4).

    visible: the share of each object's pixels that nothing hides.
    """

    image: Image
    depth: NDArray[np.float32] | None
    camera: Camera
    models: Sequence[Model]
    T: Sequence[Array]
    visible: Sequence[float]

    def about(self, number: int, T: Array) -> Picture:
        """Cut out what the refinement sees of an object at a pose (4, 4)."""
        subject = self.models[number].subject
        part, near, depth = close_up(subject, T, self.image, self.camera, self.depth)
        return replace(self, image=part, depth=depth, camera=near)

    def live(self, model: DescriptorModel) -> Live:
        """Describe the picture; its depth is left out."""
        return Live.of(model.describe(self.image).cpu().numpy(), self.camera)

    def blind(self) -> Live:
        """Take the depth alone, in as many cells as networks give a picture."""
        columns, rows = _grid(self.image, _NETWORKS)
        return Live.of(np.zeros((1, rows, columns), np.float32), self.camera, self.depth)

    def seen(self, number: int, surface: Surface, live: Live) -> Seen:
        """One object as `benchmarks.refinement` compares it."""
        one = self.models[number]
        thing = Thing(one.name, surface, one.diameter)
        return Seen([thing], [self.T[number]], np.empty((0, 0), np.int64), live)


def look(models: Sequence[Model], rng: np.random.Generator) -> Picture:
    """Lay objects anyhow on a new table, in new light, and picture them whole."""
    while True:
        places = _laid(models, rng)
        layout = Layout.draw(int(rng.integers(2**62)), 0, distractors=0)
        spec = mujoco.MjSpec()
        names = [f'thing_{number}' for number in range(len(models))]
        for name, one, T in zip(names, models, places, strict=True):
            meshes.add(spec, add_body(spec, name, T), one.subject.mesh)
        built, _ = build(replace(layout, subject=None, distractors=()), spec)
        with _Table(built, None) as table:
            for _ in range(_SHOTS):
                middle = np.mean([T[:3, 3] for T in places], axis=0)
                T_world_optical = _VIEWPOINTS.draw(middle, rng)
                masks = [table.mask_of(T_world_optical, name) for name in names]
                if all(is_whole(mask) and mask.sum() >= _SMALLEST for mask in masks):
                    frame = with_faults(table.render(T_world_optical), rng)
                    T_optical_world = rigid.inverse(T_world_optical)
                    T_true = [T_optical_world @ T for T in places]
                    visible = [
                        float(mask.sum() / max(_alone(one, T), 1))
                        for mask, one, T in zip(masks, models, T_true, strict=True)
                    ]
                    return Picture(frame.colour, frame.depth, D435, models, T_true, visible)


class _Table(StillScene):
    def mask_of(self, T_world_optical: Array, name: str) -> NDArray[np.bool_]:
        """Tell which pixels show one of the objects."""
        return self._renderer.mask(self.data, T_world_optical, name)


def _laid(models: Sequence[Model], rng: np.random.Generator) -> list[Array]:
    """Draw poses (4, 4) with the lowest point on the table, none above another."""
    wide = _WIDE if len(models) > 1 else 0.0
    places: list[Array] = []
    outlines: list[NDArray[np.float32]] = []
    while len(places) < len(models):
        places, outlines = [], []
        for one in models:
            for _ in range(_TRIES):
                T = rigid.from_quaternion(rng.normal(size=4))
                points = rigid.apply(T, one.subject.vertices)
                T[:2, 3] = _MIDDLE + wide * rng.uniform(-1, 1, 2)
                T[2, 3] = -points[:, 2].min()
                flat = (points[:, :2] + T[:2, 3]).astype(np.float32)
                outline = np.asarray(cv2.convexHull(flat)[:, 0], np.float32)
                if all(cv2.intersectConvexConvex(outline, other)[0] <= 0 for other in outlines):
                    places.append(T)
                    outlines.append(outline)
                    break
    return places


def _alone(model: Model, T: Array) -> int:
    vertices = rigid.apply(T, model.subject.mesh.vertices)
    return int(rasterise(vertices, model.subject.mesh.faces, D435).mask.sum())


class Colours:
    """A stand-in for a network, whose descriptors are the colours about grey."""

    dimension, device = 3, torch.device('cpu')

    @staticmethod
    def cells(image: NDArray[Any]) -> NDArray[np.float32]:
        """Reduce an image to the size of the map."""
        small = cv2.resize(image, _grid(image, _FINE), interpolation=cv2.INTER_AREA)
        return np.asarray(small, np.float32)

    def describe(self, image: Image) -> torch.Tensor:
        """Return the colours (3, h, w), of any length."""
        small = self.cells(image)
        return torch.from_numpy((small - _GREY) / _CONTRAST).permute(2, 0, 1)

    @staticmethod
    def read(colours: torch.Tensor, uv: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        """Read them at pixels (Q, 2) of a picture (H, W) as they are: (Q, 3)."""
        return interpolated(colours[None], uv[None].to(colours), size)[0]


def _grid(image: NDArray[Any], across: int) -> tuple[int, int]:
    """Return the columns and rows of a map with so many cells along the longer side."""
    rows, columns = (round(side * across / max(image.shape[:2])) for side in image.shape[:2])
    return columns, rows
