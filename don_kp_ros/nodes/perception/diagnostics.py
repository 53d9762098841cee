"""How perception does, once a second, on /diagnostics."""

from __future__ import annotations

import re
from collections import deque

import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from don_kp_ros.nodes.kit.clock import RosTime
from don_kp_ros.nodes.kit.conversions import seconds_from_stamp
from don_kp_ros.nodes.kit.guard import guarded
from don_kp_ros.nodes.kit.qos import RESULT
from don_kp_ros.nodes.perception.frames import Frames
from don_kp_ros.nodes.perception.stream import WATCH_S

_MOST_KEPT = 300  # latencies


class Diagnostics:
    """Watches the camera's streams, tells how the work goes, and logs what is wrong once."""

    def __init__(self, node: Node, frames: Frames) -> None:
        """Publish from a node that others spin."""
        self._node, self._frames, self._time = node, frames, RosTime(node)
        self._name = f'{node.get_fully_qualified_name().lstrip("/")}: camera'
        self._latencies: deque[float] = deque(maxlen=_MOST_KEPT)
        self._looked = self._reported = self._without_depth = self._refused = 0
        self._reported_at, self._logged = self._time.now(), ''
        # From the root: that is where ROS has the diagnostics of all robots.
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', RESULT)
        self._timer = node.create_timer(WATCH_S, self._report)

    def close(self) -> None:
        """Report no more."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._publisher)

    def looked(self, stamp: Time, with_depth: bool) -> None:
        """Count an image whose matches have just been published."""
        self._latencies.append(self._time.now() - seconds_from_stamp(stamp))
        self._looked += 1
        self._without_depth += not with_depth

    def refused(self) -> None:
        """Count an image that is of no use."""
        self._refused += 1

    @guarded
    def _report(self) -> None:
        self._frames.watch()
        fault, frames, now = self._frames.fault, self._frames, self._time.now()
        self._log(fault)
        seconds, done = now - self._reported_at, self._looked - self._reported
        self._reported, self._reported_at = self._looked, now
        latencies = np.array(self._latencies) if self._latencies else np.array([np.nan])
        values = {
            'rate [1/s]': f'{done / seconds:.1f}' if seconds > 0 else 'nan',
            'latency, mean [s]': f'{latencies.mean():.3f}',
            'latency, 99 % [s]': f'{np.percentile(latencies, 99):.3f}',
            'images': str(frames.colour.count),
            'dropped': str(max(frames.colour.count - self._looked - self._refused, 0)),
            'of no use': str(self._refused),
            'without depth': str(self._without_depth),
            frames.colour.topic: frames.colour.fault or 'runs',
            frames.depths.topic: frames.depths.fault or 'runs',
            frames.infos.topic: frames.infos.fault or 'runs',
        }
        status = DiagnosticStatus(
            level=DiagnosticStatus.WARN if fault else DiagnosticStatus.OK,
            name=self._name,
            message=fault or ('runs' if frames.colour.count else frames.colour.absence),
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def _log(self, fault: str) -> None:
        """Log a fault once until there is another one; one of other numbers is the same."""
        kind = re.sub(r'\d+', '', fault)
        if kind and kind != self._logged:
            self._node.get_logger().warning(fault)
            self._logged = kind
