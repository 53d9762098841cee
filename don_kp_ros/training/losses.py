"""Training losses: pure functions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def nt_xent(
    maps_a: Tensor,
    maps_b: Tensor,
    uv_a: Tensor,
    uv_b: Tensor,
    size: tuple[int, int],
    temperature: float,
    negatives: Tensor | None = None,
) -> Tensor:
    """Compute the dense NT-Xent loss between two views, both ways (paper 2, eq. 1, all pixels).

    maps_a, maps_b (B, D, h, w) of unit length per cell; uv_a, uv_b (B, Q, 2) pixels of the same
    points in views of size (H, W); negatives (M, D): descriptors that show no object at all. With
    d_q the descriptor of point q in one view, c the cells of the other view and n the negatives,

        L = mean over q of  - sum_c w_qc log( exp(d_q.c / t) / (sum_c' exp(d_q.c' / t)
                                                              + sum_n exp(d_q.n / t)) )

    where w_qc are the bilinear weights of the four cells around the point in the other view.
    Returns a scalar.
    """
    forward = _one_way(maps_a, maps_b, uv_a, uv_b, size, temperature, negatives)
    backward = _one_way(maps_b, maps_a, uv_b, uv_a, size, temperature, negatives)
    return (forward + backward) / 2


def sample_descriptors(maps: Tensor, uv: Tensor, size: tuple[int, int]) -> Tensor:
    """Read unit-length descriptors (B, Q, D) of maps (B, D, h, w) at pixels uv (B, Q, 2)."""
    grid = (2 * uv + 1) / uv.new_tensor([size[1], size[0]]) - 1
    sampled = functional.grid_sample(
        maps, grid[:, None], mode='bilinear', padding_mode='border', align_corners=False
    )
    return functional.normalize(sampled[:, :, 0].transpose(1, 2), dim=2)


def bilinear_targets(
    uv: Tensor, cells: tuple[int, int], size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Spread pixels uv (..., 2) over the four cells around them.

    Returns indices (..., 4) into the flattened h x w cells, and weights (..., 4) that sum to 1.
    """
    extent = uv.new_tensor([size[1], size[0]])
    shape = uv.new_tensor([cells[1], cells[0]])
    position = ((uv + 0.5) * shape / extent - 0.5).clamp_min(0).minimum(shape - 1)
    low = position.floor().minimum((shape - 2).clamp_min(0))
    fraction = position - low
    (u, v), (a, b) = low.long().unbind(-1), fraction.unbind(-1)
    right = (u + 1).clamp_max(cells[1] - 1)
    below = (v + 1).clamp_max(cells[0] - 1)
    indices = torch.stack(
        [v * cells[1] + u, v * cells[1] + right, below * cells[1] + u, below * cells[1] + right],
        dim=-1,
    )
    weights = torch.stack([(1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b], dim=-1)
    return indices, weights


def _one_way(
    maps_from: Tensor,
    maps_to: Tensor,
    uv_from: Tensor,
    uv_to: Tensor,
    size: tuple[int, int],
    temperature: float,
    negatives: Tensor | None,
) -> Tensor:
    height, width = maps_to.shape[-2:]
    queries = sample_descriptors(maps_from, uv_from, size) / temperature
    logits = queries @ maps_to.flatten(2)
    normaliser = logits.logsumexp(dim=2)
    if negatives is not None and len(negatives):
        against = (queries @ negatives.T).logsumexp(dim=2)
        normaliser = torch.logaddexp(normaliser, against)
    indices, weights = bilinear_targets(uv_to, (height, width), size)
    attraction = (logits.gather(2, indices) * weights).sum(dim=2)
    return (normaliser - attraction).mean()
