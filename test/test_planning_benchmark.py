"""The benchmark of the planner: what it draws, and what it takes for a touch."""

import numpy as np

from benchmarks.planning import GRIP, KINDS, PANDA, Box, Course, Drawing, seen
from don_kp_ros.geometry import rigid
from don_kp_ros.motion.held import HeldBox
from don_kp_ros.motion.kinematics import Kinematics
from don_kp_ros.motion.safety import Safety, load_safety
from don_kp_ros.motion.timing import time_path

LIMITS = load_safety()
OBSERVE = PANDA.position('observe')


def touches(boxes: list[Box], held: HeldBox | None = None) -> list[tuple[float, str]]:
    """Turn the arm's base by a radian, and say what it touches, and when."""
    way = np.linspace(OBSERVE, OBSERVE + [1.0, 0, 0, 0, 0, 0, 0], 40)
    motion = time_path(way, np.full(7, 1.0), np.full(7, 3.0))
    assert motion is not None
    return list(Course(boxes, held).follow([motion], 0.08))


def test_physics_tells_what_the_arm_and_the_held_object_touch_on_their_way() -> None:
    assert touches([]) == []
    # Halfway, where the hand comes by at 0.5 m from the base; it is lower than the hand.
    post = Box(0.40 * np.cos(0.5), 0.40 * np.sin(0.5), 0.02, 0.02, 0.25)
    assert touches([post]) == []
    plank = HeldBox(rigid.transform(translation=[0.0, 0.0, 0.15]), np.array([0.02, 0.02, 0.17]))
    touched = touches([post], plank)
    assert {what for _, what in touched} <= {'box0 and held', 'held and box0'} and touched
    moments = [moment for moment, _ in touched]
    assert np.diff(moments).min() > 0.0009
    assert 0.2 < moments[0] < 1.4


def test_ends_of_problems_are_free_and_the_goal_is_where_it_is_said() -> None:
    safety = Safety(LIMITS, PANDA, LIMITS.simulation)
    drawing = Drawing(safety, np.random.default_rng(3))
    for kind in KINDS:
        problem = drawing.problem(kind)
        assert not Course(problem.boxes, problem.real).touches(problem.start)
        assert (problem.held is None) == (kind != 'place')
        box = problem.boxes[0]
        if kind == 'pick':
            np.testing.assert_allclose(problem.goal[:2, 3], [box.x, box.y])
            assert problem.goal[2, 3] <= max(box.height - GRIP, 0.02) + 1e-9
        at_goal = Course(problem.boxes[1:] if kind == 'pick' else problem.boxes, problem.real)
        kinematics, random = Kinematics(PANDA), np.random.default_rng(4)
        seeds = [OBSERVE, *(kinematics.random(random) for _ in range(20))]
        half_turn = rigid.transform(np.diag([-1.0, -1.0, 1.0]))
        goals = [problem.goal, problem.goal @ half_turn] if kind == 'pick' else [problem.goal]
        ways = [q for T in goals for q in kinematics.solutions(T, seeds)]
        for q in ways:
            assert min(np.abs(kinematics.forward(q) - T).max() for T in goals) < 1e-3
        assert any(not at_goal.touches(q) for q in ways)


def test_a_turned_wall_is_seen_where_it_stands() -> None:
    wall = Box(0.5, 0.1, 0.01, 0.12, 0.3, yaw=0.7)
    heights = seen([wall], LIMITS.workspace.grid).heights
    x, y = np.meshgrid(*LIMITS.workspace.grid.centres(), indexing='ij')
    along = np.array([-np.sin(0.7), np.cos(0.7)])
    away = np.array([x - 0.5, y - 0.1])
    far_along = np.abs(np.einsum('i,ijk', along, away))
    far_off = np.abs(np.einsum('i,ijk', along[::-1] * [1, -1], away))
    assert (heights[(far_along < 0.10) & (far_off < 0.005)] == 0.3).all()
    assert np.isnan(heights[(far_along > 0.14) | (far_off > 0.025)]).all()
