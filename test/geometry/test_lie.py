"""Exponential and logarithm against scipy, and their gradients where formulas divide by zero."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import expm
from scipy.spatial.transform import Rotation
from torch import Tensor

from don_kp_ros.geometry import lie

AXES = [[1.0, 0, 0], [0, -1.0, 0], [0, 0, 1.0], [0.6, 0, -0.8], [-1 / 3, 2 / 3, 2 / 3]]
ANGLES = [0.0, 1e-30, 1e-9, 1e-4, 0.06, 0.4999, 0.5001, 1.0, 2.0, 3.0, np.pi - 1e-4, np.pi - 1e-8]
DTYPES = [(torch.float32, 2e-6), (torch.float64, 1e-14)]
coordinates = st.floats(-1, 1)
triples = st.tuples(coordinates, coordinates, coordinates)


def vectors(angles: list[float]) -> Tensor:
    """Return rotation vectors (A, 5, 3) of each angle about each axis."""
    axes = torch.tensor(AXES, dtype=torch.float64)
    return torch.tensor(angles, dtype=torch.float64)[:, None, None] * axes


def of_scipy(phi: Tensor) -> Tensor:
    return torch.from_numpy(
        Rotation.from_rotvec(phi.reshape(-1, 3).numpy()).as_matrix().reshape(*phi.shape, 3)
    )


@pytest.mark.parametrize(('dtype', 'tolerance'), DTYPES)
def test_rotations_are_those_of_scipy(dtype: torch.dtype, tolerance: float) -> None:
    phi = vectors([*ANGLES, np.pi, 4.0, 6.0])
    actual = lie.so3_exp(phi.to(dtype))
    assert actual.dtype == dtype
    torch.testing.assert_close(actual.double(), of_scipy(phi), rtol=0, atol=tolerance)


@pytest.mark.parametrize(('dtype', 'tolerance'), DTYPES)
def test_the_logarithm_reads_what_scipy_made(dtype: torch.dtype, tolerance: float) -> None:
    phi = vectors(ANGLES[:-1])
    read = lie.so3_log(of_scipy(phi).to(dtype))
    assert read.dtype == dtype
    torch.testing.assert_close(read.double(), phi, rtol=0, atol=3 * tolerance)


@pytest.mark.parametrize(('dtype', 'tolerance'), DTYPES)
def test_tiny_angles_keep_their_digits(dtype: torch.dtype, tolerance: float) -> None:
    phi = vectors([1e-9, 1e-6, 1e-4]).to(dtype)
    torch.testing.assert_close(lie.so3_log(lie.so3_exp(phi)), phi, rtol=tolerance, atol=0)


@pytest.mark.parametrize('axis', AXES)
def test_a_half_turn_is_read_as_one_of_its_two_vectors(axis: list[float]) -> None:
    u = torch.tensor(axis, dtype=torch.float64)
    R = 2 * torch.outer(u, u) - torch.eye(3, dtype=torch.float64)  # exactly pi
    R.requires_grad_()
    phi = lie.so3_log(R)
    assert phi.norm().item() == pytest.approx(np.pi, abs=1e-12)
    assert abs(phi @ u).item() == pytest.approx(np.pi, abs=1e-12)
    for component in phi:
        (gradient,) = torch.autograd.grad(component, R, retain_graph=True)
        assert gradient.isfinite().all() and gradient.abs().max() < 10


@given(triples, triples)
def test_transforms_are_matrix_exponentials(
    rho: tuple[float, float, float], phi: tuple[float, float, float]
) -> None:
    turn = np.array(phi) * 1.8  # at most 3.12
    xi = torch.from_numpy(np.concatenate([rho, turn]))
    T = lie.se3_exp(xi)
    generator = np.zeros((4, 4))
    generator[:3, :3] = [[0, -turn[2], turn[1]], [turn[2], 0, -turn[0]], [-turn[1], turn[0], 0]]
    generator[:3, 3] = rho
    np.testing.assert_allclose(T.numpy(), expm(generator), rtol=0, atol=1e-13)
    torch.testing.assert_close(lie.se3_log(T), xi, rtol=0, atol=1e-12)


@pytest.mark.parametrize(('dtype', 'tolerance'), DTYPES)
def test_the_logarithm_of_transforms_at_every_angle(dtype: torch.dtype, tolerance: float) -> None:
    phi = vectors(ANGLES[:-1]).numpy()
    rho = np.broadcast_to([0.3, -0.7, 1.1], phi.shape)
    generators = np.zeros((*phi.shape[:-1], 4, 4))
    x, y, z = np.moveaxis(phi, -1, 0)
    for (row, column), value in {(2, 1): x, (0, 2): y, (1, 0): z}.items():
        generators[..., row, column] = value
        generators[..., column, row] = -value
    generators[..., :3, 3] = rho
    T = torch.from_numpy(expm(generators))
    expected = torch.from_numpy(np.concatenate([rho, phi], axis=-1))
    torch.testing.assert_close(
        lie.se3_log(T.to(dtype)).double(), expected, rtol=0, atol=5 * tolerance
    )
    actual = lie.se3_exp(expected.to(dtype))
    torch.testing.assert_close(actual.double(), T, rtol=0, atol=5 * tolerance)


@pytest.mark.parametrize('angle', ANGLES)
@pytest.mark.parametrize(('dtype', 'tolerance'), DTYPES)
def test_the_way_there_and_back_has_the_gradient_of_standing_still(
    angle: float, dtype: torch.dtype, tolerance: float
) -> None:
    """d log(exp(xi)) / d xi is the identity at every angle below pi."""
    for axis in AXES:
        xi = torch.tensor([0.2, -0.4, 0.1, *(angle * np.array(axis))], dtype=dtype)
        if xi[3:].norm() > 3.1415:  # rounds to, or beyond, a half turn in float32
            continue
        jacobian = torch.autograd.functional.jacobian(lambda x: lie.se3_log(lie.se3_exp(x)), xi)
        assert isinstance(jacobian, Tensor)
        # Towards a half turn the translation's part divides what is left by 1 + cos.
        torch.testing.assert_close(
            jacobian, torch.eye(6, dtype=dtype), rtol=0, atol=200 * tolerance
        )


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_gradients_are_finite_at_the_identity_and_at_half_turns(dtype: torch.dtype) -> None:
    turns = [np.diag(d) for d in ([1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1])]
    for R in turns:
        T = torch.eye(4, dtype=dtype)
        T[:3, :3], T[:3, 3] = torch.from_numpy(R), torch.tensor([1.0, 2, 3])
        jacobian = torch.autograd.functional.jacobian(lie.se3_log, T)
        assert isinstance(jacobian, Tensor)
        assert jacobian.isfinite().all()
        assert 1 < jacobian[:, :3].abs().sum() < 100
    for angle in (0.0, np.pi, 2 * np.pi):
        xi = torch.tensor([1, 2, 3, angle, 0, 0], dtype=dtype)
        jacobian = torch.autograd.functional.jacobian(lie.se3_exp, xi)
        assert isinstance(jacobian, Tensor)
        assert jacobian.isfinite().all()


@pytest.mark.parametrize('angle', [0.0, 1e-5, 0.3, 0.7, 2.0, 3.0])
def test_gradients_are_those_of_finite_differences(angle: float) -> None:
    # No two components alike: there the extension to matrices that are no rotations has a kink.
    axis = torch.tensor([0.36, -0.48, 0.8], dtype=torch.float64)
    xi = torch.cat([torch.tensor([0.4, 0.1, -0.3], dtype=torch.float64), angle * axis])
    assert torch.autograd.gradcheck(lie.se3_exp, xi.requires_grad_())
    T = lie.se3_exp(xi.detach()).requires_grad_()
    assert torch.autograd.gradcheck(lie.se3_log, T)


def test_inverse_and_apply_of_a_batch() -> None:
    generator = torch.Generator().manual_seed(0)
    T = lie.se3_exp(torch.randn(2, 3, 6, generator=generator, dtype=torch.float64))
    torch.testing.assert_close(lie.inverse(T), torch.linalg.inv(T))
    points = torch.randn(2, 3, 5, 3, generator=generator, dtype=torch.float64)
    moved = lie.apply(T, points)
    for i, j, n in np.ndindex(2, 3, 5):
        homogeneous = torch.cat([points[i, j, n], torch.ones(1, dtype=torch.float64)])
        torch.testing.assert_close(moved[i, j, n], (T[i, j] @ homogeneous)[:3])
