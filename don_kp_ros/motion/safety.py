"""What the arm is held to, whoever plans: one checker, before planning and before execution."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from don_kp_ros import configuration
from don_kp_ros.configuration import ConfigurationError, Range, within
from don_kp_ros.motion.heightmap import Grid, HeightMap
from don_kp_ros.motion.kinematics import Kinematics
from don_kp_ros.motion.port import MotionCode, MotionError
from don_kp_ros.resources import config_path
from don_kp_ros.robots import hand
from don_kp_ros.robots.preset import RobotPreset, merged

Array = NDArray[np.float64]

_FARTHEST = 2.0  # metres: no arm of ours reaches beyond
# Metres: so far the hand, its camera and the last links reach beyond the tool centre point; and
# half the side of a square about the robot's base.
_ABOUT, _BASE = 0.3, 0.2
# What rounding may add: metres and radians; a share of a joint's speed.
_ROUNDING, _SPEED_ROUNDING = 5e-4, 0.02
_RANGE_ROUNDING = 1e-9  # radians of a joint's range
# Share of the arm's accelerations, at most, at which fingers keep what they hold in its place.
_CARRYING = 0.2


@dataclass(frozen=True)
class Workspace:
    """Ranges of the tool centre point, metres in the base frame."""

    x: Range
    y: Range
    z: Range

    def __post_init__(self) -> None:
        """Check the ranges."""
        for axis, value in vars(self).items():
            within(axis, value, -_FARTHEST, _FARTHEST)
            if value[0] == value[1]:
                raise ValueError(f'{axis} is {list(value)}; give [low, high] with low < high')

    def outside(self, position: Array) -> str:
        """Say which coordinate of a position, (2,) or (3,) metres, is outside; or nothing."""
        for (axis, (low, high)), value in zip(vars(self).items(), position, strict=False):
            if not low <= value <= high:
                return (
                    f'outside of the workspace: its {axis} is {value:.3f} m, allowed are '
                    f'{low:g} to {high:g} m'
                )
        return ''

    @property
    def grid(self) -> Grid:
        """Return its cells."""
        return Grid(*self.x, *self.y)

    @property
    def surroundings(self) -> Grid:
        """Return the cells in which is mapped what stands there and about."""
        (x_min, x_max), (y_min, y_max) = self.x, self.y
        beside_base = _BASE / 2
        near = x_min - _ABOUT
        if x_min >= beside_base:
            # Cells under the arm's first links would cost the planner time, and lead to nothing.
            near = max(near, beside_base)
        return Grid(near, x_max + _ABOUT, y_min - _ABOUT, y_max + _ABOUT)

    def mapped(self, points: ArrayLike) -> HeightMap:
        """Return what stands there and about, of points (N, 3) in the base frame.

        The robot's base is left out.
        """
        cloud = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        _, inside = self.grid.cells(cloud)
        beside = np.abs(cloud[:, :2]).max(axis=1) > _BASE
        return HeightMap.from_points(cloud[inside | beside], self.surroundings)


@dataclass(frozen=True)
class Scaling:
    """Shares of the arm's limits, and the speed in m/s of straight lines."""

    velocity: float
    acceleration: float
    line: float = 0.1

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, value in vars(self).items():
            if not 0 < value <= 1:
                raise ValueError(f'{name} is {value}; it must lie in (0, 1]')


@dataclass(frozen=True)
class SafetyLimits:
    """The keys of config/safety.yaml, which explains them."""

    workspace: Workspace
    table_margin: float
    largest_tilt: float
    force_limit: float
    hardware: Scaling
    simulation: Scaling

    def __post_init__(self) -> None:
        """Check the numbers."""
        within('table_margin', self.table_margin, 0.0, 0.1)
        within('largest_tilt', self.largest_tilt, 0.0, np.pi)
        within('force_limit', self.force_limit, 1.0, hand.MAX_FINGER_FORCE)


def load_safety(file: str = '') -> SafetyLimits:
    """Read config/safety.yaml and, above it, the keys of a file of the user's own.

    Raises ConfigurationError that names the files, the key and what is allowed.
    """
    shipped = config_path('safety.yaml')
    values, where = configuration.load(shipped), str(shipped)
    if file:
        own = Path(os.path.expanduser(file))  # Path's raises where nobody has that home
        if not own.is_file():
            raise ConfigurationError(f'safety is {file!r}: no such file; see {shipped}')
        values, where = merged(values, configuration.load(own)), f'{own} above {shipped}'
    return configuration.read(SafetyLimits, values, where)


class Safety:
    """Refuses poses, ways and forces beyond the limits, and all motion after an abort.

    Every refusal is a MotionError: OUTSIDE, or NEEDS_RECOVERY until recover().
    """

    def __init__(
        self, limits: SafetyLimits, preset: RobotPreset, scaling: Scaling, remedy: str = ''
    ) -> None:
        """Hold an arm to limits at a scaling; ``remedy`` says what leads to recover()."""
        self.limits, self.scaling, self._preset = limits, scaling, preset
        self._remedy = remedy or 'recover it'
        self._kinematics = Kinematics(preset)
        self._aborted = ''

    def acceleration(self, carrying: bool) -> float:
        """Return the share of the arm's limits of acceleration; what is carried must not slip."""
        return min(self.scaling.acceleration, _CARRYING) if carrying else self.scaling.acceleration

    def beyond(self, T_base_tcp: Array) -> Array:
        """Return by how much a pose (4, 4) is beyond each limit (8,): none where <= 0.

        Of x, y and z, first low, then high; of the ends of the open fingers; radians of tilt.
        """
        box = self.limits.workspace
        low, high = np.array([box.x, box.y, box.z]).T
        position = T_base_tcp[:3, 3]
        ends = hand.lowest_of_fingers(T_base_tcp, self._preset.open_width)
        tilt = np.arccos(np.clip(-T_base_tcp[2, 2], -1.0, 1.0))
        rest = [self.limits.table_margin - ends, tilt - self.limits.largest_tilt]
        return np.concatenate([low - position, position - high, rest])

    def allows(self, T_base_tcp: Array, beyond: Array | None = None) -> bool:
        """Tell whether a pose (4, 4) keeps the limits, or is no more `beyond` them (8,) than one.

        An arm that begins beyond a limit may come back, but not get farther.
        """
        allowed = np.maximum(0.0 if beyond is None else beyond, 0.0) + _ROUNDING
        return bool((self.beyond(T_base_tcp) <= allowed).all())

    def check_pose(self, T_base_tcp: ArrayLike, beyond: Array | None = None) -> None:
        """Refuse a pose of the tool centre point (4, 4), as `allows` does."""
        T = np.asarray(T_base_tcp, dtype=np.float64)
        if not np.isfinite(T).all():
            raise MotionError(MotionCode.OUTSIDE, f'a pose is not finite: {T.tolist()}')
        if not self.allows(T, beyond):
            raise MotionError(MotionCode.OUTSIDE, self._told(T))

    def check_joints(self, q: ArrayLike) -> None:
        """Refuse joint positions (7,) that bring the tool centre point beyond a limit."""
        self._check_ranges(np.asarray(q, dtype=np.float64)[None], np.full(7, np.nan))
        self.check_pose(self._kinematics.forward(q))

    def check_way(self, positions: ArrayLike, velocities: ArrayLike) -> None:
        """Refuse a timed way, joint positions and velocities (n, 7), rad and rad/s."""
        way = np.asarray(positions, dtype=np.float64)
        speeds = np.abs(np.asarray(velocities, dtype=np.float64))
        allowed = self.scaling.velocity * np.array(self._preset.velocity_limits)
        # Written so that what is not a number is refused.
        too_fast = ~(speeds <= (1 + _SPEED_ROUNDING) * allowed)
        if too_fast.any():
            i, joint = np.argwhere(too_fast)[0]
            raise MotionError(
                MotionCode.OUTSIDE,
                f'{self._preset.arm_joints[joint]} would turn at {speeds[i, joint]:.2f} rad/s; '
                f'safety allows {allowed[joint]:.2f}',
            )
        self._check_ranges(way, way[0])
        start = self.beyond(self._kinematics.forward(way[0]))
        for q in way[1:]:
            self.check_pose(self._kinematics.forward(q), start)

    def check_force(self, force: float) -> None:
        """Refuse a force of the fingers in newtons."""
        if not 0.0 < force <= self.limits.force_limit:
            raise MotionError(
                MotionCode.OUTSIDE,
                f'the fingers would press with {force:g} N; safety allows up to '
                f'{self.limits.force_limit:g} N (force_limit)',
            )

    def abort(self, reason: str) -> MotionError:
        """Let nothing move until recover(); return the error that says so."""
        self._aborted = reason
        return MotionError(
            MotionCode.NOT_FOLLOWED, f'{reason}; nothing moves any more: {self._remedy}'
        )

    def check_recovered(self) -> None:
        """Refuse to move after an abort."""
        if self._aborted:
            raise MotionError(
                MotionCode.NEEDS_RECOVERY,
                f'nothing moves since {self._aborted}; {self._remedy}',
            )

    def recover(self) -> str:
        """Allow motions again; return what was wrong, or nothing."""
        aborted, self._aborted = self._aborted, ''
        return aborted

    def _check_ranges(self, way: Array, start: Array) -> None:
        """Refuse a way (n, 7) on which a joint is beyond its range, and farther than at a start.

        start (7,): NaN where a joint must not be beyond at all.
        """
        ranges = np.array([self._preset.position_lower, self._preset.position_upper])
        lower, upper = np.fmin(ranges[0], start), np.fmax(ranges[1], start)
        # Written so that what is not a number is refused.
        kept = (way >= lower - _RANGE_ROUNDING) & (way <= upper + _RANGE_ROUNDING)
        if not kept.all():
            i, joint = np.argwhere(~kept)[0]
            low, high = ranges[:, joint]
            raise MotionError(
                MotionCode.UNREACHABLE,
                f'{self._preset.arm_joints[joint]} would be at {way[i, joint]:.3f} rad, beyond '
                f'the limits {low:g} to {high:g}',
            )

    def _told(self, T: Array) -> str:
        """Say which limit a pose is farthest beyond."""
        worst = int(np.argmax(self.beyond(T)))
        if worst < 6:
            return f'the tool would be {self.limits.workspace.outside(T[:3, 3])}'
        if worst == 6:
            ends = hand.lowest_of_fingers(T, self._preset.open_width)
            return (
                f"the fingers' ends would be {1000 * ends:.0f} mm over the table; safety asks for "
                f'{1000 * self.limits.table_margin:g} mm (table_margin)'
            )
        tilt = np.rad2deg(np.arccos(np.clip(-T[2, 2], -1.0, 1.0)))
        return (
            f'the hand would be tilted by {tilt:.0f} degrees; safety allows '
            f'{np.rad2deg(self.limits.largest_tilt):.0f} (largest_tilt)'
        )
