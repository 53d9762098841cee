"""Tells which way the tool is about to go."""

from __future__ import annotations

import numpy as np
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path
from rclpy.node import Node
from std_msgs.msg import Header

from don_kp_ros.motion.kinematics import Kinematics
from don_kp_ros.motion.timing import Trajectory
from don_kp_ros.nodes.kit.conversions import pose_from_matrix
from don_kp_ros.nodes.kit.qos import LATCHED
from don_kp_ros.robots.preset import RobotPreset

_STEP = 0.05  # radians of the joint that turns most, between two poses: less than 5 cm of the tool


class PlannedPath:
    """Publishes the tool centre point's poses on its way, in the base frame; none between goals.

    It is latched: who begins to look on the way sees all of it.
    """

    def __init__(self, node: Node, preset: RobotPreset) -> None:
        """Publish from a node."""
        self._node, self._frame = node, preset.base_frame
        self._kinematics = Kinematics(preset)
        self._publisher = node.create_publisher(Path, 'don_kp/planned_path', LATCHED)
        self.clear()

    def show(self, *ways: Trajectory) -> None:
        """Tell of a way, or of several that follow each other."""
        positions = np.concatenate([way.positions for way in ways])
        turned = np.abs(np.diff(positions, axis=0)).max(axis=1, initial=0.0)
        steps = np.floor(np.cumsum(turned) / _STEP)
        new = np.diff(steps, prepend=0.0) > 0
        # The ends of each way are told as they are.
        ends = np.cumsum([len(way.positions) for way in ways])
        kept = {0, *(np.flatnonzero(new) + 1).tolist(), *(ends - 1).tolist()}
        self._publish([self._kinematics.forward(positions[index]) for index in sorted(kept)])

    def clear(self) -> None:
        """Tell that nothing is about to move."""
        self._publish([])

    def _publish(self, poses: list[np.ndarray]) -> None:
        header = Header(stamp=self._node.get_clock().now().to_msg(), frame_id=self._frame)
        stamped = [PoseStamped(header=header, pose=pose_from_matrix(T)) for T in poses]
        self._publisher.publish(Path(header=header, poses=stamped))
