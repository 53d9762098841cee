"""The camera's topics: what comes on them, and if nothing does, why."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image

from don_kp_ros.nodes.kit import camera_topics
from don_kp_ros.nodes.kit.buffers import Stamped
from don_kp_ros.nodes.kit.clock import RosTime
from don_kp_ros.nodes.kit.conversions import seconds_from_stamp
from don_kp_ros.nodes.kit.graph import published_elsewhere, publishers
from don_kp_ros.nodes.kit.guard import guarded
from don_kp_ros.nodes.kit.qos import SENSOR

Message = TypeVar('Message', Image, CameraInfo)

WATCH_S = 1.0  # of ROS time, from one `watch` to the next
_QUIET = 2  # so many of them without a message
# Stamps and this machine's clock differ by so much where clocks disagree, or do not belong
# together at all, seconds.
_SKEW_S, _FOREIGN_S = 1.0, 3600.0
_SET_BACK_S = 1.0
_DAY_S = 86400.0


class Stream(Generic[Message]):
    """One topic of the camera. What is wrong with it is one sentence, the same to all who ask."""

    def __init__(
        self,
        node: Node,
        kind: type[Message],
        topic: str,
        what: str,
        remedy: str,
        take: Callable[[Message, float], None],
        forget: Callable[[], None],
    ) -> None:
        """Subscribe on a node that others spin.

        ``what`` the messages are, and the ``remedy`` where none come, are words for people.
        ``take`` gets every message and its stamp in seconds; ``forget`` is called first where
        stamps go back, as they do when a recording begins anew.
        """
        self._node, self._time = node, RosTime(node)
        self._kind, self._name, self._what, self._remedy = kind, topic, what, remedy
        self._take, self._forget = take, forget
        self.count = self._watched = self._quiet = 0
        self._newest: Stamped[None] | None = None
        self.silence = ''  # why nothing comes; empty while something does
        # One message at a time: their order is that of their arrival.
        self._subscription = node.create_subscription(
            kind,
            topic,
            self._on_message,
            SENSOR,
            callback_group=MutuallyExclusiveCallbackGroup(),
        )
        self.topic: str = self._subscription.topic_name

    def close(self) -> None:
        """End the subscription."""
        self._node.destroy_subscription(self._subscription)

    @property
    def absence(self) -> str:
        """Say that nothing has come, and why if that is known."""
        return self.silence or f'no {self._what} has come on {self.topic} yet; {self._remedy}'

    @property
    def fault(self) -> str:
        """What is wrong with the stream; empty: nothing."""
        return self.silence or self.stamp_fault

    @property
    def stamp_fault(self) -> str:
        """What is wrong with the newest stamp; empty: nothing."""
        newest = self._newest
        if newest is None:
            return ''
        if newest.stamp == 0:
            return self.unstamped
        late = newest.arrival - newest.stamp
        if abs(late) < _SKEW_S:
            return ''
        far = f'{abs(late) / _DAY_S:.0f} days' if abs(late) > _DAY_S else f'{abs(late):.1f} s'
        said = f'the stamps on {self.topic} are {far} {"old" if late > 0 else "ahead"} on arrival'
        if abs(late) < _FOREIGN_S:
            return f"{said}: check that the machines' clocks agree"
        if late > 0:
            return (
                f'{said}: a recording needs `ros2 bag play --clock`, and use_sim_time:=true of '
                "every node; of a live camera, set the clock of its driver's machine"
            )
        return (
            f'{said}: set use_sim_time of the camera and of {self._node.get_name()} to the same '
            'value'
        )

    @property
    def unstamped(self) -> str:
        """Say that the stamps are zero."""
        return f'the {self._what}s on {self.topic} have stamp zero; their driver must stamp them'

    def watch(self) -> None:
        """Note whether anything came since the last call; to be called every `WATCH_S`."""
        self._quiet = self._quiet + 1 if self.count == self._watched else 0
        self._watched = self.count
        self.silence = self._reason() if self._quiet >= _QUIET else ''

    @guarded
    def _on_message(self, message: Message) -> None:
        stamp, before = seconds_from_stamp(message.header.stamp), self._newest
        if before is not None and 0 < stamp < before.stamp - _SET_BACK_S:
            self._forget()
            self._node.get_logger().warning(
                f'the stamps on {self.topic} went back by {before.stamp - stamp:.1f} s: what was '
                'seen before is forgotten',
                throttle_duration_sec=1.0,
            )
        self._newest = Stamped(None, stamp, self._time.now())
        self.count, self.silence = self.count + 1, ''
        self._take(message, stamp)

    def _reason(self) -> str:
        """Say what the graph knows of a topic that is silent."""
        node, kind = self._node, _type_name(self._kind)
        told = f'no {self._what} has come on {self.topic}' + (' for 2 s' if self.count else '')
        sent = {one.topic_type for one in node.get_publishers_info_by_topic(self.topic)}
        if kind in sent:
            drivers = ' and '.join(publishers(node, self.topic))
            return f'{told}, though {drivers} publishes it; look into its log'
        if sent:
            return f'{told}: it carries {", ".join(sorted(sent))}, and {kind} is needed'
        ours = node.resolve_topic_name('don_kp') + '/'
        others = [
            one for one in published_elsewhere(node, kind, self.topic) if not one.startswith(ours)
        ]
        name = kind.rpartition('/')[2]
        if not others:
            return f'{told}: nobody publishes it, nor any other {name}; {self._remedy}'
        listed = f'{told}: nobody publishes it; {name} topics are {", ".join(others)}'
        return f'{listed}; {self._remedy}, or {self._renaming(others)}'

    def _renaming(self, others: list[str]) -> str:
        """Say how to have one of the topics that there are."""
        tail = self._name.removeprefix(camera_topics.NAMESPACE)
        for other in others:
            namespace = other.removesuffix(tail)
            if namespace not in ('', other):
                return f'give camera_namespace:={namespace}'
        (near,) = difflib.get_close_matches(self.topic, others, 1, 0.0)
        return (
            'start perception by itself (`ros2 run don_kp perception`), the rest with '
            '`nodes:=descriptor_database,grasp`, and remap it, e.g. '
            f'--ros-args -r {self.topic}:={near}'
        )


def _type_name(kind: Any) -> str:
    """Return the name of a message's type as the graph gives it, e.g. sensor_msgs/msg/Image."""
    return f'{kind.__module__.partition(".")[0]}/msg/{kind.__name__}'
