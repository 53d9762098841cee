"""Stops on the way: a planned motion is slowed down, never left."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicHermiteSpline

from don_kp_ros.motion.timing import Trajectory

Array = NDArray[np.float64]

# Of the limits: an arm that is not exactly where it is taken to be needs the rest. And what of it
# the motion itself takes while it is stopped.
_SHARE, _OWN = 0.9, 0.25
# The way to rest begins to leave the motion after _LEAD_S; so long it takes then. Seconds.
_LEAD_S, _LEAST_S, _LONGEST_S, _MOST_S, _LONGER = 0.06, 0.2, 0.22, 0.6, 1.02
_HEARD_S = (0.0, 0.02, 0.04, 0.06)  # when the controller may have heard of it
_PARTS = np.array([0.5, 1.0])  # of the braking, at the points


def stoppable(limits: ArrayLike) -> Array:
    """Return the joints' fastest speeds, rad/s, from which braking takes about 0.22 s at most.

    ``limits`` are their accelerations (7,), rad/s^2, of which a motion uses at most a quarter.
    """
    return _LONGEST_S * (_SHARE - _OWN) * np.asarray(limits, dtype=np.float64)


def progress(trajectory: Trajectory, position: Array, expected: float) -> float:
    """Return the time in a trajectory at which it is nearest to a position (7,).

    ``expected`` in seconds chooses among equally near ones, as at rest.
    """
    distance = np.linalg.norm(trajectory.positions - position, axis=1)
    near = np.flatnonzero(distance <= distance.min() + 1e-4)
    i = int(near[np.argmin(np.abs(trajectory.times[near] - expected))])
    velocity = trajectory.velocities[i]
    squared = float(velocity @ velocity)
    ahead = float((position - trajectory.positions[i]) @ velocity) / squared if squared else 0.0
    return float(np.clip(trajectory.times[i] + ahead, 0.0, trajectory.duration))


def braked(trajectory: Trajectory, at: float, limits: ArrayLike) -> Trajectory | None:
    """Return the way from a time in a trajectory to rest, times counted from there.

    The trajectory's own time is slowed down steadily, so that the arm stays on its way, and as
    fast as the controller, which leads a cubic from where it is when it hears of the stop to the
    first of the points, keeps within a share of the joints' accelerations (7,), rad/s^2. The
    points are few: the nearer the first one is, the more acceleration it takes. A motion that
    takes too much itself is stopped by what takes least. None where the trajectory itself is over
    as soon.
    """
    allowed = _SHARE * np.asarray(limits, dtype=np.float64)
    curve = CubicHermiteSpline(trajectory.times, trajectory.positions, trajectory.velocities)
    heard = [_part(curve, at, seconds) for seconds in _HEARD_S]
    best: Trajectory | None = None
    least, seconds = np.inf, _LEAST_S
    while seconds <= _MOST_S:
        end = at + _LEAD_S + seconds / 2.0
        if end >= trajectory.duration:
            return None
        passed = end - seconds * (1.0 - _PARTS) ** 2 / 2.0
        points = Trajectory(
            _LEAD_S + seconds * _PARTS,
            curve(passed),
            curve(passed, 1) * (1.0 - _PARTS)[:, None],
        )
        ways = [_joined(one, points) for one in heard]
        taken = max(float((_accelerations(way) / allowed).max()) for way in ways)
        if taken < least:
            best, least = ways[0], taken
        if taken <= 1.0:
            return best
        seconds *= _LONGER
    return best


def _part(curve: CubicHermiteSpline, at: float, seconds: float) -> Trajectory:
    """Return the one point of a curve some seconds after a time."""
    now = at + seconds
    return Trajectory(np.array([seconds]), curve(now)[None], curve(now, 1)[None])


def _joined(first: Trajectory, then: Trajectory) -> Trajectory:
    return Trajectory(
        np.concatenate((first.times, then.times)),
        np.concatenate((first.positions, then.positions)),
        np.concatenate((first.velocities, then.velocities)),
    )


def _accelerations(way: Trajectory) -> Array:
    """Return the greatest accelerations (7,) of the cubic pieces between the points."""
    pieces = CubicHermiteSpline(way.times, way.positions, way.velocities)
    cubed, squared = pieces.c[:2]  # of times from each piece's begin, (pieces, 7)
    ends = np.abs([2.0 * squared, 2.0 * squared + 6.0 * cubed * np.diff(way.times)[:, None]])
    return ends.max(axis=(0, 1))
