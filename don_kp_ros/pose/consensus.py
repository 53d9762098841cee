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
import torch
from numpy.typing import NDArray

from don_kp_ros.geometry.alignment import kabsch
from don_kp_ros.pose.matches import Matches

Array = NDArray[np.float64]
Index = NDArray[np.int64]

GATE = 16.27  # squared Mahalanobis distance of an inlier: chi-square of 3 degrees, 99.9 %
_TRIPLES = 96
_MOST = 600  # matches; of more, those of the weightiest points
_AGREEING = 3.0  # standard deviations by which two distances may differ
_FLATTEST = 0.05  # height of a triangle over its longest side, below which it is a line
_TINY = 1e-12  # square metres


def poses_by_consensus(
    matches: Matches, fewest: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Find poses (B, 4, 4) that many matches agree with, and their scores (B,), best first.

    Scores are 0..1. There is none where it is plain that not so many points as the ``fewest``
    agree with any.
    """
    if len(matches) > _MOST:
        heaviest = np.argsort(-matches.weight[matches.point], kind='stable')[:_MOST]
        matches = matches.some(np.sort(heaviest))
    triples = _triples(matches, fewest, rng)
    if len(triples) == 0:
        return np.zeros((0, 4, 4)), np.zeros(0)
    a, b = (torch.from_numpy(points[triples]) for points in (matches.of_object, matches.measured))
    T = kabsch(a, b).numpy()
    score = scores(matches, T)
    order = np.argsort(-score, kind='stable')
    return T[order], score[order]


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
    triples = np.unique(np.sort(np.stack([first, second, third], axis=1)[agree > 0]), axis=0)
    thin = np.minimum(_height(matches.of_object[triples]), _height(matches.measured[triples]))
    return np.asarray(triples[thin > _FLATTEST])


def _agreeing(matches: Matches) -> Array:
    """Tell which matches (M, M), 0 or 1, have the same distance in both frames."""
    variance = matches.across + matches.along
    allowed = _AGREEING * np.sqrt(variance[:, None] + variance)
    differ = np.abs(_distances(matches.of_object) - _distances(matches.measured))
    other = matches.point[:, None] != matches.point
    return ((differ <= allowed) & other).astype(np.float64)


def _distances(points: Array) -> Array:
    points = points - points.mean(axis=0)  # or digits are lost
    squares = (points * points).sum(axis=1)
    return np.sqrt(np.maximum(squares[:, None] + squares - 2 * points @ points.T, 0))


def _drawn(chance: Array, rng: np.random.Generator) -> Index:
    """Draw one of each row (B, M) by its chance."""
    total = np.cumsum(chance, axis=1)
    at = rng.random((len(chance), 1)) * total[:, -1:]
    return np.asarray(np.minimum((total <= at).sum(axis=1), chance.shape[1] - 1))


def _height(triangles: Array) -> Array:
    """Return the smallest height over the longest side of triangles (B, 3, 3): (B,)."""
    sides = triangles - np.roll(triangles, 1, axis=1)
    longest = (sides * sides).sum(axis=2).max(axis=1, initial=0)
    area = np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1)
    return np.asarray(area / np.maximum(longest, _TINY))
