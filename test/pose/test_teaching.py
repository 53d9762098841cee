"""Objects taught from views whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from truth import CAMERA, Array, Egg, Scene, halves_that_look_alike

from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.depth import DepthImage
from don_kp_ros.matching.maps import describe_at
from don_kp_ros.matching.view import View
from don_kp_ros.pose.teaching import Taught, extend, spread, teach

MODEL = 'a model'
SCENE = Scene.of((0.0, 0.0, 0.5))
OTHER_SIDE = Scene.of((0.03, 0.02, 0.5 + np.pi), tilt=0.6)


def taught(scene: Scene = SCENE) -> Taught:
    axes = scene.T_camera_base[:3, :3]
    return teach(scene.cells(), scene.view(), scene.mask(), MODEL, axes)


def off_the_egg(points: Array) -> Array:
    """How far points (N, 3) in the egg's frame are outside of it, in units of its size."""
    return np.linalg.norm(points / Egg.axes, axis=1) - 1


def test_points_lie_on_the_object_and_have_its_descriptors() -> None:
    found = taught()
    constellation = found.constellation
    in_camera = rigid.apply(found.T_camera_object, constellation.points)
    in_egg = rigid.apply(rigid.inverse(SCENE.eggs[0].T_camera_object), in_camera)
    assert constellation.points.shape == (64, 3)
    assert (constellation.fingerprint, constellation.views) == (MODEL, 1)
    assert np.abs(off_the_egg(in_egg)).max() < 0.005
    at = describe_at(SCENE.cells(), torch.from_numpy(CAMERA.project(in_camera)), (480, 640))
    np.testing.assert_allclose(constellation.descriptors, at, atol=1e-3)
    assert (constellation.weights <= 1).all()


def test_points_are_spread_over_what_is_seen() -> None:
    """As far from each other as 64 points can be on 130 square centimetres, about."""
    points = taught().constellation.points
    apart = np.linalg.norm(points[:, None] - points, axis=2)
    np.fill_diagonal(apart, np.inf)
    assert apart.min() > 0.007
    assert np.ptp(points, axis=0).max() > 0.09


def test_the_frame_is_at_the_centroid_with_the_axes_of_the_base_unless_it_is_given() -> None:
    found = taught()
    np.testing.assert_allclose(found.constellation.points.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_array_equal(found.T_camera_object[:3, :3], SCENE.T_camera_base[:3, :3])
    T = SCENE.eggs[0].T_camera_object
    given = teach(SCENE.cells(), SCENE.view(), SCENE.mask(), MODEL, T_camera_object=T)
    np.testing.assert_array_equal(given.T_camera_object, T)
    assert np.abs(off_the_egg(given.constellation.points)).max() < 0.005


def test_what_looks_like_another_place_counts_less_or_is_left_out() -> None:
    """A second object that looks the same on its left half only."""
    scene = Scene.of((-0.09, 0.0, 0.5), (0.07, 0.0, 0.5))
    cells = scene.cells()
    second, column = scene.mask(1)[::8, ::8], np.arange(80)
    right = second & (column > CAMERA.project(scene.eggs[1].T_camera_object[:3, 3])[0] / 8)
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.normal(size=(16, int(right.sum()))).astype(np.float32))
    cells[:, torch.from_numpy(right)] = noise / noise.norm(dim=0)
    found = teach(cells, scene.view(), scene.mask(0), MODEL)
    at = rigid.apply(found.T_camera_object, found.constellation.points)
    on_the_left = at[:, 0] < scene.eggs[0].T_camera_object[0, 3] - 0.01
    on_the_right = at[:, 0] > scene.eggs[0].T_camera_object[0, 3] + 0.01
    assert on_the_right.sum() > 4 * on_the_left.sum()
    assert np.median(found.constellation.weights[on_the_right]) > 0.3


def test_a_number_of_points_can_be_asked_for() -> None:
    few = teach(SCENE.cells(), SCENE.view(), SCENE.mask(), MODEL, number=12)
    assert len(few.constellation.points) == 12


def test_points_can_be_taken_from_a_models_keypoints() -> None:
    """Those on the object, and each at its own pixel."""
    u, v = SCENE.click()
    rng = np.random.default_rng(0)
    places = np.array([u, v]) + rng.uniform(-60, 60, (20, 2))
    places = np.concatenate([places, [[5.0, 5.0], [-20.0, 100.0], [700.0, 100.0]]])
    found = teach(SCENE.cells(), SCENE.view(), SCENE.mask(), MODEL, places=places)
    at = CAMERA.project(rigid.apply(found.T_camera_object, found.constellation.points))
    away = np.linalg.norm(at[:, None] - places, axis=2).min(axis=1)
    assert 8 <= len(at) <= 20
    np.testing.assert_allclose(away, 0, atol=1e-6)


def test_what_cannot_be_measured_is_refused() -> None:
    cells, view, mask = SCENE.cells(), SCENE.view(), SCENE.mask()
    nowhere = View((480, 640), DepthImage(np.zeros((480, 640), np.uint16)), CAMERA)
    with pytest.raises(RefusedError, match=r'^0 of .* places on the object have depth'):
        teach(cells, nowhere, mask, MODEL)
    with pytest.raises(RefusedError, match='taught with depth: no depth image'):
        teach(cells, View((480, 640), lacks='no depth image'), mask, MODEL)
    with pytest.raises(RefusedError, match=r'the mask is \(3, 4\)'):
        teach(cells, view, np.ones((3, 4)), MODEL)
    tiny = np.zeros_like(mask)
    tiny[240:246, 320:326] = True
    with pytest.raises(RefusedError, match='too few; look from nearer'):
        teach(cells, view, tiny, MODEL)


def test_another_view_adds_the_side_that_it_shows() -> None:
    first = taught()
    cells, view, mask = OTHER_SIDE.cells(), OTHER_SIDE.view(), OTHER_SIDE.mask()
    both = extend(first.constellation, cells, view, mask, MODEL)
    T_first_egg = rigid.inverse(first.T_camera_object) @ SCENE.eggs[0].T_camera_object
    T = OTHER_SIDE.eggs[0].T_camera_object @ rigid.inverse(T_first_egg)
    change = both.T_camera_object @ rigid.inverse(T)
    assert np.linalg.norm(both.T_camera_object[:3, 3] - T[:3, 3]) < 0.002
    assert Rotation.from_matrix(change[:3, :3]).magnitude() < np.deg2rad(2)
    constellation = both.constellation
    assert constellation.views == 2
    assert 70 < len(constellation.points) <= 128
    in_egg = rigid.apply(rigid.inverse(T_first_egg), constellation.points)
    assert np.abs(off_the_egg(in_egg)).max() < 0.06  # 2 mm
    new = in_egg[64:]
    old = in_egg[:64]
    away = np.linalg.norm(new[:, None] - old, axis=2).min(axis=1)
    assert away.min() > 0.004
    seen_twice = constellation.weights[:64] > first.constellation.weights * 1.01
    assert 10 < seen_twice.sum() < 64
    untouched = ~seen_twice
    np.testing.assert_array_equal(
        constellation.points[:64][untouched], first.constellation.points[untouched]
    )


def test_the_same_view_again_changes_nothing_much() -> None:
    first = taught()
    cells, view, mask = SCENE.cells(), SCENE.view(), SCENE.mask()
    again = extend(first.constellation, cells, view, mask, MODEL)
    np.testing.assert_allclose(again.T_camera_object, first.T_camera_object, atol=1e-3)
    np.testing.assert_allclose(
        again.constellation.points[:64], first.constellation.points, atol=1e-3
    )
    assert len(again.constellation.points) < 70


def test_a_view_of_something_else_is_refused_with_its_residual() -> None:
    first = taught().constellation
    other = Scene.of((0.0, 0.0, 0.2), seed=5)
    with pytest.raises(RefusedError, match=r'does not go with the 1 before: ') as refused:
        extend(first, other.cells(), other.view(), other.mask(), MODEL)
    assert 'inf' not in str(refused.value)
    stretched = replace(SCENE.eggs[0], axes=(0.08, 0.03, 0.04))
    wrong = replace(SCENE, eggs=(stretched,))
    with pytest.raises(RefusedError, match=r'does not go with .* are off by [\d.]+ mm \(rms\)'):
        extend(first, wrong.cells(), wrong.view(), wrong.mask(), MODEL)
    with pytest.raises(RefusedError, match='taught with the model a model, the view is described'):
        extend(first, SCENE.cells(), SCENE.view(), SCENE.mask(), 'another model')


def test_a_view_that_fits_two_turns_is_refused() -> None:
    cells, view, mask = halves_that_look_alike()
    half = mask & (np.arange(480)[:, None] < 240)
    own = teach(cells, view, half, MODEL, rigid.rotation_about([1, 0, 0], np.pi)).constellation
    with pytest.raises(
        RefusedError, match='another turn or place fits as well; show it from where'
    ):
        extend(own, cells, view, mask, MODEL)


def test_spreading_keeps_apart_and_begins_in_the_middle() -> None:
    points = np.stack([np.linspace(0, 1, 101), np.zeros(101), np.zeros(101)], axis=1)
    assert spread(points, 3).tolist() == [50, 0, 100]
    assert spread(points, 100, apart=0.24).tolist() == [50, 0, 100, 25, 75]
    beside = spread(points, 100, taken=points[:51], apart=0.24)
    assert sorted(beside.tolist()) == [75, 100]
    assert spread(points[:2], 5).tolist() == [0, 1]
    assert spread(points, 5, taken=points).tolist() == []
