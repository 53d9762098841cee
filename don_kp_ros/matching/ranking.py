"""Which of many stored descriptors fit what is in view: "what is this?"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.matching.maps import Array, cell_centres, describe_pixel

_PRODUCTS_AT_ONCE = 1 << 22  # of queries and cells: 16 MiB


@dataclass(frozen=True)
class Region:
    """A disc of the picture, in pixels."""

    uv: tuple[float, float]
    radius: float


@dataclass(frozen=True)
class Ranked:
    """How well a query fits at best."""

    index: int  # of the query
    score: float  # cosine similarity, -1..1
    uv: tuple[float, float]  # pixels, where


def rank(
    descriptor_map: Array,
    queries: Array,
    size: tuple[int, int],
    limit: int,
    region: Region | None = None,
) -> list[Ranked]:
    """Rank queries by their most similar cell of a map, the best `limit` of them first.

    descriptor_map (D, h, w); queries (N, D) of unit length; size (H, W) of the image. A `region`
    leaves the cells whose centres lie in it, and the descriptor at its own centre. Equal queries
    are ranked in their order. Unlike `heatmap.match`, which finds the best pixel, this is one
    matrix product, of a bounded number of queries at a time, for any number of them.

    Raises ValueError for queries of another dimension, and for a map without a finite cell there.
    """
    dimension = descriptor_map.shape[0]
    if queries.ndim != 2 or queries.shape[1] != dimension:
        raise ValueError(f'queries have shape {queries.shape}; this map takes (N, {dimension})')
    cells, uv = _cells(descriptor_map, size, region)
    scores, places = np.empty(len(queries), np.float32), np.empty(len(queries), np.intp)
    together = max(1, _PRODUCTS_AT_ONCE // cells.shape[1])
    for first in range(0, len(queries), together):
        part = slice(first, first + together)
        products = queries[part] @ cells
        places[part] = products.argmax(axis=1)
        scores[part] = products.max(axis=1)
    best = np.argsort(-scores, kind='stable')[:limit]
    return [
        Ranked(int(index), min(float(scores[index]), 1.0), (float(u), float(v)))
        for index, (u, v) in zip(best, uv[places[best]], strict=True)
    ]


def _cells(
    descriptor_map: Array, size: tuple[int, int], region: Region | None
) -> tuple[Array, NDArray[np.floating[Any]]]:
    """Return the descriptors (D, P) of unit length to compare with, and their pixels (P, 2)."""
    dimension, *shape = descriptor_map.shape
    uv = np.stack(np.meshgrid(*cell_centres((shape[0], shape[1]), size)), axis=-1).reshape(-1, 2)
    cells = descriptor_map.reshape(dimension, -1)
    if region is not None:
        inside = np.linalg.norm(uv - region.uv, axis=1) <= region.radius
        here = describe_pixel(descriptor_map, region.uv, size)
        cells = np.concatenate([here[:, None], cells[:, inside]], axis=1)
        uv = np.concatenate([[region.uv], uv[inside]])
    length = np.linalg.norm(cells, axis=0)
    usable = np.isfinite(length) & (length > 0)
    if not usable.any():
        raise ValueError('no cell of the descriptor map there is finite and has a direction')
    return cells[:, usable] / length[usable], uv[usable]
