"""What is stored, as one database tells it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.subscription import Subscription

from don_kp.msg import Descriptors
from don_kp_ros.nodes.kit.graph import two_publishers
from don_kp_ros.nodes.kit.guard import guarded
from don_kp_ros.nodes.kit.qos import LATCHED

_TOPIC = 'don_kp/descriptors'
_LOOK_S = 1.0


class StoredTopic:
    """Hears a latched topic that a database publishes only when something changes.

    A message does not say whose it is. While several databases publish, what they tell is not
    taken; once one is left, what it told last is asked for again.
    """

    def __init__(self, node: Node, take: Callable[[Descriptors], None]) -> None:
        """Subscribe on a node that others spin; ``take`` gets what is stored."""
        self._node, self._take = node, take
        self._group = MutuallyExclusiveCallbackGroup()
        self._several = self._doubtful = False
        self._subscription = self._subscribe()
        # Also where simulated time stands still.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        node.create_timer(_LOOK_S, self._look, self._group, clock=steady)

    def _subscribe(self) -> Subscription:
        self._doubtful = False
        return self._node.create_subscription(
            Descriptors,
            _TOPIC,
            self._hear,
            LATCHED,
            callback_group=self._group,
            event_callbacks=SubscriptionEventCallbacks(matched=self._meet),
        )

    @guarded
    def _hear(self, message: Descriptors) -> None:
        if not self._are_several():
            self._take(message)

    @guarded
    def _meet(self, met: Any) -> None:
        # What was taken may be of one that has already ended.
        self._doubtful |= met.total_count > 1

    @guarded
    def _look(self) -> None:
        if not self._are_several() and self._doubtful:
            self._node.destroy_subscription(self._subscription)
            self._subscription = self._subscribe()

    def _are_several(self) -> bool:
        several = two_publishers(self._node, _TOPIC)
        if several and not self._several:
            self._node.get_logger().warning(
                f'what is looked for stays as it is, whatever they tell: {several}'
            )
        self._several = several is not None
        self._doubtful |= self._several
        return self._several
