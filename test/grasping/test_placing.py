"""What is held, where it comes to stand, and which places are refused; boxes of known measures."""

import numpy as np
import pytest

from don_kp_ros.geometry import rigid
from don_kp_ros.grasping.candidates import PinchParameters
from don_kp_ros.grasping.placing import Held, PlaceError, place_at, unseen_since
from don_kp_ros.motion.heightmap import Grid, HeightMap

GRID = Grid(0.2, 0.85, -0.5, 0.5)
FINGERS = PinchParameters()
DOWN = np.diag([1.0, -1.0, -1.0])


def scene(*boxes):
    """A table seen every 2 mm, with boxes (x, y, half, half, height) on it."""
    x, y = (
        v.ravel() for v in np.meshgrid(np.arange(0.2, 0.85, 0.002), np.arange(-0.5, 0.5, 0.002))
    )
    z = np.zeros_like(x)
    for at_x, at_y, half_x, half_y, height in boxes:
        z[(np.abs(x - at_x) <= half_x) & (np.abs(y - at_y) <= half_y)] = height
    return np.column_stack([x, y, z])


BLOCK = (0.5, 0.0, 0.05, 0.02, 0.06)
T_GRASP = rigid.transform(DOWN, [0.52, 0.0, 0.05])
POINT = rigid.transform(translation=[0.51, 0.0, 0.06])


def held(*others, reference=POINT):
    return Held.grasped(T_GRASP, reference, scene(BLOCK, *others), FINGERS)


def goal(x, y, z=0.0, yaw=0.0):
    return rigid.transform(rigid.rotation_about([0, 0, 1], yaw), [x, y, z])


def test_the_held_object_is_what_is_connected_and_its_box_hangs_below_the_tool():
    one = held((0.6, 0.2, 0.03, 0.03, 0.1))
    assert one.columns[:, 0].min() == pytest.approx(0.45, abs=0.006)
    assert one.columns[:, 0].max() == pytest.approx(0.55, abs=0.006)
    assert np.abs(one.columns[:, 1]).max() == pytest.approx(0.02, abs=0.006)
    assert one.others[:, 2].max() == pytest.approx(0.1)
    below = (np.abs(one.others[:, :2] - [0.5, 0.0]) < [0.05, 0.02]).all(axis=1)
    assert below.any() and not one.others[below, 2].any()
    corners = one.box.half_size * (2 * np.array([*np.ndindex(2, 2, 2)]) - 1)
    at = rigid.apply(T_GRASP @ one.box.T_tcp_box, corners)
    assert at.min(axis=0) == pytest.approx([0.45, -0.02, 0.008], abs=0.006)
    assert at.max(axis=0) == pytest.approx([0.55, 0.02, 0.06], abs=0.006)
    inside = one.box.contains(T_GRASP, np.array([[0.5, 0.0, 0.05], [0.5, 0.06, 0.05]]), 0.01)
    assert inside.tolist() == [True, False]


def test_a_wide_ring_is_held_by_its_wall():
    x, y, _ = np.meshgrid(*[np.arange(-0.04, 0.04, 0.001)] * 2, [0.0], indexing='ij')
    radius = np.hypot(x, y).ravel()
    wall = (radius >= 0.033) & (radius <= 0.036)
    ring = np.column_stack([x.ravel() + 0.5, y.ravel(), np.where(wall, 0.06, 0.004)])
    T_grasp = rigid.transform(DOWN, [0.5, 0.0, 0.05])
    one = Held.grasped(T_grasp, POINT, ring[radius <= 0.036], FINGERS)
    assert one.box.half_size[:2] == pytest.approx([0.036, 0.036], abs=0.006)


def test_a_point_comes_to_its_goal_turned_as_asked():
    motion = held().motion_to(goal(0.4, 0.2, 0.03, np.pi / 2))
    # Turned about the point, whose height is that over the ground.
    assert rigid.apply(motion, POINT[:3, 3]) == pytest.approx([0.4, 0.2, 0.09])
    assert rigid.apply(motion, [0.61, 0.0, 0.06]) == pytest.approx([0.4, 0.3, 0.09])


def test_a_taught_object_comes_to_stand_with_its_frame_as_asked():
    lies = goal(0.48, 0.01, 0.04, 0.7)
    motion = held(reference=lies).motion_to(goal(0.4, -0.2, 0.0, -0.4))
    assert motion @ lies == pytest.approx(goal(0.4, -0.2, 0.04, -0.4))


def test_what_the_fingers_turn_stands_as_asked_in_the_end():
    # The sides of a block are turned by five degrees against the fingers, about the tool.
    T_turn = rigid.transform(rigid.rotation_about([0, 0, 1], np.deg2rad(5.0)))
    T_at = rigid.transform(translation=T_GRASP[:3, 3])
    away = T_at @ T_turn @ rigid.inverse(T_at)
    x, y = (
        v.ravel()
        for v in np.meshgrid(np.arange(-0.05, 0.05, 7e-4), [*np.arange(-0.02, 0.02, 7e-4)])
    )
    block = rigid.apply(away, np.column_stack([x + 0.52, y, np.full_like(x, 0.06)]))
    reference = rigid.transform(translation=rigid.apply(away, POINT[:3, 3]))
    one = Held.grasped(T_GRASP, reference, np.concatenate([scene(), block]), FINGERS)
    motion = one.motion_to(goal(0.4, 0.2, 0.0, 0.3))
    # Seen from where it stood, the fingers turn it back, then the hand brings it to its place.
    stands = motion @ rigid.inverse(away)
    assert np.arctan2(stands[1, 0], stands[0, 0]) == pytest.approx(0.3, abs=np.deg2rad(1.0))
    at = rigid.apply(stands, reference[:3, 3])
    assert at == pytest.approx([0.4, 0.2, POINT[2, 3]], abs=0.001)


def test_where_the_box_of_the_held_object_would_touch_is_refused_as_the_planner_would():
    # The held part is a corner, whose box is twice as large.
    one = Held.grasped(
        rigid.transform(DOWN, [0.5, 0.0, 0.05]),
        POINT,
        scene((0.5, 0.0, 0.06, 0.02, 0.06), (0.45, 0.05, 0.01, 0.06, 0.06)),
        FINGERS,
    )
    motion = one.motion_to(goal(0.41, -0.2))
    post = scene((0.45, -0.13, 0.01, 0.01, 0.1))
    corners = one.box.footprint(motion @ one.T_base_grasp, 0.002)
    assert np.hypot(*(corners[:, :2] - [0.45, -0.13]).T).min() < 0.005
    with pytest.raises(PlaceError, match='occupied'):
        one.check_free(motion, post, GRID, FINGERS)


@pytest.mark.parametrize(
    ('at', 'told'),
    [
        (goal(0.6, 0.2), 'occupied.* 100 mm high'),
        (goal(0.55, 0.2), 'occupied'),  # its end alone
        (goal(0.84, 0.0), 'outside of the workspace'),
        (goal(0.4, -0.2, 0.05), 'nothing to stand on.* 50 mm was asked for'),
    ],
)
def test_a_place_without_room_or_ground_is_refused(at, told):
    others = (0.6, 0.2, 0.03, 0.03, 0.1)
    one = held(others)
    with pytest.raises(PlaceError, match=told):
        one.check_free(one.motion_to(at), one.others, GRID, FINGERS)


def test_free_places_are_not_refused():
    one = held((0.7, 0.2, 0.1, 0.1, 0.05))
    for at in (goal(0.4, -0.2), goal(0.51, 0.0, 0.0, 1.5), goal(0.7, 0.2, 0.05)):
        one.check_free(one.motion_to(at), one.others, GRID, FINGERS)


def test_a_place_beside_which_the_fingers_cannot_open_is_refused():
    one = held((0.4, -0.26, 0.05, 0.015, 0.08))
    with pytest.raises(PlaceError, match='cannot let go there: there is no room for the fingers'):
        one.check_free(one.motion_to(goal(0.4, -0.2)), one.others, GRID, FINGERS)


def test_a_place_that_is_not_seen_is_refused():
    one = held()
    seen = one.others[one.others[:, 1] > -0.2]
    with pytest.raises(PlaceError, match='not seen'):
        one.check_free(one.motion_to(goal(0.4, -0.25)), seen, GRID, FINGERS)


def test_what_was_not_seen_between_the_fingers_cannot_be_placed():
    with pytest.raises(PlaceError, match='not seen where it is grasped'):
        Held.grasped(rigid.transform(DOWN, [0.7, 0.3, 0.05]), POINT, scene(BLOCK), FINGERS)


def test_a_place_is_as_high_as_most_of_what_is_seen_there_and_turned_as_what_was_found():
    points = scene((0.5, 0.1, 0.08, 0.06, 0.03))
    strays = [[0.52, 0.11, 0.4], [0.521, 0.11, -0.2], [np.nan] * 3, [np.nan] * 3]
    lean = rigid.rotation_about([0, 0, 1], 0.7) @ rigid.rotation_about([1, 0, 0], 0.05)
    found = rigid.transform(lean, [0.52, 0.11, 0.012])
    place = place_at(found, np.concatenate([points, strays]))
    assert place == pytest.approx(goal(0.52, 0.11, 0.03, 0.7))
    # What is held comes to stand on it.
    motion = held().motion_to(place)
    assert rigid.apply(motion, POINT[:3, 3]) == pytest.approx([0.52, 0.11, 0.03 + POINT[2, 3]])
    # The table's noise below it is none, and of what is not seen nothing is known.
    sunk = scene() - [0.0, 0.0, 0.002]
    assert place_at(goal(0.4, 0.0), sunk) == pytest.approx(goal(0.4, 0.0))
    with pytest.raises(PlaceError, match='was not seen'):
        place_at(found, points[np.abs(points[:, 0] - 0.52) > 0.011])


def test_what_is_hidden_now_is_as_it_was_and_what_is_seen_now_is_as_it_is():
    before, now = scene((0.3, 0.0, 0.03, 0.03, 0.1), (0.7, 0.0, 0.03, 0.03, 0.1)), scene()
    now = now[now[:, 0] < 0.5]
    kept = unseen_since(before, now, GRID)
    assert kept[:, 0].min() == pytest.approx(0.5, abs=0.003)
    seen = HeightMap.from_points(np.concatenate([now, kept]), GRID)
    assert np.isfinite(seen.heights).all()
    high = GRID.centres()[0][(seen.heights > 0.05).any(axis=1)]
    assert high.min() > 0.65 and high.max() < 0.75  # what stood at 0.3 has gone
