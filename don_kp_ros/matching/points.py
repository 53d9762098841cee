"""Find stored points in one picture: pixel, similarity, position."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from don_kp_ros.matching.candidates import Candidates, find_candidates
from don_kp_ros.matching.view import View


@dataclass(frozen=True)
class FoundPoint:
    """A similar pixel, and whether it counts as found; ``reason`` says why not."""

    name: str
    found: bool
    reason: str
    uv: tuple[float, float]  # pixels
    score: float  # cosine similarity, -1..1
    position: NDArray[np.float64]  # (3,) metres in the optical frame; NaN without depth
    instance: int = 0  # 0: the most similar pixel; 1: the next away from it ...
    ambiguity: float = 0.0  # the best score at another place over this one; 0: no other place
    confidence: float = math.nan  # of the network in the place, 0..1 (`Described`)


def find_points(
    descriptor_map: Tensor,
    names: Sequence[str],
    queries: Tensor,
    view: View,
    threshold: float,
    depth_window: int = 5,
) -> list[FoundPoint]:
    """Find each query (N, D) in the picture that a map (D, h, w) describes, at its best place.

    A point is found where its best similarity is at least ``threshold`` and there is depth: the
    median of the valid pixels in a window of ``depth_window`` pixels.
    """
    found = find_candidates(descriptor_map, queries, view, None, depth_window)
    return named_points(names, found, threshold)


def named_points(
    names: Sequence[str],
    candidates: Candidates,
    threshold: float,
    confidence: Sequence[float] | None = None,
) -> list[FoundPoint]:
    """Judge all places of the queries with these names; the first of each name is its best.

    confidence: of the network in the places (K), where it has one. The score stays the cosine that
    the threshold is about.
    """
    points = []
    sure = [math.nan] * len(candidates.query) if confidence is None else confidence
    for query, instance, uv, score, ambiguity, position, reason, told in zip(
        candidates.query.tolist(),
        candidates.instance.tolist(),
        candidates.uv.tolist(),
        candidates.score.tolist(),
        candidates.ambiguity.tolist(),
        candidates.position,
        candidates.reason,
        sure,
        strict=True,
    ):
        if score < threshold:
            reason = f'the best similarity, {score:.3f}, is below the threshold {threshold:.3f}'
        name, place = names[query], (uv[0], uv[1])
        points.append(
            FoundPoint(name, not reason, reason, place, score, position, instance, ambiguity, told)
        )
    return points
