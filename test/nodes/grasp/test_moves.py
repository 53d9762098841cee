"""Goals that bring the hand to a pose, on an arm that only waits."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from rclpy.duration import Duration
from std_msgs.msg import Header
from waiting_arm import Arm, Stage, answer

from don_kp.action import Grasp
from don_kp_ros.motion.port import MotionCode, MotionError

BASE = Header(frame_id='panda_link0')


class Hand(Arm):
    """An arm whose hand goes where it is told, with something in it or not."""

    width = 0.08

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.poses: list[np.ndarray] = []
        self.obstacles: list[Any] = []

    def gripper_width(self) -> float:
        return self.width

    def set_obstacles(self, seen: Any) -> None:
        self.obstacles.append(seen)

    def move_to_pose(self, T: np.ndarray) -> None:
        if T[2, 3] > 1.0:
            raise MotionError(MotionCode.OUTSIDE, 'the tool would be outside of the workspace')
        self.set_gripper(self.width, 0.0)
        self.poses.append(T)


@pytest.fixture
def hand(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Hand:
    arm = Hand()
    for part in (stage.node, stage.node._picker, stage.node._placer):
        monkeypatch.setattr(part, '_motion', arm)
    return arm


def moved(z: float, **fields: Any) -> Grasp.Goal:
    goal = Grasp.Goal(mode='move', **fields)
    goal.pose.header.frame_id = 'panda_link0'
    goal.pose.pose.position.x, goal.pose.pose.position.z = 0.5, z
    goal.pose.pose.orientation.x, goal.pose.pose.orientation.w = 1.0, 0.0
    return goal


def result_of(stage: Stage, goal: Grasp.Goal) -> Grasp.Result:
    return answer(answer(stage.client.send_goal_async(goal)).get_result_async()).result


def test_the_hand_goes_to_a_pose_after_a_look_at_the_way(stage: Stage, hand: Hand) -> None:
    result = result_of(stage, moved(0.4))
    assert result.success, result.message
    (pose,), (seen,) = hand.poses, hand.obstacles
    assert np.allclose(pose, [[1, 0, 0, 0.5], [0, -1, 0, 0], [0, 0, -1, 0.4], [0, 0, 0, 1]])
    assert result.grasp_pose.pose.position.z == 0.4 and seen is not None


def test_what_is_held_is_moved_only_blindly(stage: Stage, hand: Hand) -> None:
    hand.width = 0.03
    refused = result_of(stage, moved(0.4))
    assert refused.code == Grasp.Result.INVALID_GOAL and 'hold something 30 mm' in refused.message
    assert not hand.poses
    assert result_of(stage, moved(0.4, blind=True)).success
    assert len(hand.poses) == 1 and hand.obstacles == [None]


def test_a_move_that_may_not_be_moves_nothing(stage: Stage, hand: Hand) -> None:
    for goal, code, said in (
        (moved(1.2), Grasp.Result.OUTSIDE, 'workspace'),
        (moved(float('nan')), Grasp.Result.INVALID_GOAL, 'not finite'),
        (moved(0.4, target='cap/brim'), Grasp.Result.INVALID_GOAL, 'cap/brim'),
        (Grasp.Goal(mode='release', next='place'), Grasp.Result.INVALID_GOAL, 'with place; it'),
        (Grasp.Goal(mode='place', target='cap'), Grasp.Result.INVALID_GOAL, 'with cap; it lets'),
        (Grasp.Goal(mode='move'), Grasp.Result.INVALID_GOAL, 'give one, a pose'),
        (Grasp.Goal(target='cap', blind=True), Grasp.Result.INVALID_GOAL, 'only moves'),
        (moved(0.4, place_at='tray'), Grasp.Result.INVALID_GOAL, 'nothing is put down'),
        (Grasp.Goal(target='cap', place_at='tray'), Grasp.Result.INVALID_GOAL, 'next is: place'),
        (
            Grasp.Goal(target='cap', place=PoseStamped(header=BASE)),
            Grasp.Result.INVALID_GOAL,
            'a place is given, and nothing is put down; mode or next is: place',
        ),
        (moved(0.4, place=PoseStamped(header=BASE)), Grasp.Result.INVALID_GOAL, 'a place'),
        (
            Grasp.Goal(mode='release', place=PoseStamped(header=BASE)),
            Grasp.Result.INVALID_GOAL,
            'a place is given',
        ),
        (
            Grasp.Goal(mode='place', place=PoseStamped(header=BASE), place_at='tray/middle'),
            Grasp.Result.INVALID_GOAL,
            "there is a place, and place_at is 'tray/middle'; give one of them",
        ),
    ):
        result = result_of(stage, goal)
        assert (result.code, said in result.message) == (code, True), result.message
    stage.node._enabled = False
    assert result_of(stage, moved(0.4)).code == Grasp.Result.NOT_ENABLED
    assert not hand.poses and hand.motions == 0


@pytest.mark.parametrize('mode', ['pinch', 'aligned'])
def test_a_pose_of_another_time_is_not_grasped(stage: Stage, hand: Hand, mode: str) -> None:
    goal = moved(0.4)
    goal.mode = mode
    for seconds, said in ((-2, 'the pose is 2.'), (60, ' s from now; ')):
        now = stage.user.get_clock().now()
        goal.pose.header.stamp = (now + Duration(seconds=seconds)).to_msg()
        result = result_of(stage, goal)
        assert result.code == Grasp.Result.STALE_DATA, result.message
        assert said in result.message and '1 s are allowed (max_age)' in result.message
    assert not hand.obstacles and hand.motions == 0
    goal.pose.header.stamp = Time()
    assert result_of(stage, goal).code != Grasp.Result.STALE_DATA


def test_a_move_is_cancelled_on_its_way(stage: Stage, hand: Hand) -> None:
    hand.arrives = False
    handle = answer(stage.client.send_goal_async(moved(0.4)))
    while not hand.moving:
        time.sleep(0.0005)
    assert answer(handle.cancel_goal_async()).goals_canceling
    ended = answer(handle.get_result_async())
    assert ended.status == GoalStatus.STATUS_CANCELED
    assert ended.result.code == Grasp.Result.CANCELLED and not hand.poses
