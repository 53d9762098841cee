"""The embedded planner: collision-free, timed motions of the arm, without MoveIt."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.motion.braking import stoppable
from don_kp_ros.motion.collision import Scene
from don_kp_ros.motion.heightmap import CLEAR_RADIUS, HeightMap
from don_kp_ros.motion.kinematics import Kinematics
from don_kp_ros.motion.port import MotionCode, MotionError, above, pick_poses
from don_kp_ros.motion.safety import Safety
from don_kp_ros.motion.search import quiet_and_repeatable, search
from don_kp_ros.motion.timing import Trajectory, time_path, time_pieces
from don_kp_ros.robots.preset import RobotPreset

Array = NDArray[np.float64]

# Free motions keep the first of these distances, metres, at which both ends are free.
_PADDINGS = (0.01, 0.005, 0.002)
# Straight lines lead to contact: they keep only this one.
_LINE_PADDING = 0.002
# Steps of paths: along joints [rad], along a line [m]; a larger joint step on a line is a jump.
_JOINT_STEP = 0.05
_CHECK_STEP = 0.03
_TIMED_STEP = 0.01
_LINE_STEP = 0.005
_LINE_TURN = 0.03
_JUMP = 0.15
_ATTEMPTS = 5
_RANDOM_SEEDS = 8


@dataclass(frozen=True)
class PlannedGrasp:
    """The motions of a pick, or of a place, and the pose of the tool (4, 4) that they reach."""

    T_base_grasp: Array
    to_pregrasp: Trajectory
    approach: Trajectory
    lift: Trajectory


class Planner:
    """Plans motions from given joint positions (7,); every failure is a MotionError.

    Free motions: RRTConnect (Kuffner and LaValle 2000) in OMPL, shortened, then timed. The timed
    motion is checked again, every 10 ms or 0.01 rad, because its spline leaves the straight
    pieces. If it still touches something after several tries, the arm stops at every corner
    instead. Straight lines: inverse kinematics every 5 mm. The same calls in the same order give
    the same motions if the planner is the first in the process.
    """

    def __init__(
        self, preset: RobotPreset, safety: Safety, seed: int = 1, planning_time: float = 3.0
    ) -> None:
        """Build the kinematics and the scene; planning_time limits each free motion,
        in seconds of the processor: a busy machine takes longer and finds the same.
        """
        self._preset, self._safety = preset, safety
        self._velocity = np.minimum(
            safety.scaling.velocity * np.array(preset.velocity_limits),
            stoppable(preset.stopping_accelerations),
        )
        self._acceleration = np.array(preset.acceleration_limits)
        self._planning_time = planning_time
        self._generator = np.random.default_rng(seed)
        quiet_and_repeatable(seed)
        self.kinematics = Kinematics(preset)
        self.scene = Scene(preset, safety.limits.workspace.surroundings)
        self._beyond = np.zeros(8)  # the limits of safety: by how much the arm begins so
        # Called now and then while planning; if it returns true, planning ends with CANCELLED.
        self.cancelled: Callable[[], bool] = lambda: False

    def set_obstacles(self, heights: HeightMap | None) -> None:
        """Replace what stands on the table."""
        self.scene.set_obstacles(heights)

    def to_joints(self, start: ArrayLike, goal: ArrayLike, let_go: bool = False) -> Trajectory:
        """Plan a free motion to joint positions (7,).

        let_go: what stands about the fingers is not in the way.
        """
        q0, q1 = self._begin(start), self._joints(goal)
        if not self.kinematics.within_limits(q1):
            raise MotionError(
                MotionCode.UNREACHABLE,
                f'the joint positions {np.round(q1, 3).tolist()} are beyond the limits',
            )
        near = self.kinematics.forward(q0)[:3, 3] if let_go else None
        self.scene.clear_near(near, CLEAR_RADIUS)
        return self._free(q0, q1)

    def to_pose(self, start: ArrayLike, T_base_tcp: ArrayLike) -> Trajectory:
        """Plan a free motion to a pose of the tool centre point (4, 4), with little turns."""
        q0, T = self._begin(start), _pose(T_base_tcp)
        self.scene.clear_near(None, 0.0)
        failure = _unreachable(T)
        for q, _ in self.kinematics.nearest(q0, [T], self._seeds):
            try:
                return self._free(q0, q)
            except MotionError as error:
                if error.code is MotionCode.CANCELLED:
                    raise
                failure = error
        raise failure

    def grasp(
        self,
        start: ArrayLike,
        T_base_grasp: ArrayLike,
        approach_distance: float,
        lift_height: float,
        open_width: float,
    ) -> PlannedGrasp:
        """Plan a whole pick: to above the grasp, straight to it, straight up.

        The hand may arrive turned by half a turn. On the straight lines the hand and the fingers
        may come near the things around the grasp.
        """
        q0, T = self._begin(start), _pose(T_base_grasp)
        self.scene.set_width(open_width)
        poses = pick_poses(T, approach_distance, lift_height)
        return self._reach(q0, poses, T[:3, 3])

    def place(self, start: ArrayLike, T_base_place: ArrayLike, distance: float) -> PlannedGrasp:
        """Plan to put down what the scene holds: to above the place, straight to it, and back.

        The back has what is held, too: what is free with it is free without.
        """
        q0, T = self._begin(start), _pose(T_base_place)
        up = above(T, distance)
        return self._reach(q0, [(up, T, up)], None)

    def _reach(
        self,
        q0: Array,
        poses: list[tuple[Array, Array, Array]],
        near: Array | None,
    ) -> PlannedGrasp:
        """Plan before one of some poses, straight to it, and straight on.

        On the straight lines the hand may touch what stands near a place (3,).
        """
        errors = [_unreachable(T_grasp) for _, T_grasp, _ in poses]
        furthest: MotionError | None = None
        for q, i in self.kinematics.nearest(q0, [T for _, T, _ in poses], self._seeds):
            T_pre, T_grasp, T_lift = poses[i]
            on_lines = True
            try:
                self.scene.clear_near(near, CLEAR_RADIUS)
                down, up = self._line(q, T_pre)[::-1], self._line(q, T_lift)
                on_lines = False
                self.scene.clear_near(None, 0.0)
                to_pregrasp = self._free(q0, down[0])
                self.scene.clear_near(near, CLEAR_RADIUS)
                return PlannedGrasp(
                    T_grasp,
                    to_pregrasp,
                    self._timed_line(down, self.scene.holds),
                    self._timed_line(up, carrying=True),
                )
            except MotionError as error:
                if error.code is MotionCode.CANCELLED:
                    raise
                errors.append(error)
                furthest = furthest if on_lines else error
        # The try that came furthest gives the best reason.
        raise furthest or max(errors, key=lambda error: error.code is MotionCode.COLLISION)

    def begun_at(self, q: ArrayLike, trajectory: Trajectory) -> Trajectory:
        """Begin a planned motion where the arm (7,) rests, not quite where it was planned from.

        A controller would bring it there at once, however fast that is.
        """
        acceleration = self._safety.acceleration(self.scene.holds) * self._acceleration
        to_start = time_path([q, trajectory.positions[0]], self._velocity, acceleration)
        return trajectory if to_start is None else to_start.followed_by(trajectory)

    def _joints(self, q: ArrayLike) -> Array:
        values = np.asarray(q, dtype=np.float64)
        if values.shape != (7,) or not np.isfinite(values).all():
            raise ValueError(f'joint positions are {values.tolist()}; they need 7 finite values')
        return values

    def _begin(self, start: ArrayLike) -> Array:
        q0 = self._joints(start)
        self._beyond = self._safety.beyond(self.kinematics.forward(q0))
        return q0

    def _blocked(self, q: ArrayLike) -> bool:
        """Tell whether joint positions (7,) touch something, or are not safe."""
        return self.scene.collides(q) or not self._safety.allows(self.scene.tcp(), self._beyond)

    def _contact(self, q: ArrayLike) -> str | None:
        """Say why joint positions (7,) are blocked."""
        if contact := self.scene.contact(q):
            return contact
        try:
            self._safety.check_pose(self.scene.tcp(), self._beyond)
        except MotionError as error:
            return str(error)
        return None

    def _seeds(self) -> Iterator[Array]:
        yield self._preset.position('observe')
        yield self._preset.position('ready')
        for _ in range(_RANDOM_SEEDS):
            self._raise_if_cancelled()
            yield self.kinematics.random(self._generator)

    def _raise_if_cancelled(self) -> None:
        if self.cancelled():
            raise MotionError(MotionCode.CANCELLED, 'planning was cancelled')

    def _line(self, start: Array, T_end: Array) -> Array:
        """Return joint positions (n, 7) along a straight line, free of contact."""
        T0 = self.kinematics.forward(start)
        distance = float(np.linalg.norm(T_end[:3, 3] - T0[:3, 3]))
        turn = _angle(T0, T_end)
        count = max(1, int(np.ceil(max(distance / _LINE_STEP, turn / _LINE_TURN))))
        self.scene.set_padding(_LINE_PADDING)
        path = [start]
        for i in range(count + 1):
            self._raise_if_cancelled()
            T = rigid.interpolate(T0, T_end, i / count)
            q = self.kinematics.inverse(T, path[-1])
            if q is None:
                raise _unreachable(T)
            if np.abs(q - path[-1]).max() > _JUMP:
                jump = f'the arm would have to jump on the line at {_at(T)}'
                raise MotionError(MotionCode.UNREACHABLE, jump)
            if contact := self._contact(q):
                raise MotionError(MotionCode.COLLISION, f'at {_at(T)}: {contact}')
            path.append(q)
        return np.array(path[1:])

    def _timed_line(self, path: Array, carrying: bool) -> Trajectory:
        poses = [self.kinematics.forward(q) for q in path]
        # A turn counts as travel of the fingertips, about 0.1 m from the axis.
        steps = [
            max(float(np.linalg.norm(b[:3, 3] - a[:3, 3])), 0.1 * _angle(a, b))
            for a, b in zip(poses, poses[1:], strict=False)
        ]
        lengths = np.concatenate(([0.0], np.cumsum(steps)))
        speed = self._safety.scaling.line
        acceleration = self._safety.acceleration(carrying) * self._acceleration
        trajectory = time_path(path, self._velocity, acceleration, lengths, speed)
        if trajectory is None:
            raise MotionError(MotionCode.UNREACHABLE, 'the line cannot be timed')
        self.scene.set_padding(0.0)
        if contact := self._first_contact(trajectory):
            raise MotionError(MotionCode.COLLISION, f'on the line: {contact}')
        return trajectory

    def _free(self, start: Array, goal: Array) -> Trajectory:
        padding = self._padding(start, goal)
        deadline = time.thread_time() + self._planning_time
        acceleration = self._safety.acceleration(self.scene.holds) * self._acceleration
        for attempt in range(_ATTEMPTS):
            self.scene.set_padding(padding)
            # The straight path first: it is often free, and looks calm.
            path = np.array([start, goal])
            if attempt or not self._free_between(start, goal):
                path = self._search(start, goal, deadline)
            if attempt < _ATTEMPTS - 1:
                trajectory = time_path(_dense(path), self._velocity, acceleration)
            else:  # corners that no spline rounds in the free space
                trajectory = time_pieces(path, self._velocity, acceleration)
            if trajectory is None:
                continue
            self.scene.set_padding(padding / 2)
            if self._first_contact(trajectory) is None:
                return trajectory
        raise MotionError(
            MotionCode.UNREACHABLE,
            f'no motion to {_at(self.kinematics.forward(goal))} stayed free once timed',
        )

    def _padding(self, start: Array, goal: Array) -> float:
        contact: str | None = None
        for padding in _PADDINGS:
            self.scene.set_padding(padding)
            contact = None
            for name, q in (('start', start), ('goal', goal)):
                if touch := self._contact(q):
                    contact = f'at the {name}, {_at(self.kinematics.forward(q))}: {touch}'
                    break
            if contact is None:
                return padding
        raise MotionError(MotionCode.COLLISION, str(contact))

    def _free_between(self, start: Array, goal: Array) -> bool:
        count = max(2, int(np.ceil(np.linalg.norm(goal - start) / _CHECK_STEP)) + 1)
        return not any(self._blocked(q) for q in np.linspace(start, goal, count))

    def _first_contact(self, trajectory: Trajectory) -> str | None:
        way = trajectory.apart(_TIMED_STEP)
        return next((contact for q in way if (contact := self._contact(q))), None)

    def _search(self, start: Array, goal: Array, deadline: float) -> Array:
        """Return a path (n, 7) whose straight pieces are free."""
        path = search(
            self._preset,
            start,
            goal,
            _CHECK_STEP,
            self._blocked,
            deadline,
            self._raise_if_cancelled,
        )
        if path is None:
            raise MotionError(
                MotionCode.UNREACHABLE,
                f'no way to {_at(self.kinematics.forward(goal))} found in {self._planning_time} s',
            )
        return path


def _dense(path: Array) -> Array:
    """Return the path with points every 0.05 rad, so that a spline through them stays near."""
    pieces = [path[:1]]
    for a, b in zip(path, path[1:], strict=False):
        count = max(1, int(np.ceil(np.linalg.norm(b - a) / _JOINT_STEP)))
        pieces.append(np.linspace(a, b, count + 1)[1:])
    return np.concatenate(pieces)


def _angle(T0: Array, T1: Array) -> float:
    cosine = (np.trace(T0[:3, :3].T @ T1[:3, :3]) - 1) / 2
    return float(np.arccos(np.clip(cosine, -1.0, 1.0)))


def _pose(T: ArrayLike) -> Array:
    pose = np.asarray(T, dtype=np.float64)
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        raise ValueError(f'a pose must be (4, 4) and finite; got {pose.tolist()}')
    return pose


def _at(T: Array) -> str:
    x, y, z = T[:3, 3]
    return f'({x:.3f}, {y:.3f}, {z:.3f}) m'


def _unreachable(T: Array) -> MotionError:
    return MotionError(
        MotionCode.UNREACHABLE, f'no joint positions reach {_at(T)} with the hand turned so'
    )
