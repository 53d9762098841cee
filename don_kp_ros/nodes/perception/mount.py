"""Tells everyone where the camera sits on the hand."""

from __future__ import annotations

import posixpath

from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from numpy.typing import ArrayLike
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry import rigid
from don_kp_ros.nodes.kit import camera_topics
from don_kp_ros.nodes.kit.conversions import transform_from_matrix
from don_kp_ros.nodes.kit.guard import guarded
from don_kp_ros.nodes.kit.qos import TF_STATIC
from don_kp_ros.nodes.kit.robot import robot_preset
from don_kp_ros.nodes.kit.runner import StartupError
from don_kp_ros.nodes.kit.transforms import TransformListener

_RETRY_S, _TELL_S = 0.5, 10.0


class MountedCamera:
    """Publishes, once, the static transform from the hand to the root of the camera's frames.

    Those begin with the camera's name, which the topic of its pictures tells, as
    realsense2_camera has them. Where the preset has the pose of the optical frame, the driver's
    own transform between the two is waited for.
    """

    def __init__(self, node: Node, robot: str, transforms: TransformListener) -> None:
        """Publish on a node that others spin.

        Raises as `load_preset` does, and StartupError for a topic that does not tell the name.
        """
        self._node, self._transforms = node, transforms
        self._preset = robot_preset(node, robot)
        topic = node.resolve_topic_name(camera_topics.COLOUR)
        if not topic.endswith(camera_topics.COLOUR_TAIL):
            raise StartupError(
                'where the camera sits cannot be told (camera_mount: hand): its frames begin with '
                f'its name, and {topic} does not tell that, as it does not end with '
                f'{camera_topics.COLOUR_TAIL}; set camera_mount to none, and tell its frames'
            )
        name = posixpath.basename(topic.removesuffix(camera_topics.COLOUR_TAIL))
        self._frame = self._preset.camera.frame_of(name)
        self._root = self._preset.camera.root_of(name)
        self._publisher = node.create_publisher(TFMessage, 'tf_static', TF_STATIC)
        if not self._preset.camera.is_optical:
            self._publish(self._preset.camera.T_hand_frame)
            return
        # Also where simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = node.create_timer(_RETRY_S, self._attempt, clock=steady)

    @guarded
    def _attempt(self) -> None:
        try:
            T_root_frame = self._transforms.lookup(self._root, self._frame)
        except RefusedError as error:
            self._node.get_logger().warning(
                f'where {self._root} sits on {self._preset.hand_frame} is not known before the '
                f"camera's driver tells its frames: {error}",
                throttle_duration_sec=_TELL_S,
                skip_first=True,
            )
            return
        self._node.destroy_timer(self._timer)
        self._publish(self._preset.camera.T_hand_frame @ rigid.inverse(T_root_frame))

    def _publish(self, T_hand_root: ArrayLike) -> None:
        mounted = TransformStamped(
            header=Header(stamp=Time(), frame_id=self._preset.hand_frame),
            child_frame_id=self._root,
            transform=transform_from_matrix(T_hand_root),
        )
        self._publisher.publish(TFMessage(transforms=[mounted]))
        self._node.get_logger().info(
            f'{self._root} sits on {self._preset.hand_frame} (camera_mount: hand), as told on '
            f'{self._publisher.topic_name}'
        )
