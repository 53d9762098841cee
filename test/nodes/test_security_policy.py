"""The policy in docs/database.md allows the nodes what they use, and nothing else."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]


def allowed(node: str) -> dict[str, set[str]]:
    """Read what the documented policy lets a node serve, ask, publish and subscribe."""
    text = (ROOT / 'docs/database.md').read_text()
    policy = re.search(r'<policy.*?</policy>', text, re.DOTALL)
    assert policy is not None
    (profile,) = ElementTree.fromstring(policy[0]).iterfind(f'.//profile[@node="{node}"]')
    return {
        verb: {name.text.replace('~', f'/{node}') for name in profile.iterfind(f'*[@{verb}]/*')}
        for verb in ('reply', 'request', 'publish', 'subscribe')
    }


@pytest.mark.parametrize('name', ['descriptor_database', 'perception'])
def test_the_policy_allows_what_a_node_uses(peer, start_node, checkpoint, tmp_path, name):
    own = {
        'perception': {'model': checkpoint, 'camera_mount': 'hand'},
        'descriptor_database': {'database': tmp_path / 'd.sqlite'},
    }
    start_node(name, **own[name])
    graph = peer.node

    def used() -> dict[str, set[str]]:
        reading = {
            'reply': graph.get_service_names_and_types_by_node,
            'request': graph.get_client_names_and_types_by_node,
            'publish': graph.get_publisher_names_and_types_by_node,
            'subscribe': graph.get_subscriber_names_and_types_by_node,
        }
        if (name, '/') not in graph.get_node_names_and_namespaces():
            return {}
        return {verb: {topic for topic, _ in read(name, '/')} for verb, read in reading.items()}

    expected = allowed(name)
    peer.within(peer.PATIENCE_S, lambda: used() == expected)
    assert used() == expected
