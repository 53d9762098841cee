"""The frames of tf and tf_static, without tf2_ros."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from tf2_msgs.msg import TFMessage

from don_kp_ros.geometry.frames import TransformError, TransformTree
from don_kp_ros.nodes.kit.conversions import matrix_from_transform, seconds_from_stamp
from don_kp_ros.nodes.kit.guard import guarded
from don_kp_ros.nodes.kit.qos import TF, TF_STATIC


class TransformListener:
    """Keep a TransformTree fed; ``lookup`` may be called from any thread."""

    def __init__(self, node: Node, tree: TransformTree | None = None) -> None:
        self.tree = tree if tree is not None else TransformTree()
        self._node = node
        group = ReentrantCallbackGroup()
        for topic, qos, callback in (
            ('tf', TF, self._on_moving),
            ('tf_static', TF_STATIC, self._on_static),
        ):
            node.create_subscription(TFMessage, topic, callback, qos, callback_group=group)

    def lookup(self, target: str, source: str, stamp: float | None = None) -> NDArray[np.float64]:
        """Return ``T_target_source`` (4, 4) at a time in seconds, or the newest (None).

        Raises TransformError.
        """
        return self.tree.lookup(target, source, stamp)

    @guarded
    def _on_moving(self, message: TFMessage) -> None:
        self._take(message, static=False)

    @guarded
    def _on_static(self, message: TFMessage) -> None:
        self._take(message, static=True)

    def _take(self, message: TFMessage, static: bool) -> None:
        for transform in message.transforms:
            parent, child = transform.header.frame_id, transform.child_frame_id
            try:
                T = matrix_from_transform(transform.transform)
                stamp = seconds_from_stamp(transform.header.stamp)
                self.tree.set(parent, child, stamp, T, static)
            except (TransformError, ValueError) as error:
                self._node.get_logger().warning(
                    f'transform from {child} to {parent} is left out: {error}',
                    throttle_duration_sec=10.0,
                )
