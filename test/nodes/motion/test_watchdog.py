"""The process that stops the arm: what it does and says where the connection to it ends."""

import socket
import subprocess
import sys

import numpy as np
import pytest
from ideal_robot import OBSERVE, PRESET
from waiting import PATIENCE_S, wait_until

from don_kp_ros.motion.timing import Trajectory, time_path
from don_kp_ros.nodes.motion import watchdog
from don_kp_ros.nodes.motion.arm_controller import GOAL_TOLERANCE, ArmController
from don_kp_ros.nodes.motion.joint_monitor import JointMonitor
from don_kp_ros.nodes.motion.watchdog import Watchdog


class Output:
    """What this process, and those that it starts from now on, have said."""

    def __init__(self, capfd):
        self._capfd, self._text = capfd, ''

    @property
    def text(self):
        self._text += ''.join(self._capfd.readouterr())
        return self._text


@pytest.fixture
def output(capfd):
    return Output(capfd)


@pytest.fixture
def guard(output, robot, user, spun):
    robot.received.clear()
    made = Watchdog(user, PRESET)
    with spun(user):
        yield made  # to be started in the test: what is said before, pytest keeps to itself
        made._process.kill()
        made._process.wait()


def way(begin, end):
    path = np.linspace(begin, end, 50)
    return time_path(path, 0.8 * np.ones(7), PRESET.acceleration_limits)


def test_where_the_motion_is_about_to_end_it_says_that_the_arm_comes_to_rest(guard, output, robot):
    guard.start()
    guard.engage()
    wait_until(robot.publisher.get_subscription_count)
    motion: Trajectory = way(OBSERVE - 0.5, OBSERVE)
    guard._tell('follow', motion, guard._time.now() - motion.duration)
    guard._connection.close()
    assert guard._process.wait(PATIENCE_S) == 0
    assert 'who moved the arm has died: the arm comes to rest by itself' in output.text
    assert not robot.received


def test_the_arm_is_said_to_be_stopped_once_it_rests(guard, output, robot, user):
    guard.start()
    guard.engage()
    wait_until(robot.publisher.get_subscription_count)
    motion = way(OBSERVE, OBSERVE + [2.5, 0, 0, 0, 0, 0, 0])
    robot.when(lambda: robot.arm[0] > OBSERVE[0] + 0.3, guard._connection.close)
    guard.follow(motion)
    ArmController(user, PRESET, JointMonitor(user, PRESET)).start(motion, lambda: None)
    wait_until(lambda: 'who moved the arm has died' in output.text)
    assert 'the arm is stopped' in output.text
    at = np.array(robot.arm)
    rest = np.array(robot.received[-1].trajectory.points[-1].positions)
    assert np.abs(at - rest).max() <= GOAL_TOLERANCE
    assert OBSERVE[0] + 0.3 < rest[0] < motion.positions[-1, 0]


def test_a_way_to_rest_that_was_about_to_be_sent_is_sent(guard, output, robot, user):
    guard.start()
    guard.engage()
    wait_until(robot.publisher.get_subscription_count)
    stopping = way(OBSERVE, OBSERVE + 0.05)
    guard.follow(way(OBSERVE, OBSERVE + [2.5, 0, 0, 0, 0, 0, 0]))
    guard.brake(stopping, 0.0)
    guard._connection.close()
    wait_until(lambda: 'who moved the arm has died' in output.text)
    assert 'the arm is stopped' in output.text
    (sent,) = (goal.trajectory for goal in robot.received)
    positions = [point.positions for point in sent.points]
    np.testing.assert_array_equal(positions, stopping.positions[1:])


def test_an_arm_that_does_not_come_to_rest_as_told_is_not_said_to_be_stopped(guard, output, robot):
    guard.start()
    guard.engage()
    wait_until(robot.publisher.get_subscription_count)
    robot.stuck = True
    guard.follow(way(OBSERVE, OBSERVE + [2.5, 0, 0, 0, 0, 0, 0]))
    guard.brake(way(OBSERVE, OBSERVE + 0.05), 0.0)
    guard._connection.close()
    assert guard._process.wait(PATIENCE_S) == 0
    assert 'who moved the arm has died: the motion was aborted by ' in output.text
    assert 'the arm is stopped' not in output.text


def test_where_nothing_moves_it_ends_in_silence_also_at_its_start(guard, output, robot):
    guard.start()
    guard._connection.close()
    assert guard._process.wait(PATIENCE_S) == 0
    assert output.text == '' and not robot.received


def test_where_its_node_has_gone_before_it_begins_it_ends_in_silence():
    ours, theirs = socket.socketpair()
    with theirs:
        ours.close()
        ended = subprocess.run(
            [sys.executable, '-m', watchdog.__name__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, '', '')
