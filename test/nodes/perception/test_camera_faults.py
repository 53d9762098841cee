"""What goes wrong with cameras, in a running stack: all who are asked give the same reason."""

import contextlib
import re

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import TransformStamped
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, JointState
from tf2_msgs.msg import TFMessage

from don_kp.action import Grasp
from don_kp.msg import Matches
from don_kp.srv import Scene, StoreDescriptor
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.nodes.kit import camera_topics, conversions
from don_kp_ros.nodes.kit.action import PunctualActionClient
from don_kp_ros.nodes.kit.qos import LATCHED, RESULT, SENSOR
from don_kp_ros.robots.preset import load_preset

PANDA = load_preset('panda')
UV = (84, 40)
DEPTH_M = 0.5
PERIOD_S = 0.05
T_BASE_CAMERA = rigid.transform(np.diag([1.0, -1.0, -1.0]), [0.5, 0.0, DEPTH_M])
YEAR_S = 365 * 86400.0
COLOUR, DEPTH, INFO = (
    f'/{topic}' for topic in (camera_topics.COLOUR, camera_topics.DEPTH, camera_topics.COLOUR_INFO)
)


class Driver:
    """A camera's driver: publishes colours, depth and infos by a timer, with faults on demand."""

    def __init__(self, camera, node) -> None:
        self._played, self._node = camera, node
        self._publishers: dict = {}
        self._shot = -np.inf
        self.restore()

    def restore(self) -> None:
        """Have no fault."""
        self.silent: set[str] = set()
        self.late, self.depth_late, self.stamp = 0.0, 0.0, None
        self.colour, self.info, self.depth = {}, {}, None

    def open(self, colour=COLOUR, depth=DEPTH, info=INFO) -> None:
        for name, kind, topic in (
            ('colour', Image, colour),
            ('depth', Image, depth),
            ('info', CameraInfo, info),
        ):
            self._publishers[name] = self._node.create_publisher(kind, topic, SENSOR)
        self._timer = self._node.create_timer(PERIOD_S, self._shoot)

    def close(self) -> None:
        self._node.destroy_timer(self._timer)
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)

    def _shoot(self) -> None:
        now = 1e-9 * self._node.get_clock().now().nanoseconds
        if now - self._shot < 0.75 * PERIOD_S:
            return  # the timer was late, and makes up for it: a camera does not
        self._shot = now
        now = now - self.late if self.stamp is None else self.stamp
        messages = {
            'info': conversions.info_from_camera(self._played.CAMERA, self._header(now)),
            'depth': self._depth(self._header(max(0.0, now + self.depth_late))),
            'colour': conversions.image_message(self._played.picture, 'rgb8', self._header(now)),
        }
        for name, changes in (('info', self.info), ('colour', self.colour)):
            for field, value in changes.items():
                setattr(messages[name], field, value)
        for name, message in messages.items():
            if name not in self.silent:
                self._publishers[name].publish(message)

    def _header(self, seconds: float):
        return self._played.header(seconds)

    def _depth(self, header):
        if self.depth is not None:
            return conversions.image_message(*self.depth, header)
        counts = np.full(self._played.SIZE, 1000 * DEPTH_M, np.uint16)
        return conversions.image_message(counts, '16UC1', header)


class Stack:
    """Perception, database and grasp node; the test plays the camera's driver and the robot."""

    def __init__(self, peer, camera, start_node, start_grasps, checkpoint, folder) -> None:
        self.peer, self.played, node = peer, camera, peer.node
        self.perception = start_node('perception', model=checkpoint, max_rate_hz=0)
        database = start_node('descriptor_database', database=folder / 'd.sqlite')
        self.nodes = (self.perception, database, *start_grasps())
        self.driver = Driver(camera, node)
        self.diagnostics = peer.listen(DiagnosticArray, '/diagnostics', RESULT)
        self.matches = peer.listen(Matches, '/don_kp/matches', RESULT)
        self._joints = node.create_publisher(JointState, '/joint_states', 10)
        self._static = node.create_publisher(TFMessage, '/tf_static', LATCHED)
        T = TransformStamped(child_frame_id=camera.FRAME)
        T.header.frame_id = PANDA.base_frame
        T.transform = conversions.transform_from_matrix(T_BASE_CAMERA)
        self._static.publish(TFMessage(transforms=[T]))
        node.create_timer(0.05, self._tell_joints)
        self._grasps = PunctualActionClient(node, Grasp, 'grasp')
        self._hasty = PunctualActionClient(node, Grasp, 'hasty/grasp')
        for client in self._grasps, self._hasty:
            peer.wait_until(client.server_is_ready)
        for action in '/grasp', '/hasty/grasp':
            peer.meet(f'{action}/_action/send_goal')
        peer.wait_until(lambda: 'no node serves' not in self.store().message)
        unmet = 'is the camera running, and the perception node?'
        peer.wait_until(lambda: unmet not in self.grasp(hasty=True).message)

    def _tell_joints(self) -> None:
        names = [*PANDA.arm_joints, PANDA.finger_joint]
        message = JointState(name=names, position=[*PANDA.position('observe'), 0.04])
        message.header.stamp = self.peer.node.get_clock().now().to_msg()
        self._joints.publish(message)

    def store(self, name='probe'):
        u, v = UV
        return self.peer.call(
            StoreDescriptor, '/store_descriptor', name=name, u=u, v=v, replace=True
        )

    def grasp(self, hasty=False) -> Grasp.Result:
        client = self._hasty if hasty else self._grasps
        handle = self._answer(client.send_goal_async(Grasp.Goal(target='cap/brim')))
        return self._answer(handle.get_result_async()).result

    def _answer(self, future):
        self.peer.wait_until(future.done)
        return future.result()

    def told(self, wanted) -> DiagnosticStatus:
        """Wait for the next diagnosis that is as wanted."""
        self.diagnostics.clear()

        def newest():
            (status,) = self.diagnostics[-1].status if self.diagnostics else (None,)
            return status is not None and wanted(status) and status

        return self.peer.wait_until(newest)

    def fault(self, pattern: str) -> str:
        """Wait until the diagnosis is a fault like that; return the sentence."""
        warned = DiagnosticStatus.WARN
        status = self.told(lambda one: one.level == warned and re.search(pattern, one.message))
        assert status.name == 'perception: camera'
        return status.message

    def recovered(self) -> None:
        """Wait until a point is stored with its position, and found."""
        self.driver.restore()
        # Who asks before would be refused once more, and that is logged.
        self.peer.wait_until(lambda: self.matches and not self.matches[-1].reason)

        def whole():
            stored = self.store('cap/brim')
            return stored.success and 'without' not in stored.message

        self.peer.wait_until(whole)
        # There is nothing but a table to grasp.
        self.peer.wait_until(lambda: self.grasp().code == Grasp.Result.NO_GRASP)


@pytest.fixture(scope='module')
def stack(peer, camera, start_node, start_grasps, checkpoint, tmp_path_factory):
    # What the test shows is published by a driver of its own.
    camera.close()
    folder = tmp_path_factory.mktemp('database')
    made = Stack(peer, camera, start_node, start_grasps, checkpoint, folder)
    yield made
    for node in made.nodes:
        assert 'Traceback' not in node.output, node.output


def zeros(dtype, height=96, width=128, value=0):
    return np.full((height, width), value, dtype)


# Everybody who is asked says the same of these: what is changed, and the reason.
IMAGES = {
    'an encoding that is not known': (
        {'colour': {'encoding': 'yuv444'}},
        f"^{COLOUR}: .* encoding is 'yuv444'; known are rgb8, .*rgb_camera.color_format",
    ),
    'depth in place of colours': ({'colour': {'encoding': '16UC1'}}, "encoding is '16UC1'; known"),
    'too few bytes': (
        {'colour': {'data': bytes(100)}},
        'a 128x96 rgb8 image has step 384 and 100 bytes; that is too little',
    ),
    'another size than its bytes': ({'colour': {'height': 48}}, 'bytes; that is too much'),
    'an odd width': ({'colour': {'encoding': 'yuyv', 'width': 127}}, '127x96.*even sizes'),
    'no pixels': ({'colour': {'width': 0}}, 'image is 0x96 pixels: empty'),
    'zero stamps': (
        {'stamp': 0.0},
        f'^the images on {COLOUR} have stamp zero; their driver must stamp them$',
    ),
}
AGES = {
    'a recording': (
        {'late': YEAR_S},
        f'^the stamps on {COLOUR} are 365 days old on arrival: .*bag play --clock.*use_sim_time',
    ),
    'simulated time in one place alone': (
        {'late': 50 * YEAR_S},
        f'^the stamps on {COLOUR} are 18250 days old on arrival: ',
    ),
    'clocks that differ': ({'late': 5.0}, '5.. s old on arrival: check that the machines. clocks'),
}
POSITIONS = {
    'a lens that is not known': (
        {'info': {'distortion_model': 'brown_conrady', 'd': [0.1] * 5}},
        f"^{INFO}: .* model is 'brown_conrady' with 5 coefficients; known are plumb_bob",
    ),
    'too many coefficients': ({'info': {'d': [0.1] * 8}}, "model is 'plumb_bob' with 8 coef"),
    'no focal length': (
        {'info': {'k': np.zeros(9), 'p': np.zeros(12)}},
        f'^{INFO}: camera fx is 0.0; it must be positive: is the camera calibrated',
    ),
    'the info of another size': (
        {'info': {'width': 640, 'height': 480}},
        '^the camera info says 640x480, the picture is 128x96$',
    ),
    'depth of another encoding': (
        {'depth': (zeros(np.uint8), '8UC1')},
        f"^{DEPTH}: depth encoding is '8UC1'; known are 16UC1, mono16, 32FC1: take the topic",
    ),
    'depth that is all zero': (
        {'depth': (zeros(np.uint16), '16UC1')},
        f'^{DEPTH}: no pixel has a depth; is something in front of the camera',
    ),
    'depth that is no number': (
        {'depth': (zeros(np.float32, value=np.nan), '32FC1')},
        f'^{DEPTH}: no pixel has a depth; is something in front of the camera',
    ),
    'depth of another size': (
        {'depth': (zeros(np.uint16, 48, 64, 500), '16UC1')},
        r'^the depth image is 64x48, the picture 128x96; align .*align_depth.enable:=true',
    ),
    'metres that are millimetres': (
        {'depth': (zeros(np.float32, value=500), '32FC1')},
        f'^{DEPTH}: the median depth is 500 m, .*32FC1 must be in metres',
    ),
    'counts that are no millimetres': (
        {'depth': (zeros(np.uint16, value=20_000), '16UC1')},
        f'^{DEPTH}: the median depth is 20 m, .*is a count of it 0.001 m',
    ),
    'depth 17 ms late': (
        {'depth_late': 0.017},
        f'^no depth image within 0.015 s of the image on {DEPTH}: the nearest is 17 ms later; '
        'start the camera with enable_sync:=true$',
    ),
    'depth without stamps': (
        {'depth_late': -np.inf},
        f'^no depth image within .* the depth images on {DEPTH} have stamp zero',
    ),
    'depth of another clock': (
        {'depth_late': -YEAR_S},
        f'^no depth image within .* the stamps on {DEPTH} are 365 days old on arrival',
    ),
}


def test_where_nothing_is_published_that_is_said(stack):
    reason = stack.fault('no image has come on')
    nobody = 'nobody publishes it, nor any other Image; start the camera'
    assert reason == f'no image has come on {COLOUR}: {nobody}'
    stored, grasped = stack.store(), stack.grasp(hasty=True)
    assert not stored.success and not grasped.success
    assert reason in stored.message
    assert reason in grasped.message
    scene = stack.peer.call(Scene, '/perception/scene')
    assert f'no depth image has come on {DEPTH}: nobody publishes it' in scene.message
    assert 'align_depth.enable:=true' in scene.message


@pytest.mark.parametrize(
    ('prefix', 'colour', 'remedy'),
    [
        (
            '/camera/camera/color',
            'image_rect_raw',  # as the D405 has it
            f'remap it, e.g. --ros-args -r {COLOUR}:=/camera/camera/color/image_rect_raw',
        ),
        ('/left/cam/color', 'image_raw', 'give camera_namespace:=/left/cam'),
    ],
)
def test_under_another_name_the_topics_that_exist_are_named(stack, prefix, colour, remedy):
    there = f'{prefix}/{colour}'
    stack.driver.open(there, f'{prefix}/depth', f'{prefix}/camera_info')
    with contextlib.closing(stack.driver):
        reason = stack.fault(re.escape(there))
        assert f'no image has come on {COLOUR}: nobody publishes it; Image topics are ' in reason
        assert reason.endswith(remedy)
        assert reason in stack.store().message


def test_a_topic_of_another_type_is_told(stack):
    apart = Context()  # within one, a topic has one type
    rclpy.init(context=apart)
    node = rclpy.create_node('converter', context=apart)
    node.create_publisher(CompressedImage, COLOUR, SENSOR)
    told = 'it carries sensor_msgs/msg/CompressedImage, and sensor_msgs/msg/Image is needed'
    try:
        stack.fault(told)
    finally:
        node.destroy_node()
        apart.shutdown()
        stack.driver.open()
    stack.recovered()


def ageless(told: str) -> str:
    """Leave out the seconds of an age: every image has its own."""
    return re.sub(r'[\d.]+ s old', 'old', told)


@pytest.mark.parametrize('name', [*IMAGES, *AGES])
def test_an_image_of_no_use_has_one_reason_for_all(stack, name):
    changes, pattern = (IMAGES | AGES)[name]
    for field, value in changes.items():
        setattr(stack.driver, field, value)
    reason = stack.fault(pattern)
    hasty = name in AGES or name == 'zero stamps'  # none of them comes in time
    for answer in stack.store(), stack.grasp(hasty):
        assert not answer.success
        assert ageless(reason) in ageless(answer.message), answer.message
    if name in IMAGES:
        stack.matches.clear()
        told = stack.peer.wait_until(lambda: stack.matches and stack.matches[-1])
        assert (told.reason, list(told.matches)) == (reason, [])
        assert told.header.frame_id == stack.played.FRAME
    stack.recovered()


@pytest.mark.parametrize('name', POSITIONS)
def test_what_keeps_a_point_from_having_a_place_has_one_reason_for_all(stack, name):
    changes, pattern = POSITIONS[name]
    for field, value in changes.items():
        setattr(stack.driver, field, value)
    reason = stack.fault(pattern)
    stored, grasped = stack.store(), stack.grasp()
    assert stored.success and f'without a position: {reason}' in stored.message, stored.message
    assert grasped.code == Grasp.Result.NOT_FOUND and reason in grasped.message, grasped.message
    stack.recovered()


@pytest.mark.parametrize(('stream', 'topic'), [('colour', COLOUR), ('depth', DEPTH)])
def test_a_stream_that_stops_is_told_and_may_go_on(stack, stream, topic):
    stack.driver.silent = {stream}
    what = {'colour': 'image', 'depth': 'depth image'}[stream]
    reason = stack.fault(
        f'no {what} has come on {topic} for 2 s, though /test_peer publishes it; look'
    )
    stored, grasped = stack.store(), stack.grasp(hasty=stream == 'colour')
    assert reason in stored.message, stored.message
    assert reason in grasped.message, grasped.message
    stack.recovered()


LENS = (-0.3, 0.1, 0.002, -0.001, 0.0)


@pytest.mark.parametrize(
    ('info', 'seen_by'),
    [
        ({'d': list(LENS)}, Camera(128, 96, 100.0, 101.0, 63.5, 47.5, LENS)),
        ({'k': np.zeros(9)}, Camera(128, 96, 100.0, 101.0, 63.5, 47.5)),
    ],
)
def test_a_lens_is_undone_and_P_taken_where_K_is_missing(stack, info, seen_by):
    stack.driver.info = info
    expected = seen_by.deproject(UV, DEPTH_M)

    def placed():
        stack.matches.clear()
        stack.peer.wait_until(lambda: stack.matches and stack.matches[-1].matches)
        (match, *_) = stack.matches[-1].matches
        found = match.position
        return match.found and np.allclose([found.x, found.y, found.z], expected, atol=1e-6)

    stack.peer.wait_until(placed)
    stack.recovered()


def test_depth_far_below_the_table_is_asked_about_and_its_unit_can_be_set(stack):
    def set_unit(metres):
        parameter = Parameter('depth_unit_m', value=metres).to_parameter_msg()
        call = stack.peer.call(SetParameters, '/perception/set_parameters', parameters=[parameter])
        return call.results[0]

    # A tenth of a millimetre: half a metre seems to be five.
    stack.driver.depth = zeros(np.uint16, value=5000), '16UC1'
    below = re.compile(r'cap/brim is seen 4.5 m below the table; is the depth in millimetres\?')
    grasped = stack.peer.wait_until(lambda: below.search((one := stack.grasp()).message) and one)
    assert 'depth_unit_m' in grasped.message
    assert not set_unit(0.0).successful
    assert set_unit(1e-4).successful
    stack.peer.wait_until(lambda: stack.grasp().code == Grasp.Result.NO_GRASP)
    assert set_unit(1e-3).successful
    stack.recovered()


def test_a_recording_that_begins_anew_is_told(stack):
    # The last image before and the first after have stamps that are known.
    stack.driver.stamp = 1e-9 * stack.peer.node.get_clock().now().nanoseconds
    last = stack.played.header(stack.driver.stamp).stamp
    stack.peer.wait_until(lambda: last in [one.header.stamp for one in list(stack.matches)])
    stack.driver.stamp -= 40.0
    stack.perception.wait_for(' went back by 40.0 s')
    stack.recovered()


def test_the_work_is_measured(stack):
    def values_of(status):
        return {pair.key: pair.value for pair in status.values}

    def measured(status):
        return status.level == DiagnosticStatus.OK and float(values_of(status)['rate [1/s]']) > 0

    values = values_of(stack.told(measured))
    assert 0 < float(values['rate [1/s]']) < 2 / PERIOD_S
    assert float(values['latency, mean [s]']) > 0 and float(values['latency, 99 % [s]']) > 0
    counts = [int(values[name]) for name in ('images', 'dropped', 'of no use', 'without depth')]
    assert counts[0] > sum(counts[1:3]) and counts[2] > 5 and counts[3] > 5
    assert [values[topic] for topic in (COLOUR, DEPTH, INFO)] == ['runs'] * 3


def test_each_reason_is_logged_once(stack):
    lines = stack.perception.output.splitlines()
    zero = [f'{topic} have stamp zero' for topic in (COLOUR, DEPTH)]
    for reason in 'camera fx is 0.0', '17 ms later', *zero, "'yuv444'":
        diagnosed = [line for line in lines if reason in line and 'WARN' in line]
        # By the watch, and as the answer to whoever asked.
        assert 1 <= len(diagnosed) <= 3, diagnosed
