"""The poses on which most matches agree: RANSAC over triples whose mutual distances agree.

A rigid motion keeps distances, so two matches that are right have the same distance in the
object's and in the optical frame. Triples are drawn among matches that agree with each other in
this, the more often the more others agree with both (second-order consistency: Chen et al.,
SC2-PCR, CVPR 2022). With nine of ten matches wrong, few triples are then enough. All are solved at
once (Kabsch 1976) and judged by a truncated cost (MSAC: Torr and Zisserman 2000), in which a point
with several matches counts once.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.pose.estimate import Confidence
from don_kp_ros.pose.matches import Matches

Array = NDArray[np.float64]
Index = NDArray[np.int64]

GATE = 16.27  # squared Mahalanobis distance of an inlier: chi-square of 3 degrees, 99.9 %
_TRIPLES = 96
_MOST = 600  # matches; of more, those of the weightiest points
_AGREEING = 3.0  # standard deviations by which two distances may differ
_FLATTEST = 0.05  # height of a triangle over its longest side, below which it is a line
_TINY = 1e-12  # square metres
_ROUNDING = 1e-9


def poses_by_consensus(
    matches: Matches, fewest: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Find poses (B, 4, 4) that many matches agree with, and their scores (B,), best first.

    Scores are 0..1. There is none where too few matches agree with each other for the ``fewest``
    points to do so on a pose, or no three that do are drawn. This is a heuristic, no bound: points
    within the gate of a pose may differ by more than is allowed here (`may_agree` is a bound).
    """
    if len(matches) > _MOST:
        heaviest = np.argsort(-matches.weight[matches.point], kind='stable')[:_MOST]
        matches = matches.some(np.sort(heaviest))
    triples = _triples(matches, fewest, rng)
    if len(triples) == 0:
        return np.zeros((0, 4, 4)), np.zeros(0)
    T = _aligned(matches.of_object[triples], matches.measured[triples])
    score = scores(matches, T)
    order = np.argsort(-score, kind='stable')
    return T[order], score[order]


def may_agree(matches: Matches, confidence: Confidence) -> bool:
    """Tell whether so many points, and of such a weight, as are asked for may agree on some pose.

    Matches that a pose brings within the gate have distances that differ by no more than both are
    off. So with any of them agree, in this, all others of the pose.
    """
    if not 0 < len(matches) <= _MOST:
        return len(matches) > 0
    off = np.sqrt(GATE * (matches.across + matches.along))
    agreeing = _differ(matches) <= off[:, None] + off
    points = np.logical_or.reduceat(agreeing, matches.starts, axis=1)  # itself, too
    share = points @ matches.weight[matches.point[matches.starts]] / matches.weight.sum()
    fewest = min(confidence.inliers, matches.number)
    enough = (points.sum(axis=1) >= fewest) & (share >= confidence.share - _ROUNDING)
    return bool(enough.any())


def scores(matches: Matches, T: Array) -> Array:
    """Judge poses (..., 4, 4): the mean of 1 - d^2 / GATE over the points, by weight: (...)."""
    gain = matches.best_of_each(1 - matches.squared_distances(T) / GATE)
    weight = matches.weight[matches.point[matches.starts]]
    return np.asarray(np.maximum(gain, 0) @ weight / matches.weight.sum())


def _triples(matches: Matches, fewest: int, rng: np.random.Generator) -> Index:
    """Draw triples (B, 3) of matches that agree with each other and do not lie in a line."""
    agreeing = _agreeing(matches)
    common = agreeing * (agreeing @ agreeing)
    # Of so many that all agree, any two agree with all others.
    if common.max(initial=0) < max(fewest - 2, 1):
        return np.zeros((0, 3), dtype=np.int64)
    weight = matches.weight[matches.point]
    common *= weight
    chance = weight * common.sum(axis=1)
    first = rng.choice(len(matches), _TRIPLES, p=chance / chance.sum())
    second = _drawn(common[first], rng)
    third = _drawn(np.minimum(common[first], common[second]), rng)
    agree = agreeing[first, second] * agreeing[first, third] * agreeing[second, third]
    triples = np.sort(np.stack([first, second, third], axis=1)[agree > 0])
    number = len(matches)  # as single numbers they are sorted faster
    places = np.unique((triples[:, 0] * number + triples[:, 1]) * number + triples[:, 2])
    triples = np.stack([places // number**2, places // number % number, places % number], axis=1)
    thin = np.minimum(_height(matches.of_object[triples]), _height(matches.measured[triples]))
    return np.asarray(triples[thin > _FLATTEST])


def _agreeing(matches: Matches) -> Array:
    """Tell which matches (M, M), 0 or 1, have the same distance in both frames."""
    variance = matches.across + matches.along
    allowed = _AGREEING * np.sqrt(variance[:, None] + variance)
    other = matches.point[:, None] != matches.point
    return ((_differ(matches) <= allowed) & other).astype(np.float64)


def _differ(matches: Matches) -> Array:
    """Return by how much the distances of matches (M, M) differ in both frames, metres."""
    return np.abs(_distances(matches.of_object) - _distances(matches.measured))


def _distances(points: Array) -> Array:
    points = points - points.mean(axis=0)  # or digits are lost
    squares = (points * points).sum(axis=1)
    return np.sqrt(np.maximum(squares[:, None] + squares - 2 * points @ points.T, 0))


def _drawn(chance: Array, rng: np.random.Generator) -> Index:
    """Draw one of each row (B, M) by its chance."""
    total = np.cumsum(chance, axis=1)
    at = rng.random((len(chance), 1)) * total[:, -1:]
    return np.asarray(np.minimum((total <= at).sum(axis=1), chance.shape[1] - 1))


def _aligned(triangles: Array, others: Array) -> Array:
    """Find the poses (B, 4, 4) that best map triangles (B, 3, 3) to others: those of `kabsch`.

    Of three points the best turn brings the planes together, and then turns in the plane.
    """
    middles, frames, flat = zip(*(_in_plane(one) for one in (triangles, others)), strict=True)
    turn = (flat[1] * flat[0].conj()).sum(axis=1)
    turn /= np.abs(turn)
    c, s, none = turn.real, turn.imag, np.zeros(len(turn))
    rows = [[c, -s, none], [s, c, none], [none, none, none + 1]]
    T = np.zeros((len(turn), 4, 4))
    T[:, 3, 3] = 1
    T[:, :3, :3] = np.swapaxes(frames[1], 1, 2) @ np.moveaxis(np.array(rows), 2, 0) @ frames[0]
    T[:, :3, 3] = middles[1] - (T[:, :3, :3] @ middles[0][:, :, None])[:, :, 0]
    return T


def _in_plane(triangles: Array) -> tuple[Array, Array, NDArray[np.complex128]]:
    """Return the middles (B, 3) of triangles, the axes of their planes and normals, the rows of
    (B, 3, 3), and the corners in these axes, from the middle, as complex numbers (B, 3).
    """
    middles = triangles.mean(axis=1)
    corners = triangles - middles[:, None]
    x = corners[:, 1] - corners[:, 0]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    z = np.cross(x, corners[:, 2] - corners[:, 0])
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    frames = np.stack([x, np.cross(z, x), z], axis=1)
    flat = corners @ np.swapaxes(frames[:, :2], 1, 2)
    return middles, frames, flat[..., 0] + 1j * flat[..., 1]


def _height(triangles: Array) -> Array:
    """Return the smallest height over the longest side of triangles (B, 3, 3): (B,)."""
    sides = triangles - np.roll(triangles, 1, axis=1)
    longest = (sides * sides).sum(axis=2).max(axis=1, initial=0)
    area = np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1)
    return np.asarray(area / np.maximum(longest, _TINY))
