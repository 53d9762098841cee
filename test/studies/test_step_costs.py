"""What a step keeps in memory."""

import pytest
import torch

from don_kp_ros.studies import step_costs


def test_saved_bytes_are_those_of_every_storage_once() -> None:
    values = torch.rand(10, 10, requires_grad=True)
    weight = torch.nn.Parameter(torch.rand(10, 10))

    def function() -> torch.Tensor:
        inner = values @ weight  # keeps values, and a parameter, which doesn't count
        return inner.exp() + values.square()  # keeps the exponential; values are counted already

    assert step_costs.saved_bytes(function) == 2 * 400


@pytest.mark.parametrize('method', step_costs.METHODS)
def test_every_method_keeps_what_its_backbone_keeps(method: str) -> None:
    pairs = {name: tensor for name, tensor in step_costs.batch().items()}
    module = step_costs.training(method, 64)
    own = step_costs.saved_bytes(lambda: step_costs.features(module, pairs))
    kept = step_costs.saved_bytes(lambda: module.training_step(pairs, 0))
    assert own <= kept <= 1.05 * own
