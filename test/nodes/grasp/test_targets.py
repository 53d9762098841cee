"""What two views of a target tell together, and whether a camera is one on the hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from std_msgs.msg import Header

from don_kp.action import Grasp
from don_kp_ros.geometry import rigid
from don_kp_ros.grasping.candidates import GraspCandidate, PinchParameters
from don_kp_ros.grasping.located import Located
from don_kp_ros.motion.port import MotionCode, MotionError
from don_kp_ros.motion.safety import load_safety
from don_kp_ros.nodes.grasp.observer import GoalRefusedError, LookParameters
from don_kp_ros.nodes.grasp.second_view import NoSecondViewError, SecondView
from don_kp_ros.nodes.grasp.sight import Sight
from don_kp_ros.nodes.grasp.targets import DisagreementError, ObjectTarget, PlacesTarget, Planner
from don_kp_ros.robots.preset import load_preset

LOOK = LookParameters(1.0, 5.0, 3, 0.015, 0.15)
PANDA = load_preset('panda')
T_BASE_HAND = rigid.transform(np.diag([1.0, -1.0, -1.0]), [0.4, 0.0, 0.6])
STRAY: Any = None  # what these tests do not come to


def lying(y: float, yaw: float, *points: tuple[float, float, float]) -> Sight:
    T = rigid.transform(rigid.rotation_about([0, 0, 1], yaw), [0.5, y, 0.0])
    located = Located(T, 1e-6 * np.eye(6), 'a model')
    return Sight(located, np.array(points).reshape(-1, 3))


def test_two_views_of_an_object_are_combined_where_they_agree() -> None:
    beam = ObjectTarget('beam', STRAY, {}, STRAY, LOOK)
    first = lying(0.0, 0.0, (0.5, 0.0, 0.1), (0.3, 0.0, 0.0))
    both = beam.combined(first, lying(0.01, 0.1, (0.501, 0.001, 0.12)))
    np.testing.assert_allclose(beam.place(both), lying(0.005, 0.05).found.T_base_object, atol=1e-9)
    np.testing.assert_allclose(both.points, [[0.501, 0.001, 0.12], [0.3, 0.0, 0.0]])
    for other, told in ((lying(0.02, 0.0), '20 mm and 0 degrees'),
                        (lying(0.0, 0.2), '0 mm and 11 degrees')):  # fmt: skip
        with pytest.raises(DisagreementError, match=told) as caught:
            beam.combined(first, other)
        assert caught.value.code == Grasp.Result.NOT_FOUND
        assert '15 mm (max_spread) and 9 degrees (max_turn)' in str(caught.value)
        assert beam.moved(first, STRAY, other)
    assert not beam.moved(first, STRAY, lying(0.01, 0.1))


def test_of_preferred_places_those_remain_that_both_views_show() -> None:
    any_place = PlacesTarget('cap/*', STRAY, STRAY, LOOK)
    none = np.empty((0, 3))
    first = Sight(np.array([[0.5, 0.0, 0.1], [0.5, 0.1, 0.1]]), none)
    second = Sight(np.array([[0.5, 0.11, 0.1], [0.5, 0.05, 0.1]]), none)
    np.testing.assert_allclose(any_place.combined(first, second).found, [[0.5, 0.105, 0.1]])
    with pytest.raises(DisagreementError, match='40 mm apart, 15 mm are allowed'):
        any_place.combined(first, Sight(np.array([[0.5, 0.06, 0.1]]), none))


def test_an_object_that_moved_is_noticed_though_another_place_of_it_is_near() -> None:
    any_place: Any = PlacesTarget('cap/*', STRAY, STRAY, LOOK)
    here, beside = np.array([0.5, 0.0, 0.1]), np.array([0.5, 0.02, 0.1])
    far = np.array([0.9, 0.3, 0.1])  # of another such object
    seen = {'cap/brim': np.array([far, here]), 'cap/button': np.array([here + 0.05])}
    before = Sight(np.array([here, beside]), np.empty((0, 3)), marks=seen)
    place = rigid.transform(translation=here)

    def after(shift: float, **gone: Any) -> Sight:
        marks = {name: places + [0.0, shift, 0.0] for name, places in seen.items()}
        return replace(before, found=before.found - [0.0, 0.02 - shift, 0.0], marks=marks | gone)

    assert any_place.moved(before, place, after(0.02)) == 'cap/* moved by 20 mm'
    assert not any_place.moved(before, place, after(0.01))
    assert not any_place.moved(before, place, replace(after(0.02), marks={}))


def test_of_two_such_targets_the_one_that_was_seen_last_is_looked_at() -> None:
    asked: list[np.ndarray | None] = []
    places = iter([[0.5, 0.0, 0.1], [0.5, 0.01, 0.1], [0.5, 0.02, 0.1]])

    def see(_: int, near: np.ndarray | None) -> Sight:
        asked.append(near)
        return Sight(np.array([next(places)]), np.empty((0, 3)))

    point = PlacesTarget('cap/brim', see, STRAY, LOOK)
    for _ in range(3):
        point.look(1)
    assert asked[0] is None
    np.testing.assert_allclose(asked[1:], [[0.5, 0.0, 0.1], [0.5, 0.01, 0.1]])  # type: ignore[arg-type]


class Reaches(Planner):
    """A planner whose arm reaches all; keeps what it was asked to plan."""

    def __init__(self) -> None:
        super().__init__(STRAY, load_safety().workspace, PinchParameters())
        self.first: list[np.ndarray] = []

    def plan(self, candidates: Sequence[GraspCandidate], points: np.ndarray) -> Any:
        self.first.append(candidates[0].T_base_tcp)


def test_what_was_reached_before_is_planned_first() -> None:
    x, y = (axis.ravel() for axis in np.meshgrid(*[np.arange(-0.1, 0.1, 0.002)] * 2))
    on = (np.abs(x) <= 0.02) & (np.abs(y) <= 0.02)
    points = np.column_stack([x + 0.5, y, np.where(on, 0.1, 0.0)])
    sight, planner = Sight(np.array([[0.5, 0.0, 0.1]]), points), Reaches()
    post: Any = PlacesTarget('post', STRAY, planner, LOOK)
    post.plan(sight, [])
    across = planner.first[-1] @ rigid.transform(rigid.rotation_about([0, 0, 1], np.pi / 2))
    post.plan(sight, [], across)
    assert abs(across[:3, 1] @ planner.first[-1][:3, 1]) > np.cos(np.deg2rad(15))
    leaning = rigid.transform(rigid.rotation_about([0, 1, 0], np.deg2rad(25))) @ across
    post.plan(sight, [], leaning)
    assert planner.first[-1][2, 2] > -np.cos(np.deg2rad(20))
    post.plan(sight, [])
    np.testing.assert_allclose(planner.first[-1], planner.first[0])


class Seen:
    """Stands for an observer that knows where the camera and the hand are."""

    def __init__(self, T_hand_camera: np.ndarray) -> None:
        self.newest = Header(frame_id='camera')
        self.known = {'camera': T_BASE_HAND @ T_hand_camera, PANDA.hand_frame: T_BASE_HAND}

    def now(self) -> float:
        return 0.0

    def pose_of(self, frame: str, *_: Any) -> np.ndarray:
        if frame not in self.known:
            raise GoalRefusedError(Grasp.Result.STALE_DATA, f'{frame} is not known')
        return self.known[frame]


def second_view(observer: Any, motion: Any = STRAY) -> SecondView:
    return SecondView(PANDA, observer, motion)


def test_a_camera_on_the_hand_has_a_second_view_and_one_on_a_stand_has_none() -> None:
    mounted = PANDA.camera.T_hand_optical
    calibrated = mounted @ rigid.transform(rigid.rotation_about([1, 0, 0], 0.05), [0.01, 0, 0])
    view = second_view(Seen(calibrated)).here()
    assert view is not None
    np.testing.assert_allclose(view.T_base_camera, T_BASE_HAND @ calibrated)
    np.testing.assert_allclose(view.T_base_hand, T_BASE_HAND)
    blind = Seen(mounted)
    del blind.known[PANDA.hand_frame]
    for observer, told in (
        (Seen(rigid.transform(translation=[0.1, 0.0, 0.0]) @ mounted), 'camera is not where'),
        (Seen(mounted @ rigid.transform(rigid.rotation_about([1, 0, 0], 0.4))), 'not where'),
        (blind, 'panda_hand is not known'),
    ):
        view_of = second_view(observer)
        assert view_of.here() is None
        with pytest.raises(NoSecondViewError, match=told):
            view_of.go(None, STRAY)


def test_after_a_failed_motion_or_with_stale_data_the_arm_holds() -> None:
    class Went:
        def __init__(self) -> None:
            self.back: list[Any] = []
            self.around: list[Any] = []

        def set_obstacles(self, obstacles: Any) -> None:
            self.around.append(obstacles)

        def move_to_joints(self, q: Any) -> None:
            self.back.append(q)

    seen: Any = object()  # stands for all that was seen
    for error, returns in (
        (GoalRefusedError(Grasp.Result.NOT_FOUND, 'gone'), True),
        (GoalRefusedError(Grasp.Result.OCCUPIED, 'gone'), True),
        (MotionError(MotionCode.UNREACHABLE, 'gone'), True),
        (GoalRefusedError(Grasp.Result.STALE_DATA, 'gone'), False),
        (MotionError(MotionCode.CANCELLED, 'gone'), False),
        (MotionError(MotionCode.NOT_FOLLOWED, 'gone'), False),
    ):
        motion = Went()
        view = second_view(STRAY, motion)
        assert view.back(error) is error and not motion.back  # it has not left
        view._first, view.obstacles = np.zeros(7), seen
        told = view.back(error)
        assert motion.around == ([seen] if returns else [])
        assert (type(told), told.code) == (type(error), error.code)
        assert str(told).startswith('gone; the arm ')
        assert bool(motion.back) is ('is back' in str(told)) is returns
