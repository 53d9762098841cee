import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn import functional

from don_kp_ros.evaluation.modality import Peaks, peaks
from don_kp_ros.matching.heatmap import heatmaps, match

QUERY = torch.tensor([[1.0, 0.0]])


def map_with(similarity: NDArray[np.float64]) -> torch.Tensor:
    """Make descriptors (2, H, W) whose cosine similarity to QUERY is as given (H, W)."""
    angle = torch.arccos(torch.as_tensor(similarity, dtype=torch.float64))
    return torch.stack([torch.cos(angle), torch.sin(angle)])


def bumps(height: int, width: int, *places: tuple[int, int, float]) -> NDArray[np.float64]:
    """Draw cones of a radius of 6 pixels and a height at places (u, v, height)."""
    v, u = np.indices((height, width))
    cones = [top * (1 - np.hypot(u - x, v - y) / 6).clip(0, 1) for x, y, top in places]
    # A slope everywhere leaves no flat pixels, which would be peaks.
    return np.maximum.reduce(cones) - 1e-3 * (u + v)


def brute_force(heat: NDArray[np.float64], apart: float) -> tuple[float, float]:
    height, width = heat.shape
    first = int((heat >= heat.max() - 1e-12).argmax())  # of pixels equal but for rounding
    top_v, top_u = divmod(first, width)
    second = -1.0
    for v in range(height):
        for u in range(width):
            around = heat[max(v - 1, 0) : v + 2, max(u - 1, 0) : u + 2]
            far = (u - top_u) ** 2 + (v - top_v) ** 2 >= apart**2
            if far and heat[v, u] == around.max():
                second = max(second, heat[v, u])
    return float(heat.max()), float(second)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    st.integers(2, 7),
    st.integers(2, 7),
    st.integers(3, 30),
    st.integers(3, 30),
    st.integers(0, 99),
)
def test_peaks_equal_brute_force(
    rows: int, columns: int, height: int, width: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(3, rows, columns, generator=generator, dtype=torch.float64)
    queries = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    descriptor_map, queries = functional.normalize(noise, dim=0), functional.normalize(queries)
    size, apart = (height, width), 6 * 640 / width
    found = peaks(descriptor_map, queries, size, apart)
    for number, heat in enumerate(heatmaps(descriptor_map, queries, size).numpy()):
        first, second = brute_force(heat, 6)
        assert found.first[number] == pytest.approx(first)
        assert found.second[number] == pytest.approx(second)
        u, v = found.uv_first[number].astype(int)
        assert heat[v, u] == pytest.approx(first, abs=1e-9)
        if second > -1:
            u, v = found.uv_second[number].astype(int)
            assert heat[v, u] == second


def test_the_first_peak_is_the_match() -> None:
    generator = torch.Generator().manual_seed(0)
    descriptor_map = functional.normalize(torch.randn(8, 12, 16, generator=generator), dim=0)
    queries = functional.normalize(torch.randn(40, 8, generator=generator))
    found = peaks(descriptor_map, queries, (48, 64))
    uv, score = match(descriptor_map, queries, (48, 64))
    np.testing.assert_array_equal(found.uv_first, uv.numpy())
    np.testing.assert_allclose(found.first, score.numpy(), atol=1e-6)


def test_two_equal_places_are_ambiguous_and_one_is_not() -> None:
    two = peaks(map_with(bumps(48, 64, (12, 20, 0.9), (45, 30, 0.9))), QUERY, (48, 64), 100)
    np.testing.assert_array_equal(two.uv_first, [[12, 20]])
    np.testing.assert_array_equal(two.uv_second, [[45, 30]])
    np.testing.assert_allclose(two.ratio, (0.9 - 0.075) / (0.9 - 0.032), rtol=1e-5)
    lower = peaks(map_with(bumps(48, 64, (12, 20, 0.9), (45, 30, 0.3))), QUERY, (48, 64), 100)
    np.testing.assert_allclose(lower.ratio, (0.3 - 0.075) / (0.9 - 0.032), rtol=1e-5)
    assert two.ratio[0] >= 0.9
    assert lower.ratio[0] < 0.9


def test_peaks_that_are_near_are_one() -> None:
    # 8 pixels of 64 are 80 of 640.
    similarity = bumps(48, 64, (20, 20, 0.9), (28, 20, 0.8), (50, 40, 0.4))
    assert peaks(map_with(similarity), QUERY, (48, 64), 79).uv_second.tolist() == [[28, 20]]
    assert peaks(map_with(similarity), QUERY, (48, 64), 80).uv_second.tolist() == [[28, 20]]
    assert peaks(map_with(similarity), QUERY, (48, 64), 81).uv_second.tolist() == [[50, 40]]


def test_the_foot_of_the_only_peak_is_no_second_one() -> None:
    v, u = np.indices((48, 64))
    found = peaks(map_with(0.99 - 0.01 * np.hypot(u - 30, v - 20)), QUERY, (48, 64))
    assert found.uv_first.tolist() == [[30, 20]]
    assert np.isnan(found.uv_second).all()
    assert found.second.tolist() == [-1]
    assert found.ratio.tolist() == [0]


def test_a_map_that_is_the_same_everywhere_is_ambiguous() -> None:
    found = peaks(map_with(np.full((48, 64), 0.7)), QUERY, (48, 64))
    np.testing.assert_allclose(found.ratio, 1, rtol=1e-6)


def test_where_nothing_is_similar_every_place_is_as_good() -> None:
    found = peaks(map_with(np.full((8, 9), -0.5)), QUERY, (8, 9), 100)
    assert found.ratio.tolist() == [1]


@pytest.mark.parametrize('chunk', [1, 3, 100])
def test_other_queries_change_nothing(chunk: int) -> None:
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(8, 12, 16, generator=generator, dtype=torch.float64)
    queries = torch.randn(20, 8, generator=generator, dtype=torch.float64)
    descriptor_map, queries = functional.normalize(noise, dim=0), functional.normalize(queries)
    whole = peaks(descriptor_map, queries, (60, 80))
    parts = [peaks(descriptor_map, some, (60, 80)) for some in queries.split(chunk)]
    for name, tolerance in (('uv_first', 0), ('uv_second', 0), ('ratio', 1e-6)):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_allclose(joined, getattr(whole, name), rtol=tolerance)
    assert 0 < np.mean(whole.ratio >= 0.9) < 1


def test_what_is_not_similar_counts_as_nothing() -> None:
    three = np.zeros((3, 2), np.float32)
    found = Peaks(three, np.float32([0.8, 0.8, 0.8]), three, np.float32([0.8, 0.4, -0.2]))
    np.testing.assert_allclose(found.ratio, [1, 0.5, 0])


def test_what_has_no_peaks_is_refused() -> None:
    descriptor_map = map_with(np.full((4, 5), 0.5))
    with pytest.raises(ValueError, match=r'\(0, 2\)'):
        peaks(descriptor_map, QUERY[:0], (4, 5))
    with pytest.raises(ValueError, match='apart is 0'):
        peaks(descriptor_map, QUERY, (4, 5), apart=0)
