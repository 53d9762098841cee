"""Spatial-depth expectations of keypoints, exact at image resolution (paper 1, eq. 4).

A keypoint's probabilities p (h, w) are upsampled bilinearly to the image: P = A p B^T, with the
interpolation matrices A (H, h) and B (W, w). Every sum over the image is then a sum over the
cells,

    sum_uv P(u, v) f(v) g(u) = (A^T f)^T p (B^T g),

so the H x W x N probabilities and depths are never made, and the result is the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Expectation:
    """The expectations of B x N keypoints.

    uv (B, N, 2): pixels; variance (B, N): of u plus that of v, pixels^2; depth (B, N): metres;
    inside (B, N): the probability that lies in the mask.
    """

    uv: Tensor
    variance: Tensor
    depth: Tensor | None = None
    inside: Tensor | None = None


def expect(
    logits: Tensor,
    size: tuple[int, int],
    depths: Tensor | None = None,
    masks: Tensor | None = None,
) -> Expectation:
    """Compute expectations over the pixels of images of `size` (H, W).

    logits (B, N, h, w): their softmax over the cells is the spatial probability (paper 1, eq. 2);
    depths (B, N, h, w): eq. 3, metres; masks (B, H, W): the object, 0 or 1.
    """
    cells = logits.shape[-2:]
    probabilities = logits.float().flatten(2).softmax(dim=2).view(*logits.shape)
    rows, columns = (
        _Axis.of(pixels, count, probabilities) for pixels, count in zip(size, cells, strict=True)
    )
    # (B, N, h, 3): sums over u of 1, u and u^2 in each row of cells
    along = probabilities @ columns.moments
    total = along[..., 0] @ rows.moments[:, 0]
    u = along[..., 1] @ rows.moments[:, 0] / total
    u_squared = along[..., 2] @ rows.moments[:, 0] / total
    v, v_squared = (along[..., 0] @ rows.moments[:, 1:] / total[..., None]).unbind(-1)
    variance = (u_squared - u.square()) * columns.half**2
    variance = variance + (v_squared - v.square()) * rows.half**2
    uv = torch.stack([(u + 1) * columns.half - 0.5, (v + 1) * rows.half - 0.5], dim=-1)
    depth = inside = None
    if depths is not None:
        blended = rows.gram @ depths.float() @ columns.gram
        depth = (probabilities * blended).sum(dim=(2, 3)) / total
    if masks is not None:
        weights = rows.matrix.T @ masks.to(probabilities) @ columns.matrix
        inside = torch.einsum('bnhw,bhw->bn', probabilities, weights) / total
    return Expectation(uv, variance.clamp_min(0), depth, inside)


def around_peak(logits: Tensor, radius: float) -> Tensor:
    """Keep the cells within `radius` cells of the highest of each map (B, N, h, w).

    The logits of other cells become -inf. Then a second peak elsewhere cannot pull the expectation
    to a place between the two, where the keypoint certainly is not.
    """
    height, width = logits.shape[-2:]
    peak = logits.flatten(2).argmax(dim=2)[..., None, None]
    rows = torch.arange(height, device=logits.device)[:, None] - peak // width
    columns = torch.arange(width, device=logits.device) - peak % width
    return logits.masked_fill(rows.square() + columns.square() > radius**2, -torch.inf)


@dataclass(frozen=True)
class _Axis:
    """One direction of the image: interpolation, and moments in coordinates from -1 to 1."""

    matrix: Tensor  # (pixels, cells)
    moments: Tensor  # (cells, 3), of order 0, 1 and 2
    half: float  # pixels per unit of the coordinates

    @classmethod
    def of(cls, pixels: int, cells: int, like: Tensor) -> _Axis:
        identity = torch.eye(cells, dtype=like.dtype, device=like.device)
        matrix = functional.interpolate(
            identity[None], size=pixels, mode='linear', align_corners=False
        )[0].T
        half = pixels / 2
        at = (torch.arange(pixels, dtype=like.dtype, device=like.device) + 0.5) / half - 1
        powers = torch.stack([torch.ones_like(at), at, at.square()], dim=1)
        return cls(matrix, matrix.T @ powers, half)

    @property
    def gram(self) -> Tensor:
        """The products of every two cells' weights, summed over the pixels: (cells, cells)."""
        return self.matrix.T @ self.matrix
