"""The simulation as the clients of a real robot see it, in a process of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
from action_msgs.msg import GoalStatus
from control_msgs.action import FollowJointTrajectory, GripperCommand
from control_msgs.msg import JointTolerance
from franka_msgs.action import Grasp, Homing, Move
from geometry_msgs.msg import Vector3
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint
from waiting import wait_until

from don_kp.srv import GetSceneTruth, ResetScene
from don_kp_ros.bringup.processes import Bringup
from don_kp_ros.nodes.kit import camera_topics
from don_kp_ros.nodes.kit.action import PunctualActionClient
from don_kp_ros.nodes.kit.conversions import image_array, seconds_from_stamp
from don_kp_ros.nodes.kit.qos import TF
from don_kp_ros.robots.preset import load_preset
from don_kp_ros.simulation.kinds import shape_of

PRESET = load_preset('panda')
OBSERVE = PRESET.position('observe')
Status = GoalStatus


class Client(Node):
    """A client of a Panda's controllers and drivers, spun in a thread of its own."""

    def __init__(self, context: rclpy.Context) -> None:
        super().__init__('client', context=context)
        self.clock: list[float] = []
        self.states: list[JointState] = []
        self.pictures: list[Image] = []
        self.frames: set[float] = set()
        sensor = qos_profile_sensor_data
        self.create_subscription(Clock, '/clock', self._on_clock, sensor)
        self.create_subscription(JointState, 'joint_states', self.states.append, 100)
        self.create_subscription(Image, camera_topics.COLOUR, self.pictures.append, 100)
        self.create_subscription(TFMessage, 'tf', self._on_frames, TF)
        self.reset = self.create_client(ResetScene, 'simulation/reset')
        self.truth = self.create_client(GetSceneTruth, 'simulation/truth')
        self.set = self.create_client(SetParameters, 'simulation/set_parameters')
        self.push = self.create_publisher(Vector3, 'simulation/push', 10)
        self.stop = self.create_client(Trigger, 'franka_gripper/stop')
        self.arm = PunctualActionClient(
            self, FollowJointTrajectory, 'panda_arm_controller/follow_joint_trajectory'
        )
        self.command = PunctualActionClient(
            self, GripperCommand, 'panda_hand_controller/gripper_cmd'
        )
        self.gripper_action = PunctualActionClient(
            self, GripperCommand, 'franka_gripper/gripper_action'
        )
        self.move = PunctualActionClient(self, Move, 'franka_gripper/move')
        self.grasp = PunctualActionClient(self, Grasp, 'franka_gripper/grasp')
        self.homing = PunctualActionClient(self, Homing, 'franka_gripper/homing')

    def _on_clock(self, message: Clock) -> None:
        self.clock.append(seconds_from_stamp(message.clock))

    def _on_frames(self, message: TFMessage) -> None:
        self.frames |= {seconds_from_stamp(t.header.stamp) for t in message.transforms}

    @property
    def q(self) -> np.ndarray:
        return np.array(self.states[-1].position[:7])

    @property
    def width(self) -> float:
        return 2 * self.states[-1].position[7]

    def send(self, client: Any, goal: Any) -> Any:
        """Send a goal; return its handle, or None where it is rejected."""
        wait_until(client.server_is_ready)
        handle = answer(client.send_goal_async(goal))
        return handle if handle.accepted else None

    def run(self, client: Any, goal: Any) -> Any:
        return answer(self.send(client, goal).get_result_async())

    def rest(self) -> None:
        """Wait until nothing moves."""
        begun = len(self.states)
        wait_until(
            lambda: len(self.states) > begun + 10 and np.ptp(positions(self.states[-10:])) < 1e-4
        )


def positions(states: list[JointState]) -> np.ndarray:
    q = np.array([state.position for state in states])
    return np.abs(q - q[0])


def answer(future: Any) -> Any:
    wait_until(future.done)
    return future.result()


@pytest.fixture(scope='module')
def simulation(ros_environment: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Simulate; give the node's log."""
    logs = tmp_path_factory.mktemp('logs')
    with Bringup(arguments(), logs):
        yield logs / 'simulation.log'


def arguments() -> dict[str, str]:
    return {
        'simulation': 'true',
        'nodes': 'simulation',
        'simulation_domain': os.environ['ROS_DOMAIN_ID'],
        'real_time_factor': '4',
    }


@pytest.fixture(scope='module')
def client(simulation: Path) -> Iterator[Client]:
    """Give what listens to it."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=int(os.environ['ROS_DOMAIN_ID']))
    made = Client(context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(made)
    spinner = threading.Thread(target=executor.spin)
    spinner.start()
    try:
        wait_until(lambda: made.states and made.pictures)
        yield made
    finally:
        executor.shutdown()
        spinner.join()
        made.destroy_node()
        context.shutdown()


def laid_out(client: Client, seed: int) -> Image:
    """Lay out a table; return its first picture."""
    wait_until(client.reset.service_is_ready)
    made = answer(client.reset.call_async(ResetScene.Request(seed=seed, placement=seed)))
    assert made.success, made.message
    wait_until(lambda: stamp_of(client.pictures[-1]) > made.time)
    return next(picture for picture in client.pictures if stamp_of(picture) > made.time)


def stamp_of(message: Any) -> float:
    return seconds_from_stamp(message.header.stamp)


@pytest.fixture
def arm(client: Client) -> Client:
    """Give a robot in its observation pose, its hand open."""
    client.run(client.arm, way(0.0))
    client.run(client.homing, Homing.Goal())
    client.rest()
    return client


def disturbed(client: Client, **values: float) -> list[str]:
    """Set parameters; return why those that are refused are."""
    wait_until(client.set.service_is_ready)
    messages = [Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
    response = answer(client.set.call_async(SetParameters.Request(parameters=messages)))
    return [result.reason for result in response.results if not result.successful]


def newest(client: Client) -> np.ndarray:
    """Return a picture that is taken from now on."""
    now = client.clock[-1]
    wait_until(lambda: stamp_of(client.pictures[-1]) > now + 0.05)
    return image_array(client.pictures[-1]).astype(float)


def way(*offsets: float, seconds: float = 1.0) -> FollowJointTrajectory.Goal:
    """Make a goal that turns the first joint."""
    goal = FollowJointTrajectory.Goal()
    goal.trajectory.joint_names = list(PRESET.arm_joints)
    for k, offset in enumerate(offsets, 1):
        point = JointTrajectoryPoint(positions=[OBSERVE[0] + offset, *OBSERVE[1:]])
        point.velocities = [0.0] * 7
        point.time_from_start.sec = int(k * seconds)
        goal.trajectory.points.append(point)
    return goal


def test_pictures_bear_the_moment_of_the_clock_the_joints_and_the_frames(arm: Client) -> None:
    begun = len(arm.clock)
    wait_until(lambda: len(arm.clock) > begun + 100)
    assert (np.diff(arm.clock) > 0).all()
    clock = arm.clock[begun:]
    # What came with the pictures may be handed over later than the clock.
    wait_until(lambda: stamp_of(arm.states[-1]) > clock[-5] and max(arm.frames) > clock[-5])
    assert np.allclose(np.diff(clock)[np.diff(clock) < 0.03], 0.02)  # best effort: some are lost
    stamps = {stamp_of(picture) for picture in arm.pictures}
    stamps = {stamp for stamp in stamps if clock[0] < stamp < clock[-5]}
    assert len(stamps) > 3
    apart = np.diff(sorted(stamps)) * 5.0
    assert np.allclose(apart, np.round(apart))
    joints = {stamp_of(state) for state in arm.states}
    assert len(stamps - joints) <= 1 and len(stamps - arm.frames) <= 1  # best effort


def test_a_scene_looks_the_same_each_time(client: Client) -> None:
    first, other, again = (image_array(laid_out(client, seed)) for seed in (3, 4, 3))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_trajectory_is_followed(arm: Client) -> None:
    ended = arm.run(arm.arm, way(0.3))
    assert (ended.status, ended.result.error_code) == (Status.STATUS_SUCCEEDED, 0)
    wait_until(lambda: abs(arm.q[0] - OBSERVE[0] - 0.3) < 0.005)


def test_a_newer_goal_ends_the_older(arm: Client) -> None:
    first = arm.send(arm.arm, way(0.5, seconds=600.0))
    second = arm.run(arm.arm, way(-0.2))
    ended = answer(first.get_result_async())
    assert ended.status == Status.STATUS_ABORTED
    assert ended.result.error_code == FollowJointTrajectory.Result.INVALID_GOAL
    assert 'newer goal' in ended.result.error_string
    assert second.status == Status.STATUS_SUCCEEDED


def test_a_cancelled_goal_holds(arm: Client) -> None:
    goal = arm.send(arm.arm, way(1.0, seconds=30.0))
    wait_until(lambda: arm.q[0] > OBSERVE[0] + 0.1)
    answer(goal.cancel_goal_async())
    assert answer(goal.get_result_async()).status == Status.STATUS_CANCELED
    arm.rest()
    assert OBSERVE[0] + 0.1 < arm.q[0] < OBSERVE[0] + 0.9


def test_an_arm_off_its_way_is_aborted_with_the_joint(arm: Client) -> None:
    # A radian within a tenth of a second is more than the servos can.
    goal = way(1.0)
    goal.trajectory.points[0].time_from_start.sec = 0
    goal.trajectory.points[0].time_from_start.nanosec = 100_000_000
    goal.path_tolerance = [JointTolerance(name='panda_joint1', position=0.05)]
    ended = arm.run(arm.arm, goal)
    assert ended.result.error_code == FollowJointTrajectory.Result.PATH_TOLERANCE_VIOLATED
    assert 'panda_joint1 is off by' in ended.result.error_string


def test_what_is_refused_is_in_the_log(arm: Client, simulation: Path) -> None:
    nothing = FollowJointTrajectory.Goal()
    nothing.trajectory.joint_names = list(PRESET.arm_joints)
    assert arm.send(arm.arm, nothing) is None
    assert 'panda_arm_controller/follow_joint_trajectory rejected: it has no points' in (
        simulation.read_text()
    )
    topic = arm.create_publisher(JointTrajectory, 'panda_hand_controller/joint_trajectory', 10)
    wait_until(topic.get_subscription_count)
    topic.publish(nothing.trajectory)
    wait_until(
        lambda: 'trajectory of panda_hand_controller rejected: it is for' in simulation.read_text()
    )
    endless = GripperCommand.Goal()
    endless.command.position = float('nan')
    assert arm.send(arm.command, endless) is None


def test_a_gripper_controller_ends_where_it_may(arm: Client) -> None:
    closed = arm.run(arm.command, GripperCommand.Goal())
    assert closed.status == Status.STATUS_SUCCEEDED
    assert closed.result.reached_goal
    assert closed.result.position < 0.011  # of one finger: within its tolerance, still moving
    wait_until(lambda: arm.width < 0.002)


def test_franka_s_gripper_says_what_it_holds(arm: Client) -> None:
    narrow = arm.run(arm.move, Move.Goal(width=0.03, speed=0.1))
    assert (narrow.status, narrow.result.success) == (Status.STATUS_SUCCEEDED, True)
    wait_until(lambda: abs(arm.width - 0.03) < 0.003)
    # Nothing is between the fingers, which close on whatever there is: the width only judges.
    empty = arm.run(arm.grasp, Grasp.Goal(width=0.02, speed=0.1, force=20.0))
    assert empty.status == Status.STATUS_ABORTED
    assert not empty.result.success and 'the fingers stopped at' in empty.result.error
    assert abs(arm.width) < 1e-4
    assert arm.run(arm.homing, Homing.Goal()).result.success
    wait_until(lambda: arm.width > 0.078)
    for width, speed in ((0.1, 0.1), (-0.01, 0.1), (0.05, 0.0)):
        refused = arm.run(arm.move, Move.Goal(width=width, speed=speed))
        assert refused.status == Status.STATUS_ABORTED
        assert f'width {width} m' in refused.result.error


def test_stop_holds_the_fingers(arm: Client) -> None:
    goal = arm.send(arm.move, Move.Goal(width=0.0, speed=0.002))
    wait_until(lambda: arm.width < 0.075)
    assert answer(arm.stop.call_async(Trigger.Request())).success
    ended = answer(goal.get_result_async())
    assert (ended.status, ended.result.error) == (Status.STATUS_ABORTED, 'stopped')
    arm.rest()
    assert 0.01 < arm.width < 0.076


def test_a_second_robot_of_the_same_names_is_refused(client: Client, tmp_path: Path) -> None:
    with Bringup(arguments(), tmp_path) as second:
        wait_until(second.poll)
        assert 'simulation publishes /joint_states in this ROS domain' in second.tail('simulation')


def test_the_table_has_the_object_and_the_number_of_others_that_are_asked_for(
    client: Client,
) -> None:
    wait_until(client.reset.service_is_ready)
    heights = {}
    for kind in ('bottle', 'box'):
        request = ResetScene.Request(kind=kind, seed=3, instance=200_003, others=4)
        assert answer(client.reset.call_async(request)).success
        truth = answer(client.truth.call_async(GetSceneTruth.Request()))
        assert truth.has_object and len(truth.others) == 4
        heights[kind] = truth.point.z
        assert heights[kind] == pytest.approx(
            next(iter(shape_of(kind, 200_003).points.values()))[2], abs=2e-3
        )
    refused = answer(client.reset.call_async(ResetScene.Request(kind='cup')))
    assert not refused.success and "kind is 'cup'" in refused.message
    refused = answer(client.reset.call_async(ResetScene.Request(others=9)))
    assert not refused.success and 'others is 9; it must be at most 8' in refused.message
    unchanged = answer(client.truth.call_async(GetSceneTruth.Request()))
    assert unchanged.point.z == pytest.approx(heights['box'], abs=1e-6)  # physics goes on
    absent = ResetScene.Request(kind='box', without_object=True, others=1)
    assert answer(client.reset.call_async(absent)).success
    assert not answer(client.truth.call_async(GetSceneTruth.Request())).has_object


def test_senses_are_disturbed_while_it_runs(arm: Client) -> None:
    laid_out(arm, 3)
    arm.rest()
    before, q = newest(arm), arm.q
    bright = before < 240
    try:
        assert not disturbed(arm, light=0.5, colour_cast=0.4, joint_noise=0.01)
        after = newest(arm)
        for channel, gain in enumerate((0.7, 0.5, 0.3)):
            own = bright[..., channel]
            assert after[..., channel][own].sum() / before[..., channel][own].sum() == (
                pytest.approx(gain, abs=0.02)
            )
        begun = len(arm.states)
        wait_until(lambda: len(arm.states) > begun + 200)
        told = np.array([state.position for state in arm.states[begun:]])
        assert told[:, :7].std(axis=0) == pytest.approx(np.full(7, 0.01), rel=0.3)
        assert np.abs(told[:, :7].mean(axis=0) - q).max() < 0.004
        assert told[:, 7:].std() < 1e-3
        assert not disturbed(arm, hand_eye_shift=0.01)
        mounted = [camera_of(arm) for seed in (3, 4) if laid_out(arm, seed)]
        off = [np.linalg.norm(one - PRESET.camera.T_hand_optical[:3, 3]) for one in mounted]
        assert off == pytest.approx([0.01, 0.01])
        assert np.linalg.norm(mounted[0] - mounted[1]) > 1e-3
    finally:
        usual = {'light': 1.0, 'colour_cast': 0.0, 'joint_noise': 0.0, 'hand_eye_shift': 0.0}
        assert not disturbed(arm, **usual)
    laid_out(arm, 3)
    assert camera_of(arm) == pytest.approx(PRESET.camera.T_hand_optical[:3, 3])
    (refused,) = disturbed(arm, depth_holes=1.5)
    assert 'depth_holes is 1.5; allowed is 0 to 0.9' in refused


def camera_of(client: Client) -> np.ndarray:
    place = answer(client.truth.call_async(GetSceneTruth.Request())).camera.position
    return np.array([place.x, place.y, place.z])


def test_the_object_is_pushed(client: Client, simulation: Path) -> None:
    laid_out(client, 5)

    def centre() -> np.ndarray:
        place = answer(client.truth.call_async(GetSceneTruth.Request())).centre
        return np.array([place.x, place.y, place.z])

    before = centre()
    wait_until(client.push.get_subscription_count)
    client.push.publish(Vector3(x=float('nan')))
    client.push.publish(Vector3(x=0.02, y=-0.03))
    wait_until(lambda: np.linalg.norm(centre() - before) > 0.01)
    assert centre() - before == pytest.approx([0.02, -0.03, 0.0], abs=2e-3)
    assert 'nothing is pushed: the push is [nan' in simulation.read_text()
