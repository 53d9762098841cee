"""Stops on the way: a planned motion is slowed down, never left."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicHermiteSpline

from don_kp_ros.motion.timing import Trajectory

Array = NDArray[np.float64]

# Of the limits: the motion's own acceleration comes on top, and what the controller adds to get from
# wherever it is when it hears of the stop to the first of its points.
_SHARE = 0.55
# By then it has heard of it, seconds.
_LEAD_S = 0.05


def progress(trajectory: Trajectory, position: ArrayLike, expected: float) -> float:
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


def braked(trajectory: Trajectory, at: float, limits: ArrayLike) -> Trajectory:
    """Return the way from a time in a trajectory to rest, times counted from there.

    The trajectory's own time is slowed down steadily, so that the arm stays on its way. The
    joints' velocities are brought to zero with a share of their limits (7,), rad/s^2. The points
    are few: a controller adds the more acceleration the nearer the first one is.
    """
    curve = CubicHermiteSpline(trajectory.times, trajectory.positions, trajectory.velocities)
    lead = min(_LEAD_S, trajectory.duration - at)
    velocity = np.abs(curve(at + lead, 1))
    seconds = float((velocity / (_SHARE * np.asarray(limits))).max())
    # Not beyond the end, where the motion itself comes to rest.
    seconds = min(max(seconds, 0.01), 2.0 * (trajectory.duration - at - lead) + 0.01)
    share = np.array([0.0, 0.5, 1.0])
    passed = np.minimum(at + lead + seconds * (share - share**2 / 2.0), trajectory.duration)
    velocities = curve(passed, 1) * (1.0 - share)[:, None]
    return Trajectory(lead + seconds * share, curve(passed), velocities)
