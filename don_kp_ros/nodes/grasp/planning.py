"""From a goal to a planned grasp of what is seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from don_kp.action import Grasp
from don_kp_ros.geometry import rigid
from don_kp_ros.grasping.candidates import (
    GraspCandidate,
    NoGraspError,
    PinchParameters,
    aligned_candidate,
    untried,
)
from don_kp_ros.grasping.pick import NEXT_MAY_DO, Phase, Picker, Report
from don_kp_ros.grasping.pinching import inclined_candidates, pinch_candidates
from don_kp_ros.grasping.taught import taught_candidates
from don_kp_ros.motion.port import GraspPlan, MotionError
from don_kp_ros.motion.safety import Workspace
from don_kp_ros.nodes.grasp.objects import TaughtObjects
from don_kp_ros.nodes.grasp.observer import GoalRefusedError, Observer
from don_kp_ros.nodes.grasp.parameters import GraspParameters
from don_kp_ros.nodes.grasp.points import StoredPoints

Array = NDArray[np.float64]
Planned = tuple[GraspPlan, Array, Array]
"""A plan, the reference of its object (4, 4), and the points (N, 3) seen, in the base frame."""
Located = Callable[[Array], None]
"""Hears where (3,) the target was found."""

ANY = '/*'
"""Of a target: at any preferred place of an object, such as cap/*."""
_LOOKS_AGAIN = 2  # for an object that moved meanwhile
_LONG_S = 2.0  # that planning a pinch may take, before it is looked at again
_MOST = 8  # places, and pinches from one side of all of them, that are planned


class GoalPlanning:
    """Plans the grasps that goals ask for; nothing moves.

    Raises GoalRefusedError and MotionError.
    """

    def __init__(
        self,
        observer: Observer,
        points: StoredPoints,
        objects: TaughtObjects,
        picker: Picker,
        workspace: Workspace,
        fingers: PinchParameters,
        settings: GraspParameters,
    ) -> None:
        """Plan for a picker what an observer sees."""
        self._observer, self._points, self._objects = observer, points, objects
        self._picker, self._workspace = picker, workspace
        self._fingers, self._look = fingers, settings.look

    def plan(
        self, goal: Grasp.Goal, mode: str, tried: list[Array], report: Report, located: Located
    ) -> Planned:
        """Plan a grasp other than those that were tried, if there is one."""
        if mode == Grasp.Goal.ALIGNED:
            if goal.target:
                return self._as_taught(goal.target, tried, report, located)
            return self._at_pose(goal, mode, tried, report, located)
        if goal.target.endswith(ANY):
            return self._where_preferred(goal.target, tried, report, located)
        if goal.target:
            return self._at_point(goal.target, tried, report, located)
        return self._at_pose(goal, mode, tried, report, located)

    def _at_point(
        self, name: str, tried: list[Array], report: Report, located: Located
    ) -> Planned:
        """Plan a pinch at a stored point."""

        def see() -> tuple[Array, Array]:
            target, points = self._points.look_for(name)
            return target[None], points

        return self._pinch(see, name, tried, report, located)

    def _where_preferred(
        self, name: str, tried: list[Array], report: Report, located: Located
    ) -> Planned:
        """Plan a pinch where an object is best grasped (paper 2, section 5)."""

        def see() -> tuple[Array, Array]:
            return self._points.preferred(name.removesuffix(ANY))

        return self._pinch(see, name, tried, report, located)

    def _pinch(
        self,
        see: Callable[[], tuple[Array, Array]],
        name: str,
        tried: list[Array],
        report: Report,
        located: Located,
    ) -> Planned:
        """Plan a pinch at one of the places (K, 3) that are seen, with points (N, 3).

        Where the planning took long, the place must be where it was.
        """
        places, points = see()
        for _ in range(1 + _LOOKS_AGAIN):
            located(places[0])
            report(Phase.PLAN, f'{name} at {millimetres(places[0])} mm')
            begun = self._observer.now()
            plan = self._pinched(places[:_MOST], points, name, tried)
            away = np.linalg.norm(places - plan.T_base_grasp[:3, 3], axis=1)
            target = places[int(np.argmin(away))]
            located(target)
            if self._observer.now() <= begun + _LONG_S:
                return plan, rigid.transform(translation=target), points
            report(Phase.LOOK_AGAIN, name)
            places, points = see()
            moved = float(np.linalg.norm(places - target, axis=1).min())
            if moved <= self._look.max_spread:
                return plan, rigid.transform(translation=target), points
            report(Phase.OBSERVE, f'{name} moved by {1000 * moved:.0f} mm')
        raise _moved(name)

    def _pinched(self, places: Array, points: Array, name: str, tried: list[Array]) -> GraspPlan:
        """Plan a pinch from above or, where none can be or all were tried, an inclined one."""
        each = max(1, _MOST // len(places))
        first: GoalRefusedError | MotionError | None = None
        again: list[GraspCandidate] = []
        for find in (pinch_candidates, inclined_candidates):
            candidates, refused = list[GraspCandidate](), list[str]()
            for place in places:
                try:
                    candidates += find(points, place, self._fingers)[:each]
                except NoGraspError as error:
                    refused.append(f'{name} at {millimetres(place)} mm: {error}')
            fresh = untried(candidates, tried)
            try:
                if fresh:
                    return self._picker.plan(fresh, self._workspace.mapped(points))
                if not candidates:
                    raise GoalRefusedError(Grasp.Result.NO_GRASP, refused[0])
                again += candidates
            except GoalRefusedError as error:
                first = first or error
            except MotionError as error:
                if error.code not in NEXT_MAY_DO:
                    raise
                first = first or error
        if again:
            return self._picker.plan(again, self._workspace.mapped(points))
        assert first is not None
        raise first

    def _at_pose(
        self, goal: Grasp.Goal, mode: str, tried: list[Array], report: Report, located: Located
    ) -> Planned:
        """Plan a grasp at the goal's pose, or a pinch at its origin."""
        T_base_pose = self._observer.to_base(goal.pose)
        target = T_base_pose[:3, 3]
        if mode != Grasp.Goal.ALIGNED:

            def see() -> tuple[Array, Array]:
                return target[None], self._observer.newest_points()

            plan, _, points = self._pinch(see, 'pose', tried, report, located)
            return plan, T_base_pose, points
        points = self._observer.newest_points()
        where = f'pose at {millimetres(target)} mm'
        if target[2] < 0:
            reason = f'{where}: lies under the table, which is z = 0'
            raise GoalRefusedError(Grasp.Result.UNREACHABLE, reason)
        located(target)
        report(Phase.PLAN, where)
        try:
            candidates = [aligned_candidate(T_base_pose, points, self._fingers)]
        except NoGraspError as error:
            raise GoalRefusedError(Grasp.Result.NO_GRASP, f'{where}: {error}') from None
        return self._planned(candidates, tried, points), T_base_pose, points

    def _as_taught(
        self, name: str, tried: list[Array], report: Report, located: Located
    ) -> Planned:
        """Plan a grasp of a taught object that is where it was seen, also after the planning."""
        grasps = self._objects.grasps(name)
        seen = self._objects.look_for(name)
        for _ in range(1 + _LOOKS_AGAIN):
            T_base_object = seen.located.T_base_object
            position = T_base_object[:3, 3]
            where = f'{name} at {millimetres(position)} mm'
            located(position)
            if outside := self._workspace.outside(position[:2]):
                reason = f'{where} is {outside}; bring it nearer'
                raise GoalRefusedError(Grasp.Result.OUTSIDE, reason)
            report(Phase.PLAN, where)
            free, blocked = taught_candidates(
                T_base_object,
                grasps.get(seen.located.model, []),
                seen.located.symmetry,
                seen.points,
                self._fingers,
            )
            if not free:
                told = '; '.join(blocked) or 'none is taught for the model that runs'
                raise GoalRefusedError(Grasp.Result.NO_GRASP, f'{where}: {told}')
            try:
                plan = self._planned(free, tried, seen.points)
            except MotionError as error:
                raise MotionError(error.code, '; '.join([str(error), *blocked])) from None
            report(Phase.LOOK_AGAIN, name)
            before, seen = seen, self._objects.look_for(name)
            metres, radians = before.located.apart(seen.located)
            if metres <= self._look.max_spread and radians <= self._look.max_turn:
                return plan, seen.located.T_base_object, seen.points
            report(Phase.OBSERVE, f'{name} moved by {1000 * metres:.0f} mm')
        raise _moved(name)

    def _planned(
        self, candidates: list[GraspCandidate], tried: Sequence[Array], points: Array
    ) -> GraspPlan:
        candidates = untried(candidates, list(tried)) or candidates
        return self._picker.plan(candidates, self._workspace.mapped(points))


def millimetres(point: Array) -> str:
    """Tell a point (3,), given in metres, in millimetres."""
    return '({})'.format(', '.join(f'{1000 * x:.0f}' for x in point))


def _moved(name: str) -> GoalRefusedError:
    return GoalRefusedError(
        Grasp.Result.MOVED,
        f'{name} was somewhere else at each of {2 + _LOOKS_AGAIN} looks; let it rest, then send '
        'the goal again',
    )
