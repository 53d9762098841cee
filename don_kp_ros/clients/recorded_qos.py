"""Qualities of service, between the graph and recordings."""

from __future__ import annotations

from collections.abc import Sequence

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)

# The graph does not tell how many messages a publisher keeps.
_QUEUE = 50  # messages; of images, 50 MB
_TF_STATIC = 100  # as many publishers as a robot may have, each with a message of its own


def offered_qos(profile: QoSProfile) -> Qos:
    """Return what a publisher offers as recordings have it."""
    return Qos(
        history=QosHistory(int(profile.history)),
        depth=profile.depth,
        reliability=QosReliability(int(profile.reliability)),
        durability=QosDurability(int(profile.durability)),
        deadline=_time(profile.deadline),
        lifespan=_time(profile.lifespan),
        liveliness=QosLiveliness(int(profile.liveliness)),
        liveliness_lease_duration=_time(profile.liveliness_lease_duration),
        avoid_ros_namespace_conventions=profile.avoid_ros_namespace_conventions,
    )


def to_hear_all(profiles: Sequence[QoSProfile]) -> QoSProfile:
    """Return what to ask for, so that every one of some publishers is heard."""
    reliable = all(one.reliability == ReliabilityPolicy.RELIABLE for one in profiles)
    latched = all(one.durability == DurabilityPolicy.TRANSIENT_LOCAL for one in profiles)
    return QoSProfile(
        depth=_QUEUE if not latched else _TF_STATIC,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def to_publish(topic: str, offered: Sequence[Qos]) -> QoSProfile:
    """Return what to offer, so that whoever heard the recorded publishers of a topic hears this.

    Without any, as of recordings that do not tell, it is reliable, and /tf_static alone latched.
    """
    static = topic.endswith('/tf_static')
    latched = (
        all(one.durability == QosDurability.TRANSIENT_LOCAL for one in offered)
        if offered
        else static
    )
    reliable = all(one.reliability != QosReliability.BEST_EFFORT for one in offered)
    depth = max((one.depth for one in offered if one.history == QosHistory.KEEP_LAST), default=0)
    if not depth:
        depth = 1 if latched else _QUEUE
    if latched and static:
        depth = _TF_STATIC
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def _time(duration: Duration) -> QosTime:
    seconds, nanoseconds = divmod(duration.nanoseconds, 10**9)
    return QosTime(seconds, nanoseconds)
