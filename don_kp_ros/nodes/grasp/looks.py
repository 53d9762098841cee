"""Looks for targets, from where the arm is and, with the camera on the hand, from other sides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from don_kp.action import Grasp
from don_kp_ros.grasping.pick import Phase, Report
from don_kp_ros.grasping.viewing import merged
from don_kp_ros.nodes.grasp.observer import GoalRefusedError, Observer
from don_kp_ros.nodes.grasp.regions import Regions
from don_kp_ros.nodes.grasp.second_view import NoSecondViewError, SecondView, View
from don_kp_ros.nodes.grasp.sight import Sight
from don_kp_ros.nodes.grasp.targets import NO_POINTS, Planner, Target

Array = NDArray[np.float64]

NOT_SEEN = (Grasp.Result.NOT_FOUND, Grasp.Result.UNCERTAIN)
"""From another view may be seen what from this one is not, or badly."""

_OTHER_SIDES = 3  # from which a target is looked for that is not found at once


class Looks:
    """Remembers for each sight where it was seen from; heeds what was seen wherever the arm goes.

    Its calls block, and raise what those of the observer and of a motion adapter do.
    """

    def __init__(
        self,
        observer: Observer,
        regions: Regions,
        second_view: SecondView,
        planner: Planner,
        views: int,
    ) -> None:
        """Look for targets; views: 1 if the arm must not move to look."""
        self._observer, self._regions = observer, regions
        self._second_view, self._planner = second_view, planner
        self.views = views

    def seen(self, target: Target, images: int = 0) -> Sight:
        """Look for a target in so many images, or as many as usual, from where the arm is."""
        sight = target.look(images)
        return replace(sight, view=self._second_view.here()) if self.views > 1 else sight

    def found(self, target: Target, report: Report, about: Array = NO_POINTS) -> Sight:
        """Look for a target; where it is not seen, from other sides of what looks like it, too.

        about: points (N, 3) that were seen before, and still stand there where they are not seen.
        """
        failure: GoalRefusedError | None = None
        why = ''
        for sides in range(1 + _OTHER_SIDES):
            try:
                sight = self.seen(target)
                return replace(sight, points=merged(about, sight.points))
            except GoalRefusedError as error:
                if error.code not in NOT_SEEN or self.views == 1:
                    raise
                failure = failure or error
            place = self._regions.place_of(target.name) if sides < _OTHER_SIDES else None
            if place is None and not sides:
                raise failure
            about = merged(about, self._observer.newest_points())
            self._second_view.obstacles = self._planner.obstacles(about)  # of the way back, too
            if place is None:
                break
            report(Phase.LOOK_AGAIN, f'at what looks like {target.name}, from another side')
            try:
                self._second_view.go(self._second_view.here(), place)
            except NoSecondViewError as error:
                why = f'; what looks like it is not looked at from another side: {error}'
                break
        assert failure is not None
        number = '1 other side' if sides == 1 else f'{sides} other sides'
        told = f'; nor from {number} of what looks like it' if sides else ''
        raise GoalRefusedError(failure.code, f'{failure}{told}{why}')

    def go(self, target: Target, view: View | None, sight: Sight, report: Report) -> None:
        """Go from a view to another one of a target that was seen.

        Raises NoSecondViewError where the arm reaches none.
        """
        report(Phase.LOOK_AGAIN, f'at {target.name}, from a second view')
        self.heed(sight)
        self._second_view.go(view, target.place(sight)[:3, 3])

    def heed(self, sight: Sight) -> None:
        """Keep the arm away from what was seen, wherever it goes to look, and on its way back."""
        self._second_view.obstacles = self._planner.obstacles(sight.points)
