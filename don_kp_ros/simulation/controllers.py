"""Follows trajectories as ros2_control's joint_trajectory_controller does."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline, CubicHermiteSpline, make_interp_spline

Array = NDArray[np.float64]


class TrajectoryError(ValueError):
    """A trajectory that can't be followed; the message says why."""


@dataclass(frozen=True)
class CommandedTrajectory:
    """What a controller is told: positions (n, joints), rad or metres, at rising times (n,), s.

    Without velocities (n, joints) the joints go straight from point to point. ``start`` is the
    time of the controller's clock that the times count from; None is when the trajectory comes.
    """

    times: Array
    positions: Array
    velocities: Array | None = None
    start: float | None = None

    def __post_init__(self) -> None:
        """Check shapes, order and that all is finite."""
        n = len(self.times)
        if n == 0 or self.positions.ndim != 2 or len(self.positions) != n:
            raise TrajectoryError(f'{n} times for positions of shape {self.positions.shape}')
        if self.velocities is not None and self.velocities.shape != self.positions.shape:
            raise TrajectoryError(
                f'velocities are {self.velocities.shape}, positions {self.positions.shape}'
            )
        for name in ('times', 'positions', 'velocities'):
            values = getattr(self, name)
            if values is not None and not np.isfinite(values).all():
                raise TrajectoryError(f'{name} are not finite')
        if self.times[0] < 0 or (np.diff(self.times) <= 0).any():
            raise TrajectoryError('the times do not rise')

    @cached_property
    def _curve(self) -> BSpline | CubicHermiteSpline:
        if self.velocities is None:
            return make_interp_spline(self.times, self.positions, k=1)
        return CubicHermiteSpline(self.times, self.positions, self.velocities)

    def sample(self, t: float) -> tuple[Array, Array]:
        """Return positions and velocities (joints,) at a time after the start.

        Cubic between points, or linear without velocities; at rest after the last one.
        """
        if t >= self.times[-1]:
            return self.positions[-1], np.zeros_like(self.positions[-1])
        t = max(t, self.times[0])
        return self._curve(t), self._curve(t, 1)


class TrajectoryController:
    """Holds a position until a trajectory comes; a new trajectory replaces the running one."""

    def __init__(self, position: Array) -> None:
        """Hold a position (joints,)."""
        self.hold(position)

    def hold(self, position: Array) -> None:
        """Drop the running trajectory and hold a position."""
        self.position = np.array(position, dtype=np.float64)
        self.velocity = np.zeros_like(self.position)
        self._trajectory: CommandedTrajectory | None = None

    @property
    def trajectory(self) -> CommandedTrajectory | None:
        """What is followed, or was followed last; none while a position is held."""
        return self._trajectory

    def accept(self, trajectory: CommandedTrajectory, now: float) -> None:
        """Start a trajectory at a time in seconds.

        It leads from the present command, unless its first point is for now or for before.
        """
        if trajectory.positions.shape[1] != len(self.position):
            raise TrajectoryError(
                f'{trajectory.positions.shape[1]} joints; the controller has {len(self.position)}'
            )
        self.update(now)
        times = trajectory.times + (now if trajectory.start is None else trajectory.start)
        positions, velocities = trajectory.positions, trajectory.velocities
        if times[0] > now:
            times, positions = np.append(now, times), np.vstack([self.position, positions])
            if velocities is not None:
                velocities = np.vstack([self.velocity, velocities])
        self._trajectory = CommandedTrajectory(times, positions, velocities)

    def update(self, now: float) -> None:
        """Command what the trajectory has at a time in seconds: ``position`` and ``velocity``."""
        if self._trajectory is not None:
            self.position, self.velocity = self._trajectory.sample(now)

    def seconds_left(self, now: float) -> float:
        """Return how long the trajectory goes on; below 0 it has been over for so long."""
        if self._trajectory is None:
            return 0.0
        return float(self._trajectory.times[-1] - now)
