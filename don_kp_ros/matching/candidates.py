"""All places in a picture that look like what is looked for: pixels, similarities, positions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from don_kp_ros.matching.heatmap import Peaks, Watch, match, peaks
from don_kp_ros.matching.view import View, lift

Array = NDArray[np.float64]

APART_M = 0.02  # between two places of one query
APART_PX = 20.0  # the same where one of them has no depth, pixels of a 640-pixel-wide picture
MOST = 8  # places of one query
_REFERENCE_WIDTH = 640


@dataclass(frozen=True)
class Candidates:
    """Places (K) of some queries, in the order of the queries, each one's best first.

    query (K,): which; instance (K,): 0 the best place of its query, 1 the next ...; uv (K, 2)
    pixels; score (K,) cosine similarities; ambiguity (K,): the best score elsewhere over the own,
    0 if there is no other place; position (K, 3) metres in the optical frame, NaN without depth;
    reason (K): why there is none.
    """

    query: NDArray[np.int64]
    instance: NDArray[np.int64]
    uv: Array
    score: Array
    ambiguity: Array
    position: Array
    reason: tuple[str, ...]

    @property
    def have_depth(self) -> bool:
        """Tell whether any of them has a position."""
        return bool(np.isfinite(self.position[:, 2]).any())

    def of(self, first: int, number: int) -> Candidates:
        """Return those of some queries in a row, which are numbered from 0 again."""
        start, end = np.searchsorted(self.query, [first, first + number])
        own = self.some(np.arange(start, end))
        return replace(own, query=own.query - first)

    def some(self, index: NDArray[np.int64]) -> Candidates:
        """Return those with an index (L,)."""
        return Candidates(
            self.query[index],
            self.instance[index],
            self.uv[index],
            self.score[index],
            self.ambiguity[index],
            self.position[index],
            tuple(self.reason[i] for i in index.tolist()),
        )


def find_candidates(
    descriptor_map: Tensor,
    queries: Tensor,
    view: View,
    threshold: float | Tensor | None,
    depth_window: int = 5,
    watch: Watch | None = None,
) -> Candidates:
    """Find where a picture may show what each query (N, D) of unit length describes.

    descriptor_map (D, h, w). The best place of every query is told, whatever its score. Others
    have at least the ``threshold``, of all queries or of each (N,); None: no others. Of those
    nearer to each other than `APART_M` the best remains, and of each query the `MOST` best.
    Positions are lifted by the median depth in a window of ``depth_window`` pixels. ``watch`` is
    told all similarities of the cells.
    """
    with torch.inference_mode():
        if threshold is None:
            best = match(descriptor_map, queries, view.size, watch)
            found = Peaks(torch.arange(len(queries)), *best)
        else:
            found = peaks(descriptor_map, queries, view.size, threshold, watch)
    query = found.query.cpu().numpy()
    uv = found.uv.cpu().numpy().astype(np.float64)
    score = found.score.cpu().numpy().astype(np.float64)
    position, reason = lift(view, uv, depth_window)
    first = np.searchsorted(query, query)
    kept = _apart(first, uv, position, APART_PX * view.size[1] / _REFERENCE_WIDTH)
    better = np.cumsum(kept) - 1
    instance = better - better[first]
    index = np.flatnonzero(kept & (instance < MOST))
    ambiguity = np.zeros(len(query))
    ambiguity[index] = _ambiguity(query[index], score[index])
    every = Candidates(query, instance, uv, score, ambiguity, position, tuple(reason))
    return every.some(index)


def _apart(
    first: NDArray[np.int64], uv: Array, position: Array, pixels: float
) -> NDArray[np.bool_]:
    """Tell which places remain if each removes the worse ones near it (non-maximum suppression).

    first (K,): where the places of the same query begin.
    """
    kept = np.ones(len(uv), dtype=np.bool_)
    later = np.arange(len(uv))
    rank = later - first
    for step in range(int(rank.max(initial=0))):
        later = later[rank[later] > step]
        better = first[later] + step
        metres = np.linalg.norm(position[later] - position[better], axis=1)
        across = np.linalg.norm(uv[later] - uv[better], axis=1)
        near = np.where(np.isnan(metres), across < pixels, metres < APART_M)
        kept[later[near & kept[better]]] = False
    return kept


def _ambiguity(query: NDArray[np.int64], score: Array) -> Array:
    first, every = np.searchsorted(query, query), np.arange(len(query))
    following = np.minimum(every + 1, len(query) - 1)
    other = np.where(first < every, first, following)
    exists = (query[other] == query) & (other != every)
    return np.divide(score[other], score, out=np.zeros(len(query)), where=exists)
