"""Taught grasps follow their object, and those that cannot be used say why."""

import numpy as np
import pytest

from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.symmetry import SymmetryAxis
from don_kp_ros.grasping.candidates import NoGraspError
from don_kp_ros.grasping.taught import TaughtGrasp, grasp_between, taught_candidates

NOTHING = np.empty((0, 3))
DOWN = np.diag([1.0, -1.0, -1.0])
# The object's frame is 5 cm over the table; the hand comes from above.
TOP = TaughtGrasp('top', rigid.transform(DOWN, [0.0, 0.0, 0.01]), 0.04)
ROUND = SymmetryAxis(np.array([0.0, 0.0, 1.0]), np.zeros(3))


def lying(yaw=0.0, height=0.05):
    return rigid.transform(rigid.rotation_about([0, 0, 1], yaw), [0.5, 0.1, height])


def turned(name, axis, angle):
    """The grasp from the top, with the hand turned about its own axis."""
    turn = rigid.transform(rigid.rotation_about(axis, angle))
    return TaughtGrasp(name, TOP.T_object_tcp @ turn, 0.04)


def wall(x, y, height=0.15, half=0.06):
    """Points of a wall 12 cm long along y, 1 mm apart."""
    ys = np.arange(y - half, y + half, 0.001)
    return np.array([[x + d, at, height] for d in np.arange(0, 0.02, 0.001) for at in ys])


@pytest.mark.parametrize('yaw', [0.0, 0.7, 2.5, -1.9])
def test_a_grasp_turns_with_its_object(yaw):
    (found,), reasons = taught_candidates(lying(yaw), [TOP], None, NOTHING)
    assert reasons == []
    expected = rigid.transform(rigid.rotation_about([0, 0, 1], yaw) @ DOWN, [0.5, 0.1, 0.06])
    np.testing.assert_allclose(found.T_base_tcp, expected, atol=1e-12)
    assert (found.name, found.width) == ('grasp top', 0.04)


def test_the_steepest_and_freest_comes_first():
    tilted = [turned(f'{tilt:.1f}', [0, 1, 0], tilt) for tilt in (0.9, 0.0, 0.4)]
    found, _ = taught_candidates(lying(), tilted, None, NOTHING)
    assert [one.name for one in found] == ['grasp 0.0', 'grasp 0.4', 'grasp 0.9']
    # Beside a wall at x = 0.58 the fingers that close along y have more room.
    across = turned('across', [0, 0, 1], np.pi / 2)
    near = wall(0.58, 0.1, height=0.055)
    found, reasons = taught_candidates(lying(), [across, TOP], None, near)
    assert [one.name for one in found] == ['grasp top', 'grasp across']
    assert reasons == []


def test_each_grasp_that_cannot_be_used_has_its_reason():
    deep = TaughtGrasp('deep', rigid.transform(DOWN, [0.0, 0.0, -0.06]), 0.04)
    found, reasons = taught_candidates(lying(), [deep, TOP], None, wall(0.5, 0.1))
    assert found == []
    assert reasons == [
        'grasp deep: the fingers would be -19 mm over the table, 5 mm are needed',
        'grasp top: there is no room for the fingers at this pose',
    ]


def test_about_an_axis_of_symmetry_every_turn_that_looks_the_same_is_tried():
    (found, _) = taught_candidates(lying(0.3), [TOP], ROUND, NOTHING, count=99)
    angles = {round(float(np.rad2deg(np.arctan2(*one.T_base_tcp[1::-1, 0])))) for one in found}
    expected = {round((np.rad2deg(0.3) + 30 * n + 180) % 360 - 180) for n in range(12)}
    assert angles == expected
    assert found[0].name == 'grasp top'  # the surest
    box = SymmetryAxis(ROUND.direction, np.array([0.02, 0.0, 0.0]), 2)
    (straight, turned), _ = taught_candidates(lying(), [TOP], box, NOTHING)
    assert turned.name == 'grasp top turned by 180 degrees'
    # Half a turn about (0.02, 0) brings the grasp at the origin to (0.04, 0).
    shift = turned.T_base_tcp[:3, 3] - straight.T_base_tcp[:3, 3]
    np.testing.assert_allclose(shift, [0.04, 0.0, 0.0], atol=1e-12)
    few, reasons = taught_candidates(lying(), [TOP], ROUND, NOTHING, count=3)
    assert len(few) == 3 and len(reasons) == 9
    assert all(reason.endswith('not tried') for reason in reasons)


def test_of_a_round_object_every_grasp_comes_before_any_comes_in_another_turn():
    other = turned('other', [0, 1, 0], 0.6)
    found, _ = taught_candidates(lying(), [TOP, other], ROUND, NOTHING)
    assert [one.name for one in found[:2]] == ['grasp top', 'grasp other']
    assert sum('other' in one.name for one in found) == 4


def test_a_hand_that_would_barely_touch_the_table_is_raised():
    # Of the ends of the fingers, 9 mm below the tool centre point, 5 mm over the table are asked.
    low = lying(height=0.0)
    (found,), _ = taught_candidates(low, [TOP], None, NOTHING)
    np.testing.assert_allclose(found.T_base_tcp[:3, 3], [0.5, 0.1, 0.014], atol=1e-12)


def test_two_points_make_a_grasp_across_them():
    first, second = np.array([0.45, 0.10, 0.05]), np.array([0.49, 0.13, 0.05])
    T, width = grasp_between(first, second)
    assert width == pytest.approx(0.05)
    np.testing.assert_allclose(T[:3, 1], (second - first) / 0.05, atol=1e-12)
    np.testing.assert_allclose(T[:3, 2], [0, 0, -1], atol=1e-12)
    assert np.linalg.det(T[:3, :3]) == pytest.approx(1)
    # The ends reach 15 mm below the points: the tool centre point is 9 mm above them.
    np.testing.assert_allclose(T[:3, 3], [0.47, 0.115, 0.05 - 0.015 + 0.009], atol=1e-12)
    low, _ = grasp_between(first - [0, 0, 0.045], second - [0, 0, 0.045])
    assert low[2, 3] == pytest.approx(0.005 + 0.009)
    steep, _ = grasp_between(first, second + [0, 0, 0.04])
    assert steep[:3, 1] @ steep[:3, 2] == pytest.approx(0, abs=1e-12)
    assert steep[2, 2] < -0.7


@pytest.mark.parametrize(
    ('second', 'message'),
    [
        ([0.45, 0.20, 0.05], r'100 mm apart; the fingers hold 1 to 72 mm'),
        ([0.45, 0.10, 0.05], r'0 mm apart'),
        ([0.46, 0.10, 0.09], r'76 degrees steep, at most 45 .*teach with the hand'),
    ],
)
def test_points_that_the_hand_cannot_hold_are_refused(second, message):
    with pytest.raises(NoGraspError, match=message):
        grasp_between([0.45, 0.10, 0.05], second)
