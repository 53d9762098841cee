"""The squares between four neighbouring cells of a descriptor map, and the pixels in them.

Bilinear upsampling U is linear and its weights sum to one, so for a map f and a query d

    U(f) . d    = U(f . d)
    ||U(f)||^2  = the bilinear blend of the dot products between the four cells around a pixel,

and both need only maps of scalars, never the H x W x D image. Cell (i, j) of an h x w map
describes the pixel u = (j + 0.5) W / w - 0.5, v = (i + 0.5) H / h - 0.5 (`align_corners=False`);
beyond the outermost cells the map is continued by its border, as in torch's interpolate.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_SMALLEST_SQUARED_NORM = 1e-6  # below it float32 cancellation destroys a blended norm
TIE = {torch.float32: 1e-6, torch.float64: 1e-12}  # scores nearer than this are equal


@dataclass(frozen=True)
class Blocks:
    """The blocks of a map of h x w cells that its border continues by a cell on every side.

    They are numbered row by row, and hold a and b pixels; one with fewer pixels than others
    repeats its last one. A block's cosines with a query are at most its largest product of a
    corner with the query, if that is positive, over the smallest norm of its pixels.
    """

    cells: Tensor  # ((h + 2) (w + 2), D)
    across: int  # w + 2
    inverse: Tensor  # ((h + 1) (w + 1), a b), one over the norm of the blended descriptor
    steepest: Tensor  # ((h + 1) (w + 1),), the largest of them; 0 without pixels
    least: Tensor  # ((h + 2) (w + 2),), the smallest norm in a cell's blocks; of the map alone
    rows: _Axis
    columns: _Axis

    @classmethod
    def of(cls, descriptor_map: Tensor, size: tuple[int, int]) -> Blocks:
        """Prepare a map (D, h, w) for pictures of size (H, W)."""
        cells = _padded(descriptor_map)
        rows, columns = (
            _axis(pixels, count, descriptor_map.dtype, descriptor_map.device)
            for pixels, count in zip(size, descriptor_map.shape[1:], strict=True)
        )
        inverse = _squared_norms(cells, rows, columns)
        inverse.clamp_min_(_SMALLEST_SQUARED_NORM).rsqrt_()
        steepest = inverse.amax(dim=1).view(len(rows.empty), -1)
        steepest = steepest.masked_fill(rows.empty[:, None] | columns.empty, 0)
        norm = steepest.reciprocal()
        # The border's cells are copies of the map's, which stand for them.
        least = norm.new_full(cells.shape[:2], torch.inf)
        inner = torch.minimum(norm[:-1], norm[1:])
        least[1:-1, 1:-1] = torch.minimum(inner[:, :-1], inner[:, 1:])
        return cls(
            cells=cells.flatten(0, 1),
            across=cells.shape[1],
            inverse=inverse,
            steepest=steepest.flatten(),
            least=least.flatten(),
            rows=rows,
            columns=columns,
        )

    def image(self) -> Tensor:
        """Arrange the inverse norms as an image (H, W)."""
        shape = (*self.rows.pixel.shape, *self.columns.pixel.shape)
        blocks = self.inverse.view(shape[0], shape[2], shape[1], shape[3]).transpose(1, 2)
        image = blocks.reshape(shape[0] * shape[1], -1)
        image = image.index_select(0, self.rows.place)
        return image.index_select(1, self.columns.place)

    def continue_border(self, products: Tensor) -> None:
        """Have the border's cells in products (Q, cells) equal those that they are copies of.

        A product of matrices may round equal rows differently, by where they are.
        """
        image = products.unflatten(1, (-1, self.across))
        image[:, 0], image[:, -1] = image[:, 1], image[:, -2]
        image[:, :, 0], image[:, :, -1] = image[:, :, 1], image[:, :, -2]

    def of_map(self, cells: Tensor) -> Tensor:
        """Return the cells of the map that cells (K,) are, or are copies of."""
        rows, columns = len(self.rows.empty), len(self.columns.empty)
        row, column = (cells // self.across).clamp(1, rows - 1), cells % self.across
        return row * self.across + column.clamp(1, columns - 1)

    def around(self, cells: Tensor) -> Tensor:
        """Number the four blocks (K, 4) that meet in cells (K,)."""
        first = cells - self.across - cells // self.across  # the upper left block
        steps = [0, 1, self.across - 1, self.across]
        return first[:, None] + torch.tensor(steps, device=cells.device)

    def corners(self, products: Tensor, owners: Tensor, blocks: Tensor) -> Tensor:
        """Read the products (Q, cells) of query owners[k] with the corners of blocks[k]: (4, K).

        In order: upper left, upper right, lower left, lower right.
        """
        first = owners * products.shape[1] + blocks + blocks // (self.across - 1)
        corners = torch.stack([first, first + 1, first + self.across, first + self.across + 1])
        return products.flatten().index_select(0, corners.flatten()).view(4, -1)

    def cosines(self, corners: Tensor, blocks: Tensor) -> Tensor:
        """Compute the cosines (K, a b) of blocks (K,) from the products (4, K) of their corners.

        Those of a block without pixels are -inf.
        """
        i, j = blocks // (self.across - 1), blocks % (self.across - 1)
        a = self.rows.weight.index_select(0, i)[:, :, None]
        b = self.columns.weight.index_select(0, j)
        upper_left, upper_right, lower_left, lower_right = corners[:, :, None]
        upper = upper_left + b * (upper_right - upper_left)
        lower = lower_left + b * (lower_right - lower_left)
        products = torch.addcmul(upper[:, None], a, (lower - upper)[:, None]).flatten(1)
        cosines = products.mul_(self.inverse.index_select(0, blocks))
        if self.rows.some_empty or self.columns.some_empty:
            cosines[self.steepest[blocks] == 0] = -torch.inf
        return cosines

    def pixels(self, blocks: Tensor, where: Tensor) -> Tensor:
        """Return the pixels uv (K, 2) of places (K,) in the cosines of blocks (K,)."""
        i, j = blocks // (self.across - 1), blocks % (self.across - 1)
        width = self.columns.pixel.shape[1]
        u, v = self.columns.pixel[j, where % width], self.rows.pixel[i, where // width]
        return torch.stack([u, v], dim=1).float()


@dataclass(frozen=True)
class _Axis:
    """One direction of the picture: the pixels of each block, and the later cell's weights."""

    pixel: Tensor  # (blocks, most)
    weight: Tensor  # (blocks, most)
    squares: Tensor  # (blocks, most, 3), of both weights, and twice their product
    empty: Tensor  # (blocks,)
    place: Tensor  # (pixels,), of each pixel in the two arrays above
    some_empty: bool


@functools.lru_cache(maxsize=32)
@torch.inference_mode(mode=False)  # it may be used outside of it later
def _axis(pixels: int, cells: int, dtype: torch.dtype, device: torch.device) -> _Axis:
    every = torch.arange(pixels, device=device)
    position = (every.double() + 0.5) * (cells / pixels) + 0.5
    block = position.floor().clamp_(0, cells)
    weight, block = (position - block).to(dtype), block.long()
    number = torch.bincount(block, minlength=cells + 1)
    first, most = number.cumsum(0) - number, int(number.max())
    pixel = first[:, None] + every[:most].minimum(number[:, None] - 1)
    pixel.clamp_(0, pixels - 1)
    place = block * most + every - first[block]
    empty, w = number == 0, weight[pixel]
    squares = torch.stack([(1 - w).square(), w.square(), 2 * w * (1 - w)], dim=2)
    return _Axis(pixel, w, squares, empty, place, bool(empty.any()))


def first_peak(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Find each row's (K, P) maximum, and the first place that equals it except for rounding."""
    score = scores.amax(dim=1)
    return score, (scores >= score[:, None] - TIE[scores.dtype]).int().argmax(dim=1)


def _padded(descriptor_map: Tensor) -> Tensor:
    """Continue a map (D, h, w) by its border, and put its descriptors last: (h + 2, w + 2, D)."""
    dimension, rows, columns = descriptor_map.shape
    cells = descriptor_map.new_empty((rows + 2, columns + 2, dimension))
    cells[1:-1, 1:-1] = descriptor_map.permute(1, 2, 0)
    cells[0], cells[-1] = cells[1], cells[-2]
    cells[:, 0], cells[:, -1] = cells[:, 1], cells[:, -2]
    return cells


def _squared_norms(cells: Tensor, rows: _Axis, columns: _Axis) -> Tensor:
    """Compute the squared norms of the blended descriptors: ((h + 1) (w + 1), a b).

    |(1 - t) x + t y|^2 = (1 - t)^2 |x|^2 + t^2 |y|^2 + 2 t (1 - t) x.y, down the rows and then
    across the columns.
    """
    own, right, below = (
        _dots(one, other)
        for one, other in (
            (cells, cells),
            (cells[:, :-1], cells[:, 1:]),
            (cells[:-1], cells[1:]),
        )
    )
    down, up = _dots(cells[:-1, :-1], cells[1:, 1:]), _dots(cells[:-1, 1:], cells[1:, :-1])
    squares = rows.squares @ torch.stack([own[:-1], own[1:], below], dim=1)  # (h + 1, a, w + 2)
    products = rows.squares @ torch.stack([right[:-1], right[1:], (down + up) / 2], dim=1)
    both = torch.stack([squares[..., :-1], squares[..., 1:], products], dim=3).flatten(0, 1)
    blended = both.transpose(0, 1) @ columns.squares.transpose(1, 2)  # (w + 1, (h + 1) a, b)
    return blended.unflatten(1, squares.shape[:2]).transpose(0, 1).flatten(0, 1).flatten(1)


def _dots(one: Tensor, other: Tensor) -> Tensor:
    """Multiply the descriptors of two maps (h, w, D): (h, w)."""
    if one.device.type == 'cpu':
        # Without a map of the products of their components.
        return torch.from_numpy(np.vecdot(one.numpy(), other.numpy()))
    return (one * other).sum(dim=2)
