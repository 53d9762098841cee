"""Who is on the graph, by full name."""

from __future__ import annotations

import posixpath

from rclpy.node import Node


def publishers(node: Node, topic: str) -> list[str]:
    """Name the nodes that publish a topic, each as often as it does."""
    found = node.get_publishers_info_by_topic(topic)
    return sorted(posixpath.join(one.node_namespace, one.node_name) for one in found)
