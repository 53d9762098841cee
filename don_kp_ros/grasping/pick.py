"""The sequence of a pick: plan all of it, then approach, close, lift and hold."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.grasping.candidates import GraspCandidate
from don_kp_ros.grasping.heightmap import HeightMap
from don_kp_ros.grasping.motion import GraspPlan, Motion, MotionCode, MotionError

Array = NDArray[np.float64]


class Phase(str, Enum):
    """What a pick is doing; the action's feedback carries these words."""

    LOOK = 'look'
    PLAN = 'plan'
    APPROACH = 'approach'
    CLOSE = 'close'
    LIFT = 'lift'
    HOLD = 'hold'
    RETREAT = 'retreat'


class EmptyGripperError(Exception):
    """The fingers hold nothing; the arm has retreated."""


@dataclass(frozen=True)
class PickParameters:
    """Distances in metres, forces in newtons, times in seconds."""

    approach_distance: float = 0.10  # straight, down to the grasp
    lift_height: float = 0.20  # straight, up from it
    closing_force: float = 30.0  # of each finger
    empty_width: float = 0.005  # at this width or less the fingers hold nothing
    hold_seconds: float = 2.0  # after the lift, before the grasp counts
    max_plans: int = 12  # candidates tried before giving up

    def __post_init__(self) -> None:
        """Check that the numbers make sense."""
        for name, value in vars(self).items():
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f'{name} is {value}; it must be positive')


@dataclass(frozen=True)
class Picked:
    """A pick that succeeded: the tool centre point's pose (4, 4) and the width held, metres."""

    T_base_grasp: Array
    width: float


Report = Callable[[Phase, str], None]


class Picker:
    """Picks with a motion adapter; the object is in the hand, or the arm has retreated."""

    def __init__(
        self, motion: Motion, home: Array, open_width: float, parameters: PickParameters
    ) -> None:
        """Use an adapter; ``home`` (7,) radians is where the arm retreats to, fingers open."""
        self._motion = motion
        self._home = home
        self._open_width = open_width
        self._parameters = parameters

    def plan(
        self, candidates: Sequence[GraspCandidate], obstacles: HeightMap | None
    ) -> GraspPlan:
        """Plan the first candidate that can be reached without touching anything.

        Nothing moves. Raises MotionError with the last candidate's reason if none can.
        """
        self._motion.set_obstacles(obstacles)
        p = self._parameters
        failure: MotionError | None = None
        for candidate in candidates[: p.max_plans]:
            try:
                plan = self._motion.plan_grasp(
                    candidate.T_base_tcp,
                    p.approach_distance,
                    p.lift_height,
                    self._open_width,
                )
            except MotionError as error:
                if error.code not in (MotionCode.UNREACHABLE, MotionCode.COLLISION):
                    raise
                failure = error
            else:
                return plan
        if failure is None:
            raise MotionError(MotionCode.UNREACHABLE, 'there is no grasp to plan')
        tried = min(len(candidates), p.max_plans)
        raise MotionError(
            failure.code, f'none of {tried} grasps can be reached; the last: {failure}'
        )

    def execute(self, plan: GraspPlan, report: Report, cancelled: threading.Event) -> Picked:
        """Run a plan.

        Raises EmptyGripperError where the fingers close on nothing or lose the object (the arm
        then has gone home, open), MotionError where a motion fails (the arm holds still).
        """
        motion, p = self._motion, self._parameters
        motion.set_gripper(plan.open_width, p.closing_force)
        report(Phase.APPROACH, f'{plan.to_pregrasp.duration + plan.approach.duration:.1f} s')
        motion.execute(plan.to_pregrasp)
        motion.execute(plan.approach)
        report(Phase.CLOSE, f'{p.closing_force:g} N')
        width = motion.set_gripper(0.0, p.closing_force)
        if width <= p.empty_width:
            self._retreat(plan, report)
            raise EmptyGripperError(
                f'the fingers closed to {1000 * width:.0f} mm: nothing is between'
            )
        report(Phase.LIFT, f'holding {1000 * width:.0f} mm')
        motion.execute(plan.lift)
        report(Phase.HOLD, f'{p.hold_seconds:g} s')
        if cancelled.wait(p.hold_seconds):
            raise MotionError(MotionCode.CANCELLED, 'cancelled while holding')
        width = motion.gripper_width()
        if width <= p.empty_width:
            self._retreat(None, report)
            raise EmptyGripperError('the object was lost during the lift')
        return Picked(plan.T_base_grasp, width)

    def _retreat(self, plan: GraspPlan | None, report: Report) -> None:
        report(Phase.RETREAT, '')
        motion, p = self._motion, self._parameters
        if plan is not None:
            motion.set_gripper(plan.open_width, p.closing_force)
            motion.execute(plan.lift)
        motion.move_to_joints(self._home)
