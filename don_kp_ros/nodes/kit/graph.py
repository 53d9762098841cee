"""Who is on the graph, by full name."""

from __future__ import annotations

import contextlib
import posixpath

from rclpy.node import Node, NodeNameNonExistentError


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


def two_publishers(node: Node, *topics: str) -> str:
    """Say that one of the topics has more than one publisher, and what to do; or nothing."""
    for topic in topics:
        if len(found := publishers(node, topic)) > 1:
            return _said(found, f'publish {node.resolve_topic_name(topic)}')
    return ''


def two_servers(node: Node, service: str) -> str:
    """Say that a service, by its full name, has more than one server; or nothing."""
    if node.count_services(service) < 2:
        return ''
    return _said(servers(node, service), f'serve {service}')


def servers(node: Node, service: str) -> list[str]:
    """Name the nodes that serve a service, by its full name."""
    found = []
    for name, namespace in node.get_node_names_and_namespaces():
        with contextlib.suppress(NodeNameNonExistentError):  # it has just ended
            served = node.get_service_names_and_types_by_node(name, namespace)
            if service in (one for one, _ in served):
                found.append(posixpath.join(namespace, name))
    return sorted(found)


def _said(nodes: list[str], do: str) -> str:
    return (
        f'several nodes {do}: {" and ".join(nodes)}; which one is meant is not known. Start each '
        'robot in a namespace of its own (namespace:=robot1), or end one of them; one that has '
        'crashed counts for up to 20 s more'
    )
