"""The losses of paper 3 against its equations, written out in NumPy, and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from don_kp_ros.training.object_losses import (
    against,
    dissimilarity,
    info_nce,
    mean_info_nce,
    weighed,
)

RNG = np.random.default_rng(0)


def contrast(d: np.ndarray, positive: np.ndarray, negatives: np.ndarray, tau: float) -> float:
    """Eq. 4 as it is printed."""
    top = np.exp(d @ positive / tau)
    return float(-np.log(top / (top + np.exp(negatives @ d / tau).sum())))


def unit(*shape: int) -> np.ndarray:
    vectors = RNG.normal(size=shape)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_the_contrast_is_that_of_equation_4() -> None:
    d, positive, cells = unit(5, 8), unit(5, 8), unit(30, 8)
    counted = RNG.random((5, 30)) < 0.4
    tau = 0.07
    logits = torch.from_numpy(d @ cells.T / tau)
    negative = against(logits, torch.from_numpy(counted))
    found = info_nce(torch.from_numpy((d * positive).sum(1) / tau), negative)
    expected = [contrast(d[i], positive[i], cells[counted[i]], tau) for i in range(5)]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10)


def test_several_positives_are_averaged() -> None:
    d, cells = unit(4, 8), unit(25, 8)
    same = RNG.random((4, 25)) < 0.3
    same[3] = False  # none
    tau = 0.2
    logits = torch.from_numpy(d @ cells.T / tau)
    counted = torch.from_numpy(same)
    found = mean_info_nce(logits, counted, against(logits, ~counted))
    for i in range(3):
        each = [contrast(d[i], p, cells[~same[i]], tau) for p in cells[same[i]]]
        assert found[i].item() == pytest.approx(np.mean(each), rel=1e-10)
    assert found[3] == 0


def test_without_negatives_nothing_is_lost_and_no_gradient_is_ill() -> None:
    logits = torch.randn(3, 6, dtype=torch.float64, requires_grad=True)
    none = torch.zeros(3, 6, dtype=torch.bool)
    loss = info_nce(logits[:, 0], against(logits, none)).sum()
    loss = loss + mean_info_nce(logits, none, against(logits, ~none)).sum()
    loss.backward()
    assert loss == 0
    assert logits.grad is not None and logits.grad.isfinite().all()


def test_the_weight_is_that_of_equation_6_and_best_at_the_inverse_of_the_loss() -> None:
    losses, u = RNG.uniform(0.1, 5, 20), RNG.normal(size=20)
    sigma = np.exp(-u)
    expected = np.mean(losses / (1 / sigma) + np.log(1 / sigma))
    found = weighed(torch.from_numpy(losses), torch.from_numpy(u))
    assert found.item() == pytest.approx(expected, rel=1e-12)
    best = torch.from_numpy(np.log(losses)).requires_grad_()
    weighed(torch.from_numpy(losses), best).backward()
    assert best.grad is not None and best.grad.abs().max() < 1e-12


def ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Wang et al. 2004, eq. 13, of one patch."""
    c1, c2 = 0.01**2, 0.03**2
    covariance = np.cov(x.ravel(), y.ravel(), bias=True)[0, 1]
    top = (2 * x.mean() * y.mean() + c1) * (2 * covariance + c2)
    return float(top / ((x.mean() ** 2 + y.mean() ** 2 + c1) * (x.var() + y.var() + c2)))


def test_patches_are_compared_by_equations_2_and_3() -> None:
    x, y = RNG.random((2, 2, 9, 11))
    seen = np.ones((2, 9, 11), bool)
    seen[0, 3, 4] = seen[1, :, 7:] = False
    expected = []
    for b in range(2):
        for v in range(9 - 3):
            for u in range(11 - 3):
                window = (b, slice(v, v + 4), slice(u, u + 4))
                if seen[window].all():
                    p, q = x[window], y[window]
                    expected.append(0.425 * (1 - ssim(p, q)) + 0.15 * np.abs(p - q).mean())
    assert 0 < len(expected) < 2 * 6 * 8
    y[~seen] = np.nan  # what is not seen says nothing
    found = dissimilarity(torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(seen), 4)
    assert found.item() == pytest.approx(np.mean(expected), rel=1e-9)


def test_equal_confidences_are_not_dissimilar() -> None:
    x = torch.rand(1, 8, 8, dtype=torch.float64)
    every = torch.ones(1, 8, 8, dtype=torch.bool)
    assert dissimilarity(x, x, every, 4).item() == pytest.approx(0, abs=1e-12)
    assert dissimilarity(x, x.flip(2), every, 4) > 0.1
    assert dissimilarity(x, x.flip(2), ~every, 4) == 0
    assert dissimilarity(x, x.flip(2), every, 9) == 0  # the view is smaller than a patch


@pytest.mark.parametrize('window', [2, 4])
def test_gradients_are_those_of_finite_differences(window: int) -> None:
    x, y = torch.rand(2, 1, 6, 6, dtype=torch.float64).requires_grad_().unbind()
    seen = torch.ones(1, 6, 6, dtype=torch.bool)
    seen[0, 5] = False
    logits = torch.randn(3, 7, dtype=torch.float64, requires_grad=True)
    counted = torch.rand(3, 7) < 0.5
    counted[:, 0], counted[:, 1] = True, False
    u = torch.randn(3, dtype=torch.float64, requires_grad=True)

    def patches(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return dissimilarity(x, y, seen, window)

    def points(logits: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        negative = against(logits, ~counted)
        return weighed(mean_info_nce(logits, counted, negative), u)

    start = x.detach().clone().requires_grad_(), y.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(patches, start)
    assert torch.autograd.gradcheck(points, (logits, u))
