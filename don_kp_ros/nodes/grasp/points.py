"""Stored points as the grasp node sees them, in the robot's base frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from geometry_msgs.msg import Point
from numpy.typing import NDArray
from rclpy.node import Node

from don_kp.action import Grasp
from don_kp.msg import Match, Matches
from don_kp.srv import Preference
from don_kp_ros.database.records import object_of
from don_kp_ros.errors import RefusedError, did_you_mean
from don_kp_ros.geometry import rigid
from don_kp_ros.nodes.grasp.observer import GoalRefusedError, LookParameters, Observer
from don_kp_ros.nodes.grasp.sight import Sight
from don_kp_ros.nodes.kit.client import ServiceClient, UnansweredError

Array = NDArray[np.float64]

_MATCHES = 'don_kp/matches'
# The table is z = 0; what is seen so far below it is not there, metres.
_BELOW_TABLE = 0.05
# Of what perception prefers: how many cells are asked for; metres between two places that are
# told; and how good one must be, for the best one's.
_CELLS, _APART, _WORTH = 200, 0.015, 0.5


class StoredPoints:
    """Asks perception where stored points are, and where objects are best grasped by them.

    Its calls block, and raise what those of the observer do. With what they find comes what is
    about it: the points (N, 3) of one of the images.
    """

    def __init__(self, node: Node, observer: Observer, parameters: LookParameters) -> None:
        """Look for perception's services on a node that others spin."""
        self._observer, self._parameters = observer, parameters
        self._preference = ServiceClient(
            node, Preference, 'perception/preference', 'is the perception node running?'
        )

    def look_for(
        self, name: str, images: int = 0, near: Array | None = None
    ) -> tuple[Array, Array]:
        """Find a stored point (3,) in several images, as often as not at one place.

        Of several such points, the one nearest to a place (3,) is meant; without it, the best.
        """
        seen, deadline = self._seen(name, lambda match: match.name == name, images)
        positions: list[Array] = []
        for matches, found in seen:
            T = self._observer.pose_of(matches.header.frame_id, matches.header.stamp, deadline)
            places = _places(T, [one.position for one in found])
            # Always the same one.
            known = positions[0] if positions else near
            away = [0.0] if known is None else np.linalg.norm(places - known, axis=1)
            positions.append(places[np.argmin(away)])
        target = np.median(positions, axis=0)
        spread = np.linalg.norm(positions - target, axis=1).max()
        if spread > self._parameters.max_spread:
            raise GoalRefusedError(
                Grasp.Result.NOT_FOUND,
                f'{name} is not seen at one place: it moves by {1000 * spread:.0f} mm from image '
                f'to image; {1000 * self._parameters.max_spread:.0f} mm are allowed (max_spread)',
            )
        if target[2] < -_BELOW_TABLE:
            raise GoalRefusedError(
                Grasp.Result.UNREACHABLE,
                f'{name} is seen {-target[2]:.1f} m below the table; is the depth in millimetres? '
                "(perception's depth_unit_m)",
            )
        return target, self._observer.points_of([matches for matches, _ in seen], deadline)

    def preferred(self, name: str, images: int = 0) -> Sight:
        """Find where an object is best grasped: places (K, 3) near its stored points, best first.

        One of its points at least must be found; of several such objects, any is meant.
        """
        seen, deadline = self._seen(
            f'{name}/*', lambda match: object_of(match.name) == name, images
        )
        shown = [matches for matches, _ in seen]
        points = self._observer.points_of(shown, deadline)  # where fingers fit is seen by depth
        refused = ''
        for matches, found in reversed(seen):
            request = Preference.Request(object=name, stamp=matches.header.stamp, limit=_CELLS)
            try:
                best = self._observer.answer(self._preference, request)
            except GoalRefusedError:
                raise
            except UnansweredError as error:
                raise GoalRefusedError(Grasp.Result.STALE_DATA, str(error)) from None
            except RefusedError as error:
                refused = refused or str(error)
                continue
            T = self._observer.pose_of(best.header.frame_id, best.header.stamp, deadline)
            places = _places(T, best.positions)
            marks = {
                name: _places(T, [one.position for one in found if one.name == name])
                for name in {str(one.name) for one in found}
            }
            good = _apart(places[np.asarray(best.values) >= _WORTH * best.values[0]])
            return Sight(good, points, marks=marks)
        raise GoalRefusedError(Grasp.Result.NO_GRASP, refused)

    def _seen(
        self, name: str, meant: Callable[[Match], bool], images: int
    ) -> tuple[list[tuple[Matches, list[Match]]], float]:
        """Hear several images; return those that show any of the meant points, with those points.

        They must be more than half; with them comes until when to ask more.
        """
        heard, deadline = self._observer.hear(Matches, _MATCHES, name, images)
        seen, reason = [], ''
        for matches in heard:
            if matches.reason:
                reason = matches.reason
                continue
            points = [match for match in matches.matches if meant(match)]
            if not points:
                names = list(dict.fromkeys(str(match.name) for match in matches.matches))
                raise GoalRefusedError(
                    Grasp.Result.UNKNOWN_TARGET,
                    f"no descriptor '{name}' of the running model is stored; stored are: "
                    f'{", ".join(names) or "none"}{did_you_mean(name, names)}',
                )
            found = [match for match in points if match.found]
            if not found:
                reason = points[0].reason
                continue
            seen.append((matches, found))
        if 2 * len(seen) <= len(heard):
            missed = len(heard) - len(seen)
            raise GoalRefusedError(
                Grasp.Result.NOT_FOUND,
                f'{name} not found in {missed} of {len(heard)} images: {reason}',
            )
        return seen, deadline


def _places(T: Array, positions: Sequence[Point]) -> Array:
    """Return positions as places (N, 3) in the frame that T (4, 4) leads to."""
    return rigid.apply(T, [[p.x, p.y, p.z] for p in positions])


def _apart(places: Array) -> Array:
    """Leave out of places (N, 3), the best first, what is near a better one."""
    kept: list[Array] = []
    for place in places:
        if all(np.linalg.norm(place - other) >= _APART for other in kept):
            kept.append(place)
    return np.array(kept)
