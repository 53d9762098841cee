"""What is held is put down at a taught place, which is looked at from two views first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from looking_arm import PANDA, Q_FIRST, Looking, height
from waiting_arm import Stage, answer

from don_kp.action import Grasp
from don_kp_ros.geometry import rigid
from don_kp_ros.grasping.located import Located
from don_kp_ros.grasping.placing import Held
from don_kp_ros.motion.held import HeldBox
from don_kp_ros.motion.port import MotionCode, MotionError, PlacePlan, Segment
from don_kp_ros.nodes.grasp.objects import Seen
from don_kp_ros.nodes.grasp.observer import GoalRefusedError

HEIGHT = 0.03  # of the tray
SETTLE = 0.001
BRIEF = Grasp.Goal(target='post/top', next='place', place_at='tray/middle')


class Placing(Looking):
    """A looking arm that puts things down; it sees a flat tray beside the post."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.tray = np.array([0.45, 0.25, HEIGHT])
        self.yaw, self.tilt = 0.4, 0.0  # of the tray as a taught object
        self.seen: list[tuple[str, int]] = []  # what was looked for, and from which view
        self.taught = ['tray']
        self.stands = True  # the post, and not in the hand
        self.shows: Callable[[int], bool] = lambda _: True  # the tray's side, from a view
        self.places: list[np.ndarray] = []

    def table(self) -> np.ndarray:
        """All points, every 3 mm."""
        x, y = (
            axis.ravel()
            for axis in np.meshgrid(np.arange(0.25, 0.8, 0.003), np.arange(-0.4, 0.6, 0.003))
        )
        on_tray = (np.abs(x - self.tray[0]) <= 0.1) & (np.abs(y - self.tray[1]) <= 0.1)
        z = np.where(on_tray, self.tray[2], 0.0)
        shown = (y < 0.14) | self.shows(len(self.views) - len(self.back))
        on_post = (np.abs(x - self.post[0]) <= 0.02) & (np.abs(y - self.post[1]) <= 0.02)
        return np.column_stack([x, y, np.where(on_post & self.stands, 0.05, z)])[shown]

    def look_for(self, name: str, images: int, near: Any) -> tuple[np.ndarray, np.ndarray]:
        view = len(self.views) - len(self.back)
        self.seen.append((name, view))
        if name == 'post/top':
            return self.post, self.table()
        if name != 'tray/middle':
            raise GoalRefusedError(Grasp.Result.UNKNOWN_TARGET, f"no descriptor '{name}'")
        if code := self.hidden(view):
            raise GoalRefusedError(code, f'{name} is not seen from view {view}')
        return self.tray + [0.0, self.bias(view), 0.0], self.table()

    def look_for_object(self, name: str, images: int, round_about: Any, near: Any) -> Seen:
        assert not round_about  # what is put down there is turned as it is
        self.seen.append((name, len(self.views) - len(self.back)))
        turn = rigid.rotation_about([1, 0, 0], self.tilt) @ rigid.rotation_about(
            [0, 0, 1], self.yaw
        )
        T = rigid.transform(turn, [*self.tray[:2], 0.01])
        return Seen(Located(T, 1e-6 * np.eye(6), 'a model'), self.table())

    def plan_place(self, T: np.ndarray, _: float) -> PlacePlan:
        self.places.append(T)
        way = Segment('a way', 0.0, None)
        return PlacePlan(T, way, way, way)


@pytest.fixture
def arm(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Placing:
    made = Placing()
    made.serve(stage, monkeypatch)
    objects = stage.node._planning._objects
    monkeypatch.setattr(objects, 'names', lambda: made.taught)
    monkeypatch.setattr(objects, 'look_for', made.look_for_object)
    monkeypatch.setattr(stage.node._observer, 'newest_points', made.table)
    return made


def sent(stage: Stage, goal: Grasp.Goal) -> Grasp.Result:
    return answer(answer(stage.client.send_goal_async(goal)).get_result_async()).result


def test_what_is_picked_is_put_where_two_views_show_a_taught_point(
    stage: Stage, arm: Placing
) -> None:
    arm.bias = lambda view: [0.006, -0.004][view]
    result = sent(stage, BRIEF)
    assert result.success, result.message
    # The place from two views, the arm comes back, then the target from two.
    assert arm.seen[:3] == [('tray/middle', 0), ('tray/middle', 1), ('tray/middle', 1)]
    assert arm.seen[3:] == [('post/top', 0), ('post/top', 1), ('post/top', 1)]
    np.testing.assert_array_equal(arm.back[0], Q_FIRST)
    assert arm.let_go == [False, True]  # the last one after it was put down
    x, y, _ = rigid.apply(rigid.inverse(arm.views[0]), arm.tray + [0.0, 0.006, 0.0])
    assert (x, y) == pytest.approx((0.0, 0.0), abs=1e-9)
    (place,) = arm.places
    # As far as from the post to the mean of what both views show, not turned.
    shift = arm.tray + [0.0, 0.001, 0.0] - [*arm.post[:2], 0.0]
    moved = rigid.transform(translation=shift + [0.0, 0.0, SETTLE]) @ arm.grasps[-1]
    np.testing.assert_allclose(place, moved, atol=1e-9)


def test_a_place_that_is_seen_only_from_another_side_is_judged_by_what_is_seen_there(
    stage: Stage, arm: Placing
) -> None:
    arm.hidden = lambda view: Grasp.Result.NOT_FOUND if view < 1 else 0
    arm.looks_like = lambda _: arm.tray
    arm.shows = lambda _: arm.seen[-1][0] == 'tray/middle' and arm.seen[-1][1] > 0
    result = sent(stage, BRIEF)
    assert result.success, result.message


def test_at_a_taught_object_it_is_turned_as_the_object_is(stage: Stage, arm: Placing) -> None:
    result = sent(stage, Grasp.Goal(target='post/top', next='place', place_at='tray'))
    assert result.success, result.message
    assert [name for name, _ in arm.seen[:3]] == ['tray'] * 3
    (place,) = arm.places
    turn = rigid.rotation_about([0, 0, 1], arm.yaw)
    np.testing.assert_allclose(place[:3, :3], turn @ arm.grasps[-1][:3, :3], atol=1e-9)
    # The tool stands to the tray as it stood to the post.
    off = arm.grasps[-1][:3, 3] - [*arm.post[:2], 0.0]
    np.testing.assert_allclose(place[:3, 3], arm.tray + turn @ off + [0, 0, SETTLE], atol=1e-9)


def test_what_is_held_is_put_at_a_taught_point_past_which_it_looks(
    stage: Stage, arm: Placing
) -> None:
    assert sent(stage, Grasp.Goal(target='post/top')).success
    arm.stands = False
    arm.views.clear()
    looked = len(arm.seen)
    result = sent(stage, Grasp.Goal(mode='place', place_at='tray/middle'))
    assert result.success, result.message
    assert arm.seen[looked] == ('tray/middle', -1) and len(arm.views) == 1
    (place,) = arm.places
    at = arm.grasps[-1][:3, 3] - arm.post + arm.tray + [0.0, 0.0, 0.05 + SETTLE]
    np.testing.assert_allclose(place[:3, 3], at, atol=1e-9)


def test_what_may_have_been_let_go_is_not_held_any_more(stage: Stage, arm: Placing) -> None:
    assert sent(stage, Grasp.Goal(target='post/top')).success
    arm.stands = False
    holds, opened = arm.set_gripper, []

    def stopped(width: float, force: float) -> float:
        opened.append(width)
        arm.width = 0.06  # the fingers are on their way
        raise MotionError(MotionCode.CANCELLED, 'stopped')

    arm.set_gripper = stopped  # type: ignore[method-assign]
    place = Grasp.Goal(mode='place', place_at='tray/middle')
    assert sent(stage, place).code == Grasp.Result.CANCELLED and opened == [PANDA.open_width]
    arm.set_gripper = holds  # type: ignore[method-assign]
    executed = arm.executed
    assert sent(stage, place).code == Grasp.Result.NOTHING_HELD and arm.executed == executed


def test_what_was_picked_is_held_where_the_pick_is_stopped_after_the_fingers_closed(
    stage: Stage, arm: Placing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(_: float) -> None:
        raise MotionError(MotionCode.CANCELLED, 'stopped')

    boxes: list[HeldBox | None] = []
    monkeypatch.setattr(arm, 'wait', stopped)
    monkeypatch.setattr(arm, 'hold', boxes.append)
    assert sent(stage, Grasp.Goal(target='post/top')).code == Grasp.Result.CANCELLED
    assert boxes[-1] is not None
    arm.stands = False
    result = sent(stage, Grasp.Goal(mode='place', place_at='tray/middle'))
    assert result.success, result.message


def test_what_was_not_yet_grasped_is_not_held_where_the_pick_is_stopped(
    stage: Stage, arm: Placing, monkeypatch: pytest.MonkeyPatch
) -> None:
    closes = arm.set_gripper

    def stopped(width: float, force: float) -> float:
        closes(width, force)
        if not width:  # the fingers were on their way
            raise MotionError(MotionCode.CANCELLED, 'stopped')
        return arm.width

    monkeypatch.setattr(arm, 'set_gripper', stopped)
    assert sent(stage, Grasp.Goal(target='post/top')).code == Grasp.Result.CANCELLED
    place = Grasp.Goal(mode='place', place_at='tray/middle')
    assert sent(stage, place).code == Grasp.Result.NOTHING_HELD


def test_what_a_place_is_not_seen_beside_is_heeded_from_other_sides(
    stage: Stage, arm: Placing
) -> None:
    box = HeldBox(np.eye(4), np.array([0.02, 0.02, 0.05]))
    wide = np.linspace(-0.02, 0.02, 11)
    top = np.stack(np.meshgrid(wide, wide, [0.25]), axis=-1).reshape(-1, 3)
    post = top + [0.605, -0.195, 0.0]  # seen before, and hidden by what is held
    stage.node._placer.lifted(Held(arm.T, np.eye(4), np.zeros((0, 3)), post, box))
    arm.width = 0.04
    arm.hidden = lambda view: Grasp.Result.NOT_FOUND if view < 1 else 0
    arm.looks_like = lambda _: arm.tray
    arm.engage()
    stage.node._planning.place('tray/middle', lambda *_: None, post)
    assert arm.ways and all(height(way, 0.605, -0.195) == 0.25 for way in arm.ways)


def test_what_the_place_shows_hides_nothing_that_was_seen_before(
    stage: Stage, arm: Placing
) -> None:
    T, none = arm.T, np.zeros((0, 3))
    box = HeldBox(np.eye(4), np.array([0.02, 0.02, 0.05]))
    hidden, now = np.array([[0.6, -0.2, 0.12]]), np.array([[0.45, 0.25, HEIGHT]])
    placer = stage.node._placer
    placer.lifted(Held(T, np.eye(4), none, hidden, box))
    place = placer.goal_at(rigid.transform(translation=[0.45, 0.25, 0.0]), now)
    np.testing.assert_allclose(place, rigid.transform(translation=[0.45, 0.25, HEIGHT]))
    assert arm.obstacles is not None
    for x, y, z in (*hidden, *now):
        assert height(arm.obstacles, x, y) == z


def test_a_place_that_two_views_show_elsewhere_is_none(stage: Stage, arm: Placing) -> None:
    arm.bias = lambda view: 0.02 * (-1) ** view
    result = sent(stage, BRIEF)
    assert result.code == Grasp.Result.NOT_FOUND
    assert result.message.startswith('the place: tray/middle is seen at (450, 270, 30) mm')
    assert 'the arm is back where it first looked from' in result.message
    assert len(arm.views) == 3 and len(arm.back) == 1 and arm.executed == 0 and not arm.grasps


@pytest.mark.parametrize('code', [Grasp.Result.NOT_FOUND, Grasp.Result.UNCERTAIN])
def test_a_place_that_is_not_seen_moves_nothing(stage: Stage, arm: Placing, code: int) -> None:
    arm.hidden = lambda _: code
    result = sent(stage, BRIEF)
    assert (result.code, result.message) == (
        code,
        'the place: tray/middle is not seen from view 0',
    )
    assert not arm.views and not arm.back and not arm.grasps and arm.executed == 0


def test_a_place_that_nobody_taught_is_told_with_what_is(stage: Stage, arm: Placing) -> None:
    result = sent(stage, Grasp.Goal(target='post/top', next='place', place_at='tra'))
    assert result.code == Grasp.Result.UNKNOWN_TARGET
    assert result.message == "the place: no descriptor 'tra'; taught objects are: tray"


@pytest.mark.parametrize(
    ('tray', 'code', 'told'),
    [
        ((0.45, 0.55, HEIGHT), Grasp.Result.OUTSIDE, 'its y is 0.550 m'),
        ((0.22, 0.25, HEIGHT), Grasp.Result.OCCUPIED, 'was not seen'),
        ((0.5, 0.0, 0.0), Grasp.Result.OCCUPIED, 'nothing to stand on'),
    ],
)
def test_a_place_where_nothing_can_stand_is_refused_before_the_pick(
    stage: Stage, arm: Placing, tray: tuple[float, float, float], code: int, told: str
) -> None:
    arm.tray = np.array(tray)
    result = sent(stage, BRIEF)
    assert result.code == code and told in result.message
    assert arm.executed == 0


def test_what_the_hand_holds_does_not_stand_about(
    stage: Stage, arm: Placing, monkeypatch: pytest.MonkeyPatch
) -> None:
    observer, hand = stage.node._observer, np.diag([1.0, -1.0, -1.0])
    T_base_hand = rigid.transform(hand, [0.4, 0.1, 0.5])
    monkeypatch.setattr(observer, 'pose_of', lambda *_: T_base_hand)
    T_base_tcp = T_base_hand @ stage.node._preset.T_hand_tcp
    below = T_base_tcp[:3, 3] - [0.0, 0.0, 0.05]
    box = HeldBox(rigid.transform(translation=[0.0, 0.0, 0.05]), np.array([0.02, 0.02, 0.05]))
    points = np.array([below, below + [0.04, 0, 0], below + [0.06, 0, 0], below - [0, 0, 0.1]])
    assert len(observer.beside_hand(points, Time())) == 4
    none = np.zeros((0, 3))
    stage.node._placer.lifted(Held(T_base_tcp, np.eye(4), none, none, box))
    np.testing.assert_array_equal(observer.beside_hand(points, Time()), points[2:])
    stage.node._placer.lifted(None)
    assert len(observer.beside_hand(points, Time())) == 4


def test_the_height_of_a_place_is_not_judged_as_the_tools(
    stage: Stage, arm: Placing, monkeypatch: pytest.MonkeyPatch
) -> None:
    high = replace(stage.node._workspace, z=(0.05, 1.0))
    monkeypatch.setattr(stage.node._placer, '_workspace', high)
    result = sent(stage, BRIEF)
    assert result.success, result.message
    below = PoseStamped()
    below.pose.position.x, below.pose.position.z = 0.45, -0.005
    result = sent(stage, Grasp.Goal(target='post/top', next='place', place=below))
    assert result.code == Grasp.Result.OUTSIDE and 'under the table' in result.message


def test_at_an_object_that_lies_on_its_side_nothing_is_put_down(
    stage: Stage, arm: Placing
) -> None:
    arm.tilt = 1.5
    result = sent(stage, Grasp.Goal(target='post/top', next='place', place_at='tray'))
    assert result.code == Grasp.Result.INVALID_GOAL
    assert 'the place is tilted by 86 degrees' in result.message
    assert not arm.places and not arm.grasps
