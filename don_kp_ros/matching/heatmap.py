"""Exact similarity heatmaps at image resolution without upsampling the descriptors.

Bilinear upsampling U is linear and its weights sum to one, so for a map f and a query d

    U(f) . d    = U(f . d)
    ||U(f)||^2  = the bilinear blend of the dot products between the four cells around a pixel,

and both need maps of scalars only, never the H x W x D image. Cell (i, j) of an h x w map
describes the pixel u = (j + 0.5) W / w - 0.5, v = (i + 0.5) H / h - 0.5 (`align_corners=False`);
beyond the outermost cells the map is continued by its border, as in torch's interpolate.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

_SMALLEST_SQUARED_NORM = 1e-6  # below it float32 cancellation leaves nothing of a blended norm
_BOUND_SLACK = 1e-5  # rounding of the bounds; costs a few more blocks, never the maximum
_BLOCKS_AT_ONCE = 8192
_HEATMAPS_AT_ONCE = 16
_TIE = {torch.float32: 1e-6, torch.float64: 1e-12}  # scores nearer than this are equal
_CROWDED = 0.1  # share of candidate blocks above which the whole heatmap is faster

_Axis = tuple[Tensor, Tensor, Tensor]  # first pixel of each block, their number, pixels' weights


def describe_at(descriptor_map: Tensor, uv: Tensor, size: tuple[int, int]) -> Tensor:
    """Read the unit-length descriptors at pixels of the image.

    descriptor_map (D, h, w); uv (Q, 2) pixels, fractions allowed; size (H, W) of the image.
    Returns (Q, D). Pixels outside of the picture read its border.
    """
    descriptor_map = _checked_map(descriptor_map)
    height, width = size
    uv = torch.as_tensor(uv, dtype=descriptor_map.dtype, device=descriptor_map.device)
    extent = uv.new_tensor([width, height])
    grid = ((2 * uv.reshape(-1, 2) + 1) / extent - 1)[None, None]
    sampled = functional.grid_sample(
        descriptor_map[None], grid, mode='bilinear', padding_mode='border', align_corners=False
    )
    return functional.normalize(sampled[0, :, 0].T, dim=1)


def heatmaps(descriptor_map: Tensor, queries: Tensor, size: tuple[int, int]) -> Tensor:
    """Compute the cosine similarity of every image pixel with each query.

    descriptor_map (D, h, w); queries (Q, D) of unit length; size (H, W). Returns (Q, H, W), each
    equal to upsampling the map bilinearly, normalising every pixel, and multiplying by the query.
    """
    descriptor_map = _checked_map(descriptor_map)
    queries = _checked_queries(queries, descriptor_map)
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
    smallest entry of the corners' Gram matrix, so only blocks that can hold the maximum are
    evaluated; where those are many, the whole heatmap is. Of pixels that are equal but for
    rounding, as beyond the outermost cells, the first one is found, whatever else is asked in the
    same call.
    """
    descriptor_map = _checked_map(descriptor_map)
    queries = _checked_queries(queries, descriptor_map)
    if queries.shape[0] == 0:
        return queries.new_zeros((0, 2), dtype=torch.float32), queries.new_zeros((0,))
    blocks = _Blocks.between_cells(descriptor_map, size)
    products = torch.einsum('qd,dhw->qhw', queries, blocks.cells)

    cosines = products / blocks.cells.norm(dim=0).clamp_min(_SMALLEST_SQUARED_NORM**0.5)
    promising = _largest_corner(cosines).masked_fill(blocks.empty, -torch.inf).flatten(1)
    best = _Best(len(queries), queries.device, products.dtype)
    seeds = promising.topk(min(4, promising.shape[1]), dim=1).indices
    owners = torch.arange(len(queries), device=queries.device).repeat_interleave(seeds.shape[1])
    best.include(owners, *blocks.peaks(products, owners, seeds.flatten()))

    largest = _largest_corner(products)
    bound = torch.where(largest > 0, largest / blocks.least_norm, largest / blocks.greatest_norm)
    bound = bound.clamp_max(1.0).masked_fill(blocks.empty, -torch.inf).flatten(1)
    candidates = bound >= best.score[:, None] - _BOUND_SLACK
    crowded = candidates.sum(1) > _CROWDED * candidates.shape[1]
    for some in torch.nonzero(crowded)[:, 0].split(_HEATMAPS_AT_ONCE):
        score, pixel = first_peak(heatmaps(descriptor_map, queries[some], size).flatten(1))
        best.include(some, score, torch.stack([pixel % size[1], pixel // size[1]], 1).float())
    owners, places = torch.nonzero(candidates & ~crowded[:, None], as_tuple=True)
    for part in torch.arange(len(owners), device=owners.device).split(_BLOCKS_AT_ONCE):
        best.include(owners[part], *blocks.peaks(products, owners[part], places[part]))
    return best.first(size[1]), best.score.clamp(-1, 1)


def _checked_map(descriptor_map: Tensor) -> Tensor:
    if descriptor_map.ndim != 3 or 0 in descriptor_map.shape:
        shape = tuple(descriptor_map.shape)
        raise ValueError(f'descriptor_map has shape {shape}; it must be (D, h, w), not empty')
    if descriptor_map.dtype in (torch.float32, torch.float64):
        return descriptor_map
    return descriptor_map.float()


def _checked_queries(queries: Tensor, descriptor_map: Tensor) -> Tensor:
    dimension = descriptor_map.shape[0]
    if queries.ndim != 2 or queries.shape[1] != dimension:
        shape = tuple(queries.shape)
        raise ValueError(f'queries have shape {shape}; this map takes (Q, {dimension})')
    return queries.to(descriptor_map)


def _axis(pixels: int, cells: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Give each pixel's block in the border-padded map, 0..cells, and the later cell's weight."""
    position = (torch.arange(pixels, device=like.device, dtype=torch.float64) + 0.5) * (
        cells / pixels
    ) + 0.5
    block = position.floor().clamp_(0, cells)
    return block.long(), (position - block).to(like.dtype)


def _padded(descriptor_map: Tensor) -> Tensor:
    return functional.pad(descriptor_map[None], (1, 1, 1, 1), mode='replicate')[0]


def _squared_norms(descriptor_map: Tensor, size: tuple[int, int]) -> Tensor:
    """Compute the squared norm (H, W) of the bilinearly upsampled map."""
    own, right, below, diagonal = _gram(_padded(descriptor_map))
    squares_v, products_v = _interpolation(size[0], descriptor_map.shape[1], descriptor_map)
    squares_u, products_u = _interpolation(size[1], descriptor_map.shape[2], descriptor_map)
    blended = squares_v @ (own @ squares_u.T + right @ products_u.T)
    blended += products_v @ (below @ squares_u.T + diagonal @ products_u.T)
    return blended.clamp_min_(_SMALLEST_SQUARED_NORM)


def _interpolation(pixels: int, cells: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Make the matrices of squared weights and of twice the products of neighbouring weights."""
    block, weight = _axis(pixels, cells, like)
    matrix = like.new_zeros((pixels, cells + 2))
    matrix.scatter_(1, block[:, None], (1 - weight)[:, None])
    matrix.scatter_(1, block[:, None] + 1, weight[:, None])
    return matrix.square(), 2 * matrix[:, :-1] * matrix[:, 1:]


def _gram(cells: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Multiply each cell with itself, its right and lower neighbour; average both diagonals."""
    own = cells.square().sum(0)
    right = (cells[:, :, :-1] * cells[:, :, 1:]).sum(0)
    below = (cells[:, :-1] * cells[:, 1:]).sum(0)
    diagonal = (cells[:, :-1, :-1] * cells[:, 1:, 1:]).sum(0)
    diagonal += (cells[:, :-1, 1:] * cells[:, 1:, :-1]).sum(0)
    return own, right, below, diagonal / 2


def _corners(cells: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Split (..., h, w) into upper left, upper right, lower left and lower right of each block."""
    upper, lower = cells[..., :-1, :], cells[..., 1:, :]
    return upper[..., :-1], upper[..., 1:], lower[..., :-1], lower[..., 1:]


def _largest_corner(values: Tensor) -> Tensor:
    return functional.max_pool2d(values[:, None], 2, stride=1)[:, 0]


@dataclass(frozen=True)
class _Blocks:
    """The squares between four neighbouring cells, numbered row by row, and the pixels in them."""

    cells: Tensor  # (D, h + 2, w + 2)
    gram: Tensor  # (blocks, 9), dot products of the corners: 4 own, 2 across, 2 down, 1 diagonal
    least_norm: Tensor  # (h + 1, w + 1), a lower bound on the blended norm
    greatest_norm: Tensor  # (h + 1, w + 1), an upper bound
    empty: Tensor  # (h + 1, w + 1), no pixel lies in the block
    rows: _Axis
    columns: _Axis

    @classmethod
    def between_cells(cls, descriptor_map: Tensor, size: tuple[int, int]) -> _Blocks:
        cells = _padded(descriptor_map)
        own, right, below, diagonal = _gram(cells)
        n00, n01, n10, n11 = _corners(own)
        h0, h1, v0, v1 = right[:-1], right[1:], below[:, :-1], below[:, 1:]
        down = (cells[:, :-1, :-1] * cells[:, 1:, 1:]).sum(0)
        up = 2 * diagonal - down
        least = torch.stack([n00, n01, n10, n11, h0, h1, v0, v1, down, up]).amin(0)
        greatest = torch.stack([n00, n01, n10, n11]).amax(0)
        axes = []
        for pixels, count in zip(size, descriptor_map.shape[1:], strict=True):
            block, weight = _axis(pixels, count, descriptor_map)
            number = torch.bincount(block, minlength=count + 1)
            axes.append((number.cumsum(0) - number, number, weight))
        gram = torch.stack([n00, n01, n10, n11, h0, h1, v0, v1, diagonal]).flatten(1).T
        return cls(
            cells=cells,
            gram=gram.contiguous(),
            least_norm=least.clamp_min(_SMALLEST_SQUARED_NORM).sqrt(),
            greatest_norm=greatest.clamp_min(_SMALLEST_SQUARED_NORM).sqrt(),
            empty=(axes[0][1] == 0)[:, None] | (axes[1][1] == 0),
            rows=axes[0],
            columns=axes[1],
        )

    def peaks(self, products: Tensor, owners: Tensor, blocks: Tensor) -> tuple[Tensor, Tensor]:
        """Find the best pixel of blocks[k] for query owners[k]: score (K,) and uv (K, 2)."""
        across = self.empty.shape[1]
        i, j = blocks // across, blocks % across
        v, a, no_row = _pixels_in(self.rows, i)
        u, b, no_column = _pixels_in(self.columns, j)
        a, b = a[:, :, None], b[:, None, :]
        d00, d01, d10, d11 = (
            products[owners, i + down, j + right][:, None, None]
            for down in (0, 1)
            for right in (0, 1)
        )
        numerator = (1 - a) * ((1 - b) * d00 + b * d01) + a * ((1 - b) * d10 + b * d11)
        n00, n01, n10, n11, h0, h1, v0, v1, x = self.gram[blocks].T[:, :, None, None]
        b2, bb, bm = (1 - b) ** 2, b**2, 2 * b * (1 - b)
        squared = (
            (1 - a) ** 2 * (b2 * n00 + bb * n01 + bm * h0)
            + a**2 * (b2 * n10 + bb * n11 + bm * h1)
            + 2 * a * (1 - a) * (b2 * v0 + bb * v1 + bm * x)
        )
        scores = numerator * squared.clamp_min_(_SMALLEST_SQUARED_NORM).rsqrt_()
        scores.masked_fill_(no_row[:, :, None] | no_column[:, None, :], -torch.inf)
        score, where = first_peak(scores.flatten(1))
        k = torch.arange(len(blocks), device=blocks.device)
        width = u.shape[1]
        return score, torch.stack([u[k, where % width], v[k, where // width]], dim=1).float()


def first_peak(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Find the largest of each row (K, P), and the first place where it is but for rounding."""
    score = scores.amax(dim=1)
    return score, (scores >= score[:, None] - _TIE[scores.dtype]).int().argmax(dim=1)


def _pixels_in(axis: _Axis, block: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """List the pixels (K, most) of each block with their weights; the mask marks the surplus."""
    first, number, weight = axis
    offset = torch.arange(int(number.max()), device=block.device)
    surplus = offset >= number[block][:, None]
    pixel = (first[block][:, None] + offset).clamp_max(len(weight) - 1)
    return pixel, weight[pixel], surplus


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
