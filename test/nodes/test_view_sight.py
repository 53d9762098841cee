"""What is drawn on the page's picture, and for how long."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from waiting import wait_until, within

from don_kp.msg import Keypoint, Keypoints, Match, Matches, ObjectPose, ObjectPoses
from don_kp_ros.clients.asking import spun
from don_kp_ros.clients.stack import Stack
from don_kp_ros.clients.view_sight import Sight
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.nodes.kit.camera_topics import COLOUR, COLOUR_INFO
from don_kp_ros.nodes.kit.conversions import image_message, info_from_camera, stamp_from_seconds
from don_kp_ros.page.canvas import Canvas

PICTURE = np.zeros((48, 64, 3), np.uint8)
CAMERA = Camera(64, 48, 60.0, 60.0, 31.5, 23.5)


def header(seconds: float) -> Header:
    return Header(stamp=stamp_from_seconds(seconds), frame_id='camera_color_optical_frame')


class Player:
    """A camera and perception, as a test has them speak, before a sight that listens."""

    def __init__(self, peer, stack: Stack) -> None:
        self.canvas = Canvas()
        self.sight = Sight(stack, self.canvas, 'camera/camera')
        self._node = peer.node
        self._publishers = {
            kind: peer.node.create_publisher(kind, topic, 10)
            for kind, topic in (
                (Image, COLOUR), (CameraInfo, COLOUR_INFO), (Matches, 'don_kp/matches'),
                (Keypoints, 'don_kp/keypoints'), (ObjectPoses, 'don_kp/object_poses'),
            )
        }  # fmt: skip

    def publish(self, message: object, heard: Callable[[], object]) -> None:
        """Publish until it is heard, which is once unless a message is lost."""
        publisher = self._publishers[type(message)]
        wait_until(publisher.get_subscription_count)

        def attempt() -> object:
            publisher.publish(message)
            return within(5.0, heard)

        wait_until(attempt)

    def show(self, seconds: float) -> None:
        """Show a picture."""
        image = image_message(PICTURE, 'rgb8', header(seconds))
        stamp = image.header.stamp.sec, image.header.stamp.nanosec
        self.publish(image, lambda: self.canvas.picture and self.canvas.picture.stamp == stamp)

    def tell(self, seconds: float, *layers: str) -> None:
        """Tell what is seen in an image: points, keypoints, lines."""
        head, number = header(seconds), round(10 * seconds)
        pose = ObjectPose(name=str(number))
        pose.pose.pose.position.z = 0.5
        point = Match(name=str(number), found=True, u=1.0, v=2.0)
        for layer, message in {
            'points': Matches(header=head, matches=[point]),
            'keypoints': Keypoints(header=head, keypoints=[Keypoint(id=number, score=0.9)]),
            'lines': ObjectPoses(header=head, objects=[pose]),
        }.items():
            if layer in layers:
                self.publish(message, functools.partial(self._shows, layer, str(number)))

    def _shows(self, layer: str, label: str) -> bool:
        marks = self.canvas.layers().get(layer, ())
        return bool(marks) and marks[-1].label.startswith(label)

    def drawn(self) -> set[str]:
        return {layer for layer, marks in self.canvas.layers().items() if marks}

    def close(self) -> None:
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)


ALL = {'points', 'keypoints', 'lines'}


@pytest.fixture
def player(peer) -> Iterator[Player]:
    with Stack('/') as stack, spun(stack):
        made = Player(peer, stack)
        made.sight.look(1)
        info = info_from_camera(CAMERA, header(0.0))
        made.publish(info, lambda: made.sight.camera is not None)
        yield made
        made.close()


def test_marks_expire_once_perception_is_silent(player: Player) -> None:
    player.show(100.0)
    player.tell(100.0, *ALL)
    player.show(101.9)
    assert player.drawn() == ALL and player.canvas.lacks == ''
    player.show(102.1)
    assert player.drawn() == set() and 'Perception has told nothing' in player.canvas.lacks
    player.tell(102.0, 'points', 'lines')
    player.show(103.9)
    assert player.drawn() == {'points', 'lines'} and player.canvas.lacks == ''


def test_what_is_told_no_more_expires_alone(player: Player) -> None:
    player.show(100.0)
    player.tell(100.0, *ALL)
    player.show(101.5)
    player.tell(101.5, 'keypoints')
    player.show(102.5)
    assert player.drawn() == {'keypoints'}


def test_perception_that_never_told_anything_is_told_of(player: Player) -> None:
    player.show(100.0)
    assert player.canvas.lacks == ''
    player.show(102.1)
    assert 'Perception has told nothing' in player.canvas.lacks


def test_marks_of_a_time_before_ros_time_was_set_back_are_gone(player: Player) -> None:
    player.show(100.0)
    player.tell(100.0, 'points')
    player.show(50.0)
    assert player.drawn() == set()


def test_who_comes_back_sees_no_marks_of_before(player: Player) -> None:
    player.show(100.0)
    player.tell(100.0, *ALL)
    player.sight.look(2)
    assert player.drawn() == ALL
    player.sight.look(0)
    assert player.drawn() == set()
    player.sight.look(1)
    player.show(1000.0)
    assert player.drawn() == set() and player.canvas.lacks == ''
