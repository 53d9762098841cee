"""The sequence of a pick: plan all of it, then approach, close, lift and verify; and placing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.grasping.candidates import GraspCandidate
from don_kp_ros.motion.heightmap import HeightMap
from don_kp_ros.motion.port import GraspPlan, Motion, MotionCode, MotionError, Segment, above
from don_kp_ros.robots import hand

Array = NDArray[np.float64]

_OPEN_WITHIN = 0.005  # fingers this close to fully open have opened, metres
# So far above where it stood, it is let go rather than pressed on the table; metres.
_SETTLE = 0.001
_LET_GO = 0.004  # metres, that the fingers open at least before they leave an object
NEXT_MAY_DO = (
    MotionCode.UNREACHABLE,
    MotionCode.COLLISION,
    MotionCode.TIMEOUT,
    MotionCode.OUTSIDE,
)


class Phase(str, Enum):
    """The phase of a pick; the action's feedback carries these words."""

    OBSERVE = 'observe'
    PLAN = 'plan'
    LOOK_AGAIN = 'look again'
    APPROACH = 'approach'
    CLOSE = 'close'
    LIFT = 'lift'
    VERIFY = 'verify'
    PLACE = 'place'
    RETREAT = 'retreat'
    RELEASE = 'release'
    MOVE = 'move'


class EmptyGripperError(Exception):
    """The fingers hold nothing; the arm has retreated, or the message says why not."""

    def __init__(self, message: str, retreated: bool = True) -> None:
        """Keep whether another grasp may be tried."""
        super().__init__(message)
        self.retreated = retreated


class HeldStoppedError(MotionError):
    """A motion failed after the fingers had closed on an object, which they hold."""


@dataclass(frozen=True)
class PickParameters:
    """Distances in metres, forces in newtons, times in seconds."""

    approach_distance: float  # straight, down to the grasp
    lift_height: float  # straight, up from it
    closing_force: float  # of each finger
    empty_width: float  # at this width or less the fingers hold nothing
    hold_seconds: float  # after the lift, before the grasp counts

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

    def plan(self, candidates: Sequence[GraspCandidate], obstacles: HeightMap | None) -> GraspPlan:
        """Plan the first candidate that the arm can reach without touching anything.

        Nothing moves. Raises MotionError with every candidate's reason if none can.
        """
        self._motion.set_obstacles(obstacles)
        p = self._parameters
        code, reasons = MotionCode.UNREACHABLE, []
        for candidate in candidates:
            try:
                return self._motion.plan_grasp(
                    candidate.T_base_tcp, p.approach_distance, p.lift_height, self._open_width
                )
            except MotionError as error:
                if error.code not in NEXT_MAY_DO:
                    raise
                code = error.code
                reasons.append(f'{candidate.name}: {error}' if candidate.name else str(error))
        if not reasons:
            raise MotionError(code, 'there is no grasp to plan')
        told = '; '.join(dict.fromkeys(reasons))
        raise MotionError(code, f'none of {len(candidates)} grasps can be reached; {told}')

    def execute(self, plan: GraspPlan, report: Report) -> Picked:
        """Run a plan.

        Raises EmptyGripperError if the fingers close on nothing or lose the object (the arm has
        then gone home, open), and MotionError if a motion fails (the arm holds still):
        HeldStoppedError where it holds the object then.
        """
        motion, p = self._motion, self._parameters
        self.release()
        seconds = plan.to_pregrasp.duration + plan.approach.duration
        report(Phase.APPROACH, f'to before the object, then straight to it, in {seconds:.1f} s')
        motion.execute(plan.to_pregrasp)
        motion.execute(plan.approach)
        report(Phase.CLOSE, f'the fingers close with {p.closing_force:g} N')
        width = motion.set_gripper(0.0, p.closing_force)
        if width <= p.empty_width:
            cause = f'the fingers closed to {1000 * width:.0f} mm: nothing is between'
            raise self._retreated(cause, report, plan.lift)
        if not self._holds(width):
            raise MotionError(MotionCode.NOT_FOLLOWED, 'the fingers do not close')
        report(Phase.LIFT, f'straight up, with what is {1000 * width:.0f} mm wide')
        try:
            motion.execute(plan.lift)
            report(Phase.VERIFY, f'whether it is still held after {p.hold_seconds:g} s')
            motion.wait(p.hold_seconds)
            width = motion.gripper_width()
        except MotionError as error:
            raise HeldStoppedError(error.code, str(error)) from error
        if not self._holds(width):
            raise self._retreated('the object was lost during the lift', report)
        return Picked(plan.T_base_grasp, width)

    def place(self, T_base_place: Array, opening: Callable[[], None]) -> None:
        """Put what is held down with the tool at a pose (4, 4), let go, and go straight up.

        opening: called before the fingers open; from then on nobody knows whether it is held.
        All is planned before anything moves. Raises EmptyGripperError if it is lost on the way,
        and MotionError; the arm holds still then.
        """
        motion = self._motion
        plan = motion.plan_place(above(T_base_place, _SETTLE), self._parameters.approach_distance)
        motion.execute(plan.to_preplace)
        motion.execute(plan.lower)
        held = motion.gripper_width()
        if not self._holds(held):
            raise EmptyGripperError('the object was lost on the way to its place', False)
        opening()
        # What hinders them from opening wholly may be the object, which the way up leaves.
        width = motion.set_gripper(self._open_width, self._parameters.closing_force)
        if width < min(held + _LET_GO, self._open_width - _OPEN_WITHIN):
            raise MotionError(
                MotionCode.NOT_FOLLOWED,
                f'the fingers do not let go: they opened from {1000 * held:.0f} to '
                f'{1000 * width:.0f} mm; is something in their way?',
            )
        motion.hold(None)
        motion.execute(plan.retreat)
        self.release()

    def holds_something(self) -> bool:
        """Tell whether the fingers seem to hold an object, being neither closed nor open."""
        return self._holds(self._motion.gripper_width())

    def release(self) -> None:
        """Open the fingers; raises MotionError NOT_FOLLOWED if they do not open."""
        width = self._motion.set_gripper(self._open_width, self._parameters.closing_force)
        if width < self._open_width - _OPEN_WITHIN:
            raise MotionError(
                MotionCode.NOT_FOLLOWED,
                f'the fingers opened to {1000 * width:.0f} mm '
                f'instead of {1000 * self._open_width:.0f} mm; is something in their way?',
            )

    def go_home(self, let_go: bool) -> None:
        """Move home; the fingers stay as they are. let_go: they have just opened."""
        self._motion.move_to_joints(self._home, let_go)

    def _holds(self, width: float) -> bool:
        return hand.may_hold(width, self._open_width, self._parameters.empty_width)

    def _retreated(
        self, cause: str, report: Report, lift: Segment | None = None
    ) -> EmptyGripperError:
        """Open, lift, go home; return the error that reports it."""
        report(Phase.RETREAT, cause)
        try:
            self.release()
            if lift is not None:
                self._motion.execute(lift)
            self.go_home(let_go=True)
        except MotionError as error:
            return EmptyGripperError(f'{cause}; the retreat failed: {error}', retreated=False)
        return EmptyGripperError(cause)
