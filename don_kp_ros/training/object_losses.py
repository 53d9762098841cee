"""The losses of points on several objects (paper 3): pure functions.

A query is a point of view a; its positives and its negatives are cells of view b.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_SSIM_SHARE = 0.85  # alpha of eq. 2
_C1, _C2 = 0.01**2, 0.03**2  # of SSIM, for values within 0 and 1 (Wang et al. 2004)


def against(logits: Tensor, counted: Tensor) -> Tensor:
    """Compute log sum over D- of exp(d.d-/t), (...), of logits (..., n) and which of them count.

    Where none counts it is so small that nothing is lost against it.
    """
    least = torch.finfo(logits.dtype).min
    return logits.masked_fill(~counted, least).logsumexp(dim=-1)


def info_nce(positive: Tensor, negative: Tensor) -> Tensor:
    """Compute L_c (eq. 4) of logits d.d+/t and of what `against` returns, elementwise:

    -log( e^(d.d+/t) / (e^(d.d+/t) + sum over D- of e^(d.d-/t)) ).
    """
    return functional.softplus(negative - positive)


def mean_info_nce(positives: Tensor, counted: Tensor, negative: Tensor) -> Tensor:
    """Average L_c (eq. 4), (...), over the positives (..., n) that count; 0 where there are none.

    negative (...): as of `against`. A union of positives (eq. 8 to 10) is read as their mean.
    """
    losses = info_nce(positives, negative[..., None]).masked_fill(~counted, 0.0)
    return losses.sum(dim=-1) / counted.sum(dim=-1).clamp_min(1)


def weighed(losses: Tensor, log_variance: Tensor) -> Tensor:
    """Weigh losses by confidences exp(-u), and pay for being unsure (eq. 6): a scalar.

    mean of exp(-u) L + u, which is least at exp(-u) = 1 / L.
    """
    return (losses * (-log_variance).exp() + log_variance).mean()


def dissimilarity(x: Tensor, y: Tensor, seen: Tensor, window: int) -> Tensor:
    """Compare confidences of two views patch by patch (eq. 2, 3): a scalar.

    x, y (B, h, w): within 0 and 1, at the same points; seen (B, h, w): which of them are in both
    views; window: the patches' side, in points. With the means over a patch,

        r = a/2 (1 - SSIM(x, y)) + (1 - a) |x - y|, a = 0.85,

    averaged over all patches of points that are seen; 0 if there are none.
    """
    if min(x.shape[1:]) < window:
        return x.sum() * 0.0
    x, y = x.masked_fill(~seen, 0.0), y.masked_fill(~seen, 0.0)
    mean_x, mean_y, squares_x, squares_y, products, off = functional.avg_pool2d(
        torch.stack([x, y, x * x, y * y, x * y, (x - y).abs()], dim=1), window, 1
    ).unbind(dim=1)
    spread = squares_x - mean_x**2 + squares_y - mean_y**2
    common = products - mean_x * mean_y
    ssim = (2 * mean_x * mean_y + _C1) * (2 * common + _C2)
    ssim = ssim / ((mean_x**2 + mean_y**2 + _C1) * (spread + _C2))
    result = _SSIM_SHARE / 2 * (1 - ssim) + (1 - _SSIM_SHARE) * off
    whole = -functional.max_pool2d(-seen[:, None].float(), window, 1)[:, 0]
    return (result * whole).sum() / whole.sum().clamp_min(1)
