"""Perception looks for what one database tells, and for nothing of a second one."""

import contextlib

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from waiting import wait_until

from don_kp.msg import Descriptor, Descriptors, Matches
from don_kp_ros.nodes.kit.qos import LATCHED, RESULT
from don_kp_ros.nodes.perception.stored import StoredTopic

TOPIC = '/don_kp/descriptors'


@pytest.fixture
def second(context):
    """Give the node of a second database, which says nothing yet."""
    node = rclpy.create_node('descriptor_database', namespace='robot2', context=context)
    yield node
    node.destroy_node()


@pytest.fixture
def log(start_node, peer, camera, checkpoint):
    """Start perception; return what it has said."""
    node = start_node('perception', model=checkpoint, threads=1, max_rate_hz=0, picture_rate_hz=0)
    node.wait_for('waiting for images')
    camera.wait_until_watched()
    yield lambda: node.output
    assert node.end() == 0
    assert 'Traceback' not in node.output


def message(model: str, *names: str) -> Descriptors:
    """Tell of points by name, all with the same values."""
    values = [1.0] + [0.0] * 7
    return Descriptors(
        descriptors=[Descriptor(name=name, model=model, values=values) for name in names]
    )


def test_what_two_databases_tell_is_not_looked_for_until_one_is_left(
    log, peer, camera, random_model, second
):
    matches = peer.listen(Matches, '/don_kp/matches', RESULT)

    def looks_for(*names: str) -> bool:
        del matches[:]
        wait_until(lambda: camera.show_until_seen() and matches)
        return {one.name for one in matches[-1].matches} == set(names)

    model = random_model.fingerprint
    first = peer.node.create_publisher(Descriptors, TOPIC, LATCHED)
    first.publish(message(model, 'cap/brim'))
    wait_until(lambda: looks_for('cap/brim'))
    strange = second.create_publisher(Descriptors, TOPIC, LATCHED)
    strange.publish(message(model, 'strange'))
    wait_until(lambda: f'several nodes publish {TOPIC}' in log() or looks_for('strange'))
    wait_until(lambda: strange.wait_for_all_acked() and first.get_subscription_count())
    assert looks_for('cap/brim')
    # What changes meanwhile is looked for as soon as the other one has ended.
    first.publish(message(model, 'cap/brim', 'cap/top'))
    assert looks_for('cap/brim')
    second.destroy_publisher(strange)
    wait_until(lambda: looks_for('cap/brim', 'cap/top'))
    assert log().count('several nodes publish') == 1
    # Nor is the other one's forgotten where the first one ends.
    strange = second.create_publisher(Descriptors, TOPIC, LATCHED)
    strange.publish(message(model, 'strange'))
    wait_until(lambda: log().count('several nodes publish') == 2)
    assert looks_for('cap/brim', 'cap/top')
    peer.node.destroy_publisher(first)
    wait_until(lambda: looks_for('strange'))


def test_what_a_database_told_that_has_ended_meanwhile_is_undone(context, second, peer):
    taken: list[list[str]] = []
    busy = rclpy.create_node('busy', namespace='robot3', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(busy)
    with contextlib.ExitStack() as ended:
        ended.callback(busy.destroy_node)
        ended.callback(executor.shutdown)
        topic = '/robot3/don_kp/descriptors'

        def told(*names: str) -> bool:
            executor.spin_once(timeout_sec=0.1)
            return bool(taken) and taken[-1] == list(names)

        StoredTopic(busy, lambda heard: taken.append([one.name for one in heard.descriptors]))
        first = peer.node.create_publisher(Descriptors, topic, LATCHED)
        first.publish(message('m', 'a'))
        wait_until(lambda: told('a'))
        # From here on the node is busy with something else.
        strange = second.create_publisher(Descriptors, topic, LATCHED)
        strange.publish(message('m', 'strange'))
        wait_until(strange.get_subscription_count)
        assert strange.wait_for_all_acked()
        second.destroy_publisher(strange)
        wait_until(lambda: busy.count_publishers(topic) == 1)
        wait_until(lambda: told('strange'))
        wait_until(lambda: told('a'))
