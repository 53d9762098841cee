"""Records what is said on the graph, as it comes."""

from __future__ import annotations

import math
import posixpath
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import repeat
from pathlib import Path

from rclpy.event_handler import QoSMessageLostInfo, SubscriptionEventCallbacks
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription
from rosbags.interfaces import Connection

from don_kp_ros.bringup import description
from don_kp_ros.clients.interfaces import message_class
from don_kp_ros.clients.recorded_qos import offered_qos, to_hear_all
from don_kp_ros.clients.stack import Stack
from don_kp_ros.errors import RefusedError
from don_kp_ros.nodes.kit import camera_topics
from don_kp_ros.nodes.kit.clock import STANDSTILL_S, RosTime
from don_kp_ros.recordings.writing import Recording

_LAST_S = 0.2
_LOOKS_EVERY_S = 0.2  # at who is on the graph
# What perception makes for viewers, pictures and maps, costs it time: it is recorded where named.
_RESULTS = (
    'don_kp/matches', 'don_kp/object_poses', 'don_kp/object_pose', 'don_kp/keypoints',
    'don_kp/grasp_pose', 'don_kp/planned_path', 'don_kp/model', 'don_kp/descriptors',
    '/diagnostics', 'grasp/_action/feedback', 'grasp/_action/status',
)  # fmt: skip
ROBOT_INPUTS = ('joint_states', 'tf', 'tf_static')
_INPUTS = (*camera_topics.ALL, *ROBOT_INPUTS)


def topics(arguments: Mapping[str, str], more: Sequence[str] = ()) -> list[str]:
    """Name the topics of a stack by its (checked) launch arguments, and some more, in full."""
    renamed = dict(description.remappings(arguments))
    namespace = description.namespace(arguments)
    wanted = (*_INPUTS, *_RESULTS, *more)
    return [posixpath.join(namespace, renamed.get(topic, topic)) for topic in wanted]


def record(stack: Stack, folder: Path, wanted: Sequence[str], seconds: float = math.inf) -> bool:
    """Record topics until Ctrl-C, or for some seconds of ROS time; tell whether any came.

    Raises RefusedError, also where something ends it early; what came until then is in the folder.
    """
    if not stack.wait(lambda: _now(stack), STANDSTILL_S):
        raise RefusedError('nobody tells the time on /clock; is the simulation running?')
    begun, busy = time.monotonic(), time.process_time()
    refused = None
    recording = Recording(folder)
    recorder = _Recorder(stack, recording, wanted, seconds)
    print(f'{folder}: recording until Ctrl-C', flush=True)
    try:
        try:
            recorder.run()
        except KeyboardInterrupt:
            print()
            recorder.take_what_has_come()
    except RefusedError as error:
        refused = error
    finally:
        recorder.end()
        recording.close()
    passed, busy = time.monotonic() - begun, time.process_time() - busy
    for topic, count in recording.counts.items():
        print(f'{count:8} {topic}')
    for topic, lost in recorder.lost.items():
        print(f'{lost:8} lost of {topic}: this machine is too busy')
    if silent := [topic for topic in wanted if not recording.counts.get(topic)]:
        print(f'nothing came on {", ".join(silent)}')
    if came := sum(recording.counts.values()):
        print(
            f'{folder}: {came} messages in {passed:.1f} s, {recording.size / 1e6:.1f} MB '
            f'({recording.size / 1e6 / passed:.1f} MB/s), {busy / passed:.0%} of a core'
        )
    else:
        print(f'{folder}: nothing came, and nothing was written')
    if refused is not None:
        raise refused
    return bool(came)


class _Recorder:
    """Listens to topics from when somebody publishes them."""

    def __init__(
        self, stack: Stack, recording: Recording, wanted: Sequence[str], seconds: float
    ) -> None:
        self.lost: dict[str, int] = {}
        self._stack, self._recording = stack, recording
        self._wanted, self._known = list(wanted), dict[str, list[QoSProfile]]()
        self._connections: dict[str, Connection] = {}
        self._last, self._seconds = _now(stack), seconds
        self._refused: RefusedError | None = None
        self._looked = -math.inf
        self._heard: dict[str, Subscription] = {}

    def run(self) -> None:
        """Record until the time is over, or something is refused; raises KeyboardInterrupt.

        Time that stands still is refused where it has to pass.
        """
        limited = self._seconds < math.inf
        rounds = RosTime(self._stack.node).rounds(self._seconds) if limited else repeat(None)
        self._stack.wait(lambda: self._ended() or next(rounds, True), math.inf)
        if self._refused:
            raise self._refused

    def take_what_has_come(self) -> None:
        """Go on until nothing has come for a moment; raises RefusedError."""
        before = -1
        while before != (before := sum(self._recording.counts.values())) and not self._refused:
            self._stack.wait(lambda: False, _LAST_S)
        if self._refused:
            raise self._refused

    def end(self) -> None:
        """Listen no more."""
        for subscription in self._heard.values():
            self._stack.node.destroy_subscription(subscription)

    def _ended(self) -> bool:
        now = time.monotonic()
        if now > self._looked + _LOOKS_EVERY_S:
            self._looked = now
            self._listen()
        return self._refused is not None

    def _listen(self) -> None:
        """Hear every topic from all who publish it by now."""
        node = self._stack.node
        for topic in self._wanted:
            found = node.get_publishers_info_by_topic(topic)
            known = self._known.setdefault(topic, [])
            profiles = [one.qos_profile for one in found if one.qos_profile not in known]
            kinds = sorted({one.topic_type for one in found})
            if len(kinds) > 1:
                self._refused = RefusedError(
                    f'{topic} is published as {" and as ".join(kinds)}; end one of them'
                )
                return
            if not profiles:
                continue
            known += profiles
            message = message_class(kinds[0])
            if topic not in self._connections:
                self._connections[topic] = self._recording.add(
                    topic,
                    kinds[0],
                    str(found[0].topic_type_hash),
                    [offered_qos(one) for one in profiles],
                )
            wanted, heard = to_hear_all(known), self._heard.get(topic)
            if heard is not None:
                if heard.qos_profile == wanted:
                    continue
                print(
                    f'{topic}: another publisher of other qualities of service; what comes in '
                    'this moment may be lost',
                    flush=True,
                )
                node.destroy_subscription(heard)
            self._heard[topic] = node.create_subscription(
                message,
                topic,
                partial(self._take, self._connections[topic]),
                wanted,
                event_callbacks=SubscriptionEventCallbacks(message_lost=self._counts(topic)),
                raw=True,
            )

    def _take(self, connection: Connection, data: bytes) -> None:
        now = _now(self._stack)
        if self._refused:
            return
        try:
            if now < self._last:
                raise RefusedError(
                    f'ROS time was set back by {(self._last - now) * 1e-9:.3f} s, and the '
                    'recording ends there: begin another'
                )
            self._last = now
            self._recording.write(connection, now, data)
        except RefusedError as error:
            self._refused = error

    def _counts(self, topic: str) -> Callable[[QoSMessageLostInfo], None]:
        def count(info: QoSMessageLostInfo) -> None:
            self.lost[topic] = self.lost.get(topic, 0) + info.total_count_change

        return count


def _now(stack: Stack) -> int:
    return int(stack.node.get_clock().now().nanoseconds)
