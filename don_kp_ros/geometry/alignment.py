"""The rigid transform that best maps one set of points to another."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from don_kp_ros.geometry.lie import transform


def kabsch(points_a: Tensor, points_b: Tensor, weights: Tensor | None = None) -> Tensor:
    """Find T_b_a (..., 4, 4), the rigid transform that best maps points a to points b.

    points_a, points_b (..., N, 3) in metres; weights (..., N), not negative, all 1 where None.
    T_b_a minimises sum_i w_i |T_b_a a_i - b_i|^2 (Kabsch 1976; proper rotations only: Umeyama
    1991). Points of weight 0 are ignored, even if they are NaN.

    Differentiable once. If the points leave the rotation undetermined (on a line, all in one
    place, mirrored with equal extents), one of the best is returned, and no gradient flows along
    the undetermined directions. If all weights are 0, the result is the identity.
    """
    if weights is None:
        weights = torch.ones_like(points_a[..., 0])
    total = weights.sum(dim=-1, keepdim=True)
    share = (weights / torch.where(total > 0, total, 1.0))[..., None]
    points_a = torch.where(share > 0, points_a, 0.0)
    points_b = torch.where(share > 0, points_b, 0.0)
    centre_a = (share * points_a).sum(dim=-2, keepdim=True)
    centre_b = (share * points_b).sum(dim=-2, keepdim=True)
    a, b = points_a - centre_a, points_b - centre_b
    covariance = (share * b).transpose(-1, -2) @ a
    rotation = _nearest_rotation(covariance, _noise(share, points_a, points_b, a, b))
    translation = centre_b - centre_a @ rotation.transpose(-1, -2)
    return transform(rotation, translation[..., 0, :])


@torch.no_grad()
def _noise(share: Tensor, points_a: Tensor, points_b: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Bound (...) the rounding error of a covariance, square metres; points a and b are centred.

    A point's rounding error is its distance times the machine precision.
    """

    def extent(points: Tensor) -> Tensor:
        return (share * points * points).sum(dim=(-1, -2)).sqrt()

    limits = torch.finfo(share.dtype)
    rounding = extent(points_a) * extent(b) + extent(points_b) * extent(a)
    return 8 * limits.eps * rounding + limits.tiny**0.5


def _nearest_rotation(matrix: Tensor, noise: Tensor) -> Tensor:
    """Return the rotations R (..., 3, 3) of the greatest tr(R^T M) for matrices M (..., 3, 3).

    noise (...): values of M below it count as zero. NaN gives NaN.
    """
    rotation: Tensor = _NearestRotation.apply(matrix, noise)
    return rotation


class _NearestRotation(torch.autograd.Function):
    """The orthogonal Procrustes problem, with a gradient that allows equal singular values.

    With M = U S V^T, d = det(U V^T) and s = (s1, s2, d s3), M = R P for R = U diag(1, 1, d) V^T
    and the symmetric P = V diag(s) V^T. From dM = dR P + R dP the skew W = R^T dR obeys

        W P + P W = R^T dM - dM^T R,

    in the basis of V: W_ij = (...)_ij / (s_i + s_j). The gradient of the singular vectors divides
    by differences s_i - s_j; they do not appear here, because R is smooth where they vanish. Where
    the sum vanishes, R itself is undetermined.
    """

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, noise: Tensor) -> Tensor:
        finite = torch.isfinite(matrix).all(dim=-1).all(dim=-1)[..., None, None]
        U, S, Vh = torch.linalg.svd(torch.where(finite, matrix, 0.0))  # which refuses NaN
        proper = torch.ones_like(S)
        proper[..., 2] = (torch.linalg.det(U) * torch.linalg.det(Vh)).sign()
        rotation = torch.where(finite, (U * proper[..., None, :]) @ Vh, torch.nan)
        ctx.save_for_backward(rotation, S * proper, Vh, noise)
        return rotation

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        rotation, s, Vh, noise = ctx.saved_tensors
        V = Vh.transpose(-1, -2)
        turning = rotation.transpose(-1, -2) @ gradient
        turning = Vh @ (turning - turning.transpose(-1, -2)) @ V
        sums = s[..., :, None] + s[..., None, :]
        determined = sums > noise[..., None, None]
        turning = torch.where(determined, turning / torch.where(determined, sums, 1.0), 0.0)
        return rotation @ V @ turning @ Vh, None
