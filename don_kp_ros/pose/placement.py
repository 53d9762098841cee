"""Where a mesh is in the frame of a taught object: found once, when the mesh is stored.

The object's points lie on the surface of the mesh (point-to-plane ICP: Chen and Medioni 1992, from
many turns), but often many surfaces fit a few points. So a picture of the object decides: what the
mesh would show must be there in its depth, and look like it to the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from threading import Event
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.geometry.turns import even_turns
from don_kp_ros.matching.view import View
from don_kp_ros.meshes.raster import rasterise
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.pose.comparison import Comparer, Live
from don_kp_ros.pose.constellation import Constellation
from don_kp_ros.pose.estimate import Refusal
from don_kp_ros.pose.mesh_descriptors import (
    Image,
    Subject,
    judge_rendering,
    refine_rendering,
    rendered_again,
)
from don_kp_ros.pose.render_and_compare import Gate, middle
from don_kp_ros.pose.surface import Triangles

Array = NDArray[np.float64]
Item = TypeVar('Item')

FITS, MOST = 0.005, 0.8  # metres from the surface, within which so many of the points must lie
_LARGER = 1.15  # of the diameter, that points may be apart
_STARTS, _CLOSER, _LOOKED_AT, _REFINED = 72, 24, 8, 2  # turns that are tried, and how many remain
_STEPS, _MORE = 6, 12
_POINTS = 150  # that are aligned
_USUAL = 0.005  # metres, beyond which a point counts less and less
_WIDTH, _HEIGHT = 160, 120  # pixels of the raster in which depth is compared
_THERE, _BEHIND = 0.008, 0.015  # metres from what is drawn to the measured surface
_LOOKED_THROUGH = 0.25  # of what is drawn, at most


@dataclass(frozen=True)
class Placement:
    """Where a mesh is in an object.

    T_object_mesh (4, 4). residual: so far from the mesh lie `MOST` of the object's points, metres.
    like: the share of what it would show in a picture that looks like it, NaN without a picture.
    """

    T_object_mesh: Array
    residual: float
    like: float = float('nan')


@dataclass(frozen=True)
class Sight:
    """A picture (H, W, 3) of an object at a pose (4, 4), with camera, depth and descriptors."""

    T_camera_object: Array
    image: Image
    camera: Camera
    live: Live
    depth: NDArray[np.float32]  # (H, W) metres, NaN where there is none

    @classmethod
    def of(
        cls,
        T_camera_object: Array,
        image: Image,
        view: View,
        cells: Array,
        nothing: NDArray[np.float32] | None,
    ) -> Sight:
        """Take a view, whose map is cells (D, h, w); raises RefusedError without depth.

        nothing: the background's descriptor, of a model that has one (`DescriptorModel.nothing`).
        """
        if view.depth is None or view.camera is None:
            raise RefusedError(f'a mesh is placed with depth: {view.lacks}')
        metres = view.depth.metres()
        live = Live.of(cells, view.camera, metres, nothing)
        return cls(T_camera_object, image, view.camera, live, metres)


def checked(subject: Subject, constellation: Constellation, T_object_mesh: Array) -> Placement:
    """Hold a mesh at a given pose against the points; raises RefusedError where it is off."""
    return _fitting(
        subject,
        constellation,
        Placement(T_object_mesh, _residual(subject, constellation, T_object_mesh)),
    )


def place(
    subject: Subject,
    constellation: Constellation,
    sight: Sight,
    model: DescriptorModel,
    ending: Event,
) -> Placement:
    """Find where a mesh is in an object that is in view; raises RefusedError where nowhere.

    It takes seconds; ``ending`` ends it before, by a RefusedError.
    """
    _check_size(subject, constellation)
    surface = Triangles.of(subject.vertices, subject.faces)
    rng = np.random.default_rng(0)
    every = constellation.points
    points = every[rng.permutation(len(every))[:_POINTS]]
    starts = [_start(R, subject, points, sight) for R in _until(ending, even_turns(_STARTS))]
    aligned = [surface.aligned(points, T, _USUAL, _STEPS) for T in _until(ending, starts)]
    aligned.sort(key=lambda T: surface.off(points, T).clip(max=_BEHIND).mean())
    closer = _until(ending, aligned[:_CLOSER])
    aligned = [surface.aligned(points, T, _USUAL, _MORE) for T in closer]
    shown = sorted(aligned, key=lambda T: -_shown(subject, surface, points, T, sight))
    best = _most_alike(subject, _different(shown, subject)[:_LOOKED_AT], sight, model)
    found = [
        refine_rendering(
            subject, sight.T_camera_object @ T, sight.image, sight.camera, sight.live, model
        )
        for T in _until(ending, best[:_REFINED])
    ]
    chosen = min(found, key=lambda one: one.cost[0] if one.refused else one.cost[1])
    if chosen.refused:  # its likeness is that of where it was refined to, which it does not keep
        T = chosen.T_camera_object
        chosen = judge_rendering(subject, T, sight.image, sight.camera, sight.live, model)
    T = rigid.inverse(sight.T_camera_object) @ chosen.T_camera_object
    through = _looked_through(subject, T, sight)
    residual = _residual(subject, constellation, T)
    if through > _LOOKED_THROUGH:
        raise RefusedError(
            f'{subject.mesh.path}: where it fits best (to {1000 * residual:.1f} mm), the camera '
            f'looks through {through:.0%} of it; allowed are {_LOOKED_THROUGH:.0%}: check its '
            'unit, and whether it is the mesh of this object'
        )
    placed = _fitting(subject, constellation, Placement(T, residual, chosen.like))
    if placed.like < Gate().like:
        raise RefusedError(
            f'{subject.mesh.path}: of what it shows where it fits best, {placed.like:.0%} looks '
            f'like the picture; needed are {Gate().like:.0%}: check whether it is the mesh of '
            'this object, with its colours'
        )
    return placed


def _until(ending: Event, items: Iterable[Item]) -> Iterator[Item]:
    for one in items:
        if ending.is_set():
            raise RefusedError('perception ends; store the mesh once it runs again')
        yield one


def _fitting(subject: Subject, constellation: Constellation, placed: Placement) -> Placement:
    _check_size(subject, constellation)
    if not placed.residual <= FITS:
        raise RefusedError(
            f'{subject.mesh.path}: {MOST:.0%} of the points of the object lie within '
            f'{1000 * placed.residual:.1f} mm of it, needed are {1000 * FITS:.0f} mm: check its '
            'pose and its unit, and whether it is the mesh of this object'
        )
    return placed


def _check_size(subject: Subject, constellation: Constellation) -> None:
    points = constellation.points
    apart = np.linalg.norm(points[:, None] - points, axis=2)
    extent, diameter = float(np.quantile(apart.max(axis=1), 0.9)), subject.mesh.diameter
    if extent > _LARGER * diameter:
        raise RefusedError(
            f'{subject.mesh.path}: has a diameter of {diameter:.3g} m, and points of the object '
            f'are {extent:.3g} m apart: check the unit of its numbers, and whether it is the '
            'mesh of this object'
        )


def _residual(subject: Subject, constellation: Constellation, T: Array) -> float:
    surface = Triangles.of(subject.vertices, subject.faces)
    return float(np.quantile(surface.off(constellation.points, T), MOST))


def _start(R: Array, subject: Subject, points: Array, sight: Sight) -> Array:
    """Place a turned mesh (3, 3) so that the middle of what it shows is that of the points."""
    centre = rigid.apply(sight.T_camera_object, points).mean(axis=0)
    T = rigid.transform(R, centre - R @ middle(subject.vertices))
    _, drawn = _drawn(subject, T, sight)
    if len(drawn):
        T[:3, 3] += centre - drawn.mean(axis=0)
    return np.asarray(rigid.inverse(sight.T_camera_object) @ T)


def _drawn(subject: Subject, T_camera_mesh: Array, sight: Sight) -> tuple[Array, Array]:
    """Return the measured depth (K,) and the points (K, 3) of the pixels that show a mesh."""
    camera = sight.camera.resized(_WIDTH, _HEIGHT)
    raster = rasterise(rigid.apply(T_camera_mesh, subject.vertices), subject.faces, camera)
    v, u = np.nonzero(raster.mask)
    points = camera.deproject(np.stack([u, v], axis=1), raster.depth[v, u])
    at = np.rint(sight.camera.project(points)).astype(int)
    height, width = sight.depth.shape
    measured = sight.depth[at[:, 1].clip(0, height - 1), at[:, 0].clip(0, width - 1)]
    known = np.isfinite(measured)
    return measured[known].astype(np.float64), points[known]


def _shown(subject: Subject, surface: Triangles, points: Array, T: Array, sight: Sight) -> float:
    """Say how well a mesh fits the points and the depth of the picture, at most 1."""
    measured, drawn = _drawn(subject, sight.T_camera_object @ T, sight)
    if not len(drawn):
        return -1.0
    behind = measured - drawn[:, 2]
    agree = (np.abs(behind) < _THERE).mean() - (behind > _BEHIND).mean()
    return float(agree + (surface.off(points, T) < _THERE).mean()) / 2


def _looked_through(subject: Subject, T: Array, sight: Sight) -> float:
    measured, drawn = _drawn(subject, sight.T_camera_object @ T, sight)
    return float((measured > drawn[:, 2] + _BEHIND).mean()) if len(drawn) else 1.0


def _different(sorted_: list[Array], subject: Subject) -> list[Array]:
    """Leave out of poses (4, 4) those that nearly equal one before."""
    few = subject.vertices[:: max(1, len(subject.vertices) // 50)]
    kept: list[Array] = []
    for T in sorted_:
        places = rigid.apply(T, few)
        if all(
            np.linalg.norm(places - rigid.apply(other, few), axis=1).mean() > _THERE
            for other in kept
        ):
            kept.append(T)
    return kept


def _most_alike(
    subject: Subject, poses: list[Array], sight: Sight, model: DescriptorModel
) -> list[Array]:
    """Sort poses (4, 4) of a mesh by how much the picture looks like it there."""

    def cost(T: Array) -> float:
        T_camera_mesh = sight.T_camera_object @ T
        surface = rendered_again(subject, T_camera_mesh, sight.image, sight.camera, model)
        if isinstance(surface, Refusal):
            return np.inf
        return Comparer([surface], sight.live, blur=0).compare([T_camera_mesh])[0].cost

    return sorted(poses, key=cost)
