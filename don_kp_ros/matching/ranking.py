"""Ranks stored descriptors by how well they match a picture: "what is this?"."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from don_kp_ros.matching.maps import cell_centres, checked_map, checked_queries, describe_at

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
    descriptor_map: Tensor,
    queries: Tensor,
    size: tuple[int, int],
    limit: int,
    region: Region | None = None,
) -> list[Ranked]:
    """Rank queries by their most similar cell of a map, the best `limit` of them first.

    descriptor_map (D, h, w); queries (N, D) of unit length; size (H, W) of the image. With a
    `region`, only the cells with centres in it and the descriptor at its own centre count. Equal
    queries keep their order. Unlike `heatmap.match`, which finds the best pixel, this takes one
    matrix product for a bounded number of queries at a time, so any number of queries is possible.

    Raises ValueError for queries of another dimension, and for a map without a finite cell there.
    """
    descriptor_map = checked_map(descriptor_map)
    queries = checked_queries(queries, descriptor_map)
    cells, uv = _cells(descriptor_map, size, region)
    together = max(1, _PRODUCTS_AT_ONCE // cells.shape[1])
    found = [(some @ cells).argmax(dim=1) for some in queries.split(together)]
    places = torch.cat(found)
    # A product of matrices rounds equal rows differently, by where they stand; this does not.
    scores = (queries * cells[:, places].T).sum(dim=1)
    best = scores.argsort(descending=True, stable=True)[:limit]
    rows = zip(best.tolist(), scores[best].tolist(), uv[places[best]].tolist(), strict=True)
    return [Ranked(index, min(score, 1.0), (u, v)) for index, score, (u, v) in rows]


def _cells(
    descriptor_map: Tensor, size: tuple[int, int], region: Region | None
) -> tuple[Tensor, Tensor]:
    """Return the descriptors (D, P) of unit length to compare with, and their pixels (P, 2)."""
    _, rows, columns = descriptor_map.shape
    u, v = np.meshgrid(*cell_centres((rows, columns), size))
    uv = torch.from_numpy(np.stack([u, v], axis=-1).reshape(-1, 2)).to(descriptor_map.device)
    cells = descriptor_map.flatten(1)
    if region is not None:
        here = uv.new_tensor([region.uv])
        inside = torch.linalg.vector_norm(uv - here, dim=1) <= region.radius
        cells = torch.cat([describe_at(descriptor_map, here, size).T, cells[:, inside]], dim=1)
        uv = torch.cat([here, uv[inside]])
    length = torch.linalg.vector_norm(cells, dim=0)
    usable = length.isfinite() & (length > 0)
    if not usable.any():
        raise ValueError('no cell of the descriptor map there is finite and has a direction')
    return cells[:, usable] / length[usable], uv[usable]
