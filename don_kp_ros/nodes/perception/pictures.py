"""What people look at: drawn and published beside the work, never in its way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from builtin_interfaces.msg import Duration
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from don_kp_ros.matching.heatmap import heatmaps
from don_kp_ros.matching.pictures import (
    DescriptorColours,
    draw_caption,
    draw_legend,
    heatmap_overlay,
)
from don_kp_ros.matching.points import FoundPoint
from don_kp_ros.nodes.kit.conversions import image_message, point_message
from don_kp_ros.nodes.kit.guard import guarded
from don_kp_ros.nodes.kit.qos import RESULT
from don_kp_ros.nodes.perception.frames import Frame
from don_kp_ros.nodes.perception.parameters import PerceptionParameters
from don_kp_ros.nodes.perception.queries import Queries

_NAMED = 5  # of the stored points, those that fit best, on the heatmap


@dataclass(frozen=True)
class Result:
    """What was found in an image."""

    frame: Frame
    queries: Queries
    points: Sequence[FoundPoint]


class Pictures:
    """Draws the newest result, at most ``picture_rate_hz`` times a second, in its own thread.

    Only what somebody subscribes to is drawn; every picture bears the stamp of its own image.
    """

    def __init__(self, node: Node, settings: Callable[[], PerceptionParameters]) -> None:
        """Publish from a node; ``settings`` tells the present parameters."""
        self._node, self._settings = node, settings
        self._colours = node.create_publisher(Image, 'don_kp/descriptor_image', RESULT)
        self._heatmaps = node.create_publisher(Image, 'don_kp/heatmap', RESULT)
        self._markers = node.create_publisher(MarkerArray, 'don_kp/markers', RESULT)
        self._colouring = DescriptorColours()
        self._newest: Result | None = None
        self._changed = threading.Condition()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name='pictures')
        self._thread.start()

    def show(self, result: Result) -> None:
        """Take a result to be drawn, in place of one that waits."""
        with self._changed:
            self._newest = result
            self._changed.notify()

    def close(self) -> None:
        """End the thread, and the topics."""
        self._ending.set()
        with self._changed:
            self._changed.notify()
        self._thread.join()
        for publisher in (self._colours, self._heatmaps, self._markers):
            self._node.destroy_publisher(publisher)

    def _work(self) -> None:
        while not self._ending.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._newest or self._ending.is_set())
                result, self._newest = self._newest, None
            began = time.monotonic()
            if result is not None:
                self._publish(result)
            if rate := self._settings().picture_rate_hz:
                self._ending.wait(began + 1 / rate - time.monotonic())

    @guarded
    def _publish(self, result: Result) -> None:
        frame = result.frame
        if self._markers.get_subscription_count():
            self._markers.publish(_markers(frame.header, result.points))
        if self._heatmaps.get_subscription_count():
            drawn = self._draw(result)
            self._heatmaps.publish(image_message(drawn, 'rgb8', frame.header))
        if self._colours.get_subscription_count():
            colours = self._colouring(frame.cells, frame.size)
            self._colours.publish(image_message(colours, 'rgb8', frame.header))

    def _draw(self, result: Result) -> NDArray[np.uint8]:
        frame, queries, points = result.frame, result.queries, result.points
        wanted = self._settings().heatmap_of
        if not points or (wanted and wanted not in queries.names):
            plain = frame.picture.copy()
            draw_caption(plain, f'{wanted} is not stored' if wanted else 'nothing is stored')
            return plain
        index = queries.names.index(wanted) if wanted else 0
        point, query = points[index], queries.vectors[index : index + 1]
        heatmap = heatmaps(frame.cells, query, frame.size)[0].cpu().numpy()
        caption = f'{point.name} {point.score:.3f}' + ('' if point.found else ' not found')
        drawn = heatmap_overlay(frame.picture, heatmap, point.uv, caption, point.found)
        best = sorted(points, key=lambda one: one.score, reverse=True)[:_NAMED]
        draw_legend(drawn, [f'{one.score:.3f} {one.name}' for one in best])
        return drawn


def _markers(header: Header, points: Sequence[FoundPoint]) -> MarkerArray:
    """Make a ball and a name for every point that was found; what was drawn before goes."""
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    for index, point in enumerate(points):
        if not point.found:
            continue
        for namespace, kind, size in (
            ('points', Marker.SPHERE, 0.012),
            ('names', Marker.TEXT_VIEW_FACING, 0.02),
        ):
            marker = Marker(header=header, ns=namespace, id=index, type=kind, action=Marker.ADD)
            marker.pose.position = point_message(point.position)
            marker.pose.orientation.w = 1.0
            marker.scale.x = marker.scale.y = marker.scale.z = size
            marker.color = ColorRGBA(r=0.25, g=1.0, b=0.4, a=1.0)
            marker.lifetime = Duration(sec=1)
            marker.text = f'{point.name} {point.score:.2f}'
            markers.append(marker)
    return MarkerArray(markers=markers)
