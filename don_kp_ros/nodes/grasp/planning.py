"""From a goal to a planned grasp of what is seen, from one view or two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from don_kp.action import Grasp
from don_kp_ros.grasping.candidates import NoGraspError, aligned_candidate, untried
from don_kp_ros.grasping.pick import Phase, Report
from don_kp_ros.grasping.viewing import merged
from don_kp_ros.motion.port import GraspPlan, MotionError
from don_kp_ros.nodes.grasp.looks import NOT_SEEN, Looks
from don_kp_ros.nodes.grasp.objects import TaughtObjects, round_axes
from don_kp_ros.nodes.grasp.observer import GoalRefusedError, LookParameters, Observer
from don_kp_ros.nodes.grasp.points import StoredPoints
from don_kp_ros.nodes.grasp.second_view import NoSecondViewError, SecondView
from don_kp_ros.nodes.grasp.sight import Sight
from don_kp_ros.nodes.grasp.targets import (
    NO_POINTS,
    ObjectPlace,
    ObjectTarget,
    PlacesTarget,
    Planner,
    Target,
    millimetres,
)

Array = NDArray[np.float64]
Located = Callable[[Array], None]
"""Hears where (3,) the target was found."""

ANY = '/*'
"""Of a target: at any preferred place of an object, such as cap/*."""
_LOOKS_AGAIN = 2  # for an object that moved meanwhile
_LONG_S = 2.0  # that planning a pinch may take, before it is looked at again
Plan = TypeVar('Plan', GraspPlan, None)


@dataclass(frozen=True)
class Planned(Generic[Plan]):
    """A plan, the reference of its object (4, 4), and the points (N, 3) seen, in the base frame.

    plan: None for a place to put something down. target: what was looked for, and seconds: how
    long it was planned; None for a pose.
    """

    plan: Plan
    T_base_reference: Array
    sight: Sight
    target: Target | None = None
    seconds: float = 0.0

    @property
    def points(self) -> Array:
        """Return the points (N, 3) that were seen, in the base frame."""
        return self.sight.points


@dataclass(frozen=True)
class Course:
    """What planning is told, and tells: poses (4, 4) that were tried, and who hears of it."""

    tried: list[Array]
    report: Report
    located: Located


class GoalPlanning:
    """Plans the grasps that goals ask for.

    Raises GoalRefusedError and MotionError.
    """

    def __init__(
        self,
        observer: Observer,
        points: StoredPoints,
        objects: TaughtObjects,
        planner: Planner,
        second_view: SecondView,
        looks: Looks,
        settings: LookParameters,
    ) -> None:
        """Plan what an observer sees."""
        self._observer, self._points, self._objects = observer, points, objects
        self._planner, self._second_view, self._looks = planner, second_view, looks
        self._look = settings

    def plan(self, goal: Grasp.Goal, mode: str, course: Course) -> Planned[GraspPlan]:
        """Plan a grasp, other than those tried if there is one.

        Nothing moves, but where the target is not seen at once (`Looks.found`).
        """
        self._second_view.begin()
        if not goal.target:
            return self._at_pose(goal, mode, course)
        target = self._target(goal.target, mode)
        return self._planned(target, self._looks.found(target, course.report), course)

    def confirmed(self, planned: Planned[GraspPlan], course: Course) -> Planned[GraspPlan]:
        """Look again at what a grasp was planned for, from a second view; plan it with both.

        The arm moves to the second view. Where it reaches none, or none is wanted, the target is
        looked at from where the arm is.
        """
        target = planned.target
        if target is None:
            return planned
        likely = planned.plan.T_base_grasp

        def anew(sight: Sight) -> Planned[GraspPlan]:
            return self._planned(target, sight, course, likely)

        return self._confirmed(target, planned, anew, course.report)

    def place(self, name: str, report: Report, about: Array = NO_POINTS) -> Planned[None]:
        """Find the stored point, or the taught object, at which something is to be put down.

        As what is grasped: from a second view, too; but nothing is planned, and the arm comes
        back. about: points (N, 3) that were seen before, and still stand there where it does not
        see them.
        """
        self._second_view.begin()
        objects = self._objects.names()
        if name in objects:
            target: Target = ObjectPlace(name, self._objects, self._planner, self._look)
        else:
            target = self._stored(name)

        def found(sight: Sight) -> Planned[None]:
            return Planned(None, target.place(sight), sight, target)

        try:
            report(Phase.OBSERVE, f'where the place is, {name}')
            first = found(self._looks.found(target, report, about))
            place = self._confirmed(target, first, found, report)
            self._second_view.end()
        except GoalRefusedError as error:
            told = f'the place: {error}'
            if error.code == Grasp.Result.UNKNOWN_TARGET:
                told = f'{told}; taught objects are: {", ".join(objects) or "none"}'
            raise self._second_view.back(GoalRefusedError(error.code, told)) from None
        except MotionError as error:
            raise self._second_view.back(error) from None
        return place

    def _confirmed(
        self,
        target: Target,
        planned: Planned[Plan],
        anew: Callable[[Sight], Planned[Plan]],
        report: Report,
    ) -> Planned[Plan]:
        told = f'at {target.name}'
        if self._looks.views > 1:
            try:
                self._looks.go(target, planned.sight.view, planned.sight, report)
                return self._from_elsewhere(target, planned.sight, anew, report)
            except NoSecondViewError as error:
                told = f'{told}, from here: {error}'
        elif not target.always_again and planned.seconds <= _LONG_S:
            return planned
        return self._from_here(target, planned, told, anew, report)

    def _target(self, name: str, mode: str) -> Target:
        if mode == Grasp.Goal.ALIGNED:
            taught = self._objects.known(name)
            grasps, axes = self._objects.grasps(name, taught), round_axes(taught)
            return ObjectTarget(name, self._objects, grasps, self._planner, self._look, axes)

        def preferred(images: int, _: Array | None) -> Sight:
            return self._points.preferred(name.removesuffix(ANY), images)

        if name.endswith(ANY):
            return PlacesTarget(name, preferred, self._planner, self._look)
        return self._stored(name)

    def _stored(self, name: str) -> Target:
        def stored(images: int, near: Array | None) -> Sight:
            place, points = self._points.look_for(name, images, near)
            return Sight(place[None], points)

        return PlacesTarget(name, stored, self._planner, self._look)

    def _planned(
        self, target: Target, sight: Sight, course: Course, likely: Array | None = None
    ) -> Planned[GraspPlan]:
        place = target.place(sight)[:3, 3]
        course.located(place)
        course.report(Phase.PLAN, f'a grasp of {target.name} at {millimetres(place)} mm')
        begun = self._observer.now()
        plan = target.plan(sight, course.tried, likely)
        T_base_reference = target.place(sight, plan)
        course.located(T_base_reference[:3, 3])
        return Planned(plan, T_base_reference, sight, target, self._observer.now() - begun)

    def _from_here(
        self,
        target: Target,
        planned: Planned[Plan],
        told: str,
        anew: Callable[[Sight], Planned[Plan]],
        report: Report,
    ) -> Planned[Plan]:
        """Return a plan for a target that is where it was seen, also after the planning."""
        seen: Sight = planned.sight
        for looks in range(1 + _LOOKS_AGAIN):
            if looks:
                planned = anew(seen)
            report(Phase.LOOK_AGAIN, told)
            seen = self._looks.seen(target)
            moved = target.moved(planned.sight, planned.T_base_reference, seen)
            about = merged(planned.sight.points, seen.points, moved=bool(moved))
            seen = replace(seen, points=about)
            if not moved:
                T_base_reference = target.place(seen, planned.plan)
                return replace(planned, T_base_reference=T_base_reference, sight=seen)
            report(Phase.OBSERVE, moved)
        raise _moved(target.name)

    def _from_elsewhere(
        self,
        target: Target,
        first: Sight,
        anew: Callable[[Sight], Planned[Plan]],
        report: Report,
    ) -> Planned[Plan]:
        """Return a plan for what two views agree on, and the newest image after the planning."""
        failure: GoalRefusedError | None = None
        for _ in range(1 + _LOOKS_AGAIN):
            if failure is not None:
                try:
                    self._looks.go(target, self._second_view.here(), first, report)
                except NoSecondViewError:
                    raise failure from None
            seen = first
            try:
                seen = self._looks.seen(target, max(1, self._look.looks // 2))
                if seen.view is None:
                    raise GoalRefusedError(Grasp.Result.STALE_DATA, self._second_view.doubt)
                both = target.combined(first, seen)
                self._looks.heed(both)
                planned = anew(both)
                seen = self._looks.seen(target, 1)
                moved = target.moved(both, planned.T_base_reference, seen)
                if not moved:
                    return planned
                failure = _moved(target.name)
            except GoalRefusedError as error:
                if error.code not in NOT_SEEN:
                    raise
                failure, moved = error, str(error)
            report(Phase.OBSERVE, moved)
            # What an earlier view alone saw still stands there; the target may have moved.
            points = self._observer.newest_points() if seen is first else seen.points
            first = replace(seen, points=merged(first.points, points, moved=True))
            self._looks.heed(first)
        assert failure is not None
        raise failure

    def _at_pose(self, goal: Grasp.Goal, mode: str, course: Course) -> Planned[GraspPlan]:
        """Plan a grasp at the goal's pose, or a pinch at its origin."""
        self._observer.check_age(goal.pose.header)
        T_base_pose = self._observer.to_base(goal.pose)
        place = T_base_pose[:3, 3]
        points = self._observer.newest_points()
        if mode != Grasp.Goal.ALIGNED:
            sight = Sight(place[None], points)
            target = PlacesTarget('pose', lambda *_: sight, self._planner, self._look)
            return replace(
                self._planned(target, sight, course), T_base_reference=T_base_pose, target=None
            )
        where = f'pose at {millimetres(place)} mm'
        if place[2] < 0:
            reason = f'{where}: lies under the table, which is z = 0'
            raise GoalRefusedError(Grasp.Result.UNREACHABLE, reason)
        course.located(place)
        course.report(Phase.PLAN, f'a grasp as the {where} says')
        try:
            candidates = [aligned_candidate(T_base_pose, points, self._planner.fingers)]
        except NoGraspError as error:
            raise GoalRefusedError(Grasp.Result.NO_GRASP, f'{where}: {error}') from None
        fresh = untried(candidates, course.tried) or candidates
        return Planned(self._planner.plan(fresh, points), T_base_pose, Sight(place[None], points))


def _moved(name: str) -> GoalRefusedError:
    return GoalRefusedError(
        Grasp.Result.MOVED,
        f'{name} was somewhere else at each of {2 + _LOOKS_AGAIN} looks; let it rest, then send '
        'the goal again',
    )
