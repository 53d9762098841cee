"""How closing fingers move an object, on boxes and discs of known measures and turns."""

import numpy as np
import pytest

from don_kp_ros.geometry import rigid
from don_kp_ros.grasping.candidates import PinchParameters
from don_kp_ros.grasping.closing import settled

FINGERS = PinchParameters()
DOWN = np.diag([1.0, -1.0, -1.0])
T_GRASP = rigid.transform(DOWN, [0.5, 0.1, 0.02])
SIDE = np.arange(-0.06, 0.06, 0.0007)


def seen(inside, yaw=0.0, centre=(0.5, 0.1)):
    """The top, 30 mm high, of what a function of x and y tells, turned about a centre."""
    x, y = (v.ravel() for v in np.meshgrid(SIDE, SIDE))
    top = np.column_stack([x, y, np.full_like(x, 0.03)])[inside(x, y)]
    return rigid.apply(rigid.transform(rigid.rotation_about([0, 0, 1], yaw), [*centre, 0.0]), top)


def bar(x, y):
    return (np.abs(x) <= 0.05) & (np.abs(y) <= 0.02)


def disc(x, y):
    return np.hypot(x, y) <= 0.03


def heading(T):
    return np.rad2deg(np.arctan2(T[1, 0], T[0, 0]))


@pytest.mark.parametrize('degrees', [-10.0, -4.0, 0.0, 2.0, 8.0])
def test_a_bar_is_turned_until_its_sides_lie_flat_on_the_fingers(degrees):
    motion = settled(T_GRASP, seen(bar, np.deg2rad(degrees)), FINGERS)
    assert heading(motion) == pytest.approx(-degrees, abs=1.0)
    assert rigid.apply(motion, [0.5, 0.1, 0.02]) == pytest.approx([0.5, 0.1, 0.02], abs=0.001)


def test_what_is_not_in_the_middle_is_brought_there_by_the_finger_that_touches_it_first():
    motion = settled(T_GRASP, seen(bar, centre=(0.52, 0.106)), FINGERS)
    assert motion == pytest.approx(rigid.transform(translation=[0.0, -0.006, 0.0]), abs=0.001)


def test_a_disc_is_as_wide_in_every_turn_and_is_not_turned():
    assert settled(T_GRASP, seen(disc), FINGERS) == pytest.approx(np.eye(4))


def test_what_is_below_the_fingers_ends_does_not_count():
    wide = seen(lambda x, y: (np.abs(x) <= 0.05) & (np.abs(y) <= 0.03), np.deg2rad(8.0))
    wide[:, 2] = 0.005
    both = np.concatenate([seen(bar, np.deg2rad(-5.0)), wide])
    assert heading(settled(T_GRASP, both, FINGERS)) == pytest.approx(5.0, abs=1.0)


def test_too_few_points_and_an_inclined_hand_tell_nothing():
    turned = seen(bar, np.deg2rad(6.0))
    inclined = T_GRASP @ rigid.transform(rigid.rotation_about([0, 1, 0], np.deg2rad(40.0)))
    for T, points in ((T_GRASP, turned[:20]), (inclined, turned), (T_GRASP, np.empty((0, 3)))):
        assert np.array_equal(settled(T, points, FINGERS), np.eye(4))
