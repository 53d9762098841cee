"""Exact similarity heatmaps at image resolution without upsampling the descriptors.

Bilinear upsampling U is linear and its weights sum to one, so for a map f and a query d

    U(f) . d    = U(f . d)
    ||U(f)||^2  = the bilinear blend of the dot products between the four cells around a pixel,

and both need only maps of scalars, never the H x W x D image. Cell (i, j) of an h x w map
describes the pixel u = (j + 0.5) W / w - 0.5, v = (i + 0.5) H / h - 0.5 (`align_corners=False`);
beyond the outermost cells the map is continued by its border, as in torch's interpolate.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from don_kp_ros.matching.maps import checked_map, checked_queries

_SMALLEST_SQUARED_NORM = 1e-6  # below it float32 cancellation destroys a blended norm
_BOUND_SLACK = 1e-5  # rounding of the bounds; costs a few more blocks, never the maximum
_SMALLEST_DIVISOR = 1e-2  # products of cells below it are too inexact to divide by
_PRODUCTS_AT_ONCE = 3 << 19  # of queries and cells: more costs fresh memory, less costs calls
_BOUNDS_AT_ONCE = 1 << 17  # blocks
_BLOCKS_AT_ONCE = 8192
_PIXELS_AT_ONCE = 5 << 20  # of heatmaps: 20 MiB, or a single one
_TIE = {torch.float32: 1e-6, torch.float64: 1e-12}  # scores nearer than this are equal
_CROWDED = 0.5  # share of candidate blocks above which the whole heatmap is faster

_Axis = tuple[Tensor, Tensor]  # of each block its pixels (blocks, most), and their weights


def heatmaps(descriptor_map: Tensor, queries: Tensor, size: tuple[int, int]) -> Tensor:
    """Compute the cosine similarity of every image pixel with each query.

    descriptor_map (D, h, w); queries (Q, D) of unit length; size (H, W). Returns (Q, H, W), each
    equal to upsampling the map bilinearly, normalising every pixel, and multiplying by the query.
    """
    descriptor_map = checked_map(descriptor_map)
    queries = checked_queries(queries, descriptor_map)
    products = torch.einsum('qd,dhw->qhw', queries, descriptor_map)
    upsampled = functional.interpolate(
        products[:, None], size=size, mode='bilinear', align_corners=False
    )[:, 0]
    return upsampled.mul_(_squared_norms(descriptor_map, size).rsqrt_()).clamp_(-1, 1)


def match(descriptor_map: Tensor, queries: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Find the pixel that is most similar to each query, and its cosine similarity.

    descriptor_map (D, h, w); queries (Q, D) of unit length; size (H, W). Returns uv (Q, 2) float32
    pixels and score (Q,). It is the maximum of `heatmaps`, found by branch and bound: between four
    cells the product with d is at most its largest corner, and the squared norm at least the
    smallest entry of the corners' Gram matrix. Blocks that may hold the maximum by this bound are
    tested by a tighter one, and those that pass are evaluated. If many pass, the whole heatmap is
    evaluated instead. If pixels are equal except for rounding, as beyond the outermost cells, the
    first one is found, whatever other queries the call has.
    """
    descriptor_map = checked_map(descriptor_map)
    queries = checked_queries(queries, descriptor_map)
    if queries.shape[0] == 0:
        return queries.new_zeros((0, 2), dtype=torch.float32), queries.new_zeros((0,))
    blocks = _Blocks.between_cells(descriptor_map, size)
    together = max(1, _PRODUCTS_AT_ONCE // blocks.cells[0].numel())
    parts = [_match(descriptor_map, blocks, some, size) for some in queries.split(together)]
    uv, score = (torch.cat(column) for column in zip(*parts, strict=True))
    return uv, score


def _match(
    descriptor_map: Tensor, blocks: _Blocks, queries: Tensor, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Match queries whose products with all cells fit into memory; see `match`."""
    products = (queries @ blocks.cells.flatten(1)).unflatten(1, blocks.cells.shape[1:])
    best = _Best(len(queries), queries.device, products.dtype)
    every = torch.arange(len(queries), device=queries.device)
    row = products.amax(dim=2).argmax(dim=1)
    seeds = blocks.around(row, products[every, row].argmax(dim=1))
    owners = every.repeat_interleave(seeds.shape[1])
    best.include(owners, *blocks.peaks(products, owners, seeds.flatten()))

    least = best.score - _BOUND_SLACK
    bound = _largest_corner(products).mul_(blocks.steepest)
    # Most rows of blocks hold no candidate, so it is cheaper to look at their maxima first.
    rows = torch.nonzero((bound.amax(dim=2) >= least[:, None]).flatten())[:, 0]
    owner = rows // bound.shape[1]
    near = bound.flatten(0, 1).index_select(0, rows) >= least[owner, None]
    near, columns = torch.nonzero(near, as_tuple=True)
    owners = owner[near]
    places = (rows % bound.shape[1])[near] * bound.shape[2] + columns
    number = torch.bincount(owners, minlength=len(queries))
    crowded = (number > _CROWDED * blocks.steepest.numel()) | (least <= 0)  # bounds are positive
    if crowded.any():
        together = max(1, _PIXELS_AT_ONCE // (size[0] * size[1]))
        for some in torch.nonzero(crowded)[:, 0].split(together):
            score, pixel = first_peak(heatmaps(descriptor_map, queries[some], size).flatten(1))
            best.include(some, score, torch.stack([pixel % size[1], pixel // size[1]], 1).float())
        owners, places = owners[~crowded[owners]], places[~crowded[owners]]
    possible = [
        blocks.may_reach(least[some], products, some, there)
        for some, there in zip(
            owners.split(_BOUNDS_AT_ONCE), places.split(_BOUNDS_AT_ONCE), strict=True
        )
    ]
    kept = torch.cat(possible)
    owners, places = owners[kept], places[kept]
    for some, there in zip(
        owners.split(_BLOCKS_AT_ONCE), places.split(_BLOCKS_AT_ONCE), strict=True
    ):
        best.include(some, *blocks.peaks(products, some, there))
    return best.first(size[1]), best.score.clamp(-1, 1)


def _axis(pixels: int, cells: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Return each pixel's block (0..cells) in the padded map and the later cell's weight."""
    position = (torch.arange(pixels, device=like.device, dtype=torch.float64) + 0.5) * (
        cells / pixels
    ) + 0.5
    block = position.floor().clamp_(0, cells)
    return block.long(), (position - block).to(like.dtype)


def _padded(descriptor_map: Tensor) -> Tensor:
    return functional.pad(descriptor_map[None], (1, 1, 1, 1), mode='replicate')[0]


def _squared_norms(descriptor_map: Tensor, size: tuple[int, int]) -> Tensor:
    """Compute the squared norm (H, W) of the bilinearly upsampled map."""
    own, right, below, down, up = _gram(_padded(descriptor_map))
    squares_v, products_v = _interpolation(size[0], descriptor_map.shape[1], descriptor_map)
    squares_u, products_u = _interpolation(size[1], descriptor_map.shape[2], descriptor_map)
    blended = squares_v @ (own @ squares_u.T + right @ products_u.T)
    blended += products_v @ (below @ squares_u.T + (down + up) / 2 @ products_u.T)
    return blended.clamp_min_(_SMALLEST_SQUARED_NORM)


def _interpolation(pixels: int, cells: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Make the matrices of squared weights and of twice the products of neighbouring weights."""
    block, weight = _axis(pixels, cells, like)
    matrix = like.new_zeros((pixels, cells + 2))
    matrix.scatter_(1, block[:, None], (1 - weight)[:, None])
    matrix.scatter_(1, block[:, None] + 1, weight[:, None])
    return matrix.square(), 2 * matrix[:, :-1] * matrix[:, 1:]


def _gram(cells: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Multiply each cell with itself, its right and lower neighbour, and along both diagonals."""
    own = cells.square().sum(0)
    right = (cells[:, :, :-1] * cells[:, :, 1:]).sum(0)
    below = (cells[:, :-1] * cells[:, 1:]).sum(0)
    down = (cells[:, :-1, :-1] * cells[:, 1:, 1:]).sum(0)
    up = (cells[:, :-1, 1:] * cells[:, 1:, :-1]).sum(0)
    return own, right, below, down, up


def _corners(cells: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Split (..., h, w) into upper left, upper right, lower left and lower right of each block."""
    upper, lower = cells[..., :-1, :], cells[..., 1:, :]
    return upper[..., :-1], upper[..., 1:], lower[..., :-1], lower[..., 1:]


def _largest_corner(values: Tensor) -> Tensor:
    rows = torch.maximum(values[..., :-1, :], values[..., 1:, :])
    return torch.maximum(rows[..., :-1], rows[..., 1:])


@dataclass(frozen=True)
class _Blocks:
    """The squares between four neighbouring cells, numbered row by row, and the pixels in them."""

    cells: Tensor  # (D, h + 2, w + 2)
    gram: Tensor  # (9, blocks), dot products of the corners: 4 own, 2 across, 2 down, 1 diagonal
    unsure: Tensor  # (blocks,), some of them are too small to bound with
    steepest: Tensor  # (h + 1, w + 1), an upper bound on the inverse of the blended norm
    rows: _Axis
    columns: _Axis

    @classmethod
    def between_cells(cls, descriptor_map: Tensor, size: tuple[int, int]) -> _Blocks:
        cells = _padded(descriptor_map)
        own, right, below, down, up = _gram(cells)
        n00, n01, n10, n11 = _corners(own)
        h0, h1, v0, v1 = right[:-1], right[1:], below[:, :-1], below[:, 1:]
        least = torch.stack([n00, n01, n10, n11, h0, h1, v0, v1, down, up]).amin(0)
        axes: list[_Axis] = []
        empty: list[Tensor] = []
        for pixels, count in zip(size, descriptor_map.shape[1:], strict=True):
            block, weight = _axis(pixels, count, descriptor_map)
            number = torch.bincount(block, minlength=count + 1)
            offset = torch.arange(int(number.max()), device=block.device)
            # A block with fewer pixels than others repeats its last one.
            pixel = (number.cumsum(0) - number)[:, None] + offset.minimum(number[:, None] - 1)
            pixel.clamp_(0, pixels - 1)
            axes.append((pixel, weight[pixel]))
            empty.append(number == 0)
        gram = torch.stack([n00, n01, n10, n11, h0, h1, v0, v1, (down + up) / 2]).flatten(1)
        return cls(
            cells=cells,
            gram=gram,
            unsure=(gram < _SMALLEST_DIVISOR).any(dim=0),
            steepest=least.clamp_min(_SMALLEST_SQUARED_NORM)
            .rsqrt()
            .masked_fill(empty[0][:, None] | empty[1], 0),
            rows=axes[0],
            columns=axes[1],
        )

    def around(self, row: Tensor, column: Tensor) -> Tensor:
        """List the blocks (K, 4) that meet in cells (K,) of the padded map."""
        height, width = self.steepest.shape
        rows = torch.stack([row - 1, row], dim=1).clamp(0, height - 1)
        columns = torch.stack([column - 1, column], dim=1).clamp(0, width - 1)
        return (rows[:, :, None] * width + columns[:, None, :]).flatten(1)

    def may_reach(self, score: Tensor, products: Tensor, owners: Tensor, blocks: Tensor) -> Tensor:
        """Tell whether blocks[k] may hold a score[k] > 0 for query owners[k]: (K,).

        The squares of product and norm are biquadratic in the weights; their ratio is at most the
        largest ratio of their nine Bernstein coefficients.
        """
        p00, p01, p10, p11 = self._corners(products, owners, blocks)
        squared = [p00 * p00, p01 * p01, p10 * p10, p11 * p11]
        squared += [p00 * p01, p10 * p11, p00 * p10, p01 * p11, (p00 * p11 + p01 * p10) / 2]
        beyond = torch.stack(squared) - score.square() * self.gram.index_select(1, blocks)
        return (beyond.amax(dim=0) >= 0) | self.unsure[blocks]

    def _corners(
        self, products: Tensor, owners: Tensor, blocks: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Read the products (Q, h + 2, w + 2) of the corners of blocks[k] with owners[k]."""
        across = products.shape[2]
        first = owners * products[0].numel() + blocks + blocks // (across - 1)
        corners = torch.stack([first, first + 1, first + across, first + across + 1])
        p00, p01, p10, p11 = products.flatten().index_select(0, corners.flatten()).chunk(4)
        return p00, p01, p10, p11

    def peaks(self, products: Tensor, owners: Tensor, blocks: Tensor) -> tuple[Tensor, Tensor]:
        """Find the best pixel of blocks[k] for query owners[k]: score (K,) and uv (K, 2).

        The score of a block without pixels is -inf.
        """
        across = self.steepest.shape[1]
        i, j = blocks // across, blocks % across
        a, b = (
            self.rows[1].index_select(0, i)[:, :, None],
            self.columns[1].index_select(0, j)[:, None],
        )
        d00, d01, d10, d11 = (
            corner[:, None, None] for corner in self._corners(products, owners, blocks)
        )
        scores = (1 - a) * ((1 - b) * d00 + b * d01) + a * ((1 - b) * d10 + b * d11)
        # Queries share blocks.
        asked = torch.zeros_like(self.unsure)
        asked[blocks] = True
        inverse = self._inverse_norms(torch.nonzero(asked)[:, 0])
        scores *= inverse.index_select(0, asked.cumsum(0)[blocks] - 1)
        score, where = first_peak(scores.flatten(1))
        score = score.masked_fill(self.steepest.flatten()[blocks] == 0, -torch.inf)
        width = scores.shape[2]
        u, v = self.columns[0][j, where % width], self.rows[0][i, where // width]
        return score, torch.stack([u, v], dim=1).float()

    def _inverse_norms(self, blocks: Tensor) -> Tensor:
        """Compute one over the norm of the blended descriptor at the pixels of blocks."""
        across = self.steepest.shape[1]
        a = self.rows[1][blocks // across][:, :, None]
        b = self.columns[1][blocks % across][:, None, :]
        n00, n01, n10, n11, h0, h1, v0, v1, x = self.gram.index_select(1, blocks)[:, :, None, None]
        b2, bb, bm = (1 - b) ** 2, b**2, 2 * b * (1 - b)
        squared = (
            (1 - a) ** 2 * (b2 * n00 + bb * n01 + bm * h0)
            + a**2 * (b2 * n10 + bb * n11 + bm * h1)
            + 2 * a * (1 - a) * (b2 * v0 + bb * v1 + bm * x)
        )
        return squared.clamp_min_(_SMALLEST_SQUARED_NORM).rsqrt_()


def first_peak(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Find each row's (K, P) maximum, and the first place that equals it except for rounding."""
    score = scores.amax(dim=1)
    return score, (scores >= score[:, None] - _TIE[scores.dtype]).int().argmax(dim=1)


class _Best:
    """The best score of each query so far, and the pixels that may have it."""

    def __init__(self, queries: int, device: torch.device, dtype: torch.dtype) -> None:
        self.score = torch.full((queries,), -torch.inf, device=device, dtype=dtype)
        self._found: list[tuple[Tensor, Tensor, Tensor]] = []

    def include(self, owners: Tensor, score: Tensor, uv: Tensor) -> None:
        self.score.scatter_reduce_(0, owners, score, 'amax')
        near = score >= self.score[owners] - _TIE[score.dtype]
        self._found.append((owners[near], score[near], uv[near]))

    def first(self, width: int) -> Tensor:
        """Return the first pixel (Q, 2), row by row, of each query's best score."""
        owners, score, uv = (torch.cat(parts) for parts in zip(*self._found, strict=True))
        near = score >= self.score[owners] - _TIE[score.dtype]
        pixel = (uv[near, 1] * width + uv[near, 0]).long()
        first = torch.full_like(self.score, torch.iinfo(torch.long).max, dtype=torch.long)
        first.scatter_reduce_(0, owners[near], pixel, 'amin')
        return torch.stack([first % width, first // width], dim=1).float()
