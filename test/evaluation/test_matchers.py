import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from don_kp_ros.evaluation.matchers import transfer
from don_kp_ros.evaluation.pck import Accuracy, auc, pck, pixel_errors


def test_points_are_found_where_the_map_was_moved_to() -> None:
    torch.manual_seed(0)
    map_a = functional.normalize(torch.randn(16, 15, 20), dim=0)
    map_b = map_a.roll((2, 3), dims=(1, 2))
    cells = np.array([[4, 5], [10, 3], [1, 11]])
    uv = cells * 8 + 3.5
    found = transfer(map_a, map_b, uv, (120, 160), (120, 160))
    np.testing.assert_allclose(found.uv, uv + [24, 16], atol=0.51)
    np.testing.assert_allclose(found.score, 1, atol=1e-2)


def descriptors_of_each_pixel(height: int, width: int, seed: int) -> torch.Tensor:
    noise = torch.randn(16, height, width, generator=torch.Generator().manual_seed(seed))
    return functional.normalize(noise, dim=0)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.integers(4, 30), st.integers(4, 30), st.integers(0, 100))
def test_equal_pictures_score_exactly_one(height: int, width: int, seed: int) -> None:
    pixels = descriptors_of_each_pixel(height, width, seed)
    uv = np.random.default_rng(seed).integers(0, [width, height], (20, 2))
    found = transfer(pixels, pixels, uv, (height, width), (height, width))
    assert auc(pixel_errors(found.uv, uv, width)) == 1


@settings(derandomize=True, deadline=None, max_examples=25)
@given(st.integers(1, 9), st.booleans(), st.integers(0, 100))
def test_a_moved_picture_scores_from_the_next_threshold_on(
    shift: int, along_u: bool, seed: int
) -> None:
    height, width = 16, 20
    pixels = descriptors_of_each_pixel(height, width, seed)
    moved = pixels.roll(shift, dims=2 if along_u else 1)
    uv = np.random.default_rng(seed).integers(0, [width - shift, height - shift], (20, 2))
    found = transfer(pixels, moved, uv, (height, width), (height, width))
    errors = pixel_errors(found.uv, uv, 640)
    assert pck(errors, shift) == 0
    assert pck(errors, shift + 1) == 1


def test_a_picture_with_swapped_axes_does_not_match() -> None:
    size = (16, 20)
    pixels = descriptors_of_each_pixel(*size, seed=0)
    v, u = np.indices(size).reshape(2, -1)
    uv = np.stack([u, v], axis=1)
    found = transfer(pixels, pixels.transpose(1, 2), uv, size, size[::-1])
    np.testing.assert_array_equal(found.uv, uv[:, ::-1])
    assert pck(pixel_errors(found.uv, uv, 640), 1) == 16 / 320


@pytest.mark.parametrize('chunk', [1, 7, 64])
def test_figures_do_not_depend_on_chunks(chunk: int) -> None:
    map_a, map_b = (descriptors_of_each_pixel(12, 16, seed).double() for seed in (0, 1))
    map_b = functional.normalize(map_a + 0.5 * map_b, dim=0)
    size = (96, 128)
    # Beyond the outermost cells similarity is constant and rounding says which pixel is found.
    uv = np.random.default_rng(0).uniform(12, [116, 84], (64, 2))
    whole = transfer(map_a, map_b, uv, size, size)
    parts = [transfer(map_a, map_b, uv[i : i + chunk], size, size).uv for i in range(0, 64, chunk)]
    errors = pixel_errors(np.concatenate(parts), uv, 128)
    assert Accuracy.of(errors) == Accuracy.of(pixel_errors(whole.uv, uv, 128))
    assert 0 < pck(errors, 10) < 1
