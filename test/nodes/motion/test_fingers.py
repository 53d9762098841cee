"""Fingers whose server does not do its part, by either kind of action."""

import threading
from dataclasses import replace

import pytest
from action_msgs.msg import GoalStatus
from control_msgs.action import GripperCommand
from franka_msgs.action import Grasp, Move
from ideal_robot import PRESET
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from stage import failure
from waiting import PATIENCE_S, wait_until

from don_kp_ros.motion.port import MotionCode
from don_kp_ros.nodes.motion import action
from don_kp_ros.nodes.motion.grippers import command, franka
from don_kp_ros.nodes.motion.grippers.gripper import Hand
from don_kp_ros.nodes.motion.joint_monitor import JointMonitor
from don_kp_ros.robots.preset import Gripper

SERVED = {
    'franka': {'hung/grasp': Grasp, 'hung/move': Move},
    'command': {'hung': GripperCommand},
}


class Hung:
    """A gripper's driver that takes no goal, or takes it and never ends it."""

    def __init__(self, context, kind):
        self.answers, self.freed, self.goals = True, threading.Event(), []
        self.node = Node('hung_gripper', context=context)
        self.servers = [
            ActionServer(
                self.node,
                served,
                name,
                self._serve,
                goal_callback=self._on_goal,
                cancel_callback=lambda _: CancelResponse.ACCEPT,
                callback_group=ReentrantCallbackGroup(),
            )
            for name, served in SERVED[kind].items()
        ]
        self.executor = MultiThreadedExecutor(4, context=context)
        self.executor.add_node(self.node)
        self.thread = threading.Thread(target=self.executor.spin)
        self.thread.start()

    def _on_goal(self, _):
        if not self.answers:
            self.freed.wait(PATIENCE_S)
        return GoalResponse.ACCEPT

    def _serve(self, handle):
        self.goals.append(handle)
        self.freed.wait(PATIENCE_S)
        handle.abort()
        return handle._action_server.action_type.Result()

    def close(self):
        self.freed.set()
        self.executor.shutdown(PATIENCE_S)
        self.thread.join()
        for server in self.servers:
            server.destroy()
        self.node.destroy_node()


@pytest.fixture(params=SERVED)
def hung(request, robot, user, spun, context, monkeypatch):
    """Give such a driver, and the hand that asks it."""
    for module in (command, franka):
        monkeypatch.setattr(module, '_SECONDS', 0.3)
    monitor = JointMonitor(user, PRESET)
    monitor.start()
    preset = replace(PRESET, gripper=Gripper(request.param, 'hung'))
    driver = Hung(context, request.param)
    with spun(user):
        yield driver, Hand(user, preset, monitor, lambda: None)
        driver.close()


@pytest.mark.parametrize('width', [0.0, 0.06])
def test_a_goal_that_never_ends_is_given_up_and_cancelled(hung, robot, width):
    driver, hand = hung
    robot.hand.hold([0.02])
    wait_until(lambda: robot.finger == 0.02)
    error = failure(lambda: hand.set_width(width, 20.0))
    assert error.code is MotionCode.NOT_FOLLOWED
    assert str(error).startswith('/hung') and ' did not end within 0 s; is ' in str(error)
    (goal,) = driver.goals
    wait_until(lambda: goal.status == GoalStatus.STATUS_CANCELING)


def test_a_server_that_never_answers_is_given_up(hung, monkeypatch):
    driver, hand = hung
    driver.answers = False
    monkeypatch.setattr(action, '_ANSWER_S', 0.3)
    error = failure(lambda: hand.set_width(0.0, 20.0))
    assert error.code is MotionCode.NOT_FOLLOWED
    assert str(error).startswith('/hung') and ' does not answer; is ' in str(error)
    # Taken after all, it is cancelled: nothing moves behind the back of who gave up.
    driver.freed.set()
    wait_until(lambda: driver.goals and driver.goals[0].status != GoalStatus.STATUS_EXECUTING)
