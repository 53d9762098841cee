"""The exponential and logarithm of rotations and rigid transforms, batched and differentiable.

Values and gradients are finite everywhere: at the identity, at tiny angles and at half turns.
Below half a radian, series replace the closed forms that divide by the angle. The arguments of the
form that is not chosen are replaced, too, because 0 times an infinite gradient is NaN. Works in
float32 and float64.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_SMALL = 0.25  # squared radians: below it the series are exact in float64
_ATAN_SMALL = 1e-3  # squared tangent of half the angle: likewise


def inverse(T: Tensor) -> Tensor:
    """Invert rigid transforms (..., 4, 4)."""
    R_inverse = T[..., :3, :3].transpose(-1, -2)
    return transform(R_inverse, -(R_inverse @ T[..., :3, 3:])[..., 0])


def apply(T: Tensor, points: Tensor) -> Tensor:
    """Transform points (..., N, 3) by T (..., 4, 4)."""
    return points @ T[..., :3, :3].transpose(-1, -2) + T[..., None, :3, 3]


def transform(rotation: Tensor, translation: Tensor) -> Tensor:
    """Make transforms (..., 4, 4) of rotations (..., 3, 3) and translations (..., 3)."""
    upper = torch.cat([rotation, translation[..., None]], dim=-1)
    lowest = upper.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*upper.shape[:-2], 1, 4)
    return torch.cat([upper, lowest], dim=-2)


def so3_exp(phi: Tensor) -> Tensor:
    """Turn rotation vectors (..., 3), radians, into rotations (..., 3, 3): Rodrigues' formula."""
    a, b, _ = _coefficients(phi)
    K = hat(phi)
    return torch.eye(3, dtype=phi.dtype, device=phi.device) + a * K + b * (K @ K)


def so3_log(R: Tensor) -> Tensor:
    """Read rotations (..., 3, 3) as rotation vectors (..., 3), radians, of length at most pi.

    At a half turn both opposite vectors are right, and one is returned. The gradient is that of an
    extension to matrices that are not rotations; it is right along rotations.
    """
    q = _scaled_quaternion(R)
    vector, w = q[..., :3], q[..., 3:]
    squared = (vector * vector).sum(dim=-1, keepdim=True)
    small = squared < _ATAN_SMALL * w * w
    w_small = torch.where(small, w, 1.0)
    x = torch.where(small, squared, 0.0) / (w_small * w_small)
    series = _polynomial(x, [(-1) ** k / (2 * k + 1) for k in range(6)]) / w_small
    norm = torch.where(small, 1.0, squared).sqrt()
    return 2 * vector * torch.where(small, series, torch.atan2(norm, w) / norm)


def se3_exp(xi: Tensor) -> Tensor:
    """Turn twists (..., 6), [rho, phi] in metres and radians, into transforms (..., 4, 4).

    The translation is V(phi) rho with V the left Jacobian of SO(3), so that the result is the
    matrix exponential of [[hat(phi), rho], [0, 0]].
    """
    rho, phi = xi[..., :3], xi[..., 3:]
    a, b, c = _coefficients(phi)
    K = hat(phi)
    K_squared = K @ K
    identity = torch.eye(3, dtype=xi.dtype, device=xi.device)
    V = identity + b * K + c * K_squared
    return transform(identity + a * K + b * K_squared, (V @ rho[..., None])[..., 0])


def se3_log(T: Tensor) -> Tensor:
    """Read transforms (..., 4, 4) as twists (..., 6): [rho, phi] in metres and radians."""
    phi = so3_log(T[..., :3, :3])
    a, b, _ = _coefficients(phi)
    x = (phi * phi).sum(dim=-1)[..., None, None]
    small = x < _SMALL
    # (1 - (angle / 2) cot(angle / 2)) / angle^2; its series has Bernoulli's numbers.
    series = _polynomial(
        torch.where(small, x, 0.0),
        [1 / 12, 1 / 720, 1 / 30240, 1 / 1209600, 1 / 47900160, 691 / 1307674368000]
        + [1 / 74724249600],
    )
    d = torch.where(small, series, (1 - a / (2 * b)) / torch.where(small, 1.0, x))
    K = hat(phi)
    V_inverse = torch.eye(3, dtype=T.dtype, device=T.device) - K / 2 + d * (K @ K)
    return torch.cat([(V_inverse @ T[..., :3, 3:])[..., 0], phi], dim=-1)


def hat(v: Tensor) -> Tensor:
    """Make the matrices (..., 3, 3) of the cross product with vectors (..., 3)."""
    x, y, z = v.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))


def _coefficients(phi: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return sin t / t, (1 - cos t) / t^2 and (t - sin t) / t^3, each (..., 1, 1), t = |phi|."""
    x = (phi * phi).sum(dim=-1)[..., None, None]
    small = x < _SMALL
    x_small = torch.where(small, x, 0.0)
    near = [
        _polynomial(x_small, [(-1) ** k / math.factorial(2 * k + first) for k in range(7)])
        for first in (1, 2, 3)
    ]
    t = torch.where(small, 1.0, x).sqrt()
    # Twice a squared sine: 1 - cos t loses all digits if t is small or near a full turn.
    far = [torch.sin(t) / t, 2 * (torch.sin(t / 2) / t) ** 2, (t - torch.sin(t)) / t**3]
    a, b, c = (torch.where(small, n, f) for n, f in zip(near, far, strict=True))
    return a, b, c


def _polynomial(x: Tensor, coefficients: list[float]) -> Tensor:
    """Evaluate a polynomial, lowest power first, by Horner's rule."""
    value = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = value * x + coefficient
    return value


def _scaled_quaternion(R: Tensor) -> Tensor:
    """Read rotations (..., 3, 3) as quaternions xyzw (..., 4) with w >= 0, not of unit length.

    Shepperd's method as in don_kp_ros.geometry.rigid, without the root: the row of the products q
    q^T with the largest diagonal entry. The diagonal sums to 4 for any R, so the row is never 0.
    """
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = R.flatten(-2).unbind(-1)
    products = torch.stack(
        [
            *(1 + r00 - r11 - r22, r01 + r10, r02 + r20, r21 - r12),
            *(r01 + r10, 1 - r00 + r11 - r22, r12 + r21, r02 - r20),
            *(r02 + r20, r12 + r21, 1 - r00 - r11 + r22, r10 - r01),
            *(r21 - r12, r02 - r20, r10 - r01, 1 + r00 + r11 + r22),
        ],
        dim=-1,
    ).unflatten(-1, (4, 4))
    largest = products.diagonal(dim1=-2, dim2=-1).argmax(dim=-1)
    q = products.take_along_dim(largest[..., None, None], dim=-2)[..., 0, :]
    return torch.where(q[..., 3:] < 0, -q, q)
