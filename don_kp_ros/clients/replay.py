"""Publishes what was recorded, and the time in which it was."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.duration import Duration
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from rosbags.interfaces import Connection
from rosgraph_msgs.msg import Clock
from tf2_msgs.msg import TFMessage

from don_kp_ros.clients.interfaces import message_class
from don_kp_ros.clients.record import ROBOT_INPUTS
from don_kp_ros.clients.recorded_qos import to_publish
from don_kp_ros.clients.stack import Stack
from don_kp_ros.errors import RefusedError, did_you_mean
from don_kp_ros.geometry.frames import OBJECTS
from don_kp_ros.nodes.kit.graph import publishers
from don_kp_ros.recordings.definitions import is_digest
from don_kp_ros.recordings.reading import Bag, offered

_TICK_S = 0.01  # of this machine's time, between two messages of the clock
_LOOKS_EVERY_S = 0.5  # at who else publishes
_LAG_S = 0.1  # farther behind, the recorded time slows down
_HANDED_OVER_S = 5.0
# The stack's own results, by the ends of their topics' names and by their frames; what it takes
# may be in a namespace of such a name.
_RESULTS = re.compile(r'/(don_kp|grasp/_action|simulation)/\w+$|/diagnostics\w*$')
_INPUTS = tuple(f'/{name}' for name in ROBOT_INPUTS)
_ADDS_FRAMES = '/perception'  # the end of the node's name that also publishes frames
_NAMELESS = '_NODE_NAME_UNKNOWN_'  # for the moment


class Replay:
    """A recording, and the publishers that say it again."""

    def __init__(
        self, stack: Stack, bag: Bag, topics: Sequence[str], inputs: bool, clock: str
    ) -> None:
        """Make the publishers; raises RefusedError where others publish the same.

        topics: to publish, all where none is named; inputs: leave out what the stack says;
        clock: the topic that tells the time.
        """
        self._stack, self._bag, self._inputs = stack, bag, inputs
        self._connections = _chosen(bag, topics, inputs, clock)
        self._clock_topic = clock
        self._origin = (0, 0.0)  # when the recorded time began, in both times
        self._told = -1
        offers: dict[str, list[Any]] = {}
        for one in self._connections:
            offers.setdefault(one.topic, []).extend(offered(one))
        stack.settle()
        self._refuse_others([clock, *offers])
        self._clock = stack.node.create_publisher(Clock, clock, 1)
        self._publishers: dict[str, Publisher] = {}
        for one in list(self._connections):
            if one.topic not in self._publishers:
                self._create(one, to_publish(one.topic, offers[one.topic]))
        if not self._publishers:
            raise RefusedError('nothing is left to be published')

    def meet(self, topics: Sequence[str]) -> None:
        """Wait, for ever, until somebody listens to topics.

        Raises RefusedError where others publish the same then, and KeyboardInterrupt.
        """
        for topic in topics:
            if topic not in self._publishers:
                raise RefusedError(
                    f'{topic} is waited for, and not published; there are '
                    f'{", ".join(self._publishers)}'
                )
        met = [self._publishers[topic].get_subscription_count for topic in topics]
        self._stack.wait(lambda: all(count() for count in met), float('inf'))
        if met:
            self._stack.settle()
            self._refuse_others([self._clock_topic, *self._publishers])

    def play(self, rate: float) -> None:
        """Publish everything, so many times as fast as it was recorded.

        Raises RefusedError where others publish the same meanwhile, and KeyboardInterrupt.
        """
        begun = looked = time.monotonic()
        first = last = count = 0
        for message in self._bag.messages(self._connections):
            topic = message.connection.topic
            if topic.endswith('/tf') and self._inputs and _of_objects(message.data):
                continue
            if not count:
                first, begun = message.stamp, time.monotonic()
                self._origin = first, begun
            self._wait_until(message.stamp, rate)
            if time.monotonic() > looked + _LOOKS_EVERY_S:
                looked = time.monotonic()
                self._refuse_others([self._clock_topic, *self._publishers], named=True)
            self._publishers[topic].publish(message.data)
            last, count = message.stamp, count + 1
        passed = time.monotonic() - begun
        late = [
            topic
            for topic, publisher in self._publishers.items()
            if not publisher.wait_for_all_acked(Duration(seconds=_HANDED_OVER_S))
        ]
        if late:
            raise RefusedError(
                f'{", ".join(late)}: who listens did not take the last messages within '
                f'{_HANDED_OVER_S:g} s: it is too busy, or hangs; a lower --rate may help'
            )
        self._refuse_others([self._clock_topic, *self._publishers], named=True)
        print(f'{count} messages of {(last - first) * 1e-9:.1f} s in {passed:.1f} s', flush=True)

    def _wait_until(self, stamp: int, rate: float) -> None:
        """Tell the time until it is the recorded one of a message."""
        while True:
            first, begun = self._origin
            left = begun + (stamp - first) * 1e-9 / rate - time.monotonic()
            if left < -_LAG_S:  # nothing is left out, and no time jumps
                self._origin = first, begun - left
            self._tell(stamp - max(0, int(left * rate * 1e9)))
            self._stack.wait(lambda: False, max(0.0, min(left, _TICK_S)))
            if left <= 0:
                return

    def _tell(self, stamp: int) -> None:
        if stamp != self._told:
            self._told = stamp
            seconds, nanoseconds = divmod(stamp, 10**9)
            self._clock.publish(Clock(clock=Time(sec=seconds, nanosec=nanoseconds)))

    def _refuse_others(self, topics: Sequence[str], named: bool = False) -> None:
        """Raise RefusedError that says who else publishes one of the topics, and what to do.

        named: leave out who has no name yet.
        """
        own = self._stack.node.get_fully_qualified_name()
        for topic in topics:
            found = {one for one in publishers(self._stack.node, topic) if one != own}
            if topic.endswith(('/tf', '/tf_static')):
                found = {one for one in found if not one.endswith(_ADDS_FRAMES)}
            if named:
                found = {one for one in found if not one.endswith(_NAMELESS)}
            if found:
                raise RefusedError(
                    f'{" and ".join(sorted(found))} publishes {topic}, and what was recorded must '
                    'not be taken for it: end it, replay in another --domain, or choose by '
                    '--inputs or --topic'
                )

    def _create(self, connection: Connection, qos: QoSProfile) -> None:
        """Make the publisher of a topic, if its messages are known here."""
        node, topic = self._stack.node, connection.topic
        try:
            publisher = node.create_publisher(message_class(connection.msgtype), topic, qos)
            own = node.get_fully_qualified_name()
            self._stack.wait(lambda: own in publishers(node, topic))
            known = {str(one.topic_type_hash) for one in node.get_publishers_info_by_topic(topic)}
            if is_digest(connection.digest) and connection.digest not in known:
                node.destroy_publisher(publisher)
                raise RefusedError(f'{connection.msgtype} was of another version')
            self._publishers[topic] = publisher
        except RefusedError as error:
            print(f'{topic} is left out: {error}', flush=True)
            self._connections = [one for one in self._connections if one.topic != topic]


def _chosen(bag: Bag, topics: Sequence[str], inputs: bool, clock: str) -> list[Connection]:
    """Choose what to publish; raises RefusedError."""
    recorded = {one.topic for one in bag.connections}
    for topic in topics:
        if topic not in recorded:
            raise RefusedError(
                f'{topic} was not recorded{did_you_mean(topic, recorded) or "."} There are '
                f'{", ".join(sorted(recorded))}'
            )
    chosen = []
    for one in bag.connections:
        said_by_us = one.topic == clock or one.msgtype == 'rosgraph_msgs/msg/Clock'
        result = _RESULTS.search(one.topic) and not one.topic.endswith(_INPUTS)
        if not said_by_us and (one.topic in topics or not topics) and not (inputs and result):
            chosen.append(one)
    return chosen


def _of_objects(data: bytes) -> bool:
    """Tell whether all of a message's frames are those of objects, which perception publishes."""
    transforms = deserialize_message(data, TFMessage).transforms
    return bool(transforms) and all(one.child_frame_id.startswith(OBJECTS) for one in transforms)
