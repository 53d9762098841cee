"""An arm with a camera on its hand, which sees a post, for the grasp node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from waiting_arm import Arm, Stage

from don_kp_ros.geometry import rigid
from don_kp_ros.motion.heightmap import HeightMap
from don_kp_ros.motion.port import GraspPlan, MotionCode, MotionError, Segment
from don_kp_ros.nodes.grasp.observer import GoalRefusedError
from don_kp_ros.nodes.grasp.second_view import View
from don_kp_ros.robots.preset import load_preset

PANDA = load_preset('panda')
T_TCP_CAMERA = rigid.inverse(PANDA.T_hand_tcp) @ PANDA.camera.T_hand_optical
# The camera looks straight down on (0.5, 0).
T_FIRST = rigid.transform(np.diag([1.0, -1.0, -1.0]), [0.5, 0.0, 0.6])
T_FIRST[:2, 3] -= (T_FIRST @ T_TCP_CAMERA)[:2, 3] - [0.5, 0.0]
Q_FIRST = np.full(7, 0.1)
Bias = Callable[[int], float]


class Looking(Arm):
    """An arm with a camera on its hand; the camera sees a square post, which may be pushed."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.T, self.width = T_FIRST, 0.08
        self.post = np.array([0.5, 0.0, 0.05])
        self.looks: list[int] = []  # the view, 0 for the first, of each
        self.bias: Bias = lambda _: 0.0  # metres along y, of what is seen from a view
        self.hidden: Callable[[int], int] = lambda _: 0  # why it is not seen from a view
        self.looks_like: Callable[[str], np.ndarray | None] = lambda _: None  # a target
        self.planned: Callable[[int], None] = lambda _: None
        self.views: list[np.ndarray] = []
        self.reachable, self.strays, self.q = True, False, Q_FIRST
        self.back: list[np.ndarray] = []
        self.let_go: list[bool] = []  # whether the fingers had, of each way back
        self.fails: MotionCode | None = None  # of the way back
        self.grasps: list[np.ndarray] = []
        self.told: list[tuple[str, str]] = []
        self.board = lambda _: np.zeros((0, 3))  # what else is seen from a view
        self.obstacles: HeightMap | None = None
        self.ways: list[HeightMap] = []  # what each way of the arm heeded
        self.executed = 0

    def look_for(self, _: str, images: int, near: Any) -> tuple[np.ndarray, np.ndarray]:
        view = len(self.views) - len(self.back)
        self.looks.append(view)
        if code := self.hidden(view):
            raise GoalRefusedError(code, f'a hand is before view {view}')
        x, y = (axis.ravel() for axis in np.meshgrid(*[np.arange(-0.1, 0.1, 0.002)] * 2))
        on = (np.abs(x) <= 0.02) & (np.abs(y) <= 0.02)
        points = np.column_stack([x, y, np.where(on, 0.05, 0.0)]) + [*self.post[:2], 0.0]
        seen = np.concatenate([points, self.board(view)])
        return self.post + [0.0, self.bias(view), 0.0], seen

    def here(self) -> View:
        return View(self.T @ T_TCP_CAMERA, self.T @ rigid.inverse(PANDA.T_hand_tcp))

    def joint_positions(self) -> np.ndarray:
        return self.q

    def gripper_width(self) -> float:
        return self.width

    def set_obstacles(self, heights: Any) -> None:
        self.obstacles = heights

    def set_gripper(self, width: float, force: float) -> float:
        self.width = width or 0.04
        return self.width

    def move_to_pose(self, T: np.ndarray) -> None:
        if not self.reachable:
            raise MotionError(MotionCode.UNREACHABLE, 'the arm is too short')
        if self.strays:
            self.q = Q_FIRST + 0.2
            raise MotionError(MotionCode.NOT_FOLLOWED, 'the controller does not answer')
        super().set_gripper(0.0, 0.0)  # a motion, which may be stopped
        assert self.obstacles is not None
        self.ways.append(self.obstacles)
        self.T = T
        self.views.append(T @ T_TCP_CAMERA)

    def move_to_joints(self, q: np.ndarray, let_go: bool = False) -> None:
        self.let_go.append(let_go)
        assert self.obstacles is not None
        self.ways.append(self.obstacles)
        self.back.append(q)
        if self.fails is not None:
            raise MotionError(self.fails, 'the way back failed')

    def plan_grasp(self, T: np.ndarray, *_: float) -> GraspPlan:
        self.grasps.append(T)
        self.planned(len(self.grasps))
        way = Segment('a way', 0.0, None)
        return GraspPlan(T, 0.08, way, way, way)

    def execute(self, _: Segment) -> None:
        self.executed += 1

    def wait(self, _: float) -> None:
        pass

    def serve(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        """Be the arm and the eyes of the grasp node."""
        for part in (stage.node, stage.node._picker, stage.node._placer, stage.node._second_view):
            monkeypatch.setattr(part, '_motion', self)
        monkeypatch.setattr(stage.node._planning._points, 'look_for', self.look_for)
        regions = stage.node._planning._looks._regions
        monkeypatch.setattr(regions, 'place_of', lambda name: self.looks_like(name))
        monkeypatch.setattr(stage.node._second_view, 'here', self.here)
        # However busy the machine is, planning takes no time.
        monkeypatch.setattr(stage.node._observer, 'now', lambda: 0.0)


def height(heights: HeightMap, x: float, y: float) -> float:
    index, _ = heights.grid.cells(np.array([[x, y]]))
    return float(heights.heights[tuple(index[0])])
