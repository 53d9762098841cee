"""Depth images: metres, NaN where there is none, of as much as is read."""

import numpy as np
import pytest

from don_kp_ros.geometry.depth import DepthImage


def test_depth_is_metres_with_nan_for_none() -> None:
    counts = np.array([[0, 500], [1500, 65535]], dtype=np.uint16)
    depth = DepthImage(counts).metres()
    assert depth.dtype == np.float32
    assert np.isnan(depth[0, 0])
    assert depth[1].tolist() == pytest.approx([1.5, 65.535])
    assert DepthImage(counts, 0.0001).metres()[1].tolist() == pytest.approx([0.15, 6.5535])
    nothing = np.array([[-1, np.inf, 0, np.nan]], dtype=np.float32)
    assert np.isnan(DepthImage(nothing).metres()).all()


def test_a_part_is_converted_as_the_whole_is_and_leaves_the_raw_values_alone() -> None:
    for raw in (np.arange(12, dtype=np.uint16), np.linspace(-1, 2, 12, dtype=np.float32)):
        image = DepthImage(raw.reshape(3, 4))
        before = image.raw.copy()
        part = image.metres(slice(1, None), slice(0, 3))
        np.testing.assert_array_equal(part, image.metres()[1:, :3])
        np.testing.assert_array_equal(image.raw, before)
        assert image.shape == (3, 4)


@pytest.mark.parametrize(
    'raw', [np.zeros((2, 2), np.uint8), np.zeros((2, 2)), np.zeros((2, 2, 1), np.uint16)]
)
def test_other_arrays_are_refused(raw: np.ndarray) -> None:
    with pytest.raises(ValueError, match=rf'{raw.dtype} of shape'):
        DepthImage(raw)


def test_a_unit_is_a_length() -> None:
    with pytest.raises(ValueError, match='unit of depth is 0 m'):
        DepthImage(np.zeros((2, 2), np.uint16), 0)


def test_the_median_looks_past_holes_and_stops_at_the_border() -> None:
    depth = np.full((10, 12), np.nan, dtype=np.float32)
    assert np.isnan(DepthImage(depth).median([0, 0]))
    depth[0, 1], depth[1, 0], depth[2, 2] = 1.0, 9.0, 1.2
    assert DepthImage(depth).median([0, 0]) == pytest.approx(1.2)
    assert np.isnan(DepthImage(depth).median([11, 9]))
    assert np.isnan(DepthImage(depth).median([-9, 0]))  # far outside, not the other border


@pytest.mark.parametrize('window', [1, 3, 5])
def test_medians_are_those_of_each_window(window: int) -> None:
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 2000, (20, 30)).astype(np.uint16)
    raw[rng.random(raw.shape) < 0.5] = 0
    image = DepthImage(raw)
    uv = rng.uniform(-3, 33, (200, 2))
    metres, half = image.metres(), window // 2
    for (u, v), median in zip(np.rint(uv).astype(int), image.medians(uv, window), strict=True):
        rows = slice(max(v - half, 0), max(v + half + 1, 0))
        patch = metres[rows, max(u - half, 0) : max(u + half + 1, 0)]
        valid = patch[np.isfinite(patch)]
        np.testing.assert_equal(median, np.median(valid) if len(valid) else np.float32(np.nan))
    assert image.medians(np.zeros((0, 2)), window).shape == (0,)
