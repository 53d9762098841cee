"""Find stored points in one picture: pixel, similarity, position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from don_kp_ros.matching.heatmap import match
from don_kp_ros.matching.view import View, lift


@dataclass(frozen=True)
class FoundPoint:
    """The most similar pixel, and whether it counts as found; ``reason`` says why not."""

    name: str
    found: bool
    reason: str
    uv: tuple[float, float]  # pixels
    score: float  # cosine similarity, -1..1
    position: NDArray[np.float64]  # (3,) metres in the optical frame; NaN without depth


def find_points(
    descriptor_map: Tensor,
    names: Sequence[str],
    queries: Tensor,
    view: View,
    threshold: float,
    depth_window: int = 5,
) -> list[FoundPoint]:
    """Find each query (N, D) in the picture that a map (D, h, w) describes.

    A point is found where its best similarity is at least ``threshold`` and there is depth: the
    median of the valid pixels in a window of ``depth_window`` pixels.
    """
    uv, scores = match(descriptor_map, queries, view.size)
    return [
        _judged(name, (u, v), score, view, threshold, depth_window)
        for name, (u, v), score in zip(names, uv.tolist(), scores.tolist(), strict=True)
    ]


def _judged(
    name: str, uv: tuple[float, float], score: float, view: View, threshold: float, window: int
) -> FoundPoint:
    position, reason = lift(view, uv, window)
    if score < threshold:
        reason = f'the best similarity, {score:.3f}, is below the threshold {threshold:.3f}'
    return FoundPoint(name, not reason, reason, uv, score, position)
