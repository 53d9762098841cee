"""The frames of /tf and /tf_static, without tf2_ros."""

from __future__ import annotations

import threading
import time
from collections import deque

import numpy as np
from numpy.typing import NDArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from tf2_msgs.msg import TFMessage

from don_kp_ros.geometry.frames import TransformError, TransformTree
from don_kp_ros.nodes.kit.conversions import matrix_from_transform, seconds_from_stamp
from don_kp_ros.nodes.kit.guard import guarded
from don_kp_ros.nodes.kit.qos import TF, TF_STATIC

_UNREAD_S = 3.0  # how long moving transforms are kept unread


class TransformListener:
    """Hears transforms, and reads the moving ones when somebody looks one up.

    They come by the hundred a second and are seldom asked for: to read them all costs some per
    cent of a processor. ``lookup`` may be called from any thread.
    """

    def __init__(self, node: Node) -> None:
        """Subscribe on a node that others spin."""
        self._node = node
        self._tree = TransformTree()
        self._unread: deque[tuple[float, bytes]] = deque()
        self._reading = threading.Lock()
        self._subscriptions = [
            node.create_subscription(
                TFMessage,
                topic,
                callback,
                qos,
                callback_group=MutuallyExclusiveCallbackGroup(),
                raw=raw,
            )
            for topic, callback, qos, raw in (
                ('tf', self._on_moving, TF, True),
                ('tf_static', self._take, TF_STATIC, False),
            )
        ]

    def close(self) -> None:
        """End listening."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def lookup(self, target: str, source: str, stamp: float | None = None) -> NDArray[np.float64]:
        """Return ``T_target_source`` (4, 4) at a time in seconds, or the newest (None).

        Raises TransformError.
        """
        with self._reading:
            while self._unread:
                _, message = self._unread.popleft()
                self._take(deserialize_message(message, TFMessage), static=False)
        return self._tree.lookup(target, source, stamp)

    @guarded
    def _on_moving(self, message: bytes) -> None:
        now = time.monotonic()
        self._unread.append((now, message))
        with self._reading:
            while self._unread and self._unread[0][0] < now - _UNREAD_S:
                self._unread.popleft()

    @guarded
    def _take(self, message: TFMessage, static: bool = True) -> None:
        for transform in message.transforms:
            parent, child = transform.header.frame_id, transform.child_frame_id
            try:
                T = matrix_from_transform(transform.transform)
                stamp = seconds_from_stamp(transform.header.stamp)
                self._tree.set(parent, child, stamp, T, static)
            except (TransformError, ValueError) as error:
                self._node.get_logger().warning(
                    f'transform from {child} to {parent} is left out: {error}',
                    throttle_duration_sec=10.0,
                )
