import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from don_kp_ros.networks.expectation import around_peak, expect


@settings(deadline=None, max_examples=25)
@given(
    cells=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    scale=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    sharpness=st.floats(0, 30),
)
def test_expectations_equal_those_of_upsampled_probabilities(
    cells: tuple[int, int], scale: tuple[int, int], sharpness: float
) -> None:
    torch.manual_seed(0)
    size = (cells[0] * scale[0], cells[1] * scale[1])
    logits = sharpness * torch.randn(2, 3, *cells)
    depths, masks = torch.rand(2, 3, *cells), torch.rand(2, *size) > 0.5
    found = expect(logits, size, depths, masks)
    probabilities = functional.interpolate(
        logits.double().flatten(2).softmax(dim=2).view_as(logits), size=size, mode='bilinear'
    )
    probabilities /= probabilities.sum(dim=(2, 3), keepdim=True)
    depth = functional.interpolate(depths.double(), size=size, mode='bilinear')
    v, u = torch.meshgrid(*(torch.arange(n).double() for n in size), indexing='ij')

    def mean(values: torch.Tensor) -> torch.Tensor:
        return (probabilities * values).sum(dim=(2, 3))

    uv = torch.stack([mean(u), mean(v)], dim=-1)
    variance = mean(u**2) - mean(u) ** 2 + mean(v**2) - mean(v) ** 2
    for ours, expected, tolerance in (
        (found.uv, uv, 1e-3),
        (found.variance, variance, 1e-2),
        (found.depth, mean(depth), 1e-5),
        (found.inside, mean(masks[:, None].double()), 1e-5),
    ):
        torch.testing.assert_close(ours.double(), expected, atol=tolerance, rtol=1e-4)


def test_a_certain_keypoint_is_at_its_cells_centre() -> None:
    logits = torch.full((1, 1, 4, 6), -100.0)
    logits[0, 0, 2, 3] = 100
    found = expect(logits, (16, 24))
    assert found.uv[0, 0].tolist() == pytest.approx([3.5 * 4 - 0.5, 2.5 * 4 - 0.5], abs=1e-4)
    assert found.depth is None and found.inside is None


def test_half_precision_logits_lose_nothing_more_than_their_own_bits() -> None:
    logits = torch.randn(1, 2, 8, 8).bfloat16()
    torch.testing.assert_close(
        expect(logits, (32, 32)).uv, expect(logits.float(), (32, 32)).uv, atol=1e-4, rtol=0
    )


def test_a_second_peak_does_not_draw_a_keypoint_away_from_the_first() -> None:
    logits = torch.full((1, 1, 8, 16), -torch.inf)
    logits[0, 0, 3, 2], logits[0, 0, 3, 3], logits[0, 0, 6, 13] = 1.0, 0.5, 0.99
    whole = expect(logits, (8, 16)).uv[0, 0]
    found = expect(around_peak(logits, 4), (8, 16))
    first, second = torch.tensor([1.0, 0.5]).softmax(dim=0).tolist()
    assert whole[0] > 5
    assert found.uv[0, 0].tolist() == pytest.approx([2 * first + 3 * second, 3], abs=1e-4)
    assert found.variance.item() == pytest.approx(first * second, abs=1e-3)


def test_each_map_keeps_the_cells_within_the_radius_of_its_own_peak() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 7, 9)
    kept = around_peak(logits, 2.5)
    for image in range(2):
        for keypoint in range(3):
            row, column = divmod(int(logits[image, keypoint].argmax()), 9)
            for r in range(7):
                for c in range(9):
                    near = (r - row) ** 2 + (c - column) ** 2 <= 2.5**2
                    value = kept[image, keypoint, r, c]
                    assert value == (logits[image, keypoint, r, c] if near else -torch.inf)
