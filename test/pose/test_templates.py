"""Objects found by views of their meshes, with descriptors that say exactly where a cell lies."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from benchmarks.oracle import CAMERA, Thing, built_in, descriptors, unit
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.geometry.depth import DepthImage
from don_kp_ros.matching.view import View
from don_kp_ros.meshes.mesh import Mesh, Part
from don_kp_ros.meshes.raster import rasterise
from don_kp_ros.pose.constellation import Constellation
from don_kp_ros.pose.estimate import Why
from don_kp_ros.pose.templates import find_by_templates, mutual_neighbours, poses_about, view_at

Array = NDArray[np.float64]
Looks = Callable[[Array], Array]

CELLS = CAMERA.resized(80, 60)
SIZE = (CAMERA.height, CAMERA.width)
SIMILAR = 0.9
GREY = torch.nn.functional.normalize(torch.ones(16, 60, 80), dim=0)


@lru_cache(maxsize=1)
def things() -> dict[str, Thing]:
    return {thing.name: thing for thing in built_in()}


def mesh_of(name: str) -> Mesh:
    surface = things()[name].surface
    part = Part(surface.vertices, surface.faces, (0.5, 0.5, 0.5, 1.0))
    return Mesh(Path(name), (part,), 'grey')


def everywhere_another(places: Array) -> Array:
    return descriptors(places, 7)


def same_after_half_a_turn(places: Array) -> Array:
    return descriptors(np.where(places[..., :1] < 0, places * [-1, -1, 1], places), 7)


def same_after_any_turn(places: Array) -> Array:
    radius = np.linalg.norm(places[..., :2], axis=-1)
    return descriptors(np.stack([radius, 0 * radius, places[..., 2]], axis=-1), 7)


def cells_of(mesh: Mesh, T: Array, looks: Looks, ground: torch.Tensor) -> torch.Tensor:
    """Return the map (16, 60, 80) of a picture with an object at a pose, before a ground."""
    drawn = rasterise(rigid.apply(T, mesh.vertices), mesh.faces, CELLS)
    cells = ground.clone()
    found = looks(drawn.values(mesh.vertices, mesh.faces)[drawn.mask].astype(np.float64))
    cells[:, torch.from_numpy(drawn.mask)] = torch.from_numpy(found.astype(np.float32)).T
    return cells


def clutter(seed: int) -> torch.Tensor:
    cells = unit(np.random.default_rng(seed).normal(size=(60, 80, 16)))
    return torch.from_numpy(cells).permute(2, 0, 1)


@lru_cache(maxsize=4)
def views(name: str, looks: Looks) -> list[Constellation]:
    mesh = mesh_of(name)
    found = [
        view_at(mesh, T, CAMERA, cells_of(mesh, T, looks, GREY), 'oracle')
        for T in poses_about(mesh, CAMERA)
    ]
    return [one for one in found if one is not None]


def somewhere(seed: int) -> Array:
    rng = np.random.default_rng(seed)
    T = rigid.from_quaternion(rng.normal(size=4))
    T[:3, 3] = [*rng.uniform(-0.08, 0.08, 2), rng.uniform(0.45, 0.8)]
    return T


def view_of(mesh: Mesh, T: Array, with_depth: bool) -> View:
    if not with_depth:
        return View(SIZE, None, CAMERA, 'no depth')
    drawn = rasterise(rigid.apply(T, mesh.vertices), mesh.faces, CAMERA)
    return View(SIZE, DepthImage(np.where(drawn.mask, drawn.depth, np.float32(1.2))), CAMERA)


@pytest.mark.parametrize('with_depth', [True, False])
@pytest.mark.parametrize('name', ['cereals', 'drill', 'mug'])
def test_an_object_is_found_however_it_is_turned(name: str, with_depth: bool) -> None:
    mesh, thing = mesh_of(name), things()[name]
    off = []
    for seed in range(2):
        T = somewhere(seed)
        cells = cells_of(mesh, T, everywhere_another, clutter(seed))
        pose = find_by_templates(
            views(name, everywhere_another), cells, view_of(mesh, T, with_depth), SIMILAR
        )
        assert pose.refused is None, str(pose.refused)
        assert not pose.ambiguous
        assert pose.unit == ('m' if with_depth else 'px')
        off.append(thing.add(pose.T_camera_object, T))
    assert max(off) < (0.005 if with_depth else 0.02)


@pytest.mark.parametrize('with_depth', [True, False])
@pytest.mark.parametrize('what', ['nothing', 'another object'])
def test_an_object_that_is_not_there_is_refused(what: str, with_depth: bool) -> None:
    drill, T = mesh_of('drill'), somewhere(3)
    cells = clutter(0)
    if what == 'another object':
        cells = cells_of(drill, T, lambda places: descriptors(places, 8), cells)
    pose = find_by_templates(
        views('cereals', everywhere_another), cells, view_of(drill, T, with_depth)
    )
    assert pose.refused is not None
    assert pose.refused.why in (Why.TOO_FEW, Why.NO_CONSENSUS)
    assert 'needed are' in str(pose.refused)


def test_of_an_object_that_looks_the_same_after_half_a_turn_this_is_told() -> None:
    mesh, thing = mesh_of('cereals'), things()['cereals']
    half = rigid.transform(rigid.rotation_about([0, 0, 1], np.pi))
    for seed in range(2):
        T = somewhere(seed)
        cells = cells_of(mesh, T, same_after_half_a_turn, clutter(seed))
        pose = find_by_templates(
            views('cereals', same_after_half_a_turn), cells, view_of(mesh, T, True), SIMILAR
        )
        assert pose.refused is None, str(pose.refused)
        found = pose.T_camera_object
        assert min(thing.add(found, T), thing.add(found, T @ half)) < 0.006
        assert pose.ambiguous
        assert pose.symmetry is not None
        assert abs(pose.symmetry.direction[2]) > 0.98


def test_of_an_object_without_a_print_no_wrong_place_is_told() -> None:
    mesh, thing = mesh_of('soup'), things()['soup']
    for seed in range(2):
        T = somewhere(seed)
        cells = cells_of(mesh, T, same_after_any_turn, clutter(seed))
        pose = find_by_templates(
            views('soup', same_after_any_turn), cells, view_of(mesh, T, True), SIMILAR
        )
        assert pose.refused is None, str(pose.refused)
        along = pose.T_camera_object[:3, 2] @ T[:3, 2]
        assert along > np.cos(np.deg2rad(10))
        assert np.linalg.norm(pose.T_camera_object[:3, 3] - T[:3, 3]) < 0.1 * thing.diameter


def test_a_view_that_is_refused_does_not_hide_one_that_is_not() -> None:
    """Of a view that shows much else, too, more cells agree, and yet too small a share."""
    mesh, thing, T = mesh_of('drill'), things()['drill'], somewhere(0)
    cells, view = cells_of(mesh, T, everywhere_another, clutter(0)), view_of(mesh, T, True)
    known = max(
        views('drill', everywhere_another),
        key=lambda one: len(mutual_neighbours(one, cells, SIMILAR)),
    )
    found = mutual_neighbours(known, cells, SIMILAR)
    rng = np.random.default_rng(0)

    def among(cells_of_view: NDArray[np.int64], others: int) -> Constellation:
        strange = unit(rng.normal(size=(others, 16)))
        places = known.points[rng.integers(len(known.points), size=others)]
        return Constellation(
            np.concatenate([known.points[cells_of_view], places]),
            np.concatenate([known.descriptors[cells_of_view], strange]),
            np.ones(len(cells_of_view) + others),
            'oracle',
        )

    many, few = among(found[:36], 470), among(found[::2][:24], 0)
    alone = find_by_templates([many], cells, view, SIMILAR)
    assert alone.refused is not None and alone.inliers.sum() > 24
    pose = find_by_templates([many, few], cells, view, SIMILAR)
    assert pose.refused is None, str(pose.refused)
    assert len(pose.inliers) == len(few.points)
    assert thing.add(pose.T_camera_object, T) < 0.01


def test_the_same_picture_gives_the_same_pose() -> None:
    mesh, T = mesh_of('mug'), somewhere(0)
    cells = cells_of(mesh, T, everywhere_another, clutter(0))
    first, second = (
        find_by_templates(views('mug', everywhere_another), cells, view_of(mesh, T, True))
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.T_camera_object, second.T_camera_object)


def test_without_depth_anywhere_the_pixels_are_left() -> None:
    mesh, T = mesh_of('mug'), somewhere(0)
    cells = cells_of(mesh, T, everywhere_another, clutter(0))
    blind = View(SIZE, DepthImage(np.full(SIZE, np.nan, np.float32)), CAMERA)
    pose = find_by_templates(views('mug', everywhere_another), cells, blind, SIMILAR)
    assert pose.refused is None
    assert pose.unit == 'px'


@pytest.mark.parametrize(
    ('case', 'message'),
    [
        ('no views', '0 cells of a view and of the picture'),
        ('no camera', 'no camera info yet'),
        ('all cells alike', 'each other'),
    ],
)
def test_what_cannot_be_found_says_why(case: str, message: str) -> None:
    known = [] if case == 'no views' else views('mug', everywhere_another)
    view = View(SIZE, None, None if case == 'no camera' else CAMERA, 'no camera info yet')
    cells = GREY if case == 'all cells alike' else clutter(0)
    pose = find_by_templates(known, cells, view)
    assert pose.refused is not None
    assert message in str(pose.refused)
    assert np.isnan(pose.T_camera_object).all()


def test_maps_of_another_length_are_named() -> None:
    with pytest.raises(ValueError, match=r'\(N, 8\)'):
        find_by_templates(
            views('mug', everywhere_another), torch.ones(8, 60, 80), View(SIZE, None, CAMERA)
        )


def test_a_mesh_too_small_for_the_cells_has_no_views() -> None:
    mesh = mesh_of('mug').moved(np.eye(4), 0.02)
    T = poses_about(mesh, CAMERA)[0]
    assert view_at(mesh, T, CAMERA, clutter(0), 'oracle') is None


@pytest.mark.parametrize('camera', [CAMERA, Camera(480, 640, 615.0, 615.0, 239.5, 319.5)])
def test_a_mesh_larger_than_the_picture_is_drawn_from_farther(camera: Camera) -> None:
    mesh = mesh_of('cereals').moved(np.eye(4), 5)
    for T in poses_about(mesh, camera):
        assert camera.contains(camera.project(rigid.apply(T, mesh.vertices))).all()
