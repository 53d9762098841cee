"""A robot that the tests play, and what the tests of its motion share."""

import time

import numpy as np
import pytest
from rclpy.node import Node
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from don_kp_ros.geometry import rigid
from don_kp_ros.motion.port import MotionCode, MotionError
from don_kp_ros.robots.preset import load_preset

PRESET = load_preset('panda')
OBSERVE = PRESET.position('observe')


class Robot(Node):
    """Follows trajectories as ros2_control's controllers would, but exactly, in real time.

    Publishes joint states at 50 Hz.
    """

    def __init__(self, context):
        super().__init__('robot', context=context)
        self.rest()
        self.publisher = self.create_publisher(JointState, '/joint_states', 10)
        for topic in (PRESET.arm_topic, PRESET.hand_topic):
            self.create_subscription(JointTrajectory, topic, self.accept, 10)
        self.create_timer(0.02, self.step)

    def rest(self):
        """Stand where every test begins."""
        self.running = {}
        self.received = []
        joints = (*PRESET.arm_joints, PRESET.finger_joint)
        self.q = dict(zip(joints, [*OBSERVE, 0.04], strict=True))
        self.object_width = 0.0
        self.stuck = self.silent = False

    def accept(self, message):
        self.received.append(message)
        for i, name in enumerate(message.joint_names):
            times = [0.0, *(self.seconds(point.time_from_start) for point in message.points)]
            values = [self.q[name], *(point.positions[i] for point in message.points)]
            self.running[name] = (time.monotonic(), times, values)

    def step(self):
        for name, (begun, times, values) in list(self.running.items()):  # tests clear it
            if not self.stuck:
                self.q[name] = float(np.interp(time.monotonic() - begun, times, values))
        finger = PRESET.finger_joint
        self.q[finger] = max(self.q[finger], self.object_width / 2)
        if self.silent:
            return
        message = JointState(name=list(self.q), position=list(self.q.values()))
        message.header.stamp = self.get_clock().now().to_msg()
        self.publisher.publish(message)

    def is_heard_by(self, motion):
        try:
            heard = [*motion.joint_positions(), motion.gripper_width() / 2]
        except MotionError:
            return False
        return np.allclose(heard, list(self.q.values()), rtol=0, atol=1e-6)

    @property
    def arm(self):
        return np.array([self.q[name] for name in PRESET.arm_joints])

    @staticmethod
    def seconds(duration):
        return duration.sec + 1e-9 * duration.nanosec


@pytest.fixture(scope='module')
def played(context, spun):
    # With an executor of its own, as in a process of its own.
    robot = Robot(context)
    with spun(robot):
        yield robot


@pytest.fixture
def robot(played):
    """Play a robot at rest."""
    played.rest()
    return played


@pytest.fixture(scope='module')
def user(context, spun):
    """The node that moves the robot."""
    node = Node('user', context=context)
    with spun(node):
        yield node


@pytest.fixture(scope='session')
def failure():
    """Call what must fail; return the error."""

    def call(function, *arguments):
        with pytest.raises(MotionError) as caught:
            function(*arguments)
        return caught.value

    return call


@pytest.fixture
def all_is_cancelled(failure, down):
    """Check that an adapter refuses all that would move the arm or the fingers."""

    def check(motion):
        for call in (
            lambda: motion.move_to_joints(PRESET.position('ready')),
            lambda: motion.set_gripper(0.0, 10.0),
            lambda: motion.plan_grasp(down(0.5, 0.1, 0.02), 0.1, 0.15, 0.08),
        ):
            assert failure(call).code is MotionCode.CANCELLED

    return check


@pytest.fixture(scope='session')
def down():
    """Return poses of a hand that points down."""
    return lambda x, y, z: rigid.transform(np.diag([1.0, -1.0, -1.0]), [x, y, z])
