"""The transforms that robot_state_publisher and realsense2_camera would publish."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Quaternion, TransformStamped, Vector3
from numpy.typing import NDArray
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from don_kp_ros.nodes.kit.conversions import transform_from_matrix
from don_kp_ros.robots.hand import T_COLOUR_OPTICAL, T_LINK_COLOUR
from don_kp_ros.robots.preset import RobotPreset
from don_kp_ros.simulation.world import LINKS, World

OPTICAL_FRAME = 'camera_color_optical_frame'


def static_frames(preset: RobotPreset) -> TFMessage:
    """Return the robot's place in the world, and the camera's frames on the hand."""
    return _message(
        Time(),
        (
            ('world', 'panda_link0', np.eye(4)),
            (preset.hand_frame, 'camera_link', preset.T_hand_camera_link),
            ('camera_link', 'camera_color_frame', T_LINK_COLOUR),
            ('camera_color_frame', OPTICAL_FRAME, T_COLOUR_OPTICAL),
            ('camera_link', 'camera_depth_frame', np.eye(4)),
            ('camera_depth_frame', 'camera_depth_optical_frame', T_COLOUR_OPTICAL),
            ('camera_link', 'camera_aligned_depth_to_color_frame', T_LINK_COLOUR),
        ),
    )


def link_frames(
    world: World, stamp: Time, position: NDArray[np.float64] | None = None
) -> TFMessage:
    """Return the robot's links; position: of its joints, where they are measured otherwise."""
    places, turns = world.links(position)
    message = TFMessage()
    for (parent, link), (x, y, z), (qx, qy, qz, qw) in zip(
        LINKS, places.tolist(), turns.tolist(), strict=True
    ):
        moved = TransformStamped(child_frame_id=link)
        moved.header.stamp, moved.header.frame_id = stamp, parent
        moved.transform.translation = Vector3(x=x, y=y, z=z)
        moved.transform.rotation = Quaternion(x=qx, y=qy, z=qz, w=qw)
        message.transforms.append(moved)
    return message


def _message(stamp: Time, frames: Iterable[tuple[str, str, NDArray[np.float64]]]) -> TFMessage:
    return TFMessage(
        transforms=[
            TransformStamped(
                header=Header(stamp=stamp, frame_id=parent),
                child_frame_id=child,
                transform=transform_from_matrix(T),
            )
            for parent, child, T in frames
        ]
    )
