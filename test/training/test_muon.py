import copy

import pytest
import torch
from torch import Tensor, nn

from don_kp_ros.training.muon import Muon, orthogonalise


def as_published(matrix: Tensor) -> Tensor:
    x = matrix / matrix.norm()
    for _ in range(5):
        squares = x @ x.T
        x = 3.4445 * x + (-4.7750 * squares + 2.0315 * squares @ squares) @ x
    return x


def test_orthogonalisation_is_the_published_iteration() -> None:
    torch.manual_seed(0)
    matrices = torch.randn(3, 16, 40, dtype=torch.float64)
    matrices[1] *= torch.logspace(0, -6, 16, dtype=torch.float64)[:, None]  # ill-conditioned
    matrices[2] = 0
    found = orthogonalise(matrices)
    for matrix, result in zip(matrices[:2], found[:2], strict=True):
        torch.testing.assert_close(result, as_published(matrix), rtol=0, atol=1e-12)
    values = torch.linalg.svdvals(found[0])
    assert values.min() > 0.6 and values.max() < 1.25
    assert not found[2].any()
    rounded = orthogonalise(matrices.float())
    torch.testing.assert_close(rounded.double(), found, rtol=0, atol=1e-4)


@pytest.mark.parametrize('shape', [(8, 30), (30, 8)])
def test_a_convolution_steps_as_by_torchs_muon(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(*shape, 1, 1))
    matrix = nn.Parameter(weight.detach().reshape(shape).clone())
    ours = Muon([weight], lr=0.02, weight_decay=0.1)
    theirs = torch.optim.Muon([matrix], lr=0.02, weight_decay=0.1, adjust_lr_fn='match_rms_adamw')
    for _ in range(5):
        gradient = torch.randn(shape)
        weight.grad, matrix.grad = gradient.reshape(weight.shape), gradient
        ours.step()
        theirs.step()
    # torch's works in bfloat16: five steps of 0.02 x 0.2 sqrt(30) x at most 1.2, to a hundredth.
    torch.testing.assert_close(weight.reshape(shape), matrix, rtol=0, atol=1e-3)


def test_other_parameters_step_as_by_adamw() -> None:
    torch.manual_seed(0)
    depthwise = nn.Conv2d(6, 6, 3, groups=6).weight
    ours = [nn.Parameter(torch.randn(7)), nn.Parameter(torch.randn(4, 5)), depthwise]
    theirs = copy.deepcopy(ours)
    optimisers = [
        Muon(ours, lr=0.01, weight_decay=0.1),
        torch.optim.AdamW(theirs, lr=0.01, weight_decay=0.1),
    ]
    for _ in range(10):
        for own, other in zip(ours, theirs, strict=True):
            own.grad = other.grad = torch.randn_like(own)
        for optimiser in optimisers:
            optimiser.step()
    torch.testing.assert_close(ours, theirs)


def test_a_saved_state_goes_on_as_it_would_have() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 2, 1))
    images, targets = torch.randn(4, 3, 8, 8), torch.randn(4, 2, 6, 6)

    def train(network: nn.Module, optimiser: Muon) -> float:
        for _ in range(20):
            optimiser.zero_grad()
            loss = nn.functional.mse_loss(network(images), targets)
            loss.backward()
            optimiser.step()
        return loss.item()

    optimiser = Muon(network.parameters(), lr=0.02)
    first = train(network, optimiser)
    other = copy.deepcopy(network)
    resumed = Muon(other.parameters(), lr=0.02)
    resumed.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    second = train(network, optimiser)
    assert second < first < 1
    assert train(other, resumed) == second
