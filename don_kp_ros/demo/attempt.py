"""A goal that was sent, and what physics says of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import Point
from numpy.typing import NDArray
from rclpy.task import Future

from don_kp.action import Grasp
from don_kp.srv import GetSceneTruth
from don_kp_ros.demo.judge import Judge
from don_kp_ros.grasping.pick import Phase
from don_kp_ros.nodes.kit.conversions import matrix_from_pose

Array = NDArray[np.float64]

LIFTED = 0.10  # metres that count as lifted
DISTURBED = 0.03  # metres by which no other object may have risen
HOLD_SECONDS = 2.0
_CODES = (
    'SUCCEEDED', 'INVALID_GOAL', 'UNKNOWN_TARGET', 'NOT_FOUND', 'STALE_DATA', 'NO_GRASP',
    'UNREACHABLE', 'MOTION_FAILED', 'EMPTY_GRIPPER', 'CANCELLED', 'FAULT', 'NOT_ENABLED',
    'NOT_TAUGHT', 'UNCERTAIN', 'OUTSIDE', 'MOVED', 'NEEDS_RECOVERY', 'OCCUPIED', 'NOTHING_HELD',
)  # fmt: skip
_NAMES = {getattr(Grasp.Result, code): code.lower().replace('_', ' ') for code in _CODES}
_VERDICTS = {
    'no grasp': 'no plan',
    'unreachable': 'no plan',
    'outside': 'no plan',
    'not found': 'not found',
    'uncertain': 'not found',
    'moved': 'not found',
}


@dataclass(frozen=True)
class Step:
    """A phase of an attempt, and its seconds: simulated ones, and of this machine."""

    phase: str
    simulated: float
    real: float


@dataclass(frozen=True)
class Attempt:
    """What came of a goal; metres, radians, NaN where there is nothing to measure."""

    outcome: str  # the action's code in words
    message: str
    lift: float = math.nan  # the least over the time of holding; 0 where nothing was held
    error: float = math.nan  # from the found point, or origin of the object, to the true one
    turn: float = math.nan  # of the finger axis in the object's frame from the taught one
    motion: float = math.nan  # the largest of any joint between the goal and its result
    wrong: bool = False  # another object was lifted, or is nearer to what was found
    grasp: list[list[float]] | None = None  # (4, 4) of the tool centre point in the base frame
    steps: tuple[Step, ...] = ()

    @property
    def verdict(self) -> str:
        """What came of it, in one of few words."""
        if self.wrong:
            return 'wrong object'
        if self.lift >= LIFTED:
            return 'lifted'
        phases = [step.phase for step in self.steps]
        if self.outcome in ('succeeded', 'empty gripper'):
            return 'dropped' if Phase.LIFT.value in _last_try(phases) else 'missed'
        return _VERDICTS.get(self.outcome, 'failed')


def attempt(
    judge: Judge,
    goal: Grasp.Goal,
    where: Callable[[GetSceneTruth.Response], Array],
    on_phase: Callable[[str, str], None],
    push: Array | None = None,
) -> tuple[Attempt, Grasp.Result, GetSceneTruth.Response]:
    """Send a goal and judge it; with what came of it comes the truth that it is judged by.

    That is of when the hand last approached, where it did: one that missed may have moved the
    object. ``where`` tells by it where the target is, (3,) in the base frame. push: by how much
    (3,) the object is pushed as soon as it was found.
    """
    before = after = judge.truth()
    lowest = before.centre.z
    shift = np.zeros(3)
    marks: list[tuple[str, float, float]] = []
    approached: list[Future] = []

    def mark(phase: str) -> None:
        marks.append((phase, judge.get_clock().now().nanoseconds * 1e-9, time.monotonic()))

    def heard(phase: str, detail: str) -> None:
        nonlocal shift
        planned_before = Phase.PLAN.value in [name for name, *_ in marks]
        mark(phase)
        if push is not None and phase == Phase.PLAN.value and not planned_before:
            judge.push(push.tolist())
            shift = push
        if phase == Phase.APPROACH.value:
            approached.append(judge.glance())
        on_phase(phase, detail)

    def watch() -> None:
        nonlocal lowest, after
        lowest = judge.watch_height(HOLD_SECONDS)
        after = judge.truth()

    result = judge.grasp(goal, heard, while_held=watch)
    mark('')
    steps = tuple(
        Step(phase, round(until - since, 3), round(real_until - real_since, 3))
        for (phase, since, real_since), (_, until, real_until) in zip(
            marks[:-1], marks[1:], strict=True
        )
    )
    found = _array(result.point.point)
    done = [glance.result() for glance in approached if glance.done()]
    truth = done[-1] if done else before
    expected = where(truth) if done else where(truth) + shift
    planned = result.grasp_pose.header.frame_id
    told = Attempt(
        outcome=_NAMES[result.code],
        message=result.message,
        lift=lowest - before.centre.z if before.has_object else math.nan,
        error=float(np.linalg.norm(found - expected)) if before.has_object else math.nan,
        motion=judge.motion,
        wrong=_is_wrong(before, after, found, shift),
        grasp=matrix_from_pose(result.grasp_pose.pose).tolist() if planned else None,
        steps=steps,
    )
    return told, result, truth


def turn_between(taught: Array, held: Array, round_object: bool) -> float:
    """Return the angle between two finger axes (3,) of unit length, in the object's frame, rad.

    The hand may be turned by half a turn; the turn of a round object about its z does not count.
    """
    if round_object:
        slopes = [math.asin(min(1.0, abs(float(axis[2])))) for axis in (taught, held)]
        return abs(slopes[0] - slopes[1])
    return math.acos(min(1.0, abs(float(taught @ held))))


def _last_try(phases: list[str]) -> list[str]:
    """Return the phases from the last time on that it was observed."""
    begun = [i for i, phase in enumerate(phases) if phase == Phase.OBSERVE.value]
    return phases[begun[-1] :] if begun else phases


def _is_wrong(
    before: GetSceneTruth.Response,
    after: GetSceneTruth.Response,
    found: Array,
    shift: Array | float = 0.0,
) -> bool:
    """Tell whether another object rose, or is nearer to what was found; shift: of the object."""
    was, now = (np.array([_array(one) for one in truth.others]) for truth in (before, after))
    if not len(was):
        return False
    if len(was) == len(now) and (now[:, 2] - was[:, 2]).max() > DISTURBED:
        return True
    if not (np.isfinite(found).all() and before.has_object):
        return False
    own = np.hypot(*(found - _array(before.centre) - shift)[:2])
    return bool(np.hypot(*(was - found)[:, :2].T).min() < own)


def _array(point: Point) -> Array:
    return np.array([point.x, point.y, point.z])
