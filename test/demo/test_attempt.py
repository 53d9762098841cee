"""What a judge says of an attempt."""

import math
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import Point
from rclpy.clock import Clock
from rclpy.task import Future

from don_kp.action import Grasp
from don_kp.srv import GetSceneTruth
from don_kp_ros.demo.attempt import Attempt, Step, _is_wrong, attempt, turn_between
from don_kp_ros.demo.results import Trial, is_held, is_pinched, sentence


def went(*phases: str) -> tuple[Step, ...]:
    return tuple(Step(phase, 0.5, 0.1) for phase in phases)


@pytest.mark.parametrize(
    ('told', 'verdict'),
    [
        (Attempt('succeeded', '', lift=0.12), 'lifted'),
        (Attempt('succeeded', '', lift=0.12, wrong=True), 'wrong object'),
        (Attempt('succeeded', '', lift=0.02, steps=went('observe', 'close', 'lift')), 'dropped'),
        (Attempt('empty gripper', '', lift=0.0, steps=went('observe', 'close')), 'missed'),
        (
            Attempt(
                'empty gripper', '', 0.0, steps=went('observe', 'lift', 'observe', 'plan', 'close')
            ),
            'missed',
        ),
        (Attempt('no grasp', '', lift=0.0), 'no plan'),
        (Attempt('unreachable', '', lift=0.0), 'no plan'),
        (Attempt('uncertain', '', lift=0.0), 'not found'),
        (Attempt('motion failed', '', lift=0.0, steps=went('observe', 'lift')), 'failed'),
    ],
)
def test_what_came_of_it_is_told_in_few_words(told: Attempt, verdict: str) -> None:
    assert told.verdict == verdict


def test_the_turn_of_a_round_object_does_not_count() -> None:
    x, y = np.eye(3)[:2]
    assert turn_between(x, y, round_object=False) == pytest.approx(math.pi / 2)
    assert turn_between(x, -x, round_object=False) == pytest.approx(0)
    assert turn_between(x, y, round_object=True) == pytest.approx(0)
    leaning = np.array([math.cos(0.2), 0.0, -math.sin(0.2)])
    assert turn_between(y, leaning, round_object=True) == pytest.approx(0.2)


def truth(own: list[float], *others: list[float]) -> GetSceneTruth.Response:
    def point(xyz: list[float]) -> Point:
        return Point(x=xyz[0], y=xyz[1], z=xyz[2])

    return GetSceneTruth.Response(
        has_object=True, centre=point(own), others=[point(one) for one in others]
    )


def test_another_object_that_was_meant_or_lifted_is_the_wrong_one() -> None:
    own, other, raised = [0.5, 0.0, 0.03], [0.5, 0.2, 0.04], [0.5, 0.2, 0.1]
    before = truth(own, other)
    near, nearer_to_other = np.array([0.5, 0.09, 0.05]), np.array([0.5, 0.11, 0.05])
    assert not _is_wrong(before, before, near)
    assert _is_wrong(before, before, nearer_to_other)
    assert _is_wrong(before, truth(own, raised), near)
    assert not _is_wrong(before, before, np.full(3, np.nan))
    assert not _is_wrong(truth(own), truth(own), nearer_to_other)


class Stage:
    """A judge of a grasp that finds the object, misses it, shifts it, finds it again and lifts."""

    motion = 1.0

    def __init__(self) -> None:
        self.place = np.array([0.5, 0.0, 0.03])
        self.pushes: list[list[float]] = []

    def truth(self) -> GetSceneTruth.Response:
        return truth(self.place.tolist(), [0.5, 0.2, 0.04])

    def glance(self) -> Future:
        told = Future()
        told.set_result(self.truth())
        return told

    def push(self, shift: list[float]) -> None:
        self.pushes.append(shift)
        self.place = self.place + shift

    def get_clock(self) -> Clock:
        return Clock()

    def watch_height(self, _: float) -> float:
        return float(self.place[2])

    def grasp(self, _: Grasp.Goal, heard: Any, while_held: Any) -> Grasp.Result:
        for phase in ('observe', 'plan', 'approach', 'close', 'retreat', 'observe', 'plan'):
            heard(phase, '')
            if phase == 'close':
                self.place = self.place + [0.0, 0.02, 0.0]
        found = self.place + [0.003, 0.0, 0.004]
        for phase in ('approach', 'close', 'lift', 'verify'):
            heard(phase, '')
        self.place = self.place + [0.0, 0.0, 0.2]
        while_held()
        result = Grasp.Result()
        result.point.point = Point(x=found[0], y=found[1], z=found[2])
        return result


def test_an_object_is_pushed_once_and_its_place_is_that_before_the_last_approach() -> None:
    stage = Stage()
    shift = np.array([0.06, 0.0, 0.0])

    def where(told: GetSceneTruth.Response) -> np.ndarray:
        return np.array([told.centre.x, told.centre.y, told.centre.z])

    told, _, before = attempt(stage, Grasp.Goal(), where, lambda *_: None, shift)  # type: ignore[arg-type]
    assert stage.pushes == [[0.06, 0.0, 0.0]]
    assert told.error == pytest.approx(0.005)
    assert where(before) == pytest.approx([0.56, 0.02, 0.03])
    assert told.verdict == 'lifted' and told.lift == pytest.approx(0.2)
    assert [step.phase for step in told.steps].count('plan') == 2


def test_what_was_not_pushed_is_where_it_was() -> None:
    class Refusing(Stage):
        def grasp(self, _: Grasp.Goal, heard: Any, while_held: Any) -> Grasp.Result:
            heard('observe', '')
            result = Grasp.Result()
            x, y, z = self.place
            result.point.point = Point(x=x, y=y, z=z)
            return result

    stage = Refusing()

    def where(told: GetSceneTruth.Response) -> np.ndarray:
        return np.array([told.centre.x, told.centre.y, told.centre.z])

    shift = np.array([0.0, 0.15, 0.0])  # to near the other one
    told, *_ = attempt(stage, Grasp.Goal(), where, lambda *_: None, shift)  # type: ignore[arg-type]
    assert not stage.pushes
    assert told.error == pytest.approx(0.0) and not told.wrong


def test_where_it_was_pushed_is_not_taken_for_another_object() -> None:
    before, found = truth([0.5, 0.0, 0.03], [0.5, 0.16, 0.04]), np.array([0.5, 0.1, 0.05])
    assert _is_wrong(before, before, found)
    assert not _is_wrong(before, before, found, np.array([0.0, 0.1, 0.0]))


def test_a_trial_passes_where_all_that_was_tried_did() -> None:
    def trial(pinch: Attempt | None, aligned: Attempt | None, **more: object) -> Trial:
        told = {'present': True, **more}
        return Trial(1, 'mug', 200_001, seconds=3.0, pinch=pinch, aligned=aligned, **told)  # type: ignore[arg-type]

    good = Attempt('succeeded', '', lift=0.2, error=0.004, turn=0.05, motion=1.0)
    far = Attempt('succeeded', '', lift=0.2, error=0.02, turn=0.05)
    turned = Attempt('succeeded', '', lift=0.2, error=0.004, turn=0.2)
    assert is_pinched(good) and not is_pinched(far)
    assert is_held(far) and not is_held(turned)
    assert trial(good, None).passed and trial(None, far).passed and trial(good, good).passed
    assert not trial(far, None).passed and not trial(good, turned).passed
    assert not trial(None, None).passed and not trial(good, None, failure='no answer').passed
    still = Attempt('not found', '', motion=0.001)
    assert trial(still, None, present=False).passed
    assert not trial(good, None, present=False).passed
    assert 'mug pinched and lifted by 20.0 cm' in sentence(trial(good, turned))
    row = trial(still, None, present=False).plain()
    assert row['pinch']['lift'] is None and row['pinch']['verdict'] == 'not found'
