"""Losses of the keypoint network: pure functions.

Equations are those of paper 1, Training Dense Object Nets: A Novel Approach; 1b is its earlier
version. Silhouette and separation are those of KeypointNet (Suwajanakorn et al. 2018), which the
papers adopt.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from don_kp_ros.geometry import lie
from don_kp_ros.geometry.alignment import kabsch

_LEAST_MASS = 1e-6  # probability below which the silhouette loss is a straight line


def deproject(uv: Tensor, depth: Tensor, K: Tensor) -> Tensor:
    """Lift pixels of many cameras to their frames: X = K^-1 [u, v, 1]^T d (paper 1, eq. 5).

    uv (B, N, 2) pixels; depth (B, N) along the optical axis, metres; K (B, 3, 3). Returns
    (B, N, 3), metres, NaN where the depth is; a loss that leaves these points out gets no NaN
    into its gradient.
    """
    known = torch.isfinite(depth)[..., None]
    pixels = torch.cat([uv, torch.ones_like(uv[..., :1])], dim=-1)
    rays = torch.linalg.solve(K, pixels.transpose(-1, -2)).transpose(-1, -2)
    return torch.where(known, rays * torch.where(known, depth[..., None], 0.0), torch.nan)


def huber(
    predicted: Tensor, expected: Tensor, delta: float, valid: Tensor | None = None
) -> Tensor:
    """Compute the Huber loss (H in paper 1, eq. 6) between points, divided by delta.

    predicted, expected (..., C) in the unit of delta; valid (...) bool, all where None. A
    difference e costs e^2 / (2 delta) up to delta, and |e| - delta / 2 beyond; summed over C,
    averaged over the valid points. Returns a scalar; 0 where no point is valid.
    """
    if valid is None:
        valid = torch.ones_like(predicted[..., 0], dtype=torch.bool)
    counted = valid[..., None]
    loss = functional.smooth_l1_loss(
        torch.where(counted, predicted, 0.0),
        torch.where(counted, expected, 0.0),
        reduction='sum',
        beta=delta,
    )
    return loss / valid.sum().clamp_min(1)


def consistency_camera(
    points_a: Tensor, points_b: Tensor, T_b_a: Tensor, delta: float, valid: Tensor | None = None
) -> Tensor:
    """Compare the keypoints of two views in the second camera's frame (paper 1, eq. 6).

    points_a, points_b (B, N, 3) in the optical frames of views a and b, metres; T_b_a (B, 4, 4);
    delta in metres; valid (B, N) bool, all where None. L = H(X_b, T_b_a X_a). Returns a scalar.
    """
    return huber(points_b, lie.apply(T_b_a, points_a), delta, valid)


def consistency_world(
    points_a: Tensor,
    points_b: Tensor,
    T_world_a: Tensor,
    T_world_b: Tensor,
    delta: float,
    valid: Tensor | None = None,
) -> Tensor:
    """Compare the keypoints of two views in the world's frame (paper 1b, eq. 6).

    points_a, points_b (B, N, 3) in the optical frames of views a and b, metres; T_world_a,
    T_world_b (B, 4, 4); delta in metres; valid (B, N) bool, all where None.
    L = H(T_world_a X_a, T_world_b X_b). Returns a scalar.
    """
    return huber(lie.apply(T_world_a, points_a), lie.apply(T_world_b, points_b), delta, valid)


def relative_pose(
    points_a: Tensor, points_b: Tensor, T_b_a: Tensor, valid: Tensor | None = None
) -> Tensor:
    """Compare the motion that the keypoints show with the true one (paper 1, eq. 7).

    points_a, points_b (B, N, 3) in the optical frames of views a and b, metres; T_b_a (B, 4, 4),
    the truth; valid (B, N) bool, all where None. L = || log(T_b_a^-1 T) || with T by Kabsch, the
    norm of a twist in metres and radians; the mean over the pairs that have three valid points,
    as fewer leave the rotation open. Returns a scalar; 0 where no pair has. Without any error the
    gradient is 0.
    """
    if valid is None:
        valid = torch.ones_like(points_a[..., 0], dtype=torch.bool)
    counted = valid.sum(dim=-1) >= 3
    predicted = kabsch(points_a, points_b, (valid & counted[..., None]).to(points_a.dtype))
    twist = lie.se3_log(lie.inverse(T_b_a) @ predicted)
    error = torch.where(counted, torch.linalg.vector_norm(twist, dim=-1), 0.0)
    return error.sum() / counted.sum().clamp_min(1)


def silhouette(inside: Tensor) -> Tensor:
    """Keep the keypoints inside the object's mask (KeypointNet's silhouette consistency).

    inside (B, N): the share of each keypoint's probability that lies in the mask, 0 to 1. L = mean
    of - log(inside). Below 1e-6 the tangent at that point replaces the logarithm, so the loss is
    finite at 0 and still falls towards the mask. Returns a scalar.
    """
    logarithm = -inside.clamp_min(_LEAST_MASS).log()
    return (logarithm + functional.relu(1 - inside / _LEAST_MASS)).mean()


def concentration(variance: Tensor) -> Tensor:
    """Compute KeypointNet's variance loss: a keypoint's probability lies in one place.

    variance (B, N): of each one's spatial probability, pixels^2. Returns its mean, a scalar.
    """
    return variance.mean()


def separation(points: Tensor, margin: float | Tensor) -> Tensor:
    """Keep keypoints apart (KeypointNet's separation).

    points (B, N, C); margin in their unit, a number or one per item (B,). With x the points,

        L = mean over B of 1 / N^2 sum_{i != j} max(0, margin^2 - |x_i - x_j|^2).

    Points in exactly the same place have no direction in which to separate, so their gradient is
    0. Returns a scalar.
    """
    number = points.shape[1]
    squared_margin = torch.as_tensor(margin, dtype=points.dtype, device=points.device) ** 2
    # Differences, not products: in float32, products lose all digits for points a metre away.
    distances = torch.cdist(points, points, compute_mode='donot_use_mm_for_euclid_dist')
    lacking = functional.relu(squared_margin.reshape(-1, 1, 1) - distances.square())
    others = ~torch.eye(number, dtype=torch.bool, device=points.device)
    return (lacking * others).sum(dim=(1, 2)).mean() / number**2
