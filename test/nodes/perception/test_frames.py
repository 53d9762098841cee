"""What perception keeps of the camera, in a time that the test sets."""

import numpy as np
import pytest
import torch
from builtin_interfaces.msg import Time as Stamp
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import ClockType
from rclpy.node import Node
from rclpy.time import Time
from std_msgs.msg import Header

from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.matching.view import View
from don_kp_ros.nodes.kit import conversions
from don_kp_ros.nodes.kit.qos import RESULT
from don_kp_ros.nodes.perception.diagnostics import Diagnostics
from don_kp_ros.nodes.perception.frames import Frame, Frames
from don_kp_ros.nodes.perception.parameters import PerceptionParameters

CAMERA = Camera(32, 24, 30.0, 30.0, 15.5, 11.5)
COLOUR = '/camera/camera/color/image_raw'


class Film:
    """Frames of a node in simulated time, and what they are shown; no messages travel."""

    def __init__(self, context, *arguments) -> None:
        self.node = Node('perception', context=context, cli_args=['--ros-args', *arguments])
        self.node.get_clock()._set_ros_time_is_active(True)
        self.set(100.0)
        self.frames = Frames(self.node, PerceptionParameters)

    def set(self, seconds: float) -> None:
        self.node.get_clock().set_ros_time_override(
            Time(nanoseconds=round(1e9 * seconds), clock_type=ClockType.ROS_TIME)
        )

    def show(self, seconds: float, with_info: bool = True) -> Frame:
        """Show an image with depth, and have it described."""
        header = Header(stamp=conversions.stamp_from_seconds(seconds), frame_id='camera')
        if with_info:
            self.frames.infos._on_message(conversions.info_from_camera(CAMERA, header))
        counts = np.full((24, 32), 500, np.uint16)
        self.frames.depths._on_message(conversions.image_message(counts, '16UC1', header))
        picture = np.zeros((24, 32, 3), np.uint8)
        self.frames.colour._on_message(conversions.image_message(picture, 'rgb8', header))
        frame = Frame(header, picture, torch.zeros(4, 6, 8), 'model')
        self.frames.keep(frame, self.frames.view(frame), self.frames.era)
        return frame


@pytest.fixture
def film(context):
    made = Film(context)
    yield made
    made.node.destroy_node()


def test_an_image_that_is_described_while_time_is_set_back_is_not_kept(film):
    frame, era = film.show(100.0), film.frames.era
    view = film.frames.view(frame)
    film.set(3.0)
    assert not film.frames.keep(frame, view, era)
    with pytest.raises(RefusedError, match='no image has been described yet'):
        film.frames.described(Stamp(), 1.0)


def test_what_a_refusal_says_of_images_before_time_was_set_back_is_forgotten(film):
    film.show(100.0)
    era = film.frames.era
    assert film.frames.refuse('its encoding is unknown', era)
    with pytest.raises(RefusedError, match='its encoding is unknown'):
        film.frames.described(Stamp(), 1.0)
    film.set(3.0)
    assert not film.frames.refuse('its encoding is unknown', era)
    with pytest.raises(RefusedError, match='no image has been described yet'):
        film.frames.described(Stamp(), 1.0)


def test_an_image_is_given_with_the_era_that_it_is_of(film, monkeypatch):
    film.show(100.0)
    image, era = film.frames.wait_for_newer(None, 0.1)
    assert image is not None and era == film.frames.era
    newest = film.frames._colours.wait_for_newer

    def set_back_meanwhile(than, patience):
        found = newest(than, patience)
        film.set(3.0)
        return found

    monkeypatch.setattr(film.frames._colours, 'wait_for_newer', set_back_meanwhile)
    assert film.frames.wait_for_newer(None, 0.1) == (None, era + 1)


def test_images_of_a_time_that_is_set_back_are_forgotten(film):
    frame = film.show(100.0)
    assert film.frames.described(Stamp(), 1.0) is frame
    assert film.frames.scene(Stamp(), 1.0)[1].camera == CAMERA
    film.set(3.0)
    with pytest.raises(RefusedError, match='no image has been described yet'):
        film.frames.described(Stamp(), 0.0)
    with pytest.raises(RefusedError, match='no depth image has come'):
        film.frames.scene(Stamp(), 0.0)
    assert film.frames.wait_for_newer(None, 0.0)[0] is None
    frame = film.show(3.0)
    assert film.frames.described(Stamp(), 1.0) is frame
    # The lens is the same at any time.
    assert film.frames.view(frame).lacks == ''


def test_images_of_a_recording_that_begins_anew_are_forgotten(film):
    film.show(90.0)
    film.show(90.5)
    film.show(90.4)  # it came late
    assert film.frames.described(Stamp(sec=90), 0.0)
    newest = film.show(70.0)
    assert film.frames.described(Stamp(), 0.0) is newest
    with pytest.raises(RefusedError, match=r'nearest are 70.000000000; give'):
        film.frames.described(Stamp(sec=90), 0.0)
    assert film.frames.view(newest).lacks == ''


def test_while_no_image_is_described_its_stamps_are_told(film):
    header = Header(stamp=Stamp(sec=20), frame_id='camera')
    picture = np.zeros((24, 32, 3), np.uint8)
    film.frames.colour._on_message(conversions.image_message(picture, 'rgb8', header))
    with pytest.raises(RefusedError, match=r'described yet: the stamps on .* are 80.0 s old'):
        film.frames.described(Stamp(), 0.0)


def test_silence_is_told_after_two_looks_and_ends_with_a_message(film):
    for expected in False, False, True:
        assert (film.frames.fault != '') == expected
        film.frames.watch()
    assert f'no image has come on {COLOUR}: nobody publishes it' in film.frames.fault
    film.show(100.0)
    assert film.frames.fault == ''
    film.frames.watch()
    assert film.frames.fault == ''
    for _ in range(2):
        film.frames.watch()
    assert f'no image has come on {COLOUR} for 2 s: nobody' in film.frames.fault
    # What was seen is still true for those who take any age.
    assert film.frames.described(Stamp(), 0.0)
    film.set(102.0)
    with pytest.raises(RefusedError, match=r'2.0 s old, allowed are 1 s; no image'):
        film.frames.described(Stamp(), 1.0)


def test_only_a_camera_info_that_has_never_come_is_told_to_be_missing(film):
    topic = '/camera/camera/color/camera_info'
    frame = film.show(100.0, with_info=False)
    assert film.frames.fault == f'no camera info has come on {topic} yet; start the camera'
    for _ in range(3):
        film.frames.watch()
    nobody = f'no camera info has come on {topic}: nobody publishes it, nor any other CameraInfo'
    assert film.frames.view(frame).lacks == f'{nobody}; start the camera'
    with pytest.raises(RefusedError, match=nobody):
        film.frames.scene(Stamp(), 0.0)
    assert film.frames.view(film.show(100.1)).camera == CAMERA
    bad = conversions.info_from_camera(CAMERA, Header())
    bad.k[0] = -1.0
    film.frames.infos._on_message(bad)
    wrong = 'camera fx is -1.0; it must be positive: is the camera calibrated?'
    assert film.frames.view(frame).lacks == f'{topic}: {wrong}'
    # One that comes no more still holds: a camera keeps its lens.
    film.show(100.2)
    for _ in range(3):
        film.frames.watch()
    assert film.frames.view(film.show(100.3, with_info=False)).lacks == ''


def test_of_a_rectified_topic_P_holds(context):
    film = Film(context, '-r', f'{COLOUR}:=/d405/color/image_rect_raw')
    info = conversions.info_from_camera(CAMERA, Header())
    info.distortion_model, info.d, info.p[0] = 'plumb_bob', [0.1, 0.0, 0.0, 0.0, 0.0], 25.0
    frame = film.show(100.0)
    film.frames.infos._on_message(info)
    camera = film.frames.view(frame).camera
    assert (camera.fx, camera.fy, camera.distortion) == (25.0, 30.0, ())
    film.node.destroy_node()


def test_an_image_of_no_use_is_not_followed_by_the_one_before(film):
    frame = film.show(100.0)
    film.frames.refuse('its encoding is odd', film.frames.era)
    with pytest.raises(RefusedError, match='its encoding is odd'):
        film.frames.described(Stamp(), 0.0)
    assert film.frames.described(frame.header.stamp, 0.0) is frame  # who means that one
    film.frames.keep(frame, View(frame.size), film.frames.era)
    assert film.frames.described(Stamp(), 0.0) is frame


def test_rate_and_latency_are_those_of_the_images(film, peer):
    diagnostics = Diagnostics(film.node, film.frames)
    heard = peer.listen(DiagnosticArray, '/diagnostics', RESULT)
    peer.wait_until(diagnostics._publisher.get_subscription_count)
    latencies = 0.001 * np.arange(200, 230)
    for number, late in enumerate(latencies):
        film.set(100.0 + number / 20 + late)
        frame = film.show(100.0 + number / 20)
        if number % 3 == 0:
            diagnostics.looked(frame.header.stamp, with_depth=number % 2 == 0)
    film.set(101.6)
    diagnostics._report()
    (status,) = peer.wait_until(lambda: heard and heard[-1].status)
    values = {pair.key: pair.value for pair in status.values}
    looked = latencies[::3]
    assert (status.message, status.level) == ('runs', DiagnosticStatus.OK)
    assert values['rate [1/s]'] == f'{10 / 1.6:.1f}'
    assert values['latency, mean [s]'] == f'{looked.mean():.3f}'
    assert values['latency, 99 % [s]'] == f'{np.percentile(looked, 99):.3f}'
    counts = [values[name] for name in ('images', 'dropped', 'of no use', 'without depth')]
    assert counts == ['30', '20', '0', '5']
