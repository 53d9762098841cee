"""MoveIt's trajectories, read as ours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.motion.port import Segment
from don_kp_ros.motion.timing import Trajectory
from don_kp_ros.nodes.kit.conversions import seconds_from_stamp
from don_kp_ros.robots.preset import RobotPreset

Array = NDArray[np.float64]


def segment_of(name: str, trajectory: Any) -> Segment:
    """Return a trajectory as a planned motion of that name."""
    return Segment(name, float(trajectory.duration), trajectory)


def end_of(trajectory: Any, preset: RobotPreset) -> Array:
    """Return the arm's joint positions (7,) at a trajectory's end."""
    return timed(trajectory, preset).positions[-1]


def timed(trajectory: Any, preset: RobotPreset) -> Trajectory:
    """Read a trajectory of MoveIt's; its points may have the joints in another order."""
    message = trajectory.get_robot_trajectory_msg().joint_trajectory
    order = [message.joint_names.index(joint) for joint in preset.arm_joints]
    return Trajectory(
        np.array([seconds_from_stamp(p.time_from_start) for p in message.points]),
        np.array([p.positions for p in message.points])[:, order],
        np.array([p.velocities for p in message.points])[:, order],
    )
