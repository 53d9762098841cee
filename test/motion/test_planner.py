"""The planner's motions, checked by a scene of the test's own and by analytic truth."""

import numpy as np
import pytest

from benchmarks.planning import Box, Course
from don_kp_ros.geometry import rigid
from don_kp_ros.motion import planner as planning
from don_kp_ros.motion.heightmap import HeightMap
from don_kp_ros.motion.held import HeldBox
from don_kp_ros.motion.kinematics import Kinematics
from don_kp_ros.motion.planner import Planner
from don_kp_ros.motion.port import MotionCode, MotionError
from don_kp_ros.motion.safety import Safety, Scaling, load_safety
from don_kp_ros.motion.timing import time_path, time_pieces
from don_kp_ros.robots.preset import load_preset

PRESET = load_preset('panda')
OBSERVE = PRESET.position('observe')
SAFETY = Safety(load_safety(), PRESET, Scaling(0.5, 0.5))
GRID = SAFETY.limits.workspace.surroundings
X, Y = np.meshgrid(*GRID.centres(), indexing='ij')


class Oracle:
    """The robot among boxes and a table, as MuJoCo's primitives; no height field, no padding."""

    def __init__(self, boxes, width=0.08, held=None):
        self.course = Course([Box(x, y, half, half, height) for x, y, half, height in boxes], held)
        self.width = width

    def collides(self, q):
        return self.course.touches(q, width=self.width)


def height_map(boxes):
    heights = np.zeros(GRID.shape)
    for x, y, half, height in boxes:
        inside = (np.abs(X - x) <= half) & (np.abs(Y - y) <= half)
        heights[inside] = np.maximum(heights[inside], height)
    return HeightMap(GRID, heights)


def down(x, y, z, yaw=0.0):
    turn = rigid.rotation_about([0, 0, 1], yaw) @ np.diag([1.0, -1.0, -1.0])
    return rigid.transform(turn, [x, y, z])


@pytest.fixture(scope='module')
def planner():
    return Planner(PRESET, SAFETY)


@pytest.fixture(scope='module')
def kinematics():
    return Kinematics(PRESET)


def every_10_ms(trajectory):
    """Return the positions, after checking that they are no further apart."""
    assert np.diff(trajectory.times).max() <= 0.0100001
    return trajectory.positions


def refusal(call):
    with pytest.raises(MotionError) as caught:
        call()
    return caught.value


def test_inverse_undoes_forward(kinematics):
    generator = np.random.default_rng(2)
    for _ in range(50):
        T = kinematics.forward(kinematics.random(generator))
        seeds = [PRESET.position('ready'), *(kinematics.random(generator) for _ in range(20))]
        q = next(kinematics.solutions(T, seeds))
        assert np.allclose(kinematics.forward(q), T, atol=2e-4)
        assert kinematics.within_limits(q)


def test_inverse_fails_without_numbers_that_are_none(kinematics):
    assert kinematics.inverse(down(1.5, 0.0, 0.3), OBSERVE) is None
    with pytest.raises(ValueError, match='7 finite'):
        kinematics.inverse(down(0.5, 0.0, 0.3), np.full(7, np.nan))


def test_random_problems_are_solved_free_of_collisions(planner, kinematics):
    generator = np.random.default_rng(5)
    solved = detours = 0
    while solved < 25:
        boxes = [
            (*generator.uniform([0.3, -0.35], [0.7, 0.35]), 0.04, generator.uniform(0.05, 0.35))
            for _ in range(5)
        ]
        ends = [
            down(
                *generator.uniform([0.3, -0.35, 0.05], [0.7, 0.35, 0.3]),
                generator.uniform(-1.5, 1.5),
            )
            for _ in range(2)
        ]
        planner.set_obstacles(height_map(boxes))
        oracle = Oracle(boxes)
        q0, q1 = (kinematics.inverse(T, OBSERVE) for T in ends)
        if q0 is None or q1 is None or planner.scene.contact(q0):
            continue
        try:
            trajectory = planner.to_joints(q0, q1)
        except MotionError as error:
            # Only where the goal itself is not free.
            if error.code is MotionCode.COLLISION and 'at the goal' in str(error):
                continue
            raise
        solved += 1
        positions = every_10_ms(trajectory)
        assert not any(oracle.collides(q) for q in positions)
        direct = np.linspace(q0, q1, 100)
        detours += any(oracle.collides(q) for q in direct)
        assert np.allclose(positions[0], q0, atol=1e-6)
        assert np.allclose(positions[-1], q1, atol=1e-6)
        limits = 0.5 * np.array(PRESET.velocity_limits)
        assert (np.abs(trajectory.velocities) <= 1.01 * limits).all()
        assert (trajectory.velocities[[0, -1]] == 0).all()
    assert detours >= 5  # or the problems were too easy


def test_a_pick_is_straight_where_it_must_be_and_free(planner, kinematics):
    generator = np.random.default_rng(6)
    for _ in range(10):
        x, y = generator.uniform([0.35, -0.3], [0.65, 0.3])
        yaw = generator.uniform(-np.pi, np.pi)
        # A block of 5 cm to hold, and a wall beside it.
        held = (x, y, 0.02, 0.03)
        other = (x + (0.2 if x < 0.5 else -0.2), y, 0.03, 0.12)
        planner.set_obstacles(height_map([held, other]))
        T = down(x, y, 0.02, yaw)
        plan = planner.grasp(OBSERVE, T, 0.1, 0.2, 0.08)
        oracle = Oracle([other])
        for trajectory in (plan.to_pregrasp, plan.approach, plan.lift):
            assert not any(oracle.collides(q) for q in every_10_ms(trajectory))
        for trajectory, low, high in ((plan.approach, 0.02, 0.12), (plan.lift, 0.02, 0.22)):
            poses = np.array([kinematics.forward(q) for q in trajectory.positions])
            assert np.abs(poses[:, :2, 3] - [x, y]).max() < 0.001
            assert np.abs(poses[:, :3, :3] - plan.T_base_grasp[:3, :3]).max() < 0.005
            heights = poses[:, 2, 3]
            assert heights.min() == pytest.approx(low, abs=1e-3)
            assert heights.max() == pytest.approx(high, abs=1e-3)
            assert np.abs(np.diff(heights) / np.diff(trajectory.times)).max() < 0.102
        assert np.allclose(plan.to_pregrasp.positions[-1], plan.approach.positions[0], atol=1e-6)
        assert np.allclose(plan.approach.positions[-1], plan.lift.positions[0], atol=1e-6)
        # The same pose, or the hand turned by half a turn.
        assert abs(plan.T_base_grasp[:3, 1] @ T[:3, 1]) == pytest.approx(1.0)


def test_a_tilted_hand_comes_along_its_own_axis(planner, kinematics):
    planner.set_obstacles(None)
    T = down(0.5, 0.1, 0.15, 0.4)
    T[:3, :3] = rigid.rotation_about([0, 1, 0], -0.5) @ T[:3, :3]
    plan = planner.grasp(OBSERVE, T, 0.1, 0.1, 0.08)
    for trajectory, direction in ((plan.approach, T[:3, 2]), (plan.lift, np.array([0, 0, 1.0]))):
        poses = np.array([kinematics.forward(q) for q in trajectory.positions])
        way = poses[:, :3, 3] - poses[0, :3, 3]
        assert np.abs(way - np.outer(way @ direction, direction)).max() < 0.001
        assert np.linalg.norm(way[-1]) == pytest.approx(0.1, abs=1e-3)
        assert np.abs(poses[:, :3, :3] - plan.T_base_grasp[:3, :3]).max() < 0.005


def test_refusals_say_why(planner, kinematics):
    planner.set_obstacles(height_map([(0.5, 0.0, 0.04, 0.2)]))

    def grasp(T, approach=0.1):
        return refusal(lambda: planner.grasp(OBSERVE, T, approach, 0.1, 0.08))

    def motion(T):
        return refusal(lambda: planner.to_joints(OBSERVE, kinematics.inverse(T, OBSERVE)))

    # From the side, past the block's top edge.
    through = down(0.5, 0.2, 0.12)
    through[:3, :3] = rigid.rotation_about([1, 0, 0], 1.2) @ through[:3, :3]
    beyond = refusal(lambda: planner.to_joints(OBSERVE, OBSERVE + [3.0, 0, 0, 0, 0, 0, 0]))
    for error, code, words in (
        (grasp(down(0.9, 0.5, 0.2)), MotionCode.UNREACHABLE, '(0.900, 0.500, 0.200)'),
        (motion(down(0.4, 0.3, 0.005)), MotionCode.COLLISION, 'finger touches table'),
        (grasp(down(0.4, 0.3, 0.009)), MotionCode.COLLISION, 'finger touches table'),
        (motion(down(0.5, 0.0, 0.1)), MotionCode.COLLISION, 'touches an obstacle'),
        (beyond, MotionCode.UNREACHABLE, 'beyond the limits'),
        (grasp(through, approach=0.25), MotionCode.COLLISION, 'touches'),
    ):
        assert error.code is code
        assert words in str(error)
    with pytest.raises(ValueError, match='finite'):
        planner.grasp(OBSERVE, np.full((4, 4), np.nan), 0.1, 0.1, 0.08)


def test_a_pose_is_reached_free_of_collisions_and_refused_where_it_is_not(planner, kinematics):
    posts = [(0.55, 0.0, 0.04, 0.4)]
    planner.set_obstacles(height_map(posts))
    try:
        start = kinematics.inverse(down(0.5, -0.25, 0.2), OBSERVE)
        tilted = down(0.5, 0.25, 0.2, yaw=0.6)
        tilted[:3, :3] = rigid.rotation_about([1, 1, 0], 0.5) @ tilted[:3, :3]
        way = planner.to_pose(start, tilted)
        within = refusal(lambda: planner.to_pose(start, down(0.55, 0.0, 0.3)))
        far = refusal(lambda: planner.to_pose(start, down(0.9, 0.5, 0.2)))
    finally:
        planner.set_obstacles(None)
    assert np.allclose(kinematics.forward(way.positions[-1]), tilted, atol=1e-3)
    oracle = Oracle(posts)
    assert not any(oracle.collides(q) for q in every_10_ms(way))
    # Or the problem was too easy.
    assert any(oracle.collides(q) for q in np.linspace(start, way.positions[-1], 100))
    assert within.code is MotionCode.COLLISION and 'touches an obstacle' in str(within)
    assert far.code is MotionCode.UNREACHABLE and '(0.900, 0.500, 0.200)' in str(far)
    with pytest.raises(ValueError, match='finite'):
        planner.to_pose(start, np.full((4, 4), np.nan))


def test_planning_can_be_cancelled(planner):
    planner.cancelled = lambda: True
    try:
        error = refusal(lambda: planner.grasp(OBSERVE, down(0.5, 0.0, 0.05), 0.1, 0.1, 0.08))
    finally:
        planner.cancelled = lambda: False
    assert error.code is MotionCode.CANCELLED


def test_a_straight_path_takes_the_time_of_a_trapezoid():
    waypoints = np.zeros((30, 7))
    waypoints[:, 0] = np.linspace(0.0, 2.0, 30)
    trajectory = time_path(waypoints, np.full(7, 1.0), np.full(7, 2.0))
    # Half a second up to 1 rad/s and down again, and the rest at full speed.
    assert trajectory.duration == pytest.approx(2.5, rel=0.02)
    assert trajectory.positions[-1, 0] == pytest.approx(2.0)


def test_pieces_stay_on_their_lines_and_rest_at_the_corners():
    corners = np.array([[0.0] * 7, [0.5] * 7, [0.5, 1.0, *[0.5] * 5], [0.2] * 7])
    velocity, acceleration = np.full(7, 0.8), np.full(7, 2.0)
    timed = time_pieces(corners, velocity, acceleration)
    assert (np.diff(timed.times) > 0).all() and np.diff(timed.times).max() <= 0.011
    assert np.abs(timed.velocities).max() <= 0.8 + 1e-6
    ends = [int(np.abs(timed.positions - corner).max(axis=1).argmin()) for corner in corners]
    assert ends[0] == 0 and ends[-1] == len(timed.times) - 1
    for corner, at in zip(corners, ends, strict=True):
        np.testing.assert_allclose(timed.positions[at], corner, atol=1e-6)
        np.testing.assert_allclose(timed.velocities[at], 0, atol=1e-9)
    for a, b, first, last in zip(corners, corners[1:], ends, ends[1:], strict=False):
        piece = timed.positions[first : last + 1]
        along = (piece - a) @ (b - a) / ((b - a) @ (b - a))
        np.testing.assert_allclose(a + along[:, None] * (b - a), piece, atol=1e-6)


def test_a_path_whose_corners_no_spline_rounds_is_gone_with_stops(planner, monkeypatch):
    monkeypatch.setattr(planning, 'time_path', lambda *_: None)
    motion = planner.to_joints(OBSERVE, PRESET.position('ready'))
    np.testing.assert_allclose(motion.positions[-1], PRESET.position('ready'), atol=1e-6)
    oracle = Oracle([])
    assert not any(oracle.collides(q) for q in motion.positions)


def test_what_is_held_touches_nothing_on_its_way_to_its_place(planner, kinematics):
    """A plank across the hand is brought past posts."""
    start_pose, place = down(0.45, -0.25, 0.25), down(0.45, 0.25, 0.05)
    plank = HeldBox(rigid.transform(translation=[0.0, 0.0, 0.02]), np.array([0.12, 0.02, 0.025]))
    posts = [(0.58, y, 0.02, 0.36) for y in (-0.05, 0.05)]
    planner.set_obstacles(height_map(posts))
    planner.scene.hold(plank)
    start = kinematics.inverse(start_pose, OBSERVE)
    try:
        plan = planner.place(start, place, 0.1)
        assert 'held object touches' in planner.scene.contact(
            kinematics.inverse(down(0.45, 0.05, 0.3), OBSERVE)
        )
        alone = planner.to_joints(start, plan.approach.positions[0])
    finally:
        planner.scene.hold(None)
        planner.set_obstacles(None)
    oracle = Oracle(posts, held=plank)
    for way in (plan.to_pregrasp, plan.approach, plan.lift, alone):
        assert not any(oracle.collides(q) for q in every_10_ms(way))
    # Or the problem was too easy.
    direct = np.linspace(start, plan.approach.positions[0], 100)
    assert any(oracle.collides(q) for q in direct)
    heights = [kinematics.forward(q)[2, 3] for q in plan.approach.positions]
    assert (np.diff(heights) <= 1e-6).all()
    sideways = [kinematics.forward(q)[:2, 3] for q in plan.approach.positions]
    assert np.ptp(sideways, axis=0).max() < 1e-3
    assert np.allclose(kinematics.forward(plan.approach.positions[-1]), place, atol=1e-3)
    assert kinematics.forward(plan.lift.positions[-1])[2, 3] == pytest.approx(0.15, abs=1e-3)


def test_what_stands_about_is_in_the_way_but_for_what_the_fingers_let_go(planner, kinematics):
    start = kinematics.inverse(down(0.65, -0.25, 0.24), OBSERVE)
    ready = PRESET.position('ready')
    try:
        for x, y in ((0.65, -0.25), (0.65, -0.18)):  # between the fingers, and beside the hand
            planner.set_obstacles(height_map([(x, y, 0.015, 0.30)]))
            refused = refusal(lambda: planner.to_joints(start, ready))
            assert refused.code is MotionCode.COLLISION and 'at the start' in str(refused)
            planner.to_joints(start, ready, let_go=True)
    finally:
        planner.set_obstacles(None)


def test_a_motion_begins_gently_where_the_arm_is(planner, kinematics):
    planned = planner.to_joints(OBSERVE, PRESET.position('ready'))
    q = OBSERVE + [0.02, -0.02, 0.01, 0.0, 0.0, 0.0, -0.02]
    way = planner.begun_at(q, planned)
    np.testing.assert_allclose(way.positions[0], q)
    np.testing.assert_allclose(way.positions[-1], PRESET.position('ready'), atol=1e-6)
    every_10_ms(way)
    speeds = np.diff(way.positions, axis=0) / np.diff(way.times)[:, None]
    assert (np.abs(speeds) <= 1.02 * 0.5 * np.array(PRESET.velocity_limits)).all()
    felt = np.abs(np.diff(way.velocities, axis=0)) / np.diff(way.times)[:, None]
    assert (felt <= 1.02 * 0.5 * np.array(PRESET.acceleration_limits)).all()
    # Then it is the planned one.
    lead = len(way.times) - len(planned.times)
    np.testing.assert_allclose(way.positions[lead:], planned.positions, atol=1e-6)
    np.testing.assert_allclose(np.diff(way.times[lead:]), np.diff(planned.times))


def test_what_fingers_may_hold_is_moved_gently(planner):
    most = []
    for width in (0.0, 0.03, 0.08):
        planner.scene.set_width(width)
        way = planner.to_joints(OBSERVE, PRESET.position('ready'))
        felt = np.abs(np.diff(way.velocities, axis=0)) / np.diff(way.times)[:, None]
        most.append((felt / PRESET.acceleration_limits).max())
    closed, holding, opened = most
    assert holding <= 1.02 * 0.2 < min(closed, opened)


def test_a_place_into_which_the_held_object_does_not_fit_is_refused(planner, kinematics):
    planner.set_obstacles(height_map([(0.53, 0.25, 0.02, 0.08)]))
    start = kinematics.inverse(down(0.45, -0.25, 0.25), OBSERVE)
    plank = HeldBox(rigid.transform(translation=[0.0, 0.0, 0.02]), np.array([0.12, 0.02, 0.025]))
    planner.scene.hold(plank)
    try:
        error = refusal(lambda: planner.place(start, down(0.45, 0.25, 0.05), 0.1))
    finally:
        planner.scene.hold(None)
    assert error.code is MotionCode.COLLISION
    assert 'the held object touches an obstacle' in str(error)
    planner.place(start, down(0.45, 0.25, 0.05), 0.1)
    planner.set_obstacles(None)
