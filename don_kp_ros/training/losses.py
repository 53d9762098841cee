"""Training losses: pure functions."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from don_kp_ros.matching.maps import sample_descriptors

Reader = Callable[[Tensor, Tensor, tuple[int, int]], Tensor]  # of maps (B, D, h, w) at pixels


def nt_xent(
    maps: Tensor,
    uv: Tensor,
    size: tuple[int, int],
    temperature: float,
    negatives: Tensor | None = None,
    counted: Tensor | None = None,
) -> Tensor:
    """Compute the dense NT-Xent loss between two views, both ways (paper 2, eq. 1, all pixels).

    maps (2B, D, h, w) of unit length per cell: B views a, then B views b; uv (2B, Q, 2): pixels
    of the same points in views of size (H, W); negatives (M, D): descriptors of what the object is
    not; counted (2B, M): which of them count for the points of a view (all, without it). With d_q
    the descriptor of point q in one view, c the cells of the other view and n the negatives that
    count,

        L = mean over q of  - sum_c w_qc log( exp(d_q.c / t) / (sum_c' exp(d_q.c' / t)
                                                              + sum_n exp(d_q.n / t)) )

    where w_qc are the bilinear weights of the four cells around the point in the other view.
    Returns a scalar.
    """
    height, width = maps.shape[-2:]
    queries = sample_descriptors(maps, uv, size) / temperature
    queries = queries.roll(len(maps) // 2, dims=0)  # each one's partner is in the other view
    logits = queries @ maps.flatten(2)
    normaliser = logits.logsumexp(dim=2)
    if negatives is not None and len(negatives):
        against = queries @ negatives.T
        if counted is not None:
            counts = counted.roll(len(maps) // 2, dims=0)[:, None]
            against = against.masked_fill(~counts, -torch.inf)
        normaliser = torch.logaddexp(normaliser, against.logsumexp(dim=2))
    indices, weights = bilinear_targets(uv, (height, width), size)
    attraction = (logits.gather(2, indices) * weights).sum(dim=2)
    return (normaliser - attraction).mean()


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


def nt_xent_sampled(queries_a: Tensor, queries_b: Tensor, temperature: float) -> Tensor:
    """Compute the NT-Xent loss among sampled descriptors (paper 2, eq. 1, as it stands there).

    queries_a, queries_b (B, Q, D): descriptors of the same points in two views. With d_i the
    2 M = 2 B Q descriptors of both views of all pairs, d_j the partner of d_i in the other view,

        L = mean over i of - log( exp(cos(d_i, d_j) / t) / sum_{k != i} exp(cos(d_i, d_k) / t) ).

    Takes the memory of (2 B Q)^2 similarities. Returns a scalar.
    """
    descriptors = functional.normalize(
        torch.cat([queries_a.flatten(0, 1), queries_b.flatten(0, 1)]), dim=1
    )
    number = len(descriptors)
    itself = torch.eye(number, dtype=torch.bool, device=descriptors.device)
    logits = (descriptors @ descriptors.T / temperature).masked_fill(itself, -torch.inf)
    partners = torch.arange(number, device=descriptors.device).roll(number // 2)
    return functional.cross_entropy(logits, partners)


def contrastive(
    maps_a: Tensor,
    maps_b: Tensor,
    uv_a: Tensor,
    uv_b: Tensor,
    others: Tensor,
    size: tuple[int, int],
    margin: float = 0.5,
    read: Reader = sample_descriptors,
) -> Tensor:
    """Compute the pixelwise contrastive loss with hard-negative scaling (Florence et al. 2018).

    So do equations 1 to 3 of paper 4.

    maps_a, maps_b (B, D, h, w); uv_a, uv_b (B, Q, 2) pixels of the same points in views of size
    (H, W); others (B, Q, M): indices of cells of view b, row by row, that show another point than
    uv_a does; read: takes descriptors from maps at pixels, by default those of unit length. With d
    the descriptors there, and sums over the whole batch,

        L = 1 / N sum |d_a - d_b|^2 + 1 / N_hard sum max(0, margin - |d_a - d_non|)^2

    where N_hard is the number of non-matches nearer than the margin. Returns a scalar.
    """
    queries, matches = read(maps_a, uv_a, size), read(maps_b, uv_b, size)
    match_loss = (queries - matches).square().sum(dim=2).mean()
    # |a - b|^2 = |a|^2 + |b|^2 - 2 a.b: no descriptor is copied.
    flat = maps_b.flatten(2)
    squares = flat.square().sum(dim=1, keepdim=True) - 2 * queries @ flat
    squares = squares.gather(2, others) + queries.square().sum(dim=2, keepdim=True)
    distances = squares.clamp_min(1e-12).sqrt()
    lacking = functional.relu(margin - distances)
    return match_loss + lacking.square().sum() / (lacking > 0).sum().clamp_min(1)


def segmentation(logits: Tensor, classes: Tensor) -> Tensor:
    """Compute the cross entropy of the classes that cells show: a scalar.

    logits (B, C, h, w); classes (B, S, S) int64 of pixels, of which the one at a cell's middle
    counts.
    """
    size = (logits.shape[2], logits.shape[3])
    there = functional.interpolate(classes[:, None].float(), size, mode='nearest-exact')
    return functional.cross_entropy(logits, there[:, 0].long())


def shortness(maps: Tensor, ground: Tensor) -> Tensor:
    """Ask that descriptors of the background are short (paper 4, eq. 4 without its weight).

    maps (B, D, h, w) of any length; ground (B, h, w): which cells show no object. The mean over
    these of |f|^2, view by view (0 where there are none), averaged over the views: a scalar.
    """
    squares = maps.square().sum(dim=1) * ground
    return (squares.sum(dim=(1, 2)) / ground.sum(dim=(1, 2)).clamp_min(1)).mean()
