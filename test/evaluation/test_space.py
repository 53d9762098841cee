import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from don_kp_ros.evaluation.space import space_errors, space_summary, within
from don_kp_ros.geometry.camera import Camera

CAMERA = Camera(width=64, height=48, fx=60.0, fy=50.0, cx=30.0, cy=25.0)

Array = NDArray[np.float64]


def random_pixels(seed: int, number: int = 20) -> Array:
    return np.random.default_rng(seed).uniform(0, [63, 47], (number, 2))


def on_plane(uv: Array, normal: Array, distance: float) -> Array:
    """Meet the rays through pixels uv (N, 2) with the plane normal . p = distance: (N, 3)."""
    rays = np.column_stack([(uv - [30.0, 25.0]) / [60.0, 50.0], np.ones(len(uv))])
    return rays * (distance / (rays @ normal))[:, None]


@settings(derandomize=True, deadline=None, max_examples=30)
@given(st.floats(-0.6, 0.6), st.floats(-0.6, 0.6), st.floats(0.2, 3.0), st.integers(0, 1000))
def test_distances_on_an_inclined_plane_are_exact(
    x: float, y: float, distance: float, seed: int
) -> None:
    normal = np.array([x, y, 1.0])
    v, u = np.indices((48, 64)).reshape(2, -1)
    depth = on_plane(np.stack([u, v], axis=1), normal, distance)[:, 2].reshape(48, 64)
    predicted, true = random_pixels(seed), random_pixels(seed + 1)
    found = space_errors(predicted, true, depth, CAMERA)
    gaps = on_plane(predicted, normal, distance) - on_plane(true, normal, distance)
    np.testing.assert_allclose(found, 1000 * np.linalg.norm(gaps, axis=1), rtol=1e-4)


def test_a_pixel_counts_by_depth_over_focal_length() -> None:
    true = np.array([[10.0, 10.0], [10.0, 10.0], [10.0, 10.0]])
    found = space_errors(true + [[1, 0], [0, 1], [0, 0]], true, np.full((48, 64), 0.6), CAMERA)
    np.testing.assert_allclose(found, [10.0, 12.0, 0.0], rtol=1e-5)


def test_depth_differences_count() -> None:
    depth = np.full((48, 64), 1.0)
    depth[:, 32:] = 1.5
    found = space_errors([[40, 25]], [[30, 25]], depth, CAMERA)
    expected = 1000 * np.hypot(0.5, 10 / 60 * 1.5)
    np.testing.assert_allclose(found, [expected], rtol=1e-6)


@pytest.mark.parametrize('nothing', [np.nan, 0.0, -1.0, np.inf])
def test_pixels_without_depth_are_left_out_and_counted(nothing: float) -> None:
    depth = np.full((48, 64), 0.6)
    depth[:, :10] = nothing
    true = [[5, 5], [5, 5], [20, 5], [20, 5], [20, 5], [20, 5]]
    predicted = [[20, 5], [5, 5], [5, 5], [20, 5], [21, 5], [200, 5]]
    found = space_errors(predicted, true, depth, CAMERA)
    np.testing.assert_allclose(found[np.isfinite(found)], [0, 10], rtol=1e-5)
    # Four have a truth; a guess in a hole or beside the picture is a miss.
    assert within(found, 5) == 1 / 4
    assert within(found, 11) == 2 / 4
    summary = space_summary([found])
    assert (summary['queries'], summary['truth_unknown'], summary['guess_unknown']) == (6, 2, 2)
    assert (summary['mean_mm'], summary['median_mm'], summary['q75_mm']) == (5, 5, 7.5)


def test_swapped_axes_are_noticed() -> None:
    true = random_pixels(0, 50)
    found = space_errors(true[:, ::-1], true, np.full((48, 64), 0.6), CAMERA)
    assert within(found, 1) < 0.1


def test_parts_join_to_the_whole() -> None:
    depth = np.full((48, 64), 0.6)
    depth[:, :20] = np.nan
    predicted, true = random_pixels(0), random_pixels(1)
    whole = space_errors(predicted, true, depth, CAMERA)
    parts = [
        space_errors(predicted[i : i + 3], true[i : i + 3], depth, CAMERA) for i in range(0, 20, 3)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert np.isnan(whole).any()
    assert space_summary(parts) == space_summary([whole])


def test_what_cannot_be_measured_is_refused() -> None:
    depth, uv = np.full((48, 64), 0.6), np.ones((2, 2))
    with pytest.raises(ValueError, match='no queries'):
        space_errors(np.zeros((0, 2)), np.zeros((0, 2)), depth, CAMERA)
    with pytest.raises(ValueError, match=r'\(3, 2\)'):
        space_errors(np.ones((3, 2)), uv, depth, CAMERA)
    with pytest.raises(ValueError, match='64x48'):
        space_errors(uv, uv, depth.T, CAMERA)
    with pytest.raises(ValueError, match='NaN'):
        space_errors(uv * np.nan, uv, depth, CAMERA)
    with pytest.raises(ValueError, match='no pairs'):
        space_summary([])
    unknown = space_errors(uv, uv, depth * np.nan, CAMERA)
    with pytest.raises(ValueError, match='none of 2 queries has depth'):
        space_summary([unknown])
    with pytest.raises(ValueError, match='no query has depth'):
        within(unknown, 5)
