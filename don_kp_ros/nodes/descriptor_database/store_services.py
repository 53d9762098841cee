"""What the services of stored points and of taught objects share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node

from don_kp_ros.nodes.descriptor_database.link import DatabaseLink
from don_kp_ros.nodes.descriptor_database.models import RunningModels
from don_kp_ros.nodes.descriptor_database.perception import PerceptionClient
from don_kp_ros.nodes.descriptor_database.topic import DescriptorTopic


class StoreServices:
    """Serves what is stored, on a node that others spin."""

    def __init__(
        self,
        node: Node,
        link: DatabaseLink,
        models: RunningModels,
        perception: PerceptionClient,
        topic: DescriptorTopic,
        group: CallbackGroup,
    ) -> None:
        """Offer the services; ``topic`` tells what they change."""
        self._node, self._link = node, link
        self._models, self._perception, self._topic = models, perception, topic
        for kind, name, method in self._services():
            node.create_service(kind, name, method, callback_group=group)

    def _services(self) -> Iterable[tuple[Any, str, Callable[..., Any]]]:
        """Return the services, each by its kind, name and method."""
        raise NotImplementedError

    def _changed(self, message: str) -> str:
        """Have a change told, and log what it is."""
        self._topic.refresh()
        self._node.get_logger().info(message)
        return message
