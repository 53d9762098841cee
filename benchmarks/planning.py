"""Motions among walls and clutter, planned by the embedded planner and judged by physics.

`python -m benchmarks.planning`: COUNT=200 problems, a free motion, a pick and a place in turn,
each on a table of its own with walls and boxes. What is planned is followed in MuJoCo, where every
millisecond tells whether the arm, its camera or the held object touches anything. Physics has
the boxes themselves, the planner the height map of their tops. SEED=0. Ten minutes.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.report import Target, given, report
from don_kp_ros.geometry import rigid
from don_kp_ros.motion.heightmap import Grid, HeightMap
from don_kp_ros.motion.held import HeldBox
from don_kp_ros.motion.kinematics import Kinematics
from don_kp_ros.motion.planner import Planner
from don_kp_ros.motion.port import MotionError, above, pick_poses
from don_kp_ros.motion.safety import Safety, load_safety
from don_kp_ros.motion.timing import Trajectory
from don_kp_ros.robots.panda import ARM_JOINTS, HAND_ACTUATOR, arm_command, panda_spec
from don_kp_ros.robots.preset import load_preset
from don_kp_ros.simulation.controllers import CommandedTrajectory, TrajectoryController

Array = NDArray[np.float64]

KINDS = ('free', 'pick', 'place')
STEP = 0.001
PANDA = load_preset('panda')
# Metres. Ends of motions keep so far from things, which the height map widens by up to two cells.
ROOM = 0.03
APPROACH, LIFT = 0.10, 0.15
OVER_TABLE = 0.005  # of what is held, where it would be let go
GRIP = 0.02  # the tool centre point below the top of what it holds
_POINTS = 0.004  # between the points that the camera is taken to see
_SEEDS = 12
_EDGE = 0.08  # of the workspace: what stands nearer is not drawn


@dataclass(frozen=True)
class Box:
    """A box on the table, turned about the vertical: middle, half its sides, height, metres."""

    x: float
    y: float
    half_x: float
    half_y: float
    height: float
    yaw: float = 0.0

    def top(self) -> Array:
        """Return points (n, 3) of its top as a camera sees them."""
        sides = [
            np.linspace(-half, half, max(2, int(np.ceil(2 * half / _POINTS)) + 1))
            for half in (self.half_x, self.half_y)
        ]
        x, y = (values.ravel() for values in np.meshgrid(*sides))
        turn = rigid.rotation_about([0.0, 0.0, 1.0], self.yaw)
        points = np.column_stack((x, y, np.zeros_like(x))) @ turn.T
        return points + [self.x, self.y, self.height]


@dataclass(frozen=True)
class Problem:
    """A table, where the arm begins (7,), where the tool is to be (4, 4), and what it holds."""

    kind: str
    boxes: tuple[Box, ...]
    start: Array
    goal: Array
    held: HeldBox | None = None  # as the planner is told
    real: HeldBox | None = None  # as it is


class Course:
    """The robot among boxes on a table in MuJoCo: no height field, no padding.

    It shares the robot's model with the planner, and nothing of its collision world.
    """

    def __init__(self, boxes: Sequence[Box], held: HeldBox | None = None) -> None:
        """Build the model; what is held is a part of the hand."""
        spec = panda_spec(PANDA.T_hand_camera_link[:3, 3])
        spec.option.timestep = STEP
        wrist = spec.body('panda_hand')
        solid = mujoco.mjtGeom.mjGEOM_BOX
        if held is not None:
            T = PANDA.T_hand_tcp @ held.T_tcp_box
            x, y, z, w = rigid.to_quaternion(T)
            wrist.add_geom(
                name='held', type=solid, size=held.half_size, pos=T[:3, 3], quat=[w, x, y, z]
            ).mass = 0.1
        for i, box in enumerate(boxes):
            spec.worldbody.add_geom(
                name=f'box{i}',
                type=solid,
                size=[box.half_x, box.half_y, box.height / 2],
                pos=[box.x, box.y, box.height / 2],
                quat=[np.cos(box.yaw / 2), 0.0, 0.0, np.sin(box.yaw / 2)],
            )
        # The base stands on the table; nothing else may touch it.
        spec.worldbody.add_geom(
            name='table', type=solid, size=[0.6, 0.8, 0.05], pos=[0.8, 0.0, -0.05]
        )
        self.model: Any = spec.compile()
        self.data: Any = mujoco.MjData(self.model)
        self._boxes = [self.model.geom(f'box{i}').id for i in range(len(boxes))]
        self._servos = [self.model.actuator(name).id for name in ARM_JOINTS]
        self._fingers = self.model.actuator(HAND_ACTUATOR).id

    def touches(self, q: Array, room: float = 0.0, width: float = PANDA.open_width) -> bool:
        """Tell whether joint positions (7,) touch anything, or a box within a room, metres."""
        self.model.geom_margin[self._boxes] = room
        self.data.qpos[:7], self.data.qpos[7:9] = q, width / 2
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_collision(self.model, self.data)
        self.model.geom_margin[self._boxes] = 0.0
        return bool(self.data.ncon > 0)

    def follow(
        self, trajectories: Sequence[Trajectory], width: float
    ) -> Iterator[tuple[float, str]]:
        """Have the servos follow trajectories; yield times, s, and names of what touches then."""
        mujoco.mj_resetData(self.model, self.data)
        controller = TrajectoryController(trajectories[0].positions[0])
        self.data.qpos[:7], self.data.qpos[7:9] = controller.position, width / 2
        for one in trajectories:
            if len(one.times) > 1:
                way = CommandedTrajectory(one.times[1:], one.positions[1:], one.velocities[1:])
                controller.accept(way, self.data.time)
            end = self.data.time + one.duration + 0.1
            while self.data.time < end:
                controller.update(self.data.time)
                self.data.ctrl[self._servos] = arm_command(
                    controller.position,
                    controller.velocity,
                    self.data.qpos[:7],
                    self.data.qvel[:7],
                )
                self.data.ctrl[self._fingers] = width / 2
                mujoco.mj_step(self.model, self.data)
                if self.data.ncon:
                    first, second = (self.model.geom(i).name for i in self.data.contact.geom[0])
                    yield self.data.time, f'{first} and {second}'


class Drawing:
    """Draws problems that can be solved, as far as their ends tell."""

    def __init__(self, safety: Safety, rng: np.random.Generator) -> None:
        """Draw by a generator."""
        self._safety, self._rng, self._kinematics = safety, rng, Kinematics(PANDA)

    def problem(self, kind: str) -> Problem:
        """Draw until both ends are free."""
        while True:
            boxes = self._boxes()
            held = self._object() if kind == 'place' else None
            course = Course(boxes, held)
            start = self._ways(course, [self._pose(0.15 if held else 0.05)])
            if start is None:
                continue
            if kind == 'free':
                ends = [[goal := self._pose(0.05)]]
            elif kind == 'pick':
                goal = self._at(boxes[0])
                ends = [[at, up] for _, at, up in pick_poses(goal, APPROACH, LIFT)]
                ends = [[*end, above(end[0], APPROACH)] for end in ends]
                course = Course(boxes[1:])
            else:
                goal = self._pose(0.0, tilted=0.0)
                assert held is not None
                goal[2, 3] = held.half_size[2] * 2 - GRIP + OVER_TABLE
                ends = [[goal, above(goal, APPROACH)]]
            if any(self._ways(course, end) is not None for end in ends):
                return Problem(kind, tuple(boxes), start, goal, _told(held), held)

    def _boxes(self) -> list[Box]:
        """Return what stands on the table: what a pick is for, walls and clutter."""
        draw = self._rng.uniform
        boxes = [self._box(draw(0.015, 0.03), draw(0.015, 0.03), draw(0.03, 0.20))]
        for _ in range(self._rng.integers(1, 3)):
            boxes.append(self._box(0.01, draw(0.08, 0.15), draw(0.15, 0.40)))
        for _ in range(self._rng.integers(4, 9)):
            boxes.append(self._box(draw(0.015, 0.05), draw(0.015, 0.05), draw(0.03, 0.20)))
        return boxes

    def _box(self, half_x: float, half_y: float, height: float) -> Box:
        (left, right), (near, far) = (
            self._safety.limits.workspace.y,
            self._safety.limits.workspace.x,
        )
        x, y = self._rng.uniform([near + _EDGE, left + _EDGE], [far - _EDGE, right - _EDGE])
        return Box(x, y, half_x, half_y, height, self._rng.uniform(-np.pi, np.pi))

    def _pose(self, least: float, tilted: float = 0.5) -> Array:
        """Return a pose of the tool in the workspace, pointing down but for a tilt, rad."""
        rng, box = self._rng, self._safety.limits.workspace
        x, y = rng.uniform([box.x[0], box.y[0]], [box.x[1], box.y[1]])
        tilt = rigid.rotation_about([1.0, 0.0, 0.0], rng.uniform(-tilted, tilted))
        turn = rigid.rotation_about([0.0, 0.0, 1.0], rng.uniform(-np.pi, np.pi))
        return rigid.transform(
            turn @ tilt @ np.diag([1.0, -1.0, -1.0]), [x, y, rng.uniform(least, 0.45)]
        )

    def _at(self, box: Box) -> Array:
        """Return how a box is held: from above, across its narrower side."""
        closing = box.yaw + (np.pi / 2 if box.half_x > box.half_y else 0.0) - np.pi / 2
        turn = rigid.rotation_about([0.0, 0.0, 1.0], closing) @ np.diag([1.0, -1.0, -1.0])
        return rigid.transform(turn, [box.x, box.y, max(box.height - GRIP, 0.02)])

    def _object(self) -> HeldBox:
        """Return a box in the hand, held near its top."""
        sides = np.array([*self._rng.uniform(0.015, 0.06, 1), self._rng.uniform(0.01, 0.035), 0.0])
        sides[2] = self._rng.uniform(0.02, 0.08)
        # The tool's z points down.
        return HeldBox(rigid.transform(translation=[0.0, 0.0, sides[2] - GRIP]), sides)

    def _ways(self, course: Course, poses: list[Array]) -> Array | None:
        """Return joint positions (7,) for the first pose, from which all are free and allowed."""
        if not all(self._safety.allows(T) for T in poses):
            return None
        seeds = [PANDA.position('observe')]
        seeds += [self._kinematics.random(self._rng) for _ in range(_SEEDS)]
        for q in self._kinematics.solutions(poses[0], seeds):
            near: Array | None = q
            for T in poses:
                near = None if near is None else self._kinematics.inverse(T, near)
                if near is None or course.touches(near, ROOM):
                    break
            else:
                return np.asarray(q)
        return None


def _told(held: HeldBox | None) -> HeldBox | None:
    """Return what the planner is told of a held box: the columns below the top that was seen."""
    if held is None:
        return None
    T = rigid.transform(np.diag([1.0, -1.0, -1.0]), [0.0, 0.0, 2 * held.half_size[2] - GRIP])
    x, y, z = held.half_size
    corners = np.array([[sx * x, sy * y, 2 * z] for sx in (-1, 1) for sy in (-1, 1)])
    return HeldBox.about(T, corners)


def seen(boxes: Sequence[Box], grid: Grid) -> HeightMap:
    """Return the height map of boxes."""
    return HeightMap.from_points(np.concatenate([box.top() for box in boxes]), grid)


def solve(planner: Planner, problem: Problem) -> list[Trajectory]:
    """Return the motions that solve a problem; raises MotionError."""
    planner.set_obstacles(seen(problem.boxes, planner._safety.limits.workspace.surroundings))
    planner.scene.set_width(PANDA.open_width)
    planner.scene.hold(problem.held)
    if problem.kind == 'free':
        return [planner.to_pose(problem.start, problem.goal)]
    if problem.kind == 'pick':
        plan = planner.grasp(problem.start, problem.goal, APPROACH, LIFT, PANDA.open_width)
    else:
        plan = planner.place(problem.start, problem.goal, APPROACH)
    return [plan.to_pregrasp, plan.approach, plan.lift]


def _judged(planner: Planner, problem: Problem) -> dict[str, Any]:
    """Plan, follow and tell what came of it."""
    result = {'kind': problem.kind, 'solved': False, 'touched, ms': 0, 'blocked': False, 'why': ''}
    wall, processor = time.perf_counter(), time.thread_time()
    try:
        ways = solve(planner, problem)
    except MotionError as error:
        ways, result['why'] = [], f'{error.code.value}: {error}'
    result['wall, s'] = time.perf_counter() - wall
    result['processor, s'] = time.thread_time() - processor
    if ways:
        course = Course(problem.boxes, problem.real)
        touches = Counter(what for _, what in course.follow(ways, PANDA.open_width))
        direct = np.linspace(problem.start, ways[0].positions[-1], 100)
        result |= {
            'solved': True,
            'touched, ms': touches.total(),
            'blocked': any(course.touches(q) for q in direct),
            'why': '; '.join(f'{what} for {ms} ms' for what, ms in touches.items()),
        }
    return result


def _row(kind: str, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    seconds = [result['processor, s'] for result in results]
    return {
        'problems': kind,
        'solved, %': 100 * float(np.mean([result['solved'] for result in results])),
        'median, s': float(np.median(seconds)),
        '95 %, s': float(np.percentile(seconds, 95)),
        'median by the wall, s': float(np.median([result['wall, s'] for result in results])),
        'touching': sum(result['touched, ms'] > 0 for result in results),
        'straight way blocked, %': 100 * float(np.mean([result['blocked'] for result in results])),
    }


def main() -> int:
    """Measure, print, write; 1 where a target is missed."""
    count = int(os.environ.get('COUNT') or 200)
    seed = int(os.environ.get('SEED') or 0)
    if count < len(KINDS):
        raise SystemExit(f'COUNT is {count}; it must be at least {len(KINDS)}, one of each kind')
    limits = load_safety()
    safety = Safety(limits, PANDA, limits.simulation)
    planner = Planner(PANDA, safety)
    results: list[dict[str, Any]] = []
    for i in tqdm(range(count), desc='problems', unit='problem'):
        rng = np.random.default_rng([seed, i])
        problem = Drawing(safety, rng).problem(KINDS[i % len(KINDS)])
        results.append(_judged(planner, problem))
    for i, result in enumerate(results):
        if result['why']:
            print(f'problem {i}, {result["kind"]}: {result["why"]}')
    rows = [
        _row(kind, [r for r in results if kind in (r['kind'], 'all')]) for kind in (*KINDS, 'all')
    ]
    whole = rows[-1]
    ok = report(
        'planning',
        f'{count} problems among walls and clutter',
        rows,
        [
            Target('solved, %', whole['solved, %'], 99.0, at_least=True),
            Target('median planning, s', whole['median, s'], 0.1),
            Target('motions that touch something', float(whole['touching']), 0.0),
        ],
        seed=seed,
        details={'problems': results},
        variables=given('COUNT', 'SEED'),
    )
    return 0 if ok else 1


if __name__ == '__main__':
    sys.exit(main())
