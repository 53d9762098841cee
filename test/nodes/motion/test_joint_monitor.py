"""What is remembered of a robot's joints when time is set back."""

import re

import numpy as np
import pytest
from ideal_robot import PRESET
from rclpy.clock import ClockType
from rclpy.time import Time
from sensor_msgs.msg import JointState

from don_kp_ros.nodes.kit.conversions import stamp_from_seconds
from don_kp_ros.nodes.motion.joint_monitor import JointMonitor


@pytest.fixture
def monitor(user):
    """A monitor whose node's time and messages the test sets."""
    user.get_clock()._set_ros_time_is_active(True)
    return JointMonitor(user, PRESET)


def set_time(monitor, seconds):
    monitor._node.get_clock().set_ros_time_override(
        Time(nanoseconds=round(1e9 * seconds), clock_type=ClockType.ROS_TIME)
    )


def tell(monitor, stamp, position):
    message = JointState(name=list(PRESET.arm_joints), position=[float(position)] * 7)
    message.header.stamp = stamp_from_seconds(stamp)
    monitor._on_joint_states(message)


def test_positions_of_a_clock_that_is_set_back_are_forgotten(monitor):
    for seconds in (10.0, 10.1):
        set_time(monitor, seconds)
        tell(monitor, seconds, 1.0)
    assert np.all(monitor.joint_positions() == 1.0)
    set_time(monitor, 9.9)  # less than the age that is borne, and than a robot's own step back
    assert 'joint states on /joint_states: none came' in str(monitor.arm.stale())
    assert monitor.arm.stamp == -np.inf and monitor.arm.moved(0.1) == np.inf
    tell(monitor, 9.9, 2.0)
    assert np.all(monitor.joint_positions() == 2.0)


def test_stamps_that_are_set_back_begin_anew_and_late_ones_do_not_count(monitor):
    set_time(monitor, 500.0)
    tell(monitor, 100.0, 1.0)
    tell(monitor, 99.5, 2.0)
    assert np.all(monitor.joint_positions() == 1.0)
    tell(monitor, 3.0, 3.0)
    assert np.all(monitor.joint_positions() == 3.0) and monitor.arm.stamp == 3.0
    assert not monitor.arm.moved(0.5) < 1.0


def test_what_moved_in_a_gap_of_the_joint_states_counts(monitor):
    set_time(monitor, 500.0)
    for stamp, position in ((100.0, 0.0), (100.6, 1.0), (100.7, 1.0)):
        tell(monitor, stamp, position)
    assert monitor.arm.moved(0.5) == 1.0
    tell(monitor, 101.2, 1.0)
    assert monitor.arm.moved(0.5) == 0.0


def test_joint_states_without_stamps_are_told_as_such(monitor):
    for now in (10.0, 10.4, 10.8):
        set_time(monitor, now)
        tell(monitor, 0.0, 1.0)
    told = 'the joint states on /joint_states have stamp zero; their driver must stamp them'
    assert str(monitor.arm.stale()) == told
    tell(monitor, 10.8, 1.0)
    assert np.all(monitor.joint_positions() == 1.0)
    assert 'stamp zero' not in str(monitor.arm.stale())


def test_joint_states_on_another_topic_are_named(monitor, peer):
    assert '/franka/joint_states' not in str(monitor.arm.stale())
    elsewhere = peer.node.create_publisher(JointState, '/franka/joint_states', 10)
    told = r' There are some on .*/franka/joint_states.*: choose by joint_states:=$'
    peer.wait_until(lambda: re.search(told, str(monitor.arm.stale())))
    set_time(monitor, 9.9)
    tell(monitor, 9.9, 1.0)
    assert 'There are' not in str(monitor.arm.stale())
    peer.node.destroy_publisher(elsewhere)
