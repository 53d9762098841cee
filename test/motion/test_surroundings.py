"""What stands about the workspace is in the way of the hand, the camera and the last links."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.planning import Box, Course
from don_kp_ros.geometry import rigid
from don_kp_ros.motion.planner import Planner
from don_kp_ros.motion.port import MotionCode, MotionError
from don_kp_ros.motion.safety import Safety, load_safety
from don_kp_ros.robots.preset import load_preset

PRESET = load_preset('panda')
LIMITS = load_safety()


def test_what_stands_about_the_workspace_is_mapped_but_not_the_robots_base():
    narrow = replace(LIMITS.workspace, x=(0.3, 0.6), y=(-0.1, 0.1))
    about = [[0.45, 0.39], [0.45, -0.39], [0.89, 0.0], [0.21, 0.0], [0.15, 0.3]]
    left_out = [[0.15, 0.0], [0.45, 0.41]]
    heights = narrow.mapped([[*at, 0.2] for at in about + left_out]).heights
    assert np.isfinite(heights).sum() == len(about)
    index, _ = narrow.surroundings.cells(np.array(about))
    assert (heights[tuple(index.T)] == 0.2).all()


@pytest.mark.parametrize(
    ('x', 'range_of_cells'),
    [((0.2, 0.85), (0.1, 1.15)), ((0.5, 0.85), (0.2, 1.15)), ((-0.6, 0.85), (-0.9, 1.15))],
)
def test_cells_reach_about_the_workspace_but_not_under_the_first_links(x, range_of_cells):
    grid = replace(LIMITS.workspace, x=x).surroundings
    assert (grid.x_min, grid.x_max) == pytest.approx(range_of_cells)
    assert (grid.y_min, grid.y_max) == pytest.approx((-0.8, 0.8))


def test_what_stands_just_outside_of_the_workspace_is_avoided():
    planner = Planner(PRESET, Safety(LIMITS, PRESET, LIMITS.simulation))
    wall = Box(0.5, 0.6, 0.2, 0.06, 0.3)  # from 4 cm outside on
    planner.set_obstacles(LIMITS.workspace.mapped(wall.top()))
    observe, course = PRESET.position('observe'), Course([wall])

    def turned(yaw):
        turn = rigid.rotation_about([0, 0, 1], yaw) @ np.diag([1.0, -1.0, -1.0])
        return rigid.transform(turn, [0.5, 0.48, 0.12])

    with pytest.raises(MotionError, match='touches an obstacle') as caught:
        planner.to_pose(observe, turned(0.0))  # the hand is wider than the way to the wall
    assert caught.value.code is MotionCode.COLLISION
    way = planner.to_pose(observe, turned(-np.pi / 2))
    assert not any(course.touches(q) for q in way.apart(0.01))
