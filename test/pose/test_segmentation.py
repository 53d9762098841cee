"""The table's plane, and the pixels of what stands on it."""

import numpy as np
import pytest
from truth import CAMERA, Array, Scene

from don_kp_ros.errors import RefusedError
from don_kp_ros.pose.segmentation import Plane, object_mask, table_plane

TWO = Scene.of((-0.08, 0.0, 0.4), (0.06, 0.03, 1.2))


def depth_of(scene: Scene) -> Array:
    view = scene.view()
    assert view.depth is not None
    return view.depth.metres()


def test_the_table_is_found_under_what_stands_on_it() -> None:
    plane = table_plane(TWO.view().points())
    np.testing.assert_allclose(plane.normal, TWO.T_camera_base[:3, 2], atol=1e-4)
    height = TWO.T_camera_base[:3, 2] @ -TWO.T_camera_base[:3, 3]
    assert plane.offset == pytest.approx(height, abs=1e-4)
    assert plane.heights([0, 0, 0]) > 0  # the camera is on the free side


def test_the_table_is_found_in_noise() -> None:
    rng = np.random.default_rng(0)
    depth = depth_of(TWO)
    depth += rng.normal(0, 0.004, depth.shape) * depth**2
    depth[rng.random(depth.shape) < 0.2] = np.nan
    plane = table_plane(CAMERA.deproject_image(depth))
    assert plane.normal @ TWO.T_camera_base[:3, 2] > np.cos(np.deg2rad(0.3))
    middle = CAMERA.deproject([320.0, 240.0], 0.55)
    true = Plane(TWO.T_camera_base[:3, 2], -TWO.T_camera_base[:3, 2] @ TWO.T_camera_base[:3, 3])
    assert plane.heights(middle) == pytest.approx(true.heights(middle), abs=0.001)


def test_no_table_and_no_depth_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(RefusedError, match='no plane is in view that could be the table'):
        table_plane(rng.uniform(-1, 1, (2000, 3)))
    with pytest.raises(RefusedError, match='no depth to see the table by'):
        table_plane(np.full((100, 3), np.nan))
    with pytest.raises(ValueError, match='normal of a plane is'):
        Plane(np.zeros(3), 1.0)


@pytest.mark.parametrize('egg', [0, 1])
def test_a_click_shows_its_object_and_no_other(egg: int) -> None:
    plane = table_plane(TWO.view().points())
    true = TWO.mask(egg)
    found = object_mask(depth_of(TWO), CAMERA, plane, TWO.click(egg))
    assert (found & true).sum() > 0.97 * true.sum()
    assert not (found & TWO.mask(1 - egg)).any()
    assert (found & ~true).sum() < 0.01 * true.sum()


def test_an_object_in_front_of_another_is_told_by_the_step_between_them() -> None:
    """The nearer one hides a part of the farther one: their pixels touch."""
    scene = Scene.of((0.0, -0.05, 0.0), (0.0, 0.07, 0.0), tilt=0.9)
    plane = table_plane(scene.view().points())
    masks = [scene.mask(egg) for egg in (0, 1)]
    above = np.roll(masks[0], 2, axis=0) & masks[1]
    below = np.roll(masks[1], 2, axis=0) & masks[0]
    assert (above | below).any()
    for egg in (0, 1):
        found = object_mask(depth_of(scene), CAMERA, plane, scene.click(egg))
        assert (found & masks[egg]).sum() > 0.9 * masks[egg].sum()
        assert (found & masks[1 - egg]).sum() < 0.02 * masks[egg].sum()


def test_holes_in_the_depth_do_not_divide_an_object() -> None:
    rng = np.random.default_rng(0)
    depth, true = depth_of(TWO), TWO.mask(0)
    depth[rng.random(depth.shape) < 0.1] = np.nan
    rows = np.flatnonzero(true.any(axis=1))
    depth[rows[len(rows) // 2] : rows[len(rows) // 2] + 4] = np.nan  # a line across
    plane = table_plane(CAMERA.deproject_image(depth))
    u, v = TWO.click(0)
    found = object_mask(depth, CAMERA, plane, (u, v - 10))
    assert (found & true).sum() > 0.95 * true.sum()


def test_a_click_on_the_table_or_without_depth_is_refused() -> None:
    plane = table_plane(TWO.view().points())
    with pytest.raises(RefusedError, match=r'nothing stands above the table at \(20, 30\)'):
        object_mask(depth_of(TWO), CAMERA, plane, (20.0, 30.0))
    with pytest.raises(RefusedError, match='nothing stands above'):
        object_mask(np.full((480, 640), np.nan, np.float32), CAMERA, plane, TWO.click(0))


@pytest.mark.parametrize('bottom', [0.485, 0.496])
def test_the_wall_and_the_inside_of_a_mug_are_one_object(bottom: float) -> None:
    """In the picture the rim is 8 cm nearer; the bottom may be as low as the noise."""
    plane = Plane(np.array([0.0, 0.0, -1.0]), 0.5)
    v, u = np.indices((480, 640))
    x, y = (u - CAMERA.cx) / CAMERA.fx * 0.45, (v - CAMERA.cy) / CAMERA.fy * 0.45
    away = np.hypot(x, y)
    inside, wall = away < 0.035, (away >= 0.035) & (away < 0.04)
    depth = np.select([inside, wall], [bottom, 0.42], 0.5).astype(np.float32)
    depth += np.random.default_rng(0).normal(0, 0.0008, depth.shape).astype(np.float32)
    for click in ((319.5, 239.5), (CAMERA.cx + 0.0375 / 0.45 * CAMERA.fx, 239.5)):
        found = object_mask(depth, CAMERA, plane, click)
        assert (found & wall).sum() > 0.97 * wall.sum()
        assert (found & (away < 0.03)).sum() > 0.97 * (away < 0.03).sum()
        assert not (found & (away > 0.045)).any()
