"""What people look at: drawn and published beside the work, never in its way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from builtin_interfaces.msg import Duration
from numpy.typing import NDArray
from rclpy.node import Node
from sensor_msgs.msg import Image
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from don_kp_ros.database.records import object_of
from don_kp_ros.errors import RefusedError
from don_kp_ros.matching.detection import Detection
from don_kp_ros.matching.heatmap import heatmaps
from don_kp_ros.matching.pictures import (
    DescriptorColours,
    draw_caption,
    draw_legend,
    draw_outline,
    heatmap_overlay,
)
from don_kp_ros.matching.points import FoundPoint
from don_kp_ros.matching.view import View
from don_kp_ros.nodes.kit.conversions import image_message, point_message, pose_from_matrix
from don_kp_ros.nodes.kit.guard import guarded
from don_kp_ros.nodes.kit.qos import RESULT
from don_kp_ros.nodes.perception.frames import Frame
from don_kp_ros.nodes.perception.meshes import Meshes
from don_kp_ros.nodes.perception.objects import SeenObject
from don_kp_ros.nodes.perception.pace import rest
from don_kp_ros.nodes.perception.parameters import PerceptionParameters
from don_kp_ros.nodes.perception.preferences import preference_map
from don_kp_ros.nodes.perception.queries import Queries
from don_kp_ros.pose.estimate import Pose

if TYPE_CHECKING:  # it takes seconds to import, and many robots have no meshes
    from don_kp_ros.pose.mesh_descriptors import Subject

_AXES = 0.05 * np.stack([np.zeros((3, 3)), np.eye(3)], axis=1)  # (axis, end, xyz), metres
_TINY = 1e-6
_TRANSLUCENT = 0.5
_NAMED = 5  # of the stored points, those that fit best, on the heatmap


@dataclass(frozen=True)
class Result:
    """What was found in an image."""

    frame: Frame
    queries: Queries
    points: Sequence[FoundPoint]
    objects: Sequence[SeenObject]
    view: View
    regions: Sequence[Detection]  # where a picture shows them, else none


class Pictures:
    """Draws the newest result, at most ``picture_rate_hz`` times a second, in its own thread.

    Only what somebody subscribes to is drawn; every picture bears the stamp of its own image.
    """

    def __init__(
        self, node: Node, settings: Callable[[], PerceptionParameters], meshes: Meshes
    ) -> None:
        """Publish from a node; ``settings`` tells the present parameters."""
        self._node, self._settings, self._meshes = node, settings, meshes
        self._colours = node.create_publisher(Image, 'don_kp/descriptor_image', RESULT)
        self._heatmaps = node.create_publisher(Image, 'don_kp/heatmap', RESULT)
        self._preferences = node.create_publisher(Image, 'don_kp/preference', RESULT)
        self._markers = node.create_publisher(MarkerArray, 'don_kp/markers', RESULT)
        self._colouring = DescriptorColours()
        self._newest: Result | None = None
        self._changed = threading.Condition()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name='pictures')
        self._thread.start()

    @property
    def outline_regions(self) -> bool:
        """Whether somebody looks at a picture that shows regions."""
        return self._heatmaps.get_subscription_count() > 0

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
        for publisher in (self._colours, self._heatmaps, self._preferences, self._markers):
            self._node.destroy_publisher(publisher)

    def _work(self) -> None:
        while not self._ending.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._newest or self._ending.is_set())
                result, self._newest = self._newest, None
            began = time.monotonic()
            if result is not None:
                self._publish(result)
            rest(began, lambda: self._settings().picture_rate_hz, self._ending)

    @guarded
    def _publish(self, result: Result) -> None:
        frame = result.frame
        if self._markers.get_subscription_count():
            self._markers.publish(_markers(result, self._meshes))
        if self._heatmaps.get_subscription_count():
            drawn = self._draw(result)
            self._heatmaps.publish(image_message(drawn, 'rgb8', frame.header))
        if self._preferences.get_subscription_count():
            drawn = self._draw_preference(result)
            self._preferences.publish(image_message(drawn, 'rgb8', frame.header))
        if self._colours.get_subscription_count():
            colours = self._colouring(frame.cells, frame.size, frame.model)
            self._colours.publish(image_message(colours, 'rgb8', frame.header))

    def _draw(self, result: Result) -> NDArray[np.uint8]:
        frame, queries = result.frame, result.queries
        points = [one for one in result.points if one.instance == 0]  # in the order of the names
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
        for one in result.regions:
            if queries.stored[one.owner] == object_of(point.name):
                draw_outline(drawn, *one.pixels(frame.size))
        best = sorted(points, key=lambda one: one.score, reverse=True)[:_NAMED]
        draw_legend(drawn, [f'{one.score:.3f} {one.name}' for one in best])
        return drawn

    def _draw_preference(self, result: Result) -> NDArray[np.uint8]:
        """Lay the preference over the image, the best place as bright as can be."""
        frame, queries, settings = result.frame, result.queries, self._settings()
        first = queries.names[0] if queries.names else ''
        wanted = settings.preference_of or object_of(first)
        try:
            cells = preference_map(wanted, queries, frame, result.view, settings.preference_eta)
        except RefusedError as error:
            plain = frame.picture.copy()
            draw_caption(plain, str(error))
            return plain
        enlarged = cv2.resize(cells, frame.size[::-1], interpolation=cv2.INTER_LINEAR)
        best = float(enlarged.max())
        v, u = np.unravel_index(int(enlarged.argmax()), enlarged.shape)
        values = np.asarray(enlarged / max(best, _TINY), dtype=np.float32)
        caption = f'{wanted} {best:.3f}' if best > 0 else f'{wanted}: fingers fit nowhere'
        return heatmap_overlay(frame.picture, values, (u, v), caption, found=best > 0)


def _markers(result: Result, meshes: Meshes) -> MarkerArray:
    """Mark all points and objects that were found; what was drawn before goes."""
    header = result.frame.header
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    for index, point in enumerate(result.points):
        if not point.found:
            continue
        for namespace, kind, size in (
            ('points', Marker.SPHERE, 0.012),
            ('names', Marker.TEXT_VIEW_FACING, 0.02),
        ):
            marker = _marker(header, namespace, index, kind, size)
            marker.pose.position = point_message(point.position)
            marker.text = f'{point.name} {point.score:.2f}'
            markers.append(marker)
    poses = [(one.query, pose) for one in result.objects for pose in one.poses]
    for index, (query, pose) in enumerate(poses):
        axes = _marker(header, 'axes', index, Marker.LINE_LIST, 0.004)
        axes.points = [point_message(p) for p in _AXES.reshape(-1, 3)]
        axes.colors = [ColorRGBA(r=r, g=g, b=b, a=1.0) for r, g, b in np.eye(3) for _ in range(2)]
        points = _marker(header, 'constellations', index, Marker.SPHERE_LIST, 0.006)
        agreeing = query.constellation.points[pose.inliers]
        points.points = [point_message(point) for point in agreeing]
        for marker in (axes, points):
            marker.pose = pose_from_matrix(pose.T_camera_object)
        markers += [axes, points]
        if (subject := meshes.get(query.taught)) is not None:
            markers.append(_mesh(header, index, subject, pose))
    return MarkerArray(markers=markers)


def _mesh(header: Header, index: int, subject: Subject, pose: Pose) -> Marker:
    """Lay an object's mesh over it; one that is not refined is grey."""
    marker = _marker(header, 'meshes', index, Marker.TRIANGLE_LIST, 1.0)
    marker.points = [point_message(p) for p in subject.vertices[subject.faces].reshape(-1, 3)]
    marker.pose = pose_from_matrix(pose.T_camera_object)
    if not pose.refined:
        marker.color = ColorRGBA(r=0.6, g=0.6, b=0.6)
    marker.color.a = _TRANSLUCENT
    return marker


def _marker(header: Header, namespace: str, index: int, kind: int, size: float) -> Marker:
    marker = Marker(header=header, ns=namespace, id=index, type=kind, action=Marker.ADD)
    marker.pose.orientation.w = 1.0
    marker.scale.x = marker.scale.y = marker.scale.z = size
    marker.color = ColorRGBA(r=0.25, g=1.0, b=0.4, a=1.0)
    marker.lifetime = Duration(sec=1)
    return marker
