"""Trajectories are refused by the rules of joint_trajectory_controller; nothing moves on them."""

import os
import threading
from collections.abc import Callable

import numpy as np
import pytest
import rclpy
from control_msgs.action import FollowJointTrajectory
from ideal_robot import OBSERVE, PRESET, Controllers
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint
from waiting import wait_until

from don_kp_ros.nodes.kit.action import PunctualActionClient
from don_kp_ros.nodes.kit.conversions import stamp_from_seconds
from don_kp_ros.nodes.simulation.trajectories import read_trajectory
from don_kp_ros.simulation.controllers import TrajectoryError

NOW = 1000.0


def fair(rng: np.random.Generator, offset: float = 0.5) -> JointTrajectory:
    """Make a trajectory that the arm can follow, its joints in any order."""
    order = rng.permutation(7)
    message = JointTrajectory(joint_names=[PRESET.arm_joints[i] for i in order])
    count = int(rng.integers(2, 6))
    for k in range(1, count + 1):
        point = JointTrajectoryPoint(positions=(OBSERVE + offset * k / count)[order].tolist())
        point.velocities = [0.0] * 7
        point.time_from_start.nanosec = k * 100_000_000
        message.points.append(point)
    return message


def last(message: JointTrajectory) -> JointTrajectoryPoint:
    return message.points[-1]


FAULTS: dict[str, tuple[Callable[[JointTrajectory, np.random.Generator], None], str]] = {
    'another joint': (lambda m, r: m.joint_names.__setitem__(int(r.integers(7)), 'j9'), 'j9'),
    'a joint twice': (lambda m, _: m.joint_names.__setitem__(0, m.joint_names[1]), 'it is for'),
    'a joint less': (lambda m, _: m.joint_names.pop(), 'it is for'),
    'no joints': (lambda m, _: m.joint_names.clear(), 'no joints'),
    'no points': (lambda m, _: m.points.clear(), 'no points; to stop, cancel'),
    'a position less': (lambda m, _: last(m).positions.pop(), '6 positions for 7'),
    'no positions': (lambda m, _: setattr(last(m), 'positions', []), '0 positions for 7'),
    'a velocity less': (lambda m, _: last(m).velocities.pop(), '6 velocities for 7'),
    'an acceleration': (lambda m, _: last(m).accelerations.append(0.0), '1 accelerations for 7'),
    'effort': (lambda m, _: last(m).effort.append(30.0), 'commands no efforts'),
    'equal times': (
        lambda m, _: setattr(m.points[0], 'time_from_start', m.points[1].time_from_start),
        'not strictly increasing',
    ),
    'a time before 0': (
        lambda m, _: setattr(m.points[0].time_from_start, 'sec', -1),
        'not strictly increasing',
    ),
    'a speed at the end': (
        lambda m, r: last(m).velocities.__setitem__(int(r.integers(7)), 0.1),
        'last point is not zero',
    ),
    'no number': (
        lambda m, r: last(m).positions.__setitem__(r.integers(7), (np.nan, np.inf)[r.integers(2)]),
        'positions are not finite',
    ),
    'an end in the past': (
        lambda m, _: setattr(m.header, 'stamp', stamp_from_seconds(NOW - 60.0)),
        'it ended 59',
    ),
}  # fmt: skip


@pytest.mark.parametrize('fault', FAULTS)
def test_a_fault_is_refused_with_its_rule(fault: str) -> None:
    rng = np.random.default_rng(0)
    break_it, rule = FAULTS[fault]
    for _ in range(20):
        message = fair(rng)
        assert len(read_trajectory(message, PRESET.arm_joints, NOW).times) == len(message.points)
        break_it(message, rng)
        with pytest.raises(TrajectoryError, match=rule):
            read_trajectory(message, PRESET.arm_joints, NOW)


def test_joints_come_in_any_order() -> None:
    read = read_trajectory(fair(np.random.default_rng(1)), PRESET.arm_joints, NOW)
    assert read.positions[-1] == pytest.approx(OBSERVE + 0.5)
    assert read.start is None


def test_of_2000_goals_and_messages_none_that_is_faulty_moves_anything(
    ros_environment: None,
) -> None:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=int(os.environ['ROS_DOMAIN_ID']))
    robot, user = Controllers(context), Node('user', context=context)
    executor = SingleThreadedExecutor(context=context)
    for node in (robot, user):
        executor.add_node(node)
    spinner = threading.Thread(target=executor.spin)
    spinner.start()
    topic = user.create_publisher(
        JointTrajectory, f'{PRESET.arm_controller}/joint_trajectory', 1000
    )
    client = PunctualActionClient(
        user, FollowJointTrajectory, f'{PRESET.arm_controller}/follow_joint_trajectory'
    )
    rng, faults = np.random.default_rng(2), list(FAULTS.values())
    try:
        assert client.wait_for_server(60.0)
        wait_until(topic.get_subscription_count)
        for k in range(1000):
            message = fair(rng)
            faults[k % len(faults)][0](message, rng)
            topic.publish(message)
            answer = client.send_goal_async(FollowJointTrajectory.Goal(trajectory=message))
            wait_until(answer.done)
            assert not answer.result().accepted, message
        assert np.array_equal(np.unique(robot.commands, axis=0), [OBSERVE])
        # The same controller still takes what is fair.
        answer = client.send_goal_async(FollowJointTrajectory.Goal(trajectory=fair(rng)))
        wait_until(answer.done)
        result = answer.result().get_result_async()
        wait_until(result.done)
        assert result.result().result.error_code == FollowJointTrajectory.Result.SUCCESSFUL
        assert robot.arm == pytest.approx(OBSERVE + 0.5)
    finally:
        executor.shutdown()
        spinner.join()
        user.destroy_node()
        robot.destroy_node()
        context.shutdown()
