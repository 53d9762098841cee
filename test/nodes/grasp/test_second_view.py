"""A target is looked at from a second view before the arm goes on; the arm only waits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from looking_arm import Q_FIRST, T_FIRST, T_TCP_CAMERA, Looking, height
from waiting import wait_until
from waiting_arm import Stage, answer

from don_kp.action import Grasp
from don_kp_ros.geometry import rigid
from don_kp_ros.motion.port import MotionCode, MotionError


@pytest.fixture
def arm(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Looking:
    made = Looking()
    made.serve(stage, monkeypatch)
    return made


def sent(stage: Stage, arm: Looking) -> Any:
    def heard(message: Any) -> None:
        arm.told.append((message.feedback.phase, message.feedback.detail))

    goal = Grasp.Goal(target='post/top')
    return answer(stage.client.send_goal_async(goal, feedback_callback=heard))


def pinch(stage: Stage, arm: Looking) -> Grasp.Result:
    return answer(sent(stage, arm).get_result_async()).result


def found(result: Grasp.Result) -> np.ndarray:
    p = result.point.point
    return np.array([p.x, p.y, p.z])


def test_what_two_views_agree_on_is_grasped_between_them(stage: Stage, arm: Looking) -> None:
    arm.bias = lambda view: [0.006, -0.004][view]
    result = pinch(stage, arm)
    assert result.success, result.message
    (view,) = arm.views
    # The post seen at first is in the middle of the second picture, nearer and from aside.
    x, y, z = rigid.apply(rigid.inverse(view), [0.5, 0.006, 0.05])
    assert (x, y) == pytest.approx((0.0, 0.0), abs=1e-9)
    assert 0.25 < z < np.linalg.norm((T_FIRST @ T_TCP_CAMERA)[:3, 3] - [0.5, 0.006, 0.05])
    np.testing.assert_allclose(found(result), [0.5, 0.001, 0.05])
    assert arm.looks == [0, 1, 1]  # the last one is newer than the plan
    assert len(arm.grasps) == 2 and arm.executed == 3 and not arm.back
    phases = [phase for phase, _ in arm.told]
    assert phases[:5] == ['observe', 'plan', 'look again', 'plan', 'approach']
    assert phases[5:] == ['close', 'lift', 'verify']
    assert [detail for _, detail in arm.told] == [
        'where post/top is',
        'a grasp of post/top at (500, 6, 50) mm',
        'at post/top, from a second view',
        'a grasp of post/top at (500, 1, 50) mm',
        'to before the object, then straight to it, in 0.0 s',
        'the fingers close with 30 N',
        'straight up, with what is 40 mm wide',
        'whether it is still held after 2 s',
    ]


def test_what_is_seen_elsewhere_from_every_view_is_not_found(stage: Stage, arm: Looking) -> None:
    arm.bias = lambda view: 0.02 * (-1) ** view
    result = pinch(stage, arm)
    assert result.code == Grasp.Result.NOT_FOUND
    for said in ('(500, 20, 50)', '(500, -20, 50)', '40 mm apart', '15 mm are allowed',
                 'the arm is back where it first looked from'):  # fmt: skip
        assert said in result.message
    assert len(arm.views) == 3 and arm.executed == 0
    np.testing.assert_array_equal(arm.back, [Q_FIRST])


def test_what_a_view_alone_saw_is_heeded_on_every_later_way(stage: Stage, arm: Looking) -> None:
    arm.bias = lambda view: 0.02 * (-1) ** view
    boards = [(0.5, 0.225), (0.5, -0.225), (0.355, 0.0), (0.645, 0.0)]
    wide = np.linspace(-0.02, 0.02, 11)
    flat = np.stack(np.meshgrid(wide, wide, [0.1]), axis=-1).reshape(-1, 3)
    arm.board = lambda view: flat + [*boards[view], 0.0]
    assert pinch(stage, arm).code == Grasp.Result.NOT_FOUND
    assert len(arm.ways) == 4 and len(arm.back) == 1  # to three views, and back
    for way, heights in enumerate(arm.ways):
        seen = [height(heights, *board) == 0.1 for board in boards]
        assert seen == [view <= way for view in range(4)]


def test_what_a_view_saw_that_did_not_show_the_target_is_heeded(
    stage: Stage, arm: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = np.linspace(-0.02, 0.02, 11)
    flat = np.stack(np.meshgrid(wide, wide, [0.1]), axis=-1).reshape(-1, 3) + [0.5, 0.225, 0.0]
    monkeypatch.setattr(stage.node._observer, 'newest_points', lambda: flat)
    arm.hidden = lambda view: Grasp.Result.NOT_FOUND if view == 1 else 0
    pinch(stage, arm)
    first, second = arm.ways[:2]
    assert height(first, 0.5, 0.225) != 0.1 and height(second, 0.5, 0.225) == 0.1


def test_what_moved_does_not_stay_where_it_was(stage: Stage, arm: Looking) -> None:
    arm.planned = lambda plans: arm.post.__setitem__(1, 0.06 * (plans > 1))
    assert pinch(stage, arm).success
    first, second = arm.ways
    assert height(first, 0.505, -0.015) == height(second, 0.505, 0.065) == 0.05
    assert height(second, 0.505, -0.015) == 0.0


def test_of_a_false_first_view_two_others_that_agree_take_the_place(
    stage: Stage, arm: Looking
) -> None:
    arm.bias = lambda view: 0.04 if view == 0 else 0.0
    result = pinch(stage, arm)
    assert result.success, result.message
    np.testing.assert_allclose(found(result), arm.post)
    assert len(arm.views) == 2
    assert any('40 mm apart' in detail for phase, detail in arm.told if phase == 'observe')


def test_what_moves_while_it_is_planned_for_is_looked_for_again(
    stage: Stage, arm: Looking
) -> None:
    def pushed(plans: int) -> None:
        arm.post[1] += 0.03 if plans == 2 else 0.0

    arm.planned = pushed
    result = pinch(stage, arm)
    assert result.success, result.message
    np.testing.assert_allclose(found(result), [0.5, 0.03, 0.05])
    assert ('observe', 'post/top moved by 30 mm') in arm.told
    assert len(arm.views) == 2


def test_what_moves_at_every_look_is_left_alone(stage: Stage, arm: Looking) -> None:
    def pushed(plans: int) -> None:
        arm.post[1] += 0.03 if plans > 1 else 0.0

    arm.planned = pushed
    result = pinch(stage, arm)
    assert result.code == Grasp.Result.MOVED and 'at each of 4 looks' in result.message
    assert arm.executed == 0 and len(arm.back) == 1


def test_where_no_second_view_is_reached_it_is_looked_at_from_here_and_the_goal_goes_on(
    stage: Stage, arm: Looking
) -> None:
    arm.reachable = False
    result = pinch(stage, arm)
    assert result.success, result.message
    assert not arm.views and arm.looks == [0, 0]
    (said,) = [detail for _, detail in arm.told if 'from here' in detail]
    assert 'the arm is too short' in said


def test_a_single_view_is_all_where_no_other_is_wanted(
    stage: Stage, arm: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage.node._planning._looks, 'views', 1)
    result = pinch(stage, arm)
    assert result.success, result.message
    assert not arm.views and arm.looks == [0] and len(arm.grasps) == 1
    phases = [phase for phase, _ in arm.told]
    assert phases == ['observe', 'plan', 'approach', 'close', 'lift', 'verify']


def test_what_the_second_view_does_not_show_is_not_found(stage: Stage, arm: Looking) -> None:
    arm.hidden = lambda view: Grasp.Result.NOT_FOUND if view else 0
    result = pinch(stage, arm)
    assert result.code == Grasp.Result.NOT_FOUND
    assert 'a hand is before view 3; the arm is back' in result.message
    assert len(arm.views) == 3 and len(arm.back) == 1 and arm.executed == 0
    one, two, three = (view[:3, 3] for view in arm.views)  # each from another place
    assert min(map(np.linalg.norm, (one - two, two - three, three - one))) > 0.05


@pytest.mark.parametrize(
    ('fails', 'code'),
    [
        (MotionCode.NEEDS_RECOVERY, Grasp.Result.NEEDS_RECOVERY),
        (MotionCode.NOT_FOLLOWED, Grasp.Result.MOTION_FAILED),
        (MotionCode.CANCELLED, Grasp.Result.CANCELLED),
        (MotionCode.UNREACHABLE, Grasp.Result.NOT_FOUND),
    ],
)
def test_a_way_back_that_fails_is_told_with_why_it_was_gone(
    stage: Stage, arm: Looking, fails: MotionCode, code: int
) -> None:
    arm.hidden = lambda view: Grasp.Result.NOT_FOUND if view else 0
    arm.fails = fails
    result = pinch(stage, arm)
    assert result.code == code and len(arm.back) == 1
    assert 'a hand is before view 3; the arm holds where it is: the way back' in result.message


def test_an_arm_whose_camera_stops_between_the_looks_holds(stage: Stage, arm: Looking) -> None:
    arm.hidden = lambda view: Grasp.Result.STALE_DATA if view else 0
    result = pinch(stage, arm)
    assert result.code == Grasp.Result.STALE_DATA
    assert 'the arm holds where it is' in result.message
    assert len(arm.views) == 1 and not arm.back and arm.executed == 0


def test_an_arm_that_stops_on_the_way_to_the_second_view_is_not_sent_on(
    stage: Stage, arm: Looking
) -> None:
    arm.strays = True
    result = pinch(stage, arm)
    assert result.code == Grasp.Result.MOTION_FAILED and 'does not answer' in result.message
    assert 'the arm holds where it is' in result.message
    assert not arm.views and not arm.back and arm.executed == 0


def test_fingers_that_hold_something_pick_nothing(stage: Stage, arm: Looking) -> None:
    arm.width = 0.03
    result = pinch(stage, arm)
    assert result.code == Grasp.Result.INVALID_GOAL
    assert 'the fingers hold something 30 mm wide; send a goal of mode release' in result.message
    assert not arm.looks and not arm.executed and arm.motions == 0 and arm.width == 0.03


def test_a_point_outside_of_the_workspace_moves_nothing(stage: Stage, arm: Looking) -> None:
    arm.post = np.array([0.5, 0.55, 0.05])
    result = pinch(stage, arm)
    assert result.code == Grasp.Result.OUTSIDE
    assert 'post/top at (500, 550, 50) mm is outside of the workspace: its y is' in result.message
    assert not arm.views and not arm.grasps and not arm.executed and arm.motions == 0


def test_a_goal_that_cannot_be_planned_moves_nothing(stage: Stage, arm: Looking) -> None:
    def beyond(_: int) -> None:
        raise MotionError(MotionCode.UNREACHABLE, 'the arm is too short')

    arm.planned = beyond
    result = pinch(stage, arm)
    assert result.code == Grasp.Result.UNREACHABLE
    assert not arm.views and not arm.back and arm.looks == [0]


def test_a_goal_is_cancelled_on_the_way_to_the_second_view(stage: Stage, arm: Looking) -> None:
    arm.arrives = False
    handle = sent(stage, arm)
    wait_until(lambda: arm.moving)
    assert answer(handle.cancel_goal_async()).goals_canceling
    ended = answer(handle.get_result_async())
    assert ended.status == GoalStatus.STATUS_CANCELED
    assert ended.result.code == Grasp.Result.CANCELLED
    assert not arm.views and not arm.back and arm.executed == 0
