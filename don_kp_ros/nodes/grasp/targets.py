"""What goals name, points and taught objects: looked for, compared and planned for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from don_kp.action import Grasp
from don_kp_ros.geometry import rigid
from don_kp_ros.grasping.candidates import (
    GraspCandidate,
    NoGraspError,
    PinchParameters,
    untried,
)
from don_kp_ros.grasping.located import Located
from don_kp_ros.grasping.pick import NEXT_MAY_DO, Picker
from don_kp_ros.grasping.pinching import inclined_candidates, pinch_candidates
from don_kp_ros.grasping.taught import TaughtGrasp, taught_candidates
from don_kp_ros.grasping.viewing import confirmed, merged
from don_kp_ros.motion.heightmap import HeightMap
from don_kp_ros.motion.port import GraspPlan, MotionError
from don_kp_ros.motion.safety import Workspace
from don_kp_ros.nodes.grasp.objects import RoundAxes, TaughtObjects
from don_kp_ros.nodes.grasp.observer import GoalRefusedError, LookParameters
from don_kp_ros.nodes.grasp.sight import Sight

Array = NDArray[np.float64]
Places = Callable[[int, Array | None], Sight]
"""Finds places (K, 3), the best first, in a number of images.

It is told where (3,) the target was seen last, if it was.
"""

NO_POINTS: Array = np.zeros((0, 3))

_MOST = 8  # places, and pinches from one side of all of them, that are planned
_FROM_ABOVE = -np.cos(np.deg2rad(10.0))  # at most, z of the way that a hand from above points


class DisagreementError(GoalRefusedError):
    """Two views show a target at different places."""


class Planner:
    """Plans the first of some candidates that the arm reaches, among points (N, 3)."""

    def __init__(self, picker: Picker, workspace: Workspace, fingers: PinchParameters) -> None:
        """Plan for a picker."""
        self._picker, self.workspace, self.fingers = picker, workspace, fingers
        self._mapped: tuple[Array, HeightMap] | None = None

    def plan(self, candidates: Sequence[GraspCandidate], points: Array) -> GraspPlan:
        """Plan one; raises MotionError with each one's reason."""
        return self._picker.plan(candidates, self.obstacles(points))

    def inside(self, name: str, places: Array) -> Array:
        """Return those of a target's places (K, 3) that are in the workspace.

        Raises GoalRefusedError where none is.
        """
        outside = [self.workspace.outside(place[:2]) for place in places]
        if all(outside):
            raise GoalRefusedError(
                Grasp.Result.OUTSIDE,
                f'{name} at {millimetres(places[0])} mm is {outside[0]}; bring it nearer',
            )
        return places[[not told for told in outside]]

    def obstacles(self, points: Array) -> HeightMap:
        """Return what stands where points are; those of a look are mapped once."""
        if self._mapped is None or self._mapped[0] is not points:
            self._mapped = points, self.workspace.mapped(points)
        return self._mapped[1]


class Target(Protocol):
    """What is to be grasped. Its calls block; they raise GoalRefusedError and MotionError."""

    name: str
    always_again: bool
    """Whether it is looked at again, also where it has just been seen."""

    def look(self, images: int = 0) -> Sight:
        """Find it in so many images, or as many as usual."""

    def place(self, sight: Sight, plan: GraspPlan | None = None) -> Array:
        """Return where it is (4, 4): of several places the best one, or that of a plan."""

    def plan(self, sight: Sight, tried: list[Array], likely: Array | None = None) -> GraspPlan:
        """Plan a grasp of it, other than those that were tried if there is one.

        likely: the pose (4, 4) of one that the arm reached a moment ago; those like it are first.
        """

    def moved(self, before: Sight, place: Array, after: Sight) -> str:
        """Say by how much it has left the place (4, 4) where it was; or nothing."""

    def combined(self, first: Sight, second: Sight) -> Sight:
        """Return what two views tell together; raises DisagreementError."""


class PlacesTarget:
    """A stored point, or any of the places where an object is best grasped: to be pinched."""

    always_again = False

    def __init__(self, name: str, see: Places, planner: Planner, look: LookParameters) -> None:
        """Have places found by `see`."""
        self.name, self._see, self._planner, self._look = name, see, planner, look
        self._last: Array | None = None  # its best place (3,)

    def look(self, images: int = 0) -> Sight:
        """Find its places."""
        seen = self._see(images, self._last)
        self._last = seen.found[0]
        return seen

    def place(self, sight: Sight, plan: GraspPlan | None = None) -> Array:
        """Return its best place, or the one nearest to a plan's."""
        best = 0
        if plan is not None:
            away = np.linalg.norm(sight.found - plan.T_base_grasp[:3, 3], axis=1)
            best = int(np.argmin(away))
        return rigid.transform(translation=sight.found[best])

    def plan(self, sight: Sight, tried: list[Array], likely: Array | None = None) -> GraspPlan:
        """Plan a pinch from above or, where none can be or all were tried, an inclined one.

        Where an inclined one is likely, in the other order.
        """
        places, points = self._planner.inside(self.name, sight.found)[:_MOST], sight.points
        each = max(1, _MOST // len(places))
        first: GoalRefusedError | MotionError | None = None
        again: list[GraspCandidate] = []
        finds = [pinch_candidates, inclined_candidates]
        if likely is not None and likely[2, 2] > _FROM_ABOVE:
            finds.reverse()
        for find in finds:
            candidates, refused = list[GraspCandidate](), list[str]()
            for place in places:
                try:
                    candidates += find(points, place, self._planner.fingers)[:each]
                except NoGraspError as error:
                    refused.append(f'{self.name} at {millimetres(place)} mm: {error}')
            fresh = _likely_first(untried(candidates, tried), likely)
            try:
                if fresh:
                    return self._planner.plan(fresh, points)
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
            return self._planner.plan(again, points)
        assert first is not None
        raise first

    def moved(self, before: Sight, place: Array, after: Sight) -> str:
        """Say how far off the nearest place is now, or the object by its marks, if too far."""
        nearest = float(np.linalg.norm(after.found - place[:3, 3], axis=1).min())
        metres = max(nearest, before.shift(after, place[:3, 3]))
        return '' if metres <= self._look.max_spread else _moved(self.name, metres)

    def combined(self, first: Sight, second: Sight) -> Sight:
        """Return the places that both views show."""
        p, at = self._look, first.found[0]
        places, metres = confirmed(first.found, second.found, p.max_spread)
        if not len(places):
            raise DisagreementError(
                Grasp.Result.NOT_FOUND,
                f'{self.name} is seen at {millimetres(at)} mm, and from the second view at '
                f'{millimetres(second.found[0])} mm: they are {1000 * metres:.0f} mm apart, '
                f'{1000 * p.max_spread:.0f} mm are allowed (max_spread)',
            )
        return replace(second, found=places, points=merged(first.points, second.points))


class ObjectTarget:
    """A taught object, to be held as was taught."""

    always_again = True

    def __init__(
        self,
        name: str,
        objects: TaughtObjects,
        grasps: dict[str, list[TaughtGrasp]],
        planner: Planner,
        look: LookParameters,
        round_about: RoundAxes | None = None,
    ) -> None:
        """Hold it in one of the ways that each model knows; round_about: as in `look_for`."""
        self.name, self._objects, self._grasps = name, objects, grasps
        self._planner, self._look, self._round = planner, look, round_about
        self._last: Located | None = None

    def look(self, images: int = 0) -> Sight:
        """Find its pose; of several such objects, that of the one that was seen last."""
        seen = self._objects.look_for(self.name, images, self._round, self._last)
        self._last = seen.located
        return Sight(seen.located, seen.points)

    def place(self, sight: Sight, plan: GraspPlan | None = None) -> Array:
        """Return its pose."""
        located: Located = sight.found
        return located.T_base_object

    def plan(self, sight: Sight, tried: list[Array], likely: Array | None = None) -> GraspPlan:
        """Plan a taught grasp."""
        located: Located = sight.found
        where = f'{self.name} at {millimetres(located.T_base_object[:3, 3])} mm'
        self._planner.inside(self.name, located.T_base_object[None, :3, 3])
        free, blocked = taught_candidates(
            located.T_base_object,
            self._grasps.get(located.model, []),
            located.symmetry,
            sight.points,
            self._planner.fingers,
        )
        if not free:
            told = '; '.join(blocked) or 'none is taught for the model that runs'
            raise GoalRefusedError(Grasp.Result.NO_GRASP, f'{where}: {told}')
        try:
            fresh = untried(free, tried) or free
            return self._planner.plan(_likely_first(fresh, likely), sight.points)
        except MotionError as error:
            raise MotionError(error.code, '; '.join([str(error), *blocked])) from None

    def moved(self, before: Sight, place: Array, after: Sight) -> str:
        """Say how far off it is now, if that is too far, or if it is turned too much."""
        metres, radians = before.found.apart(after.found)
        return '' if self._agree(metres, radians) else _moved(self.name, metres)

    def combined(self, first: Sight, second: Sight) -> Sight:
        """Return the pose that both views tell together."""
        metres, radians = first.found.apart(second.found)
        if not self._agree(metres, radians) or first.found.model != second.found.model:
            p = self._look
            raise DisagreementError(
                Grasp.Result.NOT_FOUND,
                f'{self.name} is off by {1000 * metres:.0f} mm and {np.rad2deg(radians):.0f} '
                f'degrees from the first view to the second; allowed are '
                f'{1000 * p.max_spread:.0f} mm (max_spread) and '
                f'{np.rad2deg(p.max_turn):.0f} degrees (max_turn)',
            )
        both = first.found.combined(second.found)
        return replace(second, found=both, points=merged(first.points, second.points))

    def _agree(self, metres: float, radians: float) -> bool:
        return metres <= self._look.max_spread and radians <= self._look.max_turn


class ObjectPlace(ObjectTarget):
    """A taught object at which something is to be put down; it is not grasped."""

    def __init__(self, name: str, objects: TaughtObjects, planner: Planner, look: LookParameters):
        """Look for it as for what is grasped."""
        super().__init__(name, objects, {}, planner, look)

    def place(self, sight: Sight, plan: GraspPlan | None = None) -> Array:
        """Return its pose; of turns that look the same, that nearest to the base's axes."""
        located: Located = sight.found
        return located.unturned().T_base_object


def millimetres(point: Array) -> str:
    """Tell a point (3,), given in metres, in millimetres."""
    return '({})'.format(', '.join(f'{1000 * x:.0f}' for x in point))


def _likely_first(candidates: list[GraspCandidate], likely: Array | None) -> list[GraspCandidate]:
    """Return candidates with those like a pose (4, 4) first."""
    if likely is None:
        return candidates
    unlike = {id(one) for one in untried(candidates, [likely])}
    return sorted(candidates, key=lambda one: id(one) in unlike)


def _moved(name: str, metres: float) -> str:
    return f'{name} moved by {1000 * metres:.0f} mm'
