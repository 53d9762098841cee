"""Franka's gripper against the simulation's actions of franka_gripper."""

import threading
from dataclasses import replace

import pytest
from ideal_robot import PRESET
from stage import failure
from waiting import wait_until

from don_kp_ros.motion.port import MotionCode, MotionError
from don_kp_ros.nodes.motion import action
from don_kp_ros.nodes.motion.grippers.gripper import Hand
from don_kp_ros.nodes.motion.joint_monitor import JointMonitor
from don_kp_ros.robots.preset import Gripper
from don_kp_ros.simulation.controllers import TrajectoryController


@pytest.fixture
def connected(robot, user, spun):
    """Return hands by their prefix of actions, and what stops them."""
    stopped = threading.Event()
    monitor = JointMonitor(user, PRESET)
    monitor.start()

    def check():
        if stopped.is_set():
            raise MotionError(MotionCode.CANCELLED, 'stopped')

    def hand(prefix='franka_gripper'):
        return Hand(user, replace(PRESET, gripper=Gripper('franka', prefix)), monitor, check)

    with spun(user):
        yield hand, stopped


def test_it_closes_on_whatever_there_is_and_opens_wholly(robot, connected):
    hand = connected[0]()
    robot.object_width = 0.055
    assert hand.set_width(0.0, 20.0) == pytest.approx(0.055, abs=1e-3)
    assert robot.force == 20.0
    assert hand.set_width(0.08, 20.0) == pytest.approx(0.08, abs=1e-3)


def test_only_a_grasp_may_miss(robot, connected, monkeypatch):
    hand = connected[0]()
    monkeypatch.setattr(robot, 'move_hand', lambda *_: None)
    assert hand.set_width(0.0, 20.0) == pytest.approx(0.08)  # the caller reads the width
    robot.hand = TrajectoryController([0.0])
    wait_until(lambda: robot.finger == 0.0)
    error = failure(lambda: hand.set_width(0.08, 20.0))
    assert error.code is MotionCode.NOT_FOLLOWED
    assert str(error) == '/franka_gripper/move failed: the fingers stopped at 0.0000 m'


def test_a_stop_cancels_the_goal(robot, connected, monkeypatch):
    connect, stopped = connected
    hand, move = connect(), robot.move_hand
    # Long on its way, whatever else the machine does.
    monkeypatch.setattr(
        robot, 'move_hand', lambda way, force: move(replace(way, times=10 * way.times), force)
    )
    robot.when(lambda: robot.finger < 0.038, stopped.set)
    assert failure(lambda: hand.set_width(0.0, 20.0)).code is MotionCode.CANCELLED
    wait_until(lambda: not robot.velocity.any())
    assert robot.finger > 0.0


def test_a_server_that_is_not_there_is_named(connected, monkeypatch):
    monkeypatch.setattr(action, '_CONNECT_S', 0.2)
    error = failure(lambda: connected[0]('nobody').set_width(0.0, 20.0))
    assert error.code is MotionCode.NOT_FOLLOWED
    assert str(error) == 'nobody serves /nobody/grasp; is franka_gripper running?'
