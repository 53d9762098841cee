"""Follows trajectories as ros2_control's joint_trajectory_controller does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class TrajectoryError(ValueError):
    """A trajectory that can't be followed; the message says why."""


@dataclass(frozen=True)
class CommandedTrajectory:
    """What a controller is told: positions (n, joints), rad or metres, at rising times (n,), s.

    Without velocities (n, joints) the joints go straight from point to point.
    """

    times: Array
    positions: Array
    velocities: Array | None = None

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

    def sample(self, t: float) -> Array:
        """Return the positions (joints,) at a time: cubic between points, the last one after."""
        times = self.times
        if t >= times[-1]:
            return self.positions[-1]
        i = int(np.clip(np.searchsorted(times, t, side='right') - 1, 0, len(times) - 2))
        span = times[i + 1] - times[i]
        s = (t - times[i]) / span
        p0, p1 = self.positions[i], self.positions[i + 1]
        if self.velocities is None:
            return p0 + s * (p1 - p0)
        v0, v1 = span * self.velocities[i], span * self.velocities[i + 1]
        rest = s * s * (3 - 2 * s)
        return p0 + rest * (p1 - p0) + s * (1 - s) ** 2 * v0 - s * s * (1 - s) * v1


class TrajectoryController:
    """Holds a position until a trajectory comes; a new trajectory replaces the running one."""

    def __init__(self, position: Array) -> None:
        """Hold a position (joints,)."""
        self.reset(position)

    def reset(self, position: Array) -> None:
        """Drop the running trajectory and hold a position."""
        self._command = np.array(position, dtype=np.float64)
        self._trajectory: CommandedTrajectory | None = None
        self._started = 0.0

    def accept(self, trajectory: CommandedTrajectory | None, now: float) -> None:
        """Start a trajectory at a time in seconds; None stops where the command is now.

        It starts from the present command, so that nothing jumps.
        """
        if trajectory is None:
            self._trajectory = None
            return
        if trajectory.positions.shape[1] != len(self._command):
            raise TrajectoryError(
                f'{trajectory.positions.shape[1]} joints; the controller has {len(self._command)}'
            )
        if trajectory.times[0] > 0:
            velocities = trajectory.velocities
            if velocities is not None:
                velocities = np.vstack([np.zeros_like(self._command), velocities])
            trajectory = CommandedTrajectory(
                np.concatenate([[0.0], trajectory.times]),
                np.vstack([self._command, trajectory.positions]),
                velocities,
            )
        self._trajectory, self._started = trajectory, now

    def command(self, now: float) -> Array:
        """Return the command (joints,) at a time in seconds."""
        if self._trajectory is not None:
            self._command = np.array(self._trajectory.sample(now - self._started))
        return self._command
