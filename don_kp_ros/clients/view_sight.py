"""What the page sees of a running stack: its topics, drawn on a canvas while somebody looks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path
from numpy.typing import NDArray
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from don_kp.msg import Keypoints, Matches, ObjectPoses, TaughtObject
from don_kp_ros.clients.stack import Stack
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.nodes.kit import camera_topics
from don_kp_ros.nodes.kit.conversions import (
    camera_from_info,
    matrix_from_pose,
    rgb_image,
    seconds_from_stamp,
)
from don_kp_ros.nodes.kit.guard import guarded
from don_kp_ros.nodes.kit.qos import LATCHED, RESULT, SENSOR
from don_kp_ros.page.canvas import Canvas, Line, Marker, Marks, Picture, Stamp

Array = NDArray[np.float64]

_AXIS_M = 0.05
_COLOURS = ('#ff4040', '#40e040', '#5080ff')  # of x, y and z
_MOST = 60  # places that are drawn
_MOST_PLACES = 1000  # of a planned path
_CERTAIN = 0.5  # probability about a keypoint's peak below which it is not drawn
_HEATMAP = 'don_kp/heatmap'
PAST_S = 2.0  # of ROS time, by which marks may be older than the picture that they are drawn on
_SILENT = 'Perception has told nothing of the last 2 s: does it run, and is it active?'


class Sight:
    """Subscribes while a browser looks; on the canvas is the newest of everything."""

    def __init__(self, stack: Stack, canvas: Canvas, camera_namespace: str) -> None:
        """Look beside a stack whose node others spin."""
        self._node, self._canvas = stack.node, canvas
        self._colour, self._info = (
            topic.replace(camera_topics.NAMESPACE, camera_namespace, 1)
            for topic in (camera_topics.COLOUR, camera_topics.COLOUR_INFO)
        )
        self._subscriptions: dict[str, Subscription] = {}
        self._viewers = 0
        self._heatmap = False
        self.shown_s = 0.0  # the stamp of the newest picture
        self._told_s: dict[str, float] = {}  # that of the image of each layer's marks
        self.camera: Camera | None = None
        self.frame = ''  # the camera's optical frame, once a picture has come
        self.grasp: tuple[str, Array] | None = None  # a frame, and T_frame_tcp
        self.path: tuple[str, Array] = '', np.zeros((0, 3))  # a frame, and points in it

    def look(self, viewers: int) -> None:
        """Look while there are viewers; who comes back sees no marks of before."""
        if not (viewers and self._viewers):
            self._told_s = {}
            self._canvas.clear()
        self._viewers = viewers
        self._update()

    def show_heatmap(self, on: bool) -> None:
        """Show perception's heatmap in place of the camera's picture."""
        self._heatmap = on
        self._update()

    def show_taught(self, taught: TaughtObject, pose: PoseStamped) -> None:
        """Mark the points of an object that were taught just now."""
        points = np.asarray(taught.points, dtype=np.float64).reshape(-1, 3)
        uv = self._projected(rigid.apply(matrix_from_pose(pose.pose), points))
        self._canvas.mark('taught', [] if uv is None else [(float(u), float(v)) for u, v in uv])

    def _update(self) -> None:
        picture = _HEATMAP if self._heatmap else self._colour
        wanted: dict[str, tuple[Any, Callable[[Any], None], QoSProfile]] = {}
        if self._viewers:
            wanted = {
                picture: (Image, self._on_picture, SENSOR),
                self._info: (CameraInfo, self._on_info, SENSOR),
                'don_kp/matches': (Matches, self._on_matches, RESULT),
                'don_kp/keypoints': (Keypoints, self._on_keypoints, RESULT),
                'don_kp/object_poses': (ObjectPoses, self._on_poses, RESULT),
                'don_kp/grasp_pose': (PoseStamped, self._on_grasp, RESULT),
                'don_kp/planned_path': (Path, self._on_path, LATCHED),
            }
        for topic in self._subscriptions.keys() - wanted.keys():
            self._node.destroy_subscription(self._subscriptions.pop(topic))
        for topic in wanted.keys() - self._subscriptions.keys():
            kind, callback, qos = wanted[topic]
            made = self._node.create_subscription(kind, topic, callback, qos)
            self._subscriptions[topic] = made

    def _projected(self, points: Array) -> Array | None:
        return None if self.camera is None else self.camera.project(points)

    def _mark(self, layer: str, header: Header, marks: Marks) -> None:
        self._told_s[layer] = seconds_from_stamp(header.stamp)
        self._canvas.mark(layer, [] if self._is_past(layer) else marks)

    def _is_past(self, layer: str) -> bool:
        return abs(self.shown_s - self._told_s[layer]) > PAST_S

    @guarded
    def _on_picture(self, message: Image) -> None:
        stamp = Stamp(message.header.stamp.sec, message.header.stamp.nanosec)
        self.frame = message.header.frame_id
        self.shown_s = seconds_from_stamp(message.header.stamp)
        self._told_s.setdefault('points', self.shown_s)  # it cannot have told anything before
        for layer in [*self._told_s]:
            if self._is_past(layer):
                self._canvas.mark(layer, [])
        self._canvas.lacks = _SILENT if self._is_past('points') else ''
        self._canvas.show(Picture(stamp, rgb_image(message)))
        if self._heatmap:  # drawn by perception, of what it has examined
            self._canvas.examine(stamp)

    @guarded
    def _on_info(self, message: CameraInfo) -> None:
        self.camera = camera_from_info(message)

    @guarded
    def _on_matches(self, message: Matches) -> None:
        stamp = Stamp(message.header.stamp.sec, message.header.stamp.nanosec)
        if not self._heatmap:
            self._canvas.examine(stamp)
        found = [one for one in message.matches if one.found][:_MOST]
        self._mark(
            'points', message.header, [Marker(m.u, m.v, f'{m.name} {m.score:.2f}') for m in found]
        )

    @guarded
    def _on_keypoints(self, message: Keypoints) -> None:
        found = [one for one in message.keypoints if one.score >= _CERTAIN][:_MOST]
        self._mark('keypoints', message.header, [Marker(k.u, k.v, str(k.id)) for k in found])

    @guarded
    def _on_poses(self, message: ObjectPoses) -> None:
        lines: list[Line] = []
        for one in message.objects[:_MOST]:
            ends = np.vstack([np.zeros(3), _AXIS_M * np.eye(3)])
            uv = self._projected(rigid.apply(matrix_from_pose(one.pose.pose), ends))
            if uv is None:
                continue
            origin, *axes = ((float(u), float(v)) for u, v in uv)
            name = f'{one.name} {one.confidence:.2f}'
            labels = '', '', name
            lines += map(Line, (origin,) * 3, axes, _COLOURS, labels)
        self._mark('lines', message.header, lines)

    @guarded
    def _on_grasp(self, message: PoseStamped) -> None:
        self.grasp = message.header.frame_id, matrix_from_pose(message.pose)

    @guarded
    def _on_path(self, message: Path) -> None:
        places = [one.pose.position for one in message.poses[:_MOST_PLACES]]
        points = np.array([(p.x, p.y, p.z) for p in places]).reshape(-1, 3)
        self.path = message.header.frame_id, points[np.isfinite(points).all(axis=1)]
