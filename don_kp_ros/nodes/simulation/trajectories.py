"""Trajectories as messages, refused by the rules of joint_trajectory_controller (Jazzy)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from trajectory_msgs.msg import JointTrajectory

from don_kp_ros.nodes.kit.conversions import seconds_from_stamp
from don_kp_ros.simulation.controllers import CommandedTrajectory, TrajectoryError


def read_trajectory(
    message: JointTrajectory, joints: Sequence[str], now: float
) -> CommandedTrajectory:
    """Read a trajectory of exactly these joints, in any order; ``now`` is the controller's time.

    Raises TrajectoryError where the real controller refuses, and for what is not finite.
    """
    names = list(message.joint_names)
    if sorted(names) != sorted(joints):
        raise TrajectoryError(
            f'it is for {", ".join(names) or "no joints"}; '
            f'this controller moves {", ".join(joints)}'
        )
    points = message.points
    if not points:
        raise TrajectoryError('it has no points; to stop, cancel the goal')
    for i, point in enumerate(points):
        for field, required in (
            ('positions', True),
            ('velocities', False),
            ('accelerations', False),
        ):
            count = len(getattr(point, field))
            if count != len(joints) and (required or count):
                raise TrajectoryError(f'point {i} has {count} {field} for {len(joints)} joints')
        if len(point.effort):
            raise TrajectoryError(f'point {i} has effort; this controller commands no efforts')
    times = np.array([seconds_from_stamp(point.time_from_start) for point in points])
    if (np.diff(times) <= 0).any() or times[0] < 0:
        raise TrajectoryError('its times are not strictly increasing from 0')
    if np.any(np.abs(points[-1].velocities) > np.finfo(np.float32).eps):
        raise TrajectoryError('the velocity of its last point is not zero')
    start = seconds_from_stamp(message.header.stamp)
    if start and start + times[-1] < now:
        raise TrajectoryError(f'it ended {now - start - times[-1]:.3f} s ago')
    order = [names.index(name) for name in joints]
    velocities = [point.velocities for point in points]
    return CommandedTrajectory(
        times,
        np.array([point.positions for point in points])[:, order],
        np.array(velocities)[:, order] if all(map(len, velocities)) else None,
        start or None,
    )
