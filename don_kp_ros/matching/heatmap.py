"""Exact similarity heatmaps at image resolution, and their peaks, without upsampling descriptors.

How the cosines of all pixels follow from those of the map's cells: `don_kp_ros.matching.blocks`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from don_kp_ros.matching.blocks import TIE, Blocks, first_peak
from don_kp_ros.matching.maps import checked_map, checked_queries

_BOUND_SLACK = 1e-5  # rounding of the bounds; costs a few more blocks, never the maximum
_PRODUCTS_AT_ONCE = 1 << 20  # of queries and cells: more leave the cache, less cost calls
_BLOCKS_AT_ONCE = 8192
_PIXELS_AT_ONCE = 5 << 20  # of heatmaps: 20 MiB, or a single one
_CROWDED = 0.25  # share of candidate cells above which the whole heatmap is faster


Watch = Callable[[int, Tensor], None]
"""Is told which query is the first of some, and their cosines (q, h, w) with a map's cells.

These are overwritten by those of the next queries."""


@dataclass(frozen=True)
class Peaks:
    """Maxima of the heatmaps of some queries, in the order of the queries, the best one first.

    query (K,): whose it is; uv (K, 2): pixels, float32; score (K,): cosine similarities.
    """

    query: Tensor
    uv: Tensor
    score: Tensor


def heatmaps(descriptor_map: Tensor, queries: Tensor, size: tuple[int, int]) -> Tensor:
    """Compute the cosine similarity of every image pixel with each query.

    descriptor_map (D, h, w); queries (Q, D) of unit length; size (H, W). Returns (Q, H, W), each
    equal to upsampling the map bilinearly, normalising every pixel, and multiplying by the query.
    """
    descriptor_map = checked_map(descriptor_map)
    queries = checked_queries(queries, descriptor_map)
    products = (queries @ descriptor_map.flatten(1)).unflatten(1, descriptor_map.shape[1:])
    heat = _enlarged(products, size).mul_(Blocks.of(descriptor_map, size).image())
    return heat.clamp_(-1, 1)


def match(
    descriptor_map: Tensor, queries: Tensor, size: tuple[int, int], watch: Watch | None = None
) -> tuple[Tensor, Tensor]:
    """Find the pixel that is most similar to each query, and its cosine similarity.

    descriptor_map (D, h, w); queries (Q, D) of unit length; size (H, W). Returns uv (Q, 2) float32
    pixels and score (Q,). It is the maximum of `heatmaps`, found by branch and bound: only blocks
    of pixels between four cells that may hold it by their bound (`Blocks`) are evaluated. If these
    are many, the whole heatmap is evaluated instead. If pixels are equal except for rounding, as
    beyond the outermost cells, the first one is found, whatever other queries the call has.
    """
    found = _search(descriptor_map, queries, size, None, watch)
    return found.uv, found.score


def peaks(
    descriptor_map: Tensor,
    queries: Tensor,
    size: tuple[int, int],
    threshold: float | Tensor,
    watch: Watch | None = None,
) -> Peaks:
    """Find all pixels with which the similarity to each query has a maximum.

    The first peak of each query is what `match` finds, whatever its score. The others have at
    least the ``threshold``, above 0, of all queries or of each (Q,). They belong to the cells of
    the map that are more similar to the query than the eight around them: each is the best pixel
    of the four blocks that meet in such a cell. Peaks nearer than a cell may be the same one.
    """
    threshold = torch.as_tensor(threshold, dtype=torch.float32).expand(len(queries))
    if not (threshold > 0).all():
        raise ValueError(f'a threshold is {float(threshold.min()):g}; it must be above 0')
    return _search(descriptor_map, queries, size, threshold, watch)


def _search(
    descriptor_map: Tensor,
    queries: Tensor,
    size: tuple[int, int],
    threshold: Tensor | None,
    watch: Watch | None,
) -> Peaks:
    descriptor_map = checked_map(descriptor_map)
    queries = checked_queries(queries, descriptor_map)
    if queries.shape[0] == 0:
        none = torch.zeros(0, dtype=torch.long, device=queries.device)
        return Peaks(none, queries.new_zeros((0, 2), dtype=torch.float32), queries.new_zeros(0))
    blocks = Blocks.of(descriptor_map, size)
    together = min(max(1, _PRODUCTS_AT_ONCE // len(blocks.cells)), len(queries))
    memory = queries.new_empty((together, len(blocks.cells)))  # fresh memory is slow
    parts: list[Peaks] = []
    for start in range(0, len(queries), together):
        some = slice(start, start + together)
        least = None if threshold is None else threshold[some].to(queries)
        search = _Search(descriptor_map, blocks, queries[some], size, least, memory)
        if watch is not None:
            watch(start, search.cosines)
        parts += [Peaks(one.query + start, one.uv, one.score) for one in search.peaks()]
    query, uv, score = (
        torch.cat([getattr(part, name) for part in parts]) for name in ('query', 'uv', 'score')
    )
    if threshold is not None:
        # Stable, and the best of a query is before its others: it stays the first of equals.
        order = score.argsort(descending=True, stable=True)
        order = order[query[order].argsort(stable=True)]
        query, uv, score = query[order], uv[order], score[order]
    return Peaks(query, uv, score.clamp(-1, 1))


class _Search:
    """The search for the peaks of queries whose products with all cells fit into the cache."""

    def __init__(
        self,
        descriptor_map: Tensor,
        blocks: Blocks,
        queries: Tensor,
        size: tuple[int, int],
        threshold: Tensor | None,
        memory: Tensor,
    ) -> None:
        self._map, self._blocks, self._queries, self._size = descriptor_map, blocks, queries, size
        self._threshold = threshold
        self._products = torch.mm(queries, blocks.cells.T, out=memory[: len(queries)])
        blocks.continue_border(self._products)
        self._every = torch.arange(len(queries), device=queries.device)

    @property
    def cosines(self) -> Tensor:
        """The products with the cells of the map itself: (q, h, w)."""
        return self._products.unflatten(1, (-1, self._blocks.across))[:, 1:-1, 1:-1]

    def peaks(self) -> list[Peaks]:
        """Return the best peak of each query, then the others above the threshold."""
        best = _Best(len(self._queries), self._queries)
        self._start(best, self._blocks.of_map(_argmax(self._products)))
        floor = best.score - _BOUND_SLACK
        floor = torch.where(floor > 0, floor, torch.inf)  # the bounds are of positive scores
        owners, cells, values = self._reaching(floor)
        self._add_best(best, floor, owners, cells, values)
        found = [Peaks(self._every, best.first(self._size[1]), best.score)]
        if self._threshold is not None:
            found.append(self._others(self._threshold, owners, cells, values))
        return found

    def _start(self, best: _Best, cells: Tensor) -> None:
        """Look where the most similar cell and the most similar of those around it meet."""
        around = self._blocks.around(cells).flatten()
        corners = self._blocks.corners(self._products, self._every.repeat_interleave(4), around)
        first = 4 * self._every + corners.sum(dim=0).view(-1, 4).argmax(dim=1)
        self._include(best, self._every, around[first])

    def _reaching(self, floor: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Find all owners and cells with products that may count, and these."""
        lowest = floor * self._blocks.least.amin()
        if self._threshold is not None:
            lowest = torch.minimum(lowest, self._threshold)
        places, cells = _reaching(self._products, lowest), self._products.shape[1]
        return places // cells, places % cells, self._products.flatten()[places]

    def _add_best(
        self, best: _Best, floor: Tensor, owners: Tensor, cells: Tensor, values: Tensor
    ) -> None:
        """Look wherever a query may reach more than its floor."""
        possible = values >= floor[owners] * self._blocks.least[cells]
        owners, cells, values = owners[possible], cells[possible], values[possible]
        number = torch.bincount(owners, minlength=len(floor))
        crowded = (number > _CROWDED * len(self._blocks.cells)) | floor.isinf()
        if crowded.any():
            together = max(1, _PIXELS_AT_ONCE // (self._size[0] * self._size[1]))
            for some in torch.nonzero(crowded)[:, 0].split(together):
                heat = heatmaps(self._map, self._queries[some], self._size).flatten(1)
                score, pixel = first_peak(heat)
                width = self._size[1]
                best.include(some, score, torch.stack([pixel % width, pixel // width], 1).float())
            lonely = ~crowded[owners]
            owners, cells, values = owners[lonely], cells[lonely], values[lonely]
        around = self._blocks.around(cells)
        reaching = values[:, None] * self._blocks.steepest[around] >= floor[owners, None]
        which, corner = torch.nonzero(reaching, as_tuple=True)
        self._include(best, owners[which], around[which, corner], values[which])

    def _include(
        self, best: _Best, owners: Tensor, blocks: Tensor, largest: Tensor | None = None
    ) -> None:
        """Evaluate blocks; with ``largest`` only those where it is the largest corner."""
        for some in torch.arange(len(owners), device=owners.device).split(_BLOCKS_AT_ONCE):
            corners = self._blocks.corners(self._products, owners[some], blocks[some])
            if largest is not None:
                own = corners.amax(dim=0) <= largest[some]
                some, corners = some[own], corners[:, own]
            cosines = self._blocks.cosines(corners, blocks[some])
            near = best.raised(owners[some], cosines.amax(dim=1))
            some, (score, where) = some[near], first_peak(cosines[near])
            best.include(owners[some], score, self._blocks.pixels(blocks[some], where))

    def _others(self, threshold: Tensor, owners: Tensor, cells: Tensor, values: Tensor) -> Peaks:
        """Find the best pixels about the cells that are local maxima."""
        across = self._blocks.across
        inside = self._blocks.least[cells].isfinite()
        kept = torch.nonzero((values >= threshold[owners]) & inside)[:, 0]
        flat = self._products.flatten()
        places = owners * self._products.shape[1] + cells
        for step in (1, -1, across, -across, across + 1, across - 1, 1 - across, -1 - across):
            kept = kept[flat[places[kept] + step] <= values[kept]]
        owners, around = owners[kept], self._blocks.around(cells[kept]).flatten()
        corners = self._blocks.corners(self._products, owners.repeat_interleave(4), around)
        scores = [
            first_peak(self._blocks.cosines(some, blocks))
            for some, blocks in zip(
                corners.split(_BLOCKS_AT_ONCE, dim=1), around.split(_BLOCKS_AT_ONCE), strict=True
            )
        ]
        score, where = (torch.cat(column).view(-1, 4) for column in zip(*scores, strict=True))
        score, block = score.max(dim=1)
        index = 4 * torch.arange(len(block), device=block.device) + block
        return Peaks(owners, self._blocks.pixels(around[index], where.flatten()[index]), score)


def _argmax(products: Tensor) -> Tensor:
    """Return the first largest place of each row (Q, cells)."""
    if products.device.type == 'cpu':
        return torch.from_numpy(products.numpy().argmax(axis=1))  # an eighth of torch's time
    return products.argmax(dim=1)


def _reaching(products: Tensor, least: Tensor) -> Tensor:
    """Number the products (Q, cells) that are at least as large as asked of their queries (Q,)."""
    if products.device.type == 'cpu':
        # NumPy is much faster than torch at both.
        return torch.from_numpy(np.flatnonzero(products.numpy() >= least.numpy()[:, None]))
    return torch.nonzero((products >= least[:, None]).flatten())[:, 0]


def _enlarged(products: Tensor, size: tuple[int, int]) -> Tensor:
    """Enlarge maps (Q, h, w) bilinearly to (Q, H, W)."""
    if products.device.type == 'cpu' and products.dtype == torch.float32:
        # OpenCV takes an eighth of torch's time; its weights are of single precision.
        heat = np.empty((len(products), *size), dtype=np.float32)
        for product, enlarged in zip(products.numpy(), heat, strict=True):
            cv2.resize(product, size[::-1], enlarged, interpolation=cv2.INTER_LINEAR)
        return torch.from_numpy(heat)
    return functional.interpolate(
        products[:, None], size=size, mode='bilinear', align_corners=False
    )[:, 0]


class _Best:
    """The best score of each query so far, and the pixels that may have it."""

    def __init__(self, queries: int, like: Tensor) -> None:
        self.score = like.new_full((queries,), -torch.inf)
        self._found: list[tuple[Tensor, Tensor, Tensor]] = []

    def raised(self, owners: Tensor, score: Tensor) -> Tensor:
        """Raise the best scores, and tell which of these equal them except for rounding."""
        self.score.scatter_reduce_(0, owners, score, 'amax')
        return score >= self.score[owners] - TIE[score.dtype]

    def include(self, owners: Tensor, score: Tensor, uv: Tensor) -> None:
        near = self.raised(owners, score)
        self._found.append((owners[near], score[near], uv[near]))

    def first(self, width: int) -> Tensor:
        """Return the first pixel (Q, 2), row by row, of each query's best score."""
        owners, score, uv = (torch.cat(parts) for parts in zip(*self._found, strict=True))
        near = score >= self.score[owners] - TIE[score.dtype]
        pixel = uv[near, 1].long() * width + uv[near, 0].long()
        first = torch.full_like(self.score, torch.iinfo(torch.long).max, dtype=torch.long)
        first.scatter_reduce_(0, owners[near], pixel, 'amin')
        return torch.stack([first % width, first // width], dim=1).float()
