"""Franka's gripper against a stand-in for its actions; franka_msgs needs an installed ROS."""

import sys
import threading
import types
from types import SimpleNamespace

import pytest
from rclpy.task import Future

from don_kp_ros.motion.port import MotionCode, MotionError
from don_kp_ros.nodes.kit.runner import StartupError
from don_kp_ros.nodes.motion.grippers import franka
from don_kp_ros.nodes.motion.grippers.franka import FrankaGripper
from don_kp_ros.robots.preset import load_preset

PRESET = load_preset('fr3')


class Client:
    """An action client whose server answers at once, unless it is told otherwise."""

    def __init__(self, node, action, name):
        self.action, self.name = action, name
        self.goals, self.cancelled = [], threading.Event()
        self.ready, self.accepted, self.success, self.busy = True, True, True, None

    def server_is_ready(self):
        return self.ready

    def send_goal_async(self, goal):
        self.goals.append(goal)
        result = Future()
        if self.busy is None:
            result.set_result(
                SimpleNamespace(result=SimpleNamespace(success=self.success, error='broken'))
            )
        else:
            self.busy.set()
        sent = Future()
        sent.set_result(
            SimpleNamespace(
                accepted=self.accepted,
                get_result_async=lambda: result,
                cancel_goal_async=self.cancelled.set,
            )
        )
        return sent


def goal(**fields):
    return SimpleNamespace(**fields, epsilon=SimpleNamespace(inner=None, outer=None))


@pytest.fixture
def gripper(monkeypatch):
    """A gripper with its clients and what stops it."""
    actions = types.ModuleType('franka_msgs.action')
    actions.Grasp, actions.Move = SimpleNamespace(Goal=goal), SimpleNamespace(Goal=goal)
    monkeypatch.setitem(sys.modules, 'franka_msgs', types.ModuleType('franka_msgs'))
    monkeypatch.setitem(sys.modules, 'franka_msgs.action', actions)
    clients = {}

    def connect(node, action, name):
        return clients.setdefault(name, Client(node, action, name))

    monkeypatch.setattr(franka, 'ActionClient', connect)
    stopped = threading.Event()
    made = FrankaGripper(None, PRESET, stopped)
    return made, clients['franka_gripper/grasp'], clients['franka_gripper/move'], stopped


def failure(call):
    with pytest.raises(MotionError) as caught:
        call()
    return caught.value


def test_it_closes_by_grasping_whatever_there_is_and_opens_by_moving(gripper):
    hand, grasp, move, _ = gripper
    hand.move(0.0, 30.0, closing=True)
    (closing,) = grasp.goals
    assert (closing.width, closing.force) == (0.0, 30.0)
    assert closing.epsilon.inner == closing.epsilon.outer == PRESET.open_width
    hand.move(0.08, 30.0, closing=False)
    assert [opening.width for opening in move.goals] == [0.08]
    assert len(grasp.goals) == 1


def test_only_a_grasp_may_miss(gripper):
    hand, grasp, move, _ = gripper
    grasp.success = move.success = False
    hand.move(0.0, 30.0, closing=True)  # the caller reads the width
    error = failure(lambda: hand.move(0.08, 30.0, closing=False))
    assert (error.code, str(error)) == (MotionCode.NOT_FOLLOWED, 'the gripper failed: broken')
    grasp.accepted = False
    error = failure(lambda: hand.move(0.0, 30.0, closing=True))
    assert error.code is MotionCode.NOT_FOLLOWED
    assert 'rejected' in str(error)


def test_a_stop_cancels_the_goal(gripper):
    hand, grasp, _, stopped = gripper
    grasp.busy = threading.Event()
    failures = []
    mover = threading.Thread(
        target=lambda: failures.append(failure(lambda: hand.move(0.0, 30.0, closing=True)))
    )
    mover.start()
    assert grasp.busy.wait(10.0)
    stopped.set()
    mover.join(timeout=10.0)
    assert failures[0].code is MotionCode.CANCELLED
    assert grasp.cancelled.is_set()


def test_a_server_that_is_not_there_is_named(gripper, monkeypatch):
    hand, grasp, _, _ = gripper
    grasp.ready = False
    monkeypatch.setattr(franka, '_SECONDS', 0.0)
    error = failure(lambda: hand.move(0.0, 30.0, closing=True))
    assert error.code is MotionCode.TIMEOUT
    assert 'is franka_gripper running?' in str(error)


def test_missing_messages_are_told_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, 'franka_msgs', None)
    with pytest.raises(StartupError, match=r'franka_ros2 for franka_msgs'):
        FrankaGripper(None, PRESET, threading.Event())
