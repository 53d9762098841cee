"""What perception publishes of the objects in an image: poses, the first one's, and frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from don_kp.msg import ObjectPose, ObjectPoses
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.symmetry import SymmetryAxis
from don_kp_ros.nodes.kit.conversions import matrix_from_pose, matrix_from_transform
from don_kp_ros.nodes.kit.qos import RESULT, TF
from don_kp_ros.nodes.perception.objects import ObjectTopics, SeenObject
from don_kp_ros.pose.estimate import Pose

HEADER = Header(frame_id='camera_optical')
HEADER.stamp.sec = 7
T = [
    rigid.transform(rigid.rotation_about([0.3, 0.2, 1.0], turn), [0.1 * turn, -0.05, 0.5])
    for turn in (0.4, 1.1, 2.0)
]
COVARIANCE = np.arange(36.0).reshape(6, 6)
AXIS = SymmetryAxis(np.array([0.0, 0.6, 0.8]), np.array([0.01, 0.02, 0.03]), 4)
POSES = [Pose(one, np.array([True, True, False]), 0.7, 0.002, COVARIANCE) for one in T]


def seen(name: str, *poses: Pose, reason: str = '') -> SeenObject:
    return SeenObject(SimpleNamespace(name=name), poses, reason)  # type: ignore[arg-type]


class Told:
    """What was published of one image."""

    def __init__(self, peer, node: Node, *objects: SeenObject, pose_of: str = '') -> None:
        topics = ObjectTopics(node, lambda: SimpleNamespace(pose_of=pose_of))  # type: ignore[arg-type,return-value]
        told = [
            peer.listen(kind, topic, qos)
            for kind, topic, qos in (
                (ObjectPoses, '/don_kp/object_poses', RESULT),
                (PoseStamped, '/don_kp/object_pose', RESULT),
                (TFMessage, '/tf', TF),
            )
        ]
        publishers = (topics._poses, topics._pose, topics._transforms)
        peer.wait_until(lambda: all(one.get_subscription_count() for one in publishers))
        topics.publish(HEADER, 'model', objects)
        peer.wait_until(lambda: told[0])
        self.poses: ObjectPoses = told[0][-1]
        if any(one.poses for one in objects):
            peer.wait_until(lambda: told[2])
        self.frames = {
            one.child_frame_id: matrix_from_transform(one.transform)
            for message in told[2]
            for one in message.transforms
        }
        if any(one.poses and one.query.name == pose_of for one in objects):
            peer.wait_until(lambda: told[1])
        self.pose = told[1][-1] if told[1] else None
        topics.close()


@pytest.fixture
def node(context) -> Iterator[Node]:
    made = Node('topics', context=context)
    yield made
    made.destroy_node()


def test_each_instance_has_its_pose_and_its_frame(peer, node: Node) -> None:
    round_one = replace(POSES[1], symmetry=AXIS, ambiguous=True, refined=True, unit='px')
    told = Told(
        peer,
        node,
        seen('mug', reason='too few'),
        seen('cap', POSES[0], round_one),
        seen('box', POSES[2]),
        pose_of='box',
    )
    assert told.poses.header == HEADER and told.poses.model == 'model'
    assert (told.poses.missing, told.poses.reasons) == (['mug'], ['too few'])
    first, second, box = told.poses.objects
    assert [(one.name, one.instance) for one in told.poses.objects] == [
        ('cap', 0), ('cap', 1), ('box', 0),
    ]  # fmt: skip
    for one, expected in zip(told.poses.objects, T, strict=True):
        np.testing.assert_allclose(matrix_from_pose(one.pose.pose), expected, atol=1e-9)
        np.testing.assert_array_equal(np.reshape(one.pose.covariance, (6, 6)), COVARIANCE)
        assert one.inliers == 2 and one.residual == pytest.approx(0.002)
        assert one.confidence == pytest.approx(0.7)
    assert (first.depth, second.depth) == (True, False)
    assert (first.source, second.source) == (ObjectPose.CONSTELLATION, ObjectPose.REFINED)
    assert (first.symmetry_order, first.ambiguous) == (0, False)
    assert (second.symmetry_order, second.ambiguous) == (4, True)
    axis = second.symmetry, second.symmetry_point
    for vector, expected in zip(axis, (AXIS.direction, AXIS.point), strict=True):
        assert [vector.x, vector.y, vector.z] == pytest.approx(expected)
    for name, expected in zip(('cap', 'cap_2', 'box'), T, strict=True):
        np.testing.assert_allclose(told.frames.pop(f'object/{name}'), expected, atol=1e-9)
    assert not told.frames
    assert told.pose is not None and told.pose.header == HEADER
    np.testing.assert_allclose(matrix_from_pose(told.pose.pose), T[2], atol=1e-9)


def test_an_object_that_is_called_as_an_instance_would_be_keeps_its_frame(
    peer, node: Node
) -> None:
    told = Told(peer, node, seen('cap', POSES[0], POSES[1]), seen('cap_2', POSES[2]))
    assert [(one.name, one.instance) for one in told.poses.objects] == [
        ('cap', 0), ('cap', 1), ('cap_2', 0),
    ]  # fmt: skip
    assert sorted(told.frames) == ['object/cap', 'object/cap_2']
    np.testing.assert_allclose(told.frames['object/cap_2'], T[2], atol=1e-9)
