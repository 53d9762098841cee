"""Sights of an object: how far they differ, which of them agree, and how sure they are."""

import numpy as np
import pytest

from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.symmetry import SymmetryAxis
from don_kp_ros.grasping.located import Located, agreed

EXACT = np.zeros((6, 6))
UP = SymmetryAxis(np.array([0.0, 0.0, 1.0]), np.array([0.1, 0.0, 0.0]))


def sight(x=0.0, yaw=0.0, tilt=0.0, symmetry=None, covariance=EXACT):
    turn = rigid.rotation_about([0, 0, 1], yaw) @ rigid.rotation_about([0, 1, 0], tilt)
    return Located(rigid.transform(turn, [x, 0.0, 0.0]), covariance, 'a model', symmetry)


def test_sights_differ_in_place_and_turn():
    assert sight().apart(sight(0.03, 0.2)) == pytest.approx((0.03, 0.2))
    assert sight(tilt=0.4).apart(sight(tilt=0.1)) == pytest.approx((0.0, 0.3))


def test_a_turn_about_the_axis_of_symmetry_is_none():
    one = sight(symmetry=UP)
    turned = Located(one.T_base_object @ UP.turn(1.3), EXACT, 'a model', UP)
    assert np.linalg.norm(turned.T_base_object[:3, 3]) > 0.1  # the origin is off the axis
    assert one.apart(turned) == pytest.approx((0.0, 0.0), abs=1e-7)
    assert one.apart(sight(tilt=0.2, symmetry=UP))[1] == pytest.approx(0.2)


def test_most_sights_outvote_those_that_are_off():
    right, near, turned, away = sight(), sight(0.004), sight(yaw=0.5), sight(0.1)
    found = agreed([turned, near, right, away], 0.01, 0.1)
    assert found[0] in (right, near)
    assert sorted(map(id, found)) == sorted(map(id, (right, near)))
    assert agreed([away], 0.01, 0.1) == [away]


def test_the_largest_deviation_counts_whatever_its_direction():
    turn = np.kron(np.eye(2), rigid.rotation_about([1, 2, 3], 1.0))
    sigma = turn @ np.diag([1e-6, 4e-6, 9e-6, 1e-4, 4e-4, 25e-4]) @ turn.T
    assert sight(covariance=sigma).deviations == pytest.approx((0.003, 0.05))
    assert sight(covariance=np.full((6, 6), np.nan)).deviations == (np.inf, np.inf)


def test_what_is_unknown_about_an_axis_of_symmetry_is_left_out():
    T = rigid.transform(rigid.rotation_about([1, 1, 0], 0.7), [0.0, 0.1, 0.5])
    axis = T[:3, :3] @ UP.direction
    unknown = np.concatenate([np.cross(axis, T[:3, :3] @ -UP.point), axis])
    sigma = np.diag([4e-6] * 3 + [1e-4] * 3) + np.pi**2 / 3 * np.outer(unknown, unknown)
    place, angle = Located(T, sigma, 'a model', UP).deviations
    assert place == pytest.approx(0.002, rel=0.6) and angle == pytest.approx(0.01, rel=0.1)
    assert Located(T, sigma, 'a model').deviations[1] > 1.5


def test_a_sight_in_the_frame_of_a_camera_has_its_covariance_turned():
    T_base_camera = rigid.transform(rigid.rotation_about([0, 0, 1], np.pi / 2), [1.0, 0.0, 0.0])
    sigma = np.diag([1e-6, 4e-6, 9e-6, 1e-4, 4e-4, 9e-4])
    seen = Located.seen(T_base_camera, np.eye(4), sigma, 'a model')
    np.testing.assert_allclose(
        np.diag(seen.covariance), [4e-6, 1e-6, 9e-6, 4e-4, 1e-4, 9e-4], atol=1e-18
    )
    np.testing.assert_allclose(seen.T_base_object, T_base_camera)


def test_an_object_that_may_stand_stands():
    """A roll that goes with a shift, as of a round surface: both are taken back together."""
    centre = 0.08  # metres below the origin, about which the surface slides
    slide = np.array([0.0, -centre, 0.0, 1.0, 0.0, 0.0])
    sigma = np.diag([1e-8] * 3 + [1e-6] * 3) + np.deg2rad(4) ** 2 * np.outer(slide, slide)
    roll = np.deg2rad(6)
    T = rigid.transform(rigid.rotation_about([1, 0, 0], roll), [0.5, -centre * roll, 0.04])
    found = Located(T, sigma, 'a model').upright()
    np.testing.assert_allclose(found.T_base_object[:3, 3], [0.5, 0.0, 0.04], atol=3e-4)
    assert np.arccos(found.T_base_object[2, 2]) < np.deg2rad(0.2)
    assert found.deviations[1] < np.deg2rad(0.6)
    # One that leans by more than its uncertainty explains is left as it was seen, as is one
    # that lies on its side or upside down.
    for lean in (np.deg2rad(20), np.pi / 2, np.pi):
        leaning = rigid.transform(rigid.rotation_about([1, 0, 0], lean))
        seen = Located(leaning, sigma, 'a model')
        assert seen.upright() is seen
    unsure = Located(T, np.full((6, 6), np.inf), 'a model')
    assert unsure.upright() is unsure


def test_two_sights_count_by_their_covariances():
    """One is sure of x and of its yaw, the other of the rest: together they are sure of all."""
    sure, unsure = 1e-6, 1e-2
    one = sight(0.001, 0.1, covariance=np.diag([sure, unsure, unsure, unsure, unsure, sure]))
    two = sight(0.3, 0.4, covariance=np.diag([unsure, sure, sure, sure, sure, unsure]))
    both = one.combined(two)
    np.testing.assert_allclose(both.T_base_object, one.T_base_object, atol=1e-4)
    np.testing.assert_allclose(np.diag(both.covariance), [sure] * 6, rtol=1e-3)
    alike = one.combined(sight(0.003, 0.3, covariance=one.covariance))
    assert alike.apart(sight(0.002, 0.2)) == pytest.approx((0.0, 0.0), abs=1e-6)
    np.testing.assert_allclose(alike.covariance, one.covariance / 2)


def test_sights_of_a_symmetrical_object_are_combined_turned_alike():
    box = SymmetryAxis(np.array([0.0, 0.0, 1.0]), np.array([0.1, 0.0, 0.0]), order=2)
    sigma = 1e-4 * np.eye(6)
    for symmetry, turn in ((UP, 1.3), (UP, -3.0), (box, np.pi)):
        one = sight(0.5, 0.2, symmetry=symmetry, covariance=sigma)
        T = rigid.transform(translation=[0.0, 0.004, 0.0]) @ one.T_base_object
        other = Located(T @ symmetry.turn(turn), sigma, 'a model', symmetry)
        between = rigid.transform(translation=[0.0, 0.002, 0.0]) @ one.T_base_object
        np.testing.assert_allclose(one.combined(other).T_base_object, between, atol=1e-9)


def test_what_looks_the_same_is_turned_to_the_axes_of_the_base():
    quarters = SymmetryAxis(UP.direction, UP.point, 4)
    for symmetry, left in ((UP, 0.0), (quarters, 1.3 - np.pi / 2), (None, 1.3)):
        one = sight(0.2, 1.3, symmetry=symmetry)
        turned = one.unturned()
        T = turned.T_base_object
        assert T[:3, :3] == pytest.approx(rigid.rotation_about([0, 0, 1], left), abs=1e-9)
        assert one.apart(turned) == pytest.approx((0.0, 0.0), abs=1e-7) or symmetry is None
        axis = rigid.apply(one.T_base_object, UP.point)
        assert rigid.apply(T, UP.point) == pytest.approx(axis)


def test_of_what_is_round_the_turn_counts_in_no_sight():
    """Its print tells one turn in a view and another in the next: a hand holds it all the same."""
    loose = np.diag([1e-6] * 3 + [1e-4, 1e-4, 1.0])
    one = Located(np.eye(4), loose, 'a model', round_about=UP)
    other = Located(UP.turn(0.7), loose, 'a model', UP, round_about=UP)
    assert one.apart(other) == pytest.approx((0.0, 0.0), abs=1e-7)
    assert one.deviations[1] == pytest.approx(0.01, rel=0.1)
    assert sight(covariance=loose).deviations[1] == pytest.approx(1.0)
    both = one.combined(other)
    np.testing.assert_allclose(both.T_base_object, np.eye(4), atol=1e-9)
    assert both.symmetry is None and both.round_about is UP
    tilted = Located(rigid.transform(rigid.rotation_about([0, 1, 0], 0.2)), loose, 'a model')
    assert one.apart(tilted)[1] == pytest.approx(0.2)


def test_an_axis_of_the_looks_beside_that_of_the_shape_counts_as_before():
    """A can that looks the same end over end is no surer and no less sure for being round."""
    across = SymmetryAxis(np.array([1.0, 0.0, 0.0]), np.zeros(3), 2)
    exact = np.full(6, 1e-8)
    loose = np.diag(exact) + (np.pi**2 / 3) * np.diag([0, 0, 0, 1.0, 0, 1.0])
    up = SymmetryAxis(UP.direction, np.zeros(3))
    one = Located(np.eye(4), loose, 'a model', across, round_about=up)
    assert one.deviations[1] == pytest.approx(1e-4, rel=0.1)
    over = Located(across.turn(np.pi), loose, 'a model', across, round_about=up)
    assert one.apart(over) == pytest.approx((0.0, 0.0), abs=1e-7)
