"""What the nodes share: buffers, guarded callbacks, the transform listener."""

import threading
import time
from types import SimpleNamespace

import asynchrony
import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import TransformStamped
from rclpy.clock import Clock, ClockType
from rclpy.time import Time
from tf2_msgs.msg import TFMessage

from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry import rigid
from don_kp_ros.nodes.kit.buffers import Latest
from don_kp_ros.nodes.kit.clock import RosTime
from don_kp_ros.nodes.kit.conversions import stamp_from_seconds, transform_from_matrix
from don_kp_ros.nodes.kit.guard import guarded, guarded_service
from don_kp_ros.nodes.kit.qos import TF, TF_STATIC
from don_kp_ros.nodes.kit.transforms import TransformListener

ALIVE = SimpleNamespace(ok=lambda: True)
NODE = SimpleNamespace(get_clock=Clock, context=ALIVE, resolve_topic_name=str)
TIME = RosTime(NODE)  # as much of a node as it uses


def test_latest_keeps_the_newest_and_finds_the_nearest():
    buffer = Latest(TIME, kept=2)
    assert buffer.get() is None
    assert buffer.nearest(1.0, 10.0) is None
    for stamp in (1.0, 2.0, 3.0):
        buffer.put(f'at {stamp}', stamp)
    assert buffer.get().value == 'at 3.0'
    assert buffer.nearest(1.0, 10.0).value == 'at 2.0'
    assert buffer.nearest(2.94, 0.05) is None
    assert buffer.nearest(2.96, 0.05).value == 'at 3.0'


def test_what_came_too_long_ago_is_forgotten_but_for_the_newest():
    buffer = Latest(TIME, kept=10, seconds=0.05)
    for stamp in (1.0, 2.0):
        buffer.put(f'at {stamp}', stamp)
    assert Latest(TIME, kept=10).all() == []
    time.sleep(0.06)
    assert [kept.stamp for kept in buffer.all()] == [2.0]
    assert buffer.get().stamp == 2.0
    buffer.put('at 3', 3.0)
    assert [kept.stamp for kept in buffer.all()] == [3.0]
    lasting = Latest(TIME, kept=2, seconds=60.0)
    for stamp in (1.0, 2.0, 3.0):
        lasting.put('', stamp)
    assert [kept.stamp for kept in lasting.all()] == [2.0, 3.0]


def test_what_is_near_may_yet_come():
    buffer = Latest(TIME, kept=3)
    buffer.put('the image before', 10.0)
    assert buffer.nearest(10.033, 0.015, timeout=0.01) is None
    coming = threading.Timer(0.05, buffer.put, ('the same image', 10.033))
    coming.start()
    assert buffer.nearest(10.033, 0.015, timeout=30.0).value == 'the same image'
    coming.join()
    assert buffer.nearest(10.033, 0.015, timeout=30.0).value == 'the same image'


def test_waiting_gives_what_is_newer_or_none():
    buffer = Latest(TIME)
    assert buffer.wait_for_newer(None, patience=0.01) is None
    buffer.put('a', 1.0)
    first = buffer.wait_for_newer(None, patience=0.01)
    assert first.value == 'a'
    assert buffer.wait_for_newer(first, patience=0.01) is None
    buffer.put('a', 1.0)  # equal, but another
    assert buffer.wait_for_newer(first, patience=0.01) is not None


def test_age_is_the_greater_of_stamp_and_arrival():
    buffer, now = Latest(TIME), TIME.now()
    buffer.put('a', now - 3.0)
    assert buffer.get().age(TIME.now()) == pytest.approx(3.0, abs=0.5)
    buffer.put('a', now + 90.0)  # a clock that is ahead hides no silence
    assert buffer.get().age(TIME.now() + 2.0) >= 2.0


class Recorder:
    """As much of a node as a guard uses, and its log."""

    context = SimpleNamespace(ok=lambda: True)

    def __init__(self) -> None:
        self.lines: list[str] = []

    def get_logger(self):
        return SimpleNamespace(error=self.lines.append)

    @guarded
    def fail(self, error):
        raise error

    @guarded_service
    def answer(self, request, response):
        raise ValueError(request)


def test_guarded_logs_each_kind_of_error_once_for_a_while():
    node = Recorder()
    for _ in range(3):
        assert node.fail(ValueError('odd')) is None
    node.fail(KeyError('other'))
    assert len(node.lines) == 2
    assert 'fail failed, the node goes on' in node.lines[0]
    assert 'Traceback' in node.lines[0]
    assert 'ValueError: odd' in node.lines[0]


def test_guarded_logs_to_the_node_that_an_object_keeps():
    class Helper:
        def __init__(self, node):
            self._node = node

        @guarded
        def fail(self):
            raise ValueError('odd')

    node = Recorder()
    assert Helper(node).fail() is None
    assert 'ValueError: odd' in node.lines[0]


def test_guarded_service_answers_with_the_error():
    node, response = Recorder(), SimpleNamespace(success=True, message='')
    assert asynchrony.run(node.answer('odd', response)) is response
    assert not response.success
    assert "internal error: ValueError('odd')" in response.message
    assert len(node.lines) == 1


def transform_message(parent, child, T, stamp=5.0):
    transform = TransformStamped(child_frame_id=child, transform=transform_from_matrix(T))
    transform.header.frame_id, transform.header.stamp = parent, stamp_from_seconds(stamp)
    return transform


def test_transforms_are_heard_moving_and_static(peer):
    listener = TransformListener(peer.node)
    moving = peer.node.create_publisher(TFMessage, '/tf', TF)
    static = peer.node.create_publisher(TFMessage, '/tf_static', TF_STATIC)
    T_base_hand = rigid.transform(rigid.rotation_about([0, 0, 1], 0.3), [1, 2, 3])
    T_hand_camera = rigid.transform(translation=[0, 0, 0.1])
    broken = transform_message('base', 'broken', np.eye(4))
    broken.transform.rotation.w = 0.0

    def known():
        static.publish(TFMessage(transforms=[transform_message('hand', 'camera', T_hand_camera)]))
        hand = transform_message('base', 'hand', T_base_hand)
        moving.publish(TFMessage(transforms=[broken, hand]))
        try:
            return listener.lookup('base', 'camera', 5.0) is not None
        except RefusedError:
            return False

    peer.wait_until(known)
    np.testing.assert_allclose(
        listener.lookup('base', 'camera'), T_base_hand @ T_hand_camera, atol=1e-12
    )
    with pytest.raises(RefusedError, match='broken'):
        listener.lookup('base', 'broken')
    for publisher in (moving, static):
        peer.node.destroy_publisher(publisher)


@pytest.fixture
def listening(context):
    """A node in simulated time whose messages the test hands over; with it, its listener."""
    node = rclpy.create_node('listening', context=context, namespace='robot1')
    node.get_clock()._set_ros_time_is_active(True)
    yield node, TransformListener(node)
    node.destroy_node()


def test_two_parents_are_refused_with_who_tells_of_them(listening):
    node, listener = listening
    node.create_publisher(TFMessage, 'tf_static', TF_STATIC)
    for parent in ('hand', 'table'):
        told = transform_message(parent, 'camera_link', np.eye(4))
        listener._on_static(TFMessage(transforms=[told]))
    with pytest.raises(
        RefusedError,
        match=r'camera_link has two parents, hand and table.*restart listening.*'
        r'/robot1/tf by nobody now, and /robot1/tf_static by /robot1/listening',
    ):
        listener.lookup('hand', 'camera_link')


def test_frames_that_are_told_at_the_root_are_named_in_a_namespace(listening, peer):
    _, listener = listening

    def refusal():
        with pytest.raises(RefusedError) as caught:
            listener.lookup('base', 'hand')
        return str(caught.value)

    peer.wait_until(lambda: refusal().endswith('(heard on /robot1/tf and /robot1/tf_static)'))
    driver = peer.node.create_publisher(TFMessage, '/tf', TF)
    peer.wait_until(lambda: '; others are told on /tf: if they' in refusal())
    assert refusal().endswith('with the remappings /tf:=tf and /tf_static:=tf_static)')
    peer.node.destroy_publisher(driver)


def test_moving_transforms_of_a_time_that_is_set_back_are_forgotten(listening):
    node, listener = listening

    def tell(seconds):
        node.get_clock().set_ros_time_override(
            Time(nanoseconds=round(1e9 * seconds), clock_type=ClockType.ROS_TIME)
        )
        told = transform_message('base', 'hand', rigid.transform(None, [seconds, 0, 0]), seconds)
        listener._on_moving(TFMessage(transforms=[told]))

    for seconds in (10.0, 10.1, 9.7, 9.8):
        tell(seconds)
    # What came when it was 10.1 s is not taken for the future of 9.8 s.
    assert listener.lookup('base', 'hand')[0, 3] == pytest.approx(9.8)
    with pytest.raises(RefusedError, match=r'is known from 9.700 s to 9.800 s'):
        listener.lookup('base', 'hand', 9.9)


def tell(listener, parent, child, x, stamp):
    told = transform_message(parent, child, rigid.transform(None, [x, 0, 0]), stamp)
    listener._on_moving(TFMessage(transforms=[told]))


def test_a_silence_in_which_the_hand_moved_is_not_bridged(listening):
    _, listener = listening
    for stamp in np.arange(0.0, 2.0, 0.04):
        if not 0.75 < stamp < 1.35:  # the hand comes to rest meanwhile, at 1 s
            tell(listener, 'base', 'hand', 0.25 * min(stamp, 1.0), stamp)
        tell(listener, 'base', 'resting', 0.5, stamp if stamp < 0.75 else stamp + 0.6)
    with pytest.raises(RefusedError, match=r'not known between 0\.720 s and 1\.360 s, in which'):
        listener.lookup('base', 'hand', 1.1)
    assert listener.lookup('base', 'hand', 1.37)[0, 3] == 0.25
    assert listener.lookup('base', 'hand', 0.7)[0, 3] == pytest.approx(0.175)
    assert listener.lookup('base', 'resting', 1.1)[0, 3] == 0.5


def test_an_object_is_known_between_pictures_that_are_seldom(listening):
    _, listener = listening
    for stamp, x in ((1.0, 0.10), (2.0, 0.11)):
        tell(listener, 'camera', 'object/cap', x, stamp)
    assert listener.lookup('camera', 'object/cap', 1.5)[0, 3] == pytest.approx(0.105)
