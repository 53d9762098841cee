"""Whether an object looks the same when it is turned about an axis, so that its turn is unknown.

A constellation is matched with itself, each point with others that look like it. A turn on which
many of these matches agree, and which brings the points among others that look as much like them
as neighbours do, is one after which the object cannot be told from before. A can without a print
has many about one axis; a box with the same print on two sides has one of half a turn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.symmetry import SymmetryAxis
from don_kp_ros.pose.consensus import poses_by_consensus
from don_kp_ros.pose.constellation import Constellation
from don_kp_ros.pose.estimate import Pose
from don_kp_ros.pose.matches import Matches

Array = NDArray[np.float64]

SMALLEST_TURN = float(np.deg2rad(20))  # that an object may look the same after
_NEIGHBOURS = 1.5  # spacings of the points, within which they are neighbours
_LIKE_A_NEIGHBOUR = 0.9  # of the similarity of neighbours, of points that a turn brings together
_ALIKE = 0.75  # their cosine similarity, at least
_OVERLAP = 0.5  # share of the points that a turn brings among others
_TURNS = 40  # that are looked at
_ANY = (0.4, 0.7, 1.0)  # radians: who looks the same after all of these does after any turn
_MOST_PARTS = 8  # of a full turn
_ALONG = 0.25  # shift along the axis over the radius of the object: more is no turn
_VARIANCE = np.pi**2 / 3  # square radians, of an angle of which nothing is known
_AWAY = np.array([0.0, 0.0, 1.0])  # metres: matches have rays


@dataclass(frozen=True, eq=False)
class Symmetry(SymmetryAxis):
    """An axis of symmetry, found in a constellation."""

    @classmethod
    def of_turn(cls, T: ArrayLike, radius: float) -> Symmetry | None:
        """Find the axis of a motion (4, 4) of an object that size, if it is a turn about one."""
        T = np.asarray(T, dtype=np.float64)
        x, y, z, w = rigid.to_quaternion(T)
        sine = float(np.linalg.norm([x, y, z]))
        if 2 * np.arctan2(sine, w) < SMALLEST_TURN:
            return None
        direction = np.array([x, y, z]) / sine
        if abs(direction @ T[:3, 3]) > _ALONG * radius:
            return None
        # The point on the axis that is nearest to the origin; the system lacks the direction.
        point = np.linalg.lstsq(np.eye(3) - T[:3, :3], T[:3, 3], rcond=1e-6)[0]
        return cls(direction, point - direction * (direction @ point))

    def applied(self, pose: Pose) -> Pose:
        """Say of a pose that its turn about the axis is unknown."""
        T = pose.T_camera_object
        turn = T[:3, :3] @ self.direction
        shift = np.cross(turn, T[:3, :3] @ -self.point)  # of the object's origin
        unknown = np.concatenate([shift, turn])
        covariance = pose.covariance + _VARIANCE * np.outer(unknown, unknown)
        return replace(pose, covariance=covariance, symmetry=self)


def symmetry_of(constellation: Constellation, seed: int = 0) -> Symmetry | None:
    """Find the axis about which a constellation maps onto itself, if there is one."""
    points, descriptors = constellation.points, constellation.descriptors.astype(np.float64)
    apart, alike = _distances(points, points), descriptors @ descriptors.T
    others = ~np.eye(len(points), dtype=np.bool_)
    near = _NEIGHBOURS * float(np.median(np.where(others, apart, np.inf).min(axis=1)))
    usual = np.where(others & (apart < near), alike, 0.0).max(axis=1)
    least = np.maximum(_LIKE_A_NEIGHBOUR * usual, _ALIKE)
    first, second = np.nonzero((alike >= least[:, None]) & (apart > 2 * near))
    if len(np.unique(first)) < _OVERLAP * len(points):
        return None
    variance = np.full(len(first), (near / 3) ** 2)
    matches = Matches(
        first,
        points[first],
        points[second] + _AWAY,
        constellation.weights / constellation.weights.max(),
        variance,
        0 * variance,
    )
    fewest = int(_OVERLAP * len(points)) // 2
    turns, _ = poses_by_consensus(matches, fewest, np.random.default_rng(seed))

    def overlap(T: Array) -> float:
        """Return the share of the points that a turn brings among others like them, or 0."""
        distances = _distances(rigid.apply(T, points), points)
        among = distances.min(axis=1) < near
        similar = np.where(distances < near, alike, 0.0).max(axis=1)
        share = float(among.mean())
        return 0.0 if share < _OVERLAP or similar[among].mean() < least[among].mean() else share

    turns = turns[:_TURNS]
    turns[:, :3, 3] -= _AWAY
    best = max(turns, key=overlap, default=None)
    if best is None or not overlap(best):
        return None
    found = Symmetry.of_turn(best, constellation.radius)
    if found is None or all(overlap(found.turn(angle)) for angle in _ANY):
        return found
    orders = [n for n in range(2, _MOST_PARTS + 1) if overlap(found.turn(2 * np.pi / n))]
    return replace(found, order=max(orders, default=2))


def _distances(points: Array, others: Array) -> Array:
    return np.asarray(np.linalg.norm(points[:, None] - others, axis=2))
