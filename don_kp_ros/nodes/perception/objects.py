"""Where the taught objects are: from the places of their points to poses, frames and messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import PoseStamped, TransformStamped, Vector3
from numpy.typing import NDArray
from rclpy.node import Node
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from torch import Tensor

from don_kp.msg import ObjectPose, ObjectPoses
from don_kp_ros.geometry.frames import OBJECTS
from don_kp_ros.matching.candidates import Candidates
from don_kp_ros.matching.view import View
from don_kp_ros.nodes.kit.conversions import (
    point_message,
    pose_from_matrix,
    transform_from_matrix,
)
from don_kp_ros.nodes.kit.qos import RESULT, TF
from don_kp_ros.nodes.perception.parameters import PerceptionParameters
from don_kp_ros.nodes.perception.queries import ObjectQuery
from don_kp_ros.pose.estimate import Pose
from don_kp_ros.pose.instances import find_instances


@dataclass(frozen=True)
class SeenObject:
    """The poses of a taught object in one image, the surest first, or why there is none."""

    query: ObjectQuery
    poses: Sequence[Pose]
    reason: str = ''


def find_objects(
    objects: Sequence[ObjectQuery], cells: Tensor, found: Candidates, view: View
) -> list[SeenObject]:
    """Find the poses of objects by where their points were found in a picture's map (D, h, w)."""
    return [_seen(one, cells, found, view) for one in objects]


def _seen(query: ObjectQuery, cells: Tensor, found: Candidates, view: View) -> SeenObject:
    own = found.of(query.first, len(query.constellation.points))
    poses = find_instances(query.constellation, cells, own, view, form=query.form)
    told = [pose for pose in poses if pose.refused is None]
    return SeenObject(query, told, '' if told else str(poses[0].refused))


class ObjectTopics:
    """Publishes poses, and the frames of the objects as transforms of the camera's frame."""

    def __init__(self, node: Node, settings: Callable[[], PerceptionParameters]) -> None:
        """Publish from a node; ``settings`` tells the present parameters."""
        self._node, self._settings = node, settings
        self._poses = node.create_publisher(ObjectPoses, 'don_kp/object_poses', RESULT)
        self._pose = node.create_publisher(PoseStamped, 'don_kp/object_pose', RESULT)
        self._transforms = node.create_publisher(TFMessage, 'tf', TF)

    def close(self) -> None:
        """End the topics."""
        for publisher in (self._poses, self._pose, self._transforms):
            self._node.destroy_publisher(publisher)

    def publish(self, header: Header, model: str, seen: Sequence[SeenObject]) -> None:
        """Tell of the objects in an image."""
        message = ObjectPoses(header=header, model=model)
        transforms = []
        wanted = self._settings().pose_of or (seen[0].query.name if seen else '')
        taught = {one.query.name for one in seen}
        for one in seen:
            name = one.query.name
            if not one.poses:
                message.missing.append(name)
                message.reasons.append(one.reason)
            for instance, pose in enumerate(one.poses):
                message.objects.append(_message(name, instance, pose))
                frame = f'{name}_{instance + 1}' if instance else name
                if instance and frame in taught:
                    continue  # that is another object's frame
                transforms.append(
                    TransformStamped(
                        header=header,
                        child_frame_id=f'{OBJECTS}{frame}',
                        transform=transform_from_matrix(pose.T_camera_object),
                    )
                )
            if one.poses and name == wanted:
                T = one.poses[0].T_camera_object
                self._pose.publish(PoseStamped(header=header, pose=pose_from_matrix(T)))
        self._poses.publish(message)
        if transforms:
            self._transforms.publish(TFMessage(transforms=transforms))


def _message(name: str, instance: int, pose: Pose) -> ObjectPose:
    message = ObjectPose(name=name, instance=instance, depth=pose.unit == 'm')
    message.source = ObjectPose.REFINED if pose.refined else ObjectPose.CONSTELLATION
    message.pose.pose = pose_from_matrix(pose.T_camera_object)
    message.pose.covariance = pose.covariance.ravel()
    message.confidence, message.residual = pose.share, pose.residual
    message.inliers = int(np.count_nonzero(pose.inliers))
    if axis := pose.symmetry:
        message.symmetry = _vector(axis.direction)
        message.symmetry_point = point_message(axis.point)
        message.symmetry_order, message.ambiguous = axis.order, pose.ambiguous
    return message


def _vector(axis: NDArray[np.float64]) -> Vector3:
    x, y, z = (float(value) for value in axis)
    return Vector3(x=x, y=y, z=z)
