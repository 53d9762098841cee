import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from don_kp_ros.training.losses import bilinear_targets, nt_xent, sample_descriptors


def unit(*shape: int) -> Tensor:
    return functional.normalize(torch.randn(*shape, dtype=torch.float64), dim=1)


def brute_force(
    maps_a: Tensor, maps_b: Tensor, uv_a: Tensor, uv_b: Tensor, side: int, t: float, extra: Tensor
) -> float:
    """Compute the loss one query, one direction and one cell at a time."""
    losses = []
    stride = side / maps_a.shape[-1]
    for source, target, uv_s, uv_t in ((maps_a, maps_b, uv_a, uv_b), (maps_b, maps_a, uv_b, uv_a)):
        for b in range(len(source)):
            for q in range(uv_s.shape[1]):

                def corners(uv: Tensor) -> list[tuple[int, int, float]]:
                    x, y = ((uv.numpy() + 0.5) / stride - 0.5).tolist()
                    i, j = int(np.floor(y)), int(np.floor(x))
                    a, c = y - i, x - j
                    return [
                        (i, j, (1 - a) * (1 - c)),
                        (i, j + 1, (1 - a) * c),
                        (i + 1, j, a * (1 - c)),
                        (i + 1, j + 1, a * c),
                    ]

                cells = [w * source[b, :, i, j] for i, j, w in corners(uv_s[b, q])]
                query = torch.stack(cells).sum(dim=0)
                query = query / query.norm()
                exponentials = np.exp((torch.einsum('d,dij->ij', query, target[b]) / t).numpy())
                total = exponentials.sum() + np.exp((extra @ query / t).numpy()).sum()
                losses.append(
                    -sum(w * np.log(exponentials[i, j] / total) for i, j, w in corners(uv_t[b, q]))
                )
    return float(np.mean(losses))


@pytest.mark.parametrize('negatives', [0, 6])
def test_nt_xent_equals_brute_force(negatives: int) -> None:
    torch.manual_seed(0)
    maps_a, maps_b, extra = unit(2, 5, 6, 6), unit(2, 5, 6, 6), unit(negatives, 5)
    uv_a, uv_b = (2 + 18 * torch.rand(2, 4, 2, dtype=torch.float64) for _ in range(2))
    loss = nt_xent(maps_a, maps_b, uv_a, uv_b, (24, 24), 0.1, extra)
    expected = brute_force(maps_a, maps_b, uv_a, uv_b, 24, 0.1, extra)
    assert loss.item() == pytest.approx(expected, rel=1e-6)


def test_true_matches_lower_the_loss_and_negatives_raise_it() -> None:
    torch.manual_seed(0)
    maps = unit(1, 32, 8, 8)
    uv = torch.tensor([[[5.5, 9.5], [21.5, 13.5]]], dtype=torch.float64)  # cell centres
    true = nt_xent(maps, maps, uv, uv, (32, 32), 0.05)
    wrong = nt_xent(maps, maps, uv, uv.flip(1), (32, 32), 0.05)
    assert true < 0.01 < wrong
    held_against = nt_xent(maps, maps, uv, uv, (32, 32), 0.05, maps[0, :, 2, 1][None])
    assert held_against > true


def test_targets_spread_bilinearly() -> None:
    uv = torch.tensor([[5.5, 1.5], [7.5, 1.5], [0.0, 0.0], [31.0, 31.0]])
    indices, weights = bilinear_targets(uv, (8, 8), (32, 32))
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(4))
    dense = torch.zeros(4, 64).scatter_add_(1, indices, weights)
    assert dense[0, 1] == 1
    assert dense[1, 1] == dense[1, 2] == 0.5
    assert dense[2, 0] == dense[3, 63] == 1


def test_sampling_reads_cell_centres() -> None:
    maps = unit(1, 4, 8, 8)
    uv = torch.tensor([[[13.5, 5.5]]], dtype=torch.float64)
    torch.testing.assert_close(sample_descriptors(maps, uv, (32, 32))[0, 0], maps[0, :, 1, 3])


def test_gradients_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    maps_a, maps_b = unit(1, 3, 4, 4).requires_grad_(), unit(1, 3, 4, 4).requires_grad_()
    uv = 1 + 13 * torch.rand(1, 3, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda a, b: nt_xent(a, b, uv, uv.flip(1), (16, 16), 0.5), (maps_a, maps_b)
    )
