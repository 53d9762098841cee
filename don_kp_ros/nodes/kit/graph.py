"""Who is on the graph, by full name."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from rclpy.node import Node, NodeNameNonExistentError

LEASE_S = 20.0  # of this machine's time: so long one that has crashed still counts, with Fast DDS


@dataclass(frozen=True)
class Several:
    """Nodes, by full names, that do what only one of them can be meant to do."""

    nodes: Sequence[str]
    do: str

    @property
    def namesakes(self) -> bool:
        """Tell whether one may have crashed, and the other have been started in its place."""
        return len(set(self.nodes)) == 1

    def __str__(self) -> str:
        return (
            f'several nodes {self.do}: {" and ".join(self.nodes)}; which one is meant is not '
            'known. Start each robot in a namespace of its own (namespace:=robot1), or end one of '
            f'them; one that has crashed counts for up to {LEASE_S:g} s more'
        )


def publishers(node: Node, topic: str) -> list[str]:
    """Name the nodes that publish a topic, each as often as it does."""
    found = node.get_publishers_info_by_topic(topic)
    return sorted(posixpath.join(one.node_namespace, one.node_name) for one in found)


def published_elsewhere(node: Node, kind: str, topic: str) -> list[str]:
    """Name the other topics on which messages of a kind are published."""
    return sorted(
        name
        for name, kinds in node.get_topic_names_and_types()
        if kind in kinds and name != topic and node.count_publishers(name)
    )


def two_publishers(node: Node, *topics: str) -> Several | None:
    """Return who publishes the first of the topics that has more than one publisher."""
    for topic in topics:
        if len(found := publishers(node, topic)) > 1:
            return Several(found, f'publish {node.resolve_topic_name(topic)}')
    return None


def two_servers(node: Node, service: str) -> Several | None:
    """Return who serves a service, by its full name, that has more than one server."""
    if node.count_services(service) < 2:
        return None
    return Several(servers(node, service), f'serve {service}')


def servers(node: Node, service: str) -> list[str]:
    """Name the nodes that serve a service, by its full name."""
    found = []
    for name, namespace in node.get_node_names_and_namespaces():
        with contextlib.suppress(NodeNameNonExistentError):  # it has just ended
            served = node.get_service_names_and_types_by_node(name, namespace)
            if service in (one for one, _ in served):
                found.append(posixpath.join(namespace, name))
    return sorted(found)
