"""Kabsch's alignment against scipy, and its gradient where singular values meet or vanish."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from torch import Tensor

from don_kp_ros.geometry import lie
from don_kp_ros.geometry.alignment import kabsch

TRUTH = [0.3, -0.2, 0.9, 0.5, -1.1, 0.7]
SQUARE = [[1.0, 1, 0], [1, -1, 0], [-1, 1, 0], [-1, -1, 0]]  # equal extents along x and y
OCTAHEDRON = [[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]
LINE = [[-1.0, 0, 0], [0, 0, 0], [2, 0, 0]]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def points(rows: list[list[float]]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def cost(T: Tensor, a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    return (weights * (lie.apply(T, a) - b).square().sum(dim=-1)).sum(dim=-1)


def truth() -> Tensor:
    return lie.se3_exp(torch.tensor(TRUTH, dtype=torch.float64))


def tilted(a: Tensor) -> Tensor:
    return lie.apply(truth(), a)


@given(st.integers(0, 10**6), st.integers(3, 12), st.floats(0, 1))
@settings(deadline=None, derandomize=True)
def test_rotations_are_those_of_scipy(seed: int, number: int, noise: float) -> None:
    a = normal(number, 3, seed=seed)
    b = tilted(a) + noise * normal(number, 3, seed=seed + 1)
    weights = normal(number, seed=seed + 2).abs() + 0.1
    T = kabsch(a, b, weights)
    share = (weights / weights.sum())[:, None]
    centre_a, centre_b = (share * a).sum(dim=0), (share * b).sum(dim=0)
    expected, _ = Rotation.align_vectors(b - centre_b, a - centre_a, weights=weights)
    R = expected.as_matrix()
    # Where noise leaves two rotations nearly equally good, both must be equally good.
    T_expected = lie.transform(torch.from_numpy(R), centre_b - torch.from_numpy(R) @ centre_a)
    best = cost(T_expected, a, b, weights)
    assert cost(T, a, b, weights).item() == pytest.approx(best.item(), rel=1e-9, abs=1e-12)
    if noise < 0.1:
        np.testing.assert_allclose(T[:3, :3], R, atol=1e-6)


@pytest.mark.parametrize('shape', [SQUARE, OCTAHEDRON, SQUARE[:3]])
@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_the_true_motion_is_found_also_of_planes(
    shape: list[list[float]], dtype: torch.dtype, tolerance: float
) -> None:
    a = points(shape)
    T = kabsch(a.to(dtype), tilted(a).to(dtype))
    assert T.dtype == dtype
    torch.testing.assert_close(T.double(), truth(), rtol=0, atol=tolerance)


def test_batches_and_weights_are_those_of_single_calls() -> None:
    a, b, weights = normal(2, 3, 5, 3), normal(2, 3, 5, 3, seed=1), normal(2, 3, 5, seed=2).abs()
    T = kabsch(a, b, weights)
    assert T.shape == (2, 3, 4, 4)
    for i, j in np.ndindex(2, 3):
        torch.testing.assert_close(T[i, j], kabsch(a[i, j], b[i, j], 7 * weights[i, j]))
        repeated = [0, 0, 0, 1, 2, 2]
        counts = torch.tensor([3.0, 1, 2, 0, 0], dtype=torch.float64)
        torch.testing.assert_close(
            kabsch(a[i, j], b[i, j], counts), kabsch(a[i, j][repeated], b[i, j][repeated])
        )


@pytest.mark.parametrize(
    ('a', 'b'),
    [
        (normal(6, 3), normal(6, 3) * torch.tensor([1.0, 1, -1])),  # mirrored
        (points(OCTAHEDRON), -points(OCTAHEDRON)),  # mirrored, all extents equal
        (points(SQUARE), points(SQUARE) @ torch.diag(torch.tensor([1.0, -1, 1])).double()),
        (points(LINE), points(LINE)[:, [2, 0, 1]]),
        (tilted(points(LINE)), tilted(tilted(points(LINE)))),  # open but for rounding
        (points(OCTAHEDRON), -tilted(points(OCTAHEDRON))),
        (points(LINE)[:2], points(LINE)[1:]),
        (points(LINE)[:1], points(LINE)[2:]),
        (points(SQUARE) * 0 + 3, points(SQUARE)),
        (points(SQUARE), points(SQUARE) * 0 - 3),
    ],
)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_what_leaves_the_rotation_open_gets_a_proper_one_and_a_finite_gradient(
    a: Tensor, b: Tensor, dtype: torch.dtype
) -> None:
    a, b = a.to(dtype).requires_grad_(), b.to(dtype).requires_grad_()
    weights = torch.ones(len(a), dtype=dtype, requires_grad=True)
    T = kabsch(a, b, weights)
    R = T[:3, :3].detach()
    torch.testing.assert_close(R @ R.T, torch.eye(3, dtype=dtype), rtol=0, atol=2e-6)
    assert torch.linalg.det(R).item() == pytest.approx(1, abs=1e-5)
    with torch.no_grad():  # none of many others is better
        others = lie.so3_exp(2 * normal(2000, 3).to(dtype))
        centred_a, centred_b = a - a.mean(dim=0), b - b.mean(dim=0)
        best = (centred_b.T @ centred_a * others).sum(dim=(1, 2)).max()
        assert (centred_b.T @ centred_a * R).sum() >= best - 1e-5
    gradients = torch.autograd.grad((T * normal(4, 4).to(dtype)).sum(), (a, b, weights))
    for gradient in gradients:
        assert gradient.isfinite().all() and gradient.abs().max() < 1e3


@pytest.mark.parametrize(
    'a',
    [
        normal(5, 3),
        points(SQUARE),
        points(OCTAHEDRON),
        normal(6, 3) * torch.tensor([1.0, 0.5, 0]),
        normal(6, 3) * torch.tensor([1.0, 0.5, -0.2]),
    ],
    ids=['general', 'square', 'octahedron', 'plane', 'general too'],
)
@pytest.mark.parametrize('noise', [0.0, 0.1])
def test_gradients_are_those_of_finite_differences(a: Tensor, noise: float) -> None:
    b = tilted(a) + noise * normal(len(a), 3, seed=3)
    weights = normal(len(a), seed=4).abs() + 0.5
    inputs = tuple(x.clone().requires_grad_() for x in (a, b, weights))
    assert torch.autograd.gradcheck(kabsch, inputs)


def test_gradients_of_mirrored_points_are_those_of_finite_differences() -> None:
    a = normal(6, 3) * torch.tensor([1.0, 0.7, 0.3])
    b = a * torch.tensor([1.0, 1, -1]) + 0.01 * normal(6, 3, seed=1)
    assert torch.autograd.gradcheck(kabsch, (a.requires_grad_(), b.requires_grad_()))


def test_no_gradient_turns_points_about_their_own_line() -> None:
    a = points(LINE).requires_grad_()
    b = lie.apply(truth(), a.detach()).requires_grad_()
    T = kabsch(a, b)
    away = T[:3, :3] @ torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64)
    # How the y axis turns about the line is open; that the line itself turns is not.
    along = T[:3, :3] @ torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    third = T[:3, 2].detach()
    (open_,) = torch.autograd.grad(away @ third, b, retain_graph=True)
    (known,) = torch.autograd.grad(along @ third, b)
    assert open_.abs().max() < 1e-9
    torch.testing.assert_close(
        known, (points(LINE)[:, :1] - 1 / 3) / (14 / 3) * third, rtol=0, atol=1e-9
    )


def test_points_without_weight_count_for_nothing_not_even_as_nan() -> None:
    a, b = normal(6, 3), normal(6, 3, seed=1)
    expected = kabsch(a[:4], b[:4])
    a[4], b[5] = torch.nan, torch.nan
    a.requires_grad_()
    b.requires_grad_()
    T = kabsch(a, b, torch.tensor([1.0, 1, 1, 1, 0, 0], dtype=torch.float64))
    torch.testing.assert_close(T, expected)
    for gradient in torch.autograd.grad((T * normal(4, 4)).sum(), (a, b)):
        assert gradient.isfinite().all() and not gradient[4:].any() and gradient[:4].any()


def test_without_weights_nothing_moves_and_nan_gives_nan() -> None:
    a = normal(2, 4, 3).requires_grad_()
    T = kabsch(a, normal(2, 4, 3, seed=1), torch.zeros(2, 4, dtype=torch.float64))
    torch.testing.assert_close(T.detach(), torch.eye(4, dtype=torch.float64).expand(2, 4, 4))
    (gradient,) = torch.autograd.grad(T.sum(), a)
    assert not gradient.any()
    broken = a.detach().clone()
    broken[1, 2, 0] = torch.nan
    T = kabsch(broken, broken)
    assert T[0].isfinite().all() and T[1, :3].isnan().all()
