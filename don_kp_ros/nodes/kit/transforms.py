"""The frames of /tf and /tf_static, without tf2_ros."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from tf2_msgs.msg import TFMessage

from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry.frames import (
    LONGEST_GAP_S,
    TransformError,
    TransformTree,
    TwoParentsError,
)
from don_kp_ros.nodes.kit.clock import when_set_back
from don_kp_ros.nodes.kit.conversions import matrix_from_transform, seconds_from_stamp
from don_kp_ros.nodes.kit.graph import publishers
from don_kp_ros.nodes.kit.guard import guarded
from don_kp_ros.nodes.kit.qos import TF, TF_STATIC


class TransformListener:
    """Keeps a tree of transforms fed; ``lookup`` may be called from any thread."""

    def __init__(self, node: Node) -> None:
        """Subscribe on a node that others spin."""
        self._node = node
        self._tree = TransformTree(longest_gap=LONGEST_GAP_S)
        self._jumps = when_set_back(node, self._tree.clear, 'moving transforms')
        self._topics = [
            node.create_subscription(
                TFMessage, topic, callback, qos, callback_group=MutuallyExclusiveCallbackGroup()
            ).topic_name
            for topic, callback, qos in (
                ('tf', self._on_moving, TF),
                ('tf_static', self._on_static, TF_STATIC),
            )
        ]

    def lookup(self, target: str, source: str, stamp: float | None = None) -> NDArray[np.float64]:
        """Return ``T_target_source`` (4, 4) at a time in seconds, or the newest (None).

        What is not known is a RefusedError.
        """
        try:
            return self._tree.lookup(target, source, stamp)
        except TwoParentsError as error:
            raise RefusedError(
                f'{error}, then restart {self._node.get_name()}, which keeps what is static '
                f'({self._told()})'
            ) from None
        except TransformError as error:
            heard = f'heard on {" and ".join(self._topics)}{self._unheard()}'
            raise RefusedError(f'{error} ({heard})') from None

    def forget(self) -> None:
        """Forget the moving transforms, so that what is looked up is told anew."""
        self._tree.clear()

    def chain(self, frame: str) -> list[str]:
        """Return a frame and those above it, up to one that has no parent, or two."""
        return self._tree.chain(frame)

    def newest(self, frame: str) -> float:
        """Return when a frame was last told to be somewhere, seconds; -inf if it never was."""
        return self._tree.newest(frame)

    def parents(self) -> dict[str, str]:
        """Return the parent of each frame that is known."""
        return self._tree.parents()

    def _unheard(self) -> str:
        """Say where nodes of tf2_ros tell frames, whatever their namespace is; or nothing."""
        found = [
            topic
            for topic in ('/tf', '/tf_static')
            if topic not in self._topics and self._node.count_publishers(topic)
        ]
        if not found:
            return ''
        return (
            f'; others are told on {" and ".join(found)}: if they are meant, start what publishes '
            'them with the remappings /tf:=tf and /tf_static:=tf_static'
        )

    def _told(self) -> str:
        return ', and '.join(
            f'{topic} by {", ".join(publishers(self._node, topic)) or "nobody now"}'
            for topic in self._topics
        )

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
                if odd := self._tree.set(parent, child, stamp, T, static):
                    self._node.get_logger().warning(
                        f'{odd} ({self._told()})', throttle_duration_sec=10.0
                    )
            except (TransformError, ValueError) as error:
                self._node.get_logger().warning(
                    f'transform from {child} to {parent} is left out: {error}',
                    throttle_duration_sec=10.0,
                )
