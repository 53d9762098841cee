"""Timing of a path under the joints' limits."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import toppra
from numpy.typing import ArrayLike, NDArray
from toppra import algorithm, constraint

Array = NDArray[np.float64]

logging.getLogger('toppra').setLevel(logging.ERROR)

# Seconds between the points of a trajectory.
STEP = 0.01
# Acceleration along a straight line, m/s^2.
_LINE_ACCELERATION = 0.5


@dataclass(frozen=True)
class Trajectory:
    """Joint positions (n, 7) and velocities (n, 7) at times (n,) in seconds; at rest at the ends.

    Radians and radians per second; the points are at most 10 ms apart.
    """

    times: Array
    positions: Array
    velocities: Array

    @property
    def duration(self) -> float:
        """Return the length in seconds."""
        return float(self.times[-1])

    def followed_by(self, other: Trajectory) -> Trajectory:
        """Return this and then another one, which begins where this ends."""
        return Trajectory(
            np.concatenate([self.times[:-1], self.duration + other.times]),
            np.concatenate([self.positions[:-1], other.positions]),
            np.concatenate([self.velocities[:-1], other.velocities]),
        )

    def apart(self, step: float) -> Iterator[Array]:
        """Yield positions (7,) on the way: both ends, and others ``step`` radians apart."""
        last = self.positions[0]
        yield last
        for q in self.positions[1:-1]:
            if np.linalg.norm(q - last) >= step:
                last = q
                yield q
        yield self.positions[-1]


def time_path(
    waypoints: ArrayLike,
    velocity_limits: ArrayLike,
    acceleration_limits: ArrayLike,
    lengths: ArrayLike | None = None,
    speed: float | None = None,
) -> Trajectory | None:
    """Time a cubic spline through waypoints (n, 7) as fast as the limits allow, or return None.

    TOPP-RA (Pham and Pham 2018, A new approach to time-optimal path parameterization based on
    reachability analysis). With lengths (n,) travelled by the tool in metres, the tool's speed in
    m/s is limited like a joint's.
    """
    path = np.asarray(waypoints, dtype=np.float64)
    velocity = np.asarray(velocity_limits, dtype=np.float64)
    acceleration = np.asarray(acceleration_limits, dtype=np.float64)
    steps = np.abs(np.diff(path, axis=0)).max(axis=1)
    path = path[np.concatenate(([True], steps > 1e-9))]
    if len(path) < 2:
        return Trajectory(np.zeros(1), path[:1], np.zeros_like(path[:1]))
    joints = path.shape[1]
    if lengths is not None and speed is not None:
        kept = np.asarray(lengths, dtype=np.float64)[np.concatenate(([True], steps > 1e-9))]
        path = np.column_stack((path, kept))
        velocity = np.append(velocity, speed)
        acceleration = np.append(acceleration, _LINE_ACCELERATION)
    # The parameter is the length of the path, so that the spline does not swing between points.
    s = np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))))
    instance = algorithm.TOPPRA(
        [
            constraint.JointVelocityConstraint(np.column_stack((-velocity, velocity))),
            constraint.JointAccelerationConstraint(np.column_stack((-acceleration, acceleration))),
        ],
        toppra.SplineInterpolator(s, path, bc_type='natural'),
        parametrizer='ParametrizeConstAccel',
    )
    timed = instance.compute_trajectory(0.0, 0.0)
    if timed is None:
        return None
    count = max(2, int(np.ceil(timed.duration / STEP)) + 1)
    times = np.linspace(0.0, timed.duration, count)
    velocities = timed(times, 1)[:, :joints]
    velocities[[0, -1]] = 0.0
    return Trajectory(times, timed(times)[:, :joints], velocities)


def time_pieces(
    waypoints: ArrayLike, velocity_limits: ArrayLike, acceleration_limits: ArrayLike
) -> Trajectory | None:
    """Time the straight pieces between waypoints (n, 7) with a rest at each, or return None.

    It is slower than time_path, but never leaves the straight pieces.
    """
    path = np.asarray(waypoints, dtype=np.float64)
    whole = Trajectory(np.zeros(1), path[:1], np.zeros_like(path[:1]))
    for ends in zip(path, path[1:], strict=False):
        piece = time_path(ends, velocity_limits, acceleration_limits)
        if piece is None:
            return None
        whole = Trajectory(
            np.concatenate((whole.times, whole.duration + piece.times[1:])),
            np.concatenate((whole.positions, piece.positions[1:])),
            np.concatenate((whole.velocities, piece.velocities[1:])),
        )
    return whole
