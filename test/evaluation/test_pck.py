import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from don_kp_ros.evaluation.pck import Accuracy, auc, pck, pixel_errors


def brute_force(
    predicted: NDArray[np.float64], true: NDArray[np.float64], width: int, k: int
) -> float:
    hits = 0
    for (u, v), (tu, tv) in zip(predicted, true, strict=True):
        distance = ((u - tu) ** 2 + (v - tv) ** 2) ** 0.5 * 640 / width
        if distance < k:
            hits += 1
    return hits / len(true)


@pytest.mark.parametrize('seed', range(20))
def test_pck_and_auc_equal_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    width = int(rng.integers(100, 2000))
    true = rng.uniform(0, width, (30, 2))
    predicted = true + rng.normal(0, width / 15, (30, 2))
    errors = pixel_errors(predicted, true, width)
    each = [brute_force(predicted, true, width, k) for k in range(1, 101)]
    assert [pck(errors, k) for k in range(1, 101)] == pytest.approx(each)
    assert auc(errors) == pytest.approx(np.mean(each))


@given(st.integers(1, 99))
def test_a_shift_counts_from_the_next_threshold_on(shift: int) -> None:
    true = np.random.default_rng(0).integers(0, 640, (10, 2))
    errors = pixel_errors(true + [shift, 0], true, 640)
    assert pck(errors, shift) == 0
    assert pck(errors, shift + 1) == 1
    assert auc(errors) == pytest.approx((100 - shift) / 100)


def test_a_perfect_matcher_scores_one() -> None:
    assert auc(np.zeros(5)) == 1
    accuracy = Accuracy.of(np.zeros((2, 5)))
    assert (accuracy.queries, accuracy.auc, accuracy.median_px, accuracy.pck_5) == (10, 1, 0, 1)


def test_swapped_axes_are_noticed() -> None:
    true = np.random.default_rng(0).uniform([0, 0], [640, 480], (50, 2))
    assert auc(pixel_errors(true[:, ::-1], true, 640)) < 0.6


def test_a_constant_guess_scores_what_integration_says() -> None:
    # Points uniform in a disc of radius 80 about the guess: P(error < k) = (k / 80)^2 up to 1.
    rng = np.random.default_rng(0)
    radius, angle = 80 * np.sqrt(rng.uniform(size=200_000)), rng.uniform(0, 2 * np.pi, 200_000)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    expected = np.mean([min(1.0, (k / 80) ** 2) for k in range(1, 101)])
    assert auc(pixel_errors(np.zeros(2), points, 640)) == pytest.approx(expected, abs=2e-3)


def test_errors_are_in_pixels_of_the_reference_width() -> None:
    np.testing.assert_allclose(pixel_errors([[3, 4]], [[0, 0]], 1280), [2.5])


def test_what_cannot_be_summarised_is_refused() -> None:
    with pytest.raises(ValueError, match='no queries'):
        auc([])
    with pytest.raises(ValueError, match='NaN'):
        Accuracy.of([1.0, np.nan])
    with pytest.raises(ValueError, match='width'):
        pixel_errors([0, 0], [0, 0], 0)
