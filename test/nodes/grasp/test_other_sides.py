"""A target that is not seen at once is looked for from other sides of what looks like it."""

from __future__ import annotations

import numpy as np
import pytest
from looking_arm import Q_FIRST, Looking, height
from waiting_arm import Stage, answer

from don_kp.action import Grasp
from don_kp_ros.geometry import rigid
from don_kp_ros.motion.port import MotionCode, MotionError

NOT_SEEN = [Grasp.Result.NOT_FOUND, Grasp.Result.UNCERTAIN]


@pytest.fixture
def arm(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Looking:
    made = Looking()
    made.looks_like = lambda _: made.post
    made.serve(stage, monkeypatch)
    return made


def pinch(stage: Stage, arm: Looking) -> Grasp.Result:
    def heard(message: object) -> None:
        arm.told.append((message.feedback.phase, message.feedback.detail))  # type: ignore[attr-defined]

    goal = Grasp.Goal(target='post/top')
    handle = answer(stage.client.send_goal_async(goal, feedback_callback=heard))
    return answer(handle.get_result_async()).result


@pytest.mark.parametrize('code', NOT_SEEN)
def test_what_another_side_shows_is_grasped(stage: Stage, arm: Looking, code: int) -> None:
    asked = []
    arm.looks_like = lambda name: asked.append(name) or np.array([0.5, 0.02, 0.05])
    arm.hidden = lambda view: 0 if view else code
    result = pinch(stage, arm)
    assert result.success, result.message
    assert asked == ['post/top']
    # The first side shows what looks like it in its middle, the second one the post.
    for view, middle in zip(arm.views, ([0.5, 0.02, 0.05], arm.post), strict=True):
        x, y, z = rigid.apply(rigid.inverse(view), middle)
        assert (x, y) == pytest.approx((0.0, 0.0), abs=1e-9) and z > 0.25
    assert arm.looks == [0, 1, 2, 2] and arm.executed == 3
    phases = [phase for phase, _ in arm.told]
    assert phases[:5] == ['observe', 'look again', 'plan', 'look again', 'plan']


def test_what_no_side_shows_is_not_found(stage: Stage, arm: Looking) -> None:
    arm.hidden = lambda _: Grasp.Result.NOT_FOUND
    result = pinch(stage, arm)
    assert result.code == Grasp.Result.NOT_FOUND
    assert result.message == (
        'a hand is before view 0; nor from 3 other sides of what looks like it; '
        'the arm is back where it first looked from'
    )
    assert arm.looks == [0, 1, 2, 3] and arm.executed == 0 and not arm.grasps
    np.testing.assert_array_equal(arm.back, [Q_FIRST])
    one, two, three = (view[:3, 3] for view in arm.views)
    assert min(map(np.linalg.norm, (one - two, two - three, three - one))) > 0.05


def test_where_nothing_looks_like_it_the_arm_stays(stage: Stage, arm: Looking) -> None:
    arm.hidden = lambda _: Grasp.Result.NOT_FOUND
    arm.looks_like = lambda _: None
    result = pinch(stage, arm)
    assert (result.code, result.message) == (
        Grasp.Result.NOT_FOUND,
        'a hand is before view 0',
    )
    assert not arm.views and not arm.back


def test_what_is_not_like_it_any_more_is_left(stage: Stage, arm: Looking) -> None:
    arm.hidden = lambda _: Grasp.Result.NOT_FOUND
    arm.looks_like = lambda _: None if arm.views else arm.post
    result = pinch(stage, arm)
    assert 'nor from 1 other side of what looks like it; the arm is back' in result.message
    assert len(arm.views) == len(arm.back) == 1 and arm.executed == 0


@pytest.mark.parametrize('code', [Grasp.Result.STALE_DATA, Grasp.Result.UNKNOWN_TARGET])
def test_for_what_no_other_side_can_mend_the_arm_stays(
    stage: Stage, arm: Looking, code: int
) -> None:
    arm.hidden = lambda _: code
    result = pinch(stage, arm)
    assert (result.code, result.message) == (code, 'a hand is before view 0')
    assert not arm.views and not arm.back


def test_where_the_arm_must_not_move_to_look_it_stays(
    stage: Stage, arm: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage.node._planning._looks, 'views', 1)
    arm.hidden = lambda _: Grasp.Result.NOT_FOUND
    assert pinch(stage, arm).message == 'a hand is before view 0'
    assert not arm.views


def test_where_the_arm_reaches_no_other_side_it_stays(stage: Stage, arm: Looking) -> None:
    arm.reachable = False
    arm.hidden = lambda _: Grasp.Result.NOT_FOUND
    assert pinch(stage, arm).message == (
        'a hand is before view 0; what looks like it is not looked at from another side: '
        'the arm is too short'
    )
    assert not arm.back


def test_an_arm_whose_camera_stops_meanwhile_holds(stage: Stage, arm: Looking) -> None:
    arm.hidden = lambda view: Grasp.Result.STALE_DATA if view else Grasp.Result.NOT_FOUND
    result = pinch(stage, arm)
    assert result.code == Grasp.Result.STALE_DATA
    assert 'a hand is before view 1; the arm holds where it is' in result.message
    assert len(arm.views) == 1 and not arm.back


def test_what_stands_about_is_heeded_on_every_way(
    stage: Stage, arm: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    boards = [(0.5, 0.225), (0.5, -0.225), (0.355, 0.0), (0.645, 0.0)]
    wide = np.linspace(-0.02, 0.02, 11)
    flat = np.stack(np.meshgrid(wide, wide, [0.1]), axis=-1).reshape(-1, 3)
    arm.board = lambda view: flat + [*boards[view], 0.0]
    observer = stage.node._observer
    monkeypatch.setattr(observer, 'newest_points', lambda: arm.board(len(arm.views)))
    arm.hidden = lambda view: 0 if view > 1 else Grasp.Result.NOT_FOUND
    assert pinch(stage, arm).success
    for way, heights in enumerate(arm.ways[:3]):
        seen = [height(heights, *board) == 0.1 for board in boards]
        assert seen == [view <= way for view in range(4)]


def test_what_the_last_side_shows_is_heeded_on_the_way_back(
    stage: Stage, arm: Looking, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide = np.linspace(-0.02, 0.02, 11)
    flat = np.stack(np.meshgrid(wide, wide, [0.1]), axis=-1).reshape(-1, 3)
    beside = [0.5, 0.225, 0.0]
    observer = stage.node._observer
    monkeypatch.setattr(observer, 'newest_points', lambda: (flat + beside)[: 121 * len(arm.views)])
    arm.hidden = lambda _: Grasp.Result.NOT_FOUND
    arm.looks_like = lambda _: None if arm.views else arm.post
    assert not pinch(stage, arm).success
    there, back = arm.ways
    assert [height(way, *beside[:2]) == 0.1 for way in (there, back)] == [False, True]


def test_a_plan_that_fails_after_other_sides_brings_the_arm_back(
    stage: Stage, arm: Looking
) -> None:
    def beyond(_: int) -> None:
        raise MotionError(MotionCode.UNREACHABLE, 'the arm is too short')

    arm.hidden = lambda view: 0 if view else Grasp.Result.NOT_FOUND
    arm.planned = beyond
    result = pinch(stage, arm)
    assert result.code == Grasp.Result.UNREACHABLE
    assert 'the arm is back where it first looked from' in result.message
    np.testing.assert_array_equal(arm.back, [Q_FIRST])
