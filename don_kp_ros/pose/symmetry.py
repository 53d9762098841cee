"""Whether an object looks the same when it is turned about an axis, so that its turn is unknown.

A surface of revolution whose points look alike all around the axis cannot be told from a turned
one: a can without a print. Its axis is found by the shape alone, as descriptors tell the turns of
single points too badly for that.

Of other objects, the constellation is matched with itself, each point with others that look like
it. A turn on which many of these matches agree, and which brings the points onto the surface among
others that look as much like them as neighbours do, is another one after which the object cannot
be told from before: half a turn of a box with the same print on two sides.

A can with a print on it has no such axis, but its shape does: where a picture does not show how it
is turned, it is known at least where it stands.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.symmetry import SymmetryAxis
from don_kp_ros.pose.consensus import poses_by_consensus
from don_kp_ros.pose.constellation import Constellation
from don_kp_ros.pose.matches import Matches
from don_kp_ros.pose.refinement import refined
from don_kp_ros.pose.revolution import Revolution, axis_of, normals_of, round_shape_of

Array = NDArray[np.float64]

SMALLEST_TURN = float(np.deg2rad(20))  # that an object may look the same after
_NEIGHBOURS = 1.5  # spacings of the points, within which they are neighbours
_LIKE_A_NEIGHBOUR = 0.9  # of the similarity of neighbours, of points that a turn brings together
_ALIKE = 0.75  # their cosine similarity, at least
_OVERLAP = 0.5  # share of the points that a turn brings among others
_TOUCHING = 0.004  # metres from these, along their normal
_REVERSED = -0.5  # mean cosine of normals: a flat side that is turned over is not seen
_AS_MANY = 0.9  # of the share that the best turn brings there
_TURNS = 40  # that are looked at
_LEVEL, _ABOVE = 0.5, 0.01  # cosine of a slope; metres over it
_FAR = 1.0  # radians between points that are compared, if the surface looks the same all around
_LIKE_ANY_TURN = 0.72  # of the similarity of neighbours: bottles have .75 to .95, mugs up to .69
_COMPARED = 0.25  # share of the points, at least, that are
_MOST_PARTS = 8  # of a full turn
_SO_MANY = 5  # of 2 to 8 parts: a regular polygon of up to 12 sides allows 4
_ALONG = 0.25  # shift along the axis over the radius of the object: more is no turn
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


@dataclass(frozen=True, eq=False)
class Form:
    """What is known of the form of an object by its points.

    symmetry: the turns after which it looks the same, if there are any; axis: about which its
    shape is round, whatever its looks, if it is; facing (N, 3): the unit normals of what was level
    when it was taught, and so was seen from above; 0 elsewhere, and where it lies under something
    else.
    """

    symmetry: Symmetry | None
    axis: Symmetry | None
    facing: Array

    @classmethod
    def unknown(cls, number: int) -> Form:
        """Make one of a number of points that tell nothing."""
        return cls(None, None, np.zeros((number, 3)))


def form_of(constellation: Constellation, seed: int = 0) -> Form:
    """Examine an object. Takes 12 ms for 64 points, .5 s for 512."""
    shape = round_shape_of(constellation.points)
    axis = axis_of(shape)
    return Form(
        _symmetry_of(constellation, shape, seed),
        None if axis is None else Symmetry(axis.direction, axis.point),
        _facing(constellation.points),
    )


def _symmetry_of(
    constellation: Constellation, shape: Revolution | None, seed: int
) -> Symmetry | None:
    """Find the turns after which an object looks the same; shape: the round one of its points."""
    points, descriptors = constellation.points, constellation.descriptors.astype(np.float64)
    apart, alike = _distances(points, points), descriptors @ descriptors.T
    others = ~np.eye(len(points), dtype=np.bool_)
    near = _near(apart)
    usual = np.where(others & (apart < near), alike, 0.0).max(axis=1)
    found = None if shape is None else _after_any_turn(shape, alike, near, usual)
    return found or _after_some_turns(constellation, apart, alike, near, usual, seed)


def _facing(points: Array) -> Array:
    """Return which way level surfaces at points (N, 3) face, as in `Form`."""
    normals = normals_of(points)
    level = np.abs(normals[:, 2]) > _LEVEL
    beside = _distances(points[:, :2], points[:, :2]) < _near(_distances(points, points))
    above = points[:, 2] > points[:, 2:] + _ABOVE
    under = (beside & above & level).any(axis=1)  # it may have been turned over for another view
    upwards = normals * np.sign(normals[:, 2:])
    return np.where((level & ~under)[:, None], upwards, 0.0)


def _after_any_turn(shape: Revolution, alike: Array, near: float, usual: Array) -> Symmetry | None:
    """Find the axis of a surface of revolution that looks the same all around it.

    alike (N, N): the similarities of its points; near: metres, of neighbours; usual (N,): the
    similarity of a point with its neighbours.
    """
    profile = np.stack([shape.height, shape.radius], axis=1)
    turned = np.abs(np.angle(np.exp(1j * (shape.angle[:, None] - shape.angle)))) > _FAR
    beside = shape.radius > near / 2  # others are on the axis, about which nothing moves them
    compared = turned & (_distances(profile, profile) < near / 2) & beside[:, None] & beside
    if compared.any(axis=1).mean() < _COMPARED:
        return None
    if alike[compared].mean() < _LIKE_ANY_TURN * usual[usual > 0].mean():
        return None
    return Symmetry(shape.direction, shape.point)


def _after_some_turns(
    constellation: Constellation, apart: Array, alike: Array, near: float, usual: Array, seed: int
) -> Symmetry | None:
    """Find the axis of the turn that best brings points among others like them."""
    points = constellation.points
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

    normals = normals_of(points)
    facing = np.linalg.eigh(normals.T @ normals)[1][:, 2]  # most of what is seen, or away from it
    normals *= np.where(normals @ facing < 0, -1.0, 1.0)[:, None]

    def overlap(T: Array, touching: float = _TOUCHING) -> float:
        """Return the share of the points that a turn brings among others like them, or 0."""
        moved = rigid.apply(T, points)
        distances = _distances(moved, points)
        next_to = distances.argmin(axis=1)
        off = ((moved - points[next_to]) * normals[next_to]).sum(axis=1)
        among = (distances.min(axis=1) < near) & (np.abs(off) < touching)
        similar = np.where(distances < near, alike, 0.0).max(axis=1)
        share = float(among.mean())
        same_way = ((normals @ T[:3, :3].T) * normals[next_to]).sum(axis=1)
        if share < _OVERLAP or same_way[among].mean() < _REVERSED:
            return 0.0
        return 0.0 if similar[among].mean() < least[among].mean() else share

    away = rigid.transform(translation=_AWAY)
    turns = rigid.inverse(away) @ turns[:_TURNS]
    rough = max(turns, key=lambda T: overlap(T, near), default=None)
    if rough is None or not overlap(rough, near):
        return None
    best = rigid.inverse(away) @ refined(matches, away @ rough)
    found = Symmetry.of_turn(best, constellation.radius)
    if found is None:
        return None
    shares = {n: overlap(found.turn(2 * np.pi / n)) for n in range(2, _MOST_PARTS + 1)}
    enough = max(_AS_MANY * overlap(best), _OVERLAP)
    orders = [n for n, share in shares.items() if share >= enough]
    if len(orders) >= _SO_MANY:
        return found  # after any turn
    return replace(found, order=max(orders)) if orders else None


def _near(apart: Array) -> float:
    """Return how far neighbours are from each other at most, by distances (N, N), metres."""
    others = ~np.eye(len(apart), dtype=np.bool_)
    return _NEIGHBOURS * float(np.median(np.where(others, apart, np.inf).min(axis=1)))


def _distances(points: Array, others: Array) -> Array:
    return np.asarray(np.linalg.norm(points[:, None] - others, axis=2))
