"""Stops on the way: a planned motion is slowed down, never left."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicHermiteSpline

from don_kp_ros.motion.timing import Trajectory

Array = NDArray[np.float64]

# Of the limits: the motion's own acceleration comes on top, and what the controller adds to get
# from wherever it is when it hears of the stop to the first of its points.
_SHARE = 0.64
# By then it has heard of it; and so long it brakes at least, seconds.
_LEAD_S, _LEAST_S = 0.05, 0.2


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

    The trajectory's own time is slowed down steadily, so that the arm stays on its way. The
    joints' velocities are brought to zero with a share of their limits (7,), rad/s^2. The points
    are few: a controller adds the more acceleration the nearer the first one is. None where the
    trajectory itself is over as soon.
    """
    left = trajectory.duration - at
    if left <= _LEAD_S + _LEAST_S:
        return None
    curve = CubicHermiteSpline(trajectory.times, trajectory.positions, trajectory.velocities)
    velocity = np.abs(curve(at + _LEAD_S, 1))
    seconds = max(_LEAST_S, float((velocity / (_SHARE * np.asarray(limits))).max()))
    share = np.array([0.0, 0.5, 1.0])
    passed = at + _LEAD_S + seconds * (share - share**2 / 2.0)
    if passed[-1] >= trajectory.duration:
        return None
    velocities = curve(passed, 1) * (1.0 - share)[:, None]
    return Trajectory(_LEAD_S + seconds * share, curve(passed), velocities)
