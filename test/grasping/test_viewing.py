"""A second view: where the camera goes, and what two views tell together."""

import numpy as np
import pytest

from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.grasping.viewing import confirmed, merged, second_views

CAMERA = Camera(width=640, height=480, fx=615.0, fy=615.0, cx=319.5, cy=239.5)
DOWN = rigid.transform(np.diag([1.0, -1.0, -1.0]), [0.48, 0.0, 0.58])
TARGETS = [(0.48, 0.0, 0.05), (0.6, 0.2, 0.0), (0.3, -0.2, 0.15)]


@pytest.mark.parametrize('target', TARGETS)
def test_a_second_view_has_the_target_in_its_middle_as_near_as_asked(target):
    views = second_views(DOWN, np.array(target), 0.3, np.deg2rad(20.0))
    assert len(views) >= 4
    before = np.array(target) - DOWN[:3, 3]
    for T in views:
        np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-12)
        at = rigid.apply(rigid.inverse(T), target)
        np.testing.assert_allclose(at, [0.0, 0.0, 0.3], atol=1e-12)
        np.testing.assert_allclose(CAMERA.project(at[None])[0], [319.5, 239.5], atol=1e-9)
        cosine = T[:3, 2] @ before / np.linalg.norm(before)
        assert np.rad2deg(np.arccos(cosine)) == pytest.approx(20.0)


@pytest.mark.parametrize('target', TARGETS)
def test_second_views_come_by_their_slant_and_none_is_beyond_what_was_taught(target):
    slants = [np.rad2deg(np.arccos(-T[2, 2])) for T in second_views(DOWN, np.array(target))]
    assert max(slants) <= 40.0 + 1e-9
    assert np.all(np.diff(slants) > -1.0)
    # From straight above a target, the slant is the turn; from aside, the camera comes above it.
    sight = np.array(target) - DOWN[:3, 3]
    before = np.rad2deg(np.arccos(-sight[2] / np.linalg.norm(sight)))
    assert slants[0] == pytest.approx(15.0) if before < 1.0 else slants[0] < before


def test_the_camera_turns_no_more_than_its_line_of_sight():
    target = np.array([0.48, 0.0, 0.05])  # in the middle of the picture before, too
    for T in second_views(DOWN, target):
        turned = DOWN[:3, :3].T @ T[:3, :3]
        assert np.rad2deg(np.arccos((np.trace(turned) - 1) / 2)) == pytest.approx(15.0)


def test_a_second_view_is_no_farther_than_the_first():
    target = np.array([0.48, 0.0, 0.3])
    for T in second_views(DOWN, target):
        assert np.linalg.norm(T[:3, 3] - target) == pytest.approx(0.28)


def test_places_that_one_view_alone_shows_are_left_out_and_the_second_view_orders_the_rest():
    first = np.array([[0.5, 0.0, 0.1], [0.6, 0.0, 0.1], [0.7, 0.0, 0.1]])
    second = np.array([[0.602, 0.0, 0.1], [0.8, 0.0, 0.1], [0.5, 0.004, 0.1]])
    places, metres = confirmed(first, second, 0.01)
    np.testing.assert_allclose(places, [[0.601, 0.0, 0.1], [0.5, 0.002, 0.1]])
    assert metres == pytest.approx(0.002)
    none, metres = confirmed(first, second + [0.0, 0.05, 0.0], 0.01)
    assert none.shape == (0, 3) and metres == pytest.approx(np.hypot(0.002, 0.05))


def test_the_errors_of_a_place_shrink_as_those_of_two_measurements_do():
    rng = np.random.default_rng(0)
    pairs = rng.normal(0, 0.005, (2000, 2, 1, 3))
    off = [confirmed(first, second, 1.0)[0][0] for first, second in pairs]
    assert np.std(off) == pytest.approx(0.005 / np.sqrt(2), rel=0.03)


def test_of_the_first_view_remains_what_the_second_did_not_see():
    first = np.array([[0.505, 0.005, 0.02], [0.505, 0.005, 0.07], [0.605, 0.005, 0.03]])
    second = np.array([[0.504, 0.004, 0.05], [-0.005, 0.005, 0.0]])
    both = merged(first, second)
    assert sorted(map(tuple, both)) == sorted(map(tuple, [*second, first[2]]))
    assert len(merged(first, second[:0])) == 3 and len(merged(first[:0], second)) == 2


def grid(x, y, z):
    """Return points every 4 mm of a level rectangle."""
    rows = (np.arange(*ends, 0.004) for ends in (x, y))
    xs, ys = (axis.ravel() for axis in np.meshgrid(*rows))
    return np.column_stack([xs, ys, np.full_like(xs, z)])


def columns(points):
    """Return the height of the highest point in each column of 1 cm."""
    highest = {}
    for x, y, z in points:
        cell = (int(np.floor(x / 0.01)), int(np.floor(y / 0.01)))
        highest[cell] = max(z, highest.get(cell, -np.inf))
    return highest


def test_an_overhang_that_the_second_view_looks_under_remains():
    table = grid((0.4, 0.7), (-0.1, 0.1), 0.0)
    board = grid((0.5, 0.6), (-0.1, 0.1), 0.2)
    under = table[table[:, 0] < 0.56]  # behind it nothing is seen
    seen = columns(merged(np.concatenate([table, board]), under))
    for (i, _), height in seen.items():
        assert height == (0.2 if 50 <= i < 60 else 0.0)
    assert len(seen) == 30 * 20


def test_an_error_between_the_views_makes_nothing_thicker():
    box = grid((0.45, 0.5), (0.0, 0.05), 0.08)
    around = grid((0.4, 0.55), (-0.05, 0.1), 0.0)
    off = box + [0.009, -0.009, 0.012]
    covered = np.all((around[:, :2] >= [0.459, -0.009]) & (around[:, :2] <= [0.508, 0.04]), axis=1)
    both = merged(np.concatenate([box, around]), np.concatenate([off, around[~covered]]))
    assert sorted(map(tuple, both[both[:, 2] > 0.05])) == sorted(map(tuple, off))


def test_what_was_pushed_away_remains_an_obstacle_unless_it_is_the_target():
    table = grid((0.4, 0.7), (-0.1, 0.1), 0.0)
    there = grid((0.45, 0.5), (0.0, 0.05), 0.08)
    gone = np.concatenate([table, there + [0.12, 0.0, 0.0]])
    before = np.concatenate([table, there])
    kept = columns(merged(before, gone))
    assert all(kept[i, j] == 0.08 for i in (*range(45, 50), *range(57, 62)) for j in range(5))
    assert columns(merged(before, gone, moved=True)) == columns(gone)
