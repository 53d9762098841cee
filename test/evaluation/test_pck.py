import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from don_kp_ros.evaluation.pck import BRIEF, Accuracy, auc, pck, pixel_errors


def brute_force(
    predicted: NDArray[np.float64], true: NDArray[np.float64], width: int, k: int
) -> float:
    hits = 0
    for (u, v), (tu, tv) in zip(predicted, true, strict=True):
        distance = ((u - tu) ** 2 + (v - tv) ** 2) ** 0.5 * 640 / width
        if distance < k:
            hits += 1
    return hits / len(true)


@settings(derandomize=True, deadline=None)
@given(
    st.integers(1, 99),
    st.sampled_from([(1, 0), (0, 1), (-1, 0), (0, -1)]),
    st.sampled_from([320, 640, 1280]),
)
def test_a_shift_counts_from_the_next_threshold_on(
    shift: int, way: tuple[int, int], width: int
) -> None:
    true = np.random.default_rng(0).integers(0, width, (10, 2))
    errors = pixel_errors(true + np.array(way) * shift * width / 640, true, width)
    assert [pck(errors, k) for k in range(1, shift + 1)] == [0] * shift
    assert [pck(errors, k) for k in range(shift + 1, 101)] == [1] * (100 - shift)
    assert auc(errors) == pytest.approx((100 - shift) / 100)


@settings(derandomize=True, deadline=None)
@given(st.integers(1, 4000), st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_perfect_predictions_score_one_on_any_picture(width: int, queries: int, seed: int) -> None:
    true = np.random.default_rng(seed).uniform(0, width, (queries, 2))
    errors = pixel_errors(true, true, width)
    assert auc(errors) == 1
    assert pck(errors, 1) == 1
    table = Accuracy.of(errors[None])
    assert (table.queries, table.auc, table.median_px, table.pck_5) == (queries, 1, 0, 1)
    assert (table.mean_px, table.q95_px, table.pck_3, table.pck_50) == (0, 0, 1, 1)


def test_swapped_axes_are_noticed() -> None:
    true = np.random.default_rng(0).uniform([0, 0], [640, 480], (50, 2))
    assert auc(pixel_errors(true[:, ::-1], true, 640)) < 0.6


@settings(derandomize=True, deadline=None)
@given(st.integers(8, 60), st.integers(8, 60))
def test_swapped_axes_miss_every_pixel_off_the_diagonal(width: int, height: int) -> None:
    v, u = np.indices((height, width)).reshape(2, -1)
    true = np.stack([u, v], axis=1)
    errors = pixel_errors(true[:, ::-1], true, 640)
    assert pck(errors, 1) == min(width, height) / (width * height)
    right = pixel_errors(true, true, 640)
    assert auc(errors) < auc(right) == 1


@settings(derandomize=True, deadline=None)
@given(st.integers(30, 160), st.integers(1, 100))
def test_the_centre_of_a_square_scores_the_area_of_the_disc_in_it(side: int, k: int) -> None:
    # The disc of radius k less the four segments that stick out of the square.
    half = side / 2
    area = np.pi * k**2
    if k > half:
        area -= 4 * (k**2 * np.arccos(half / k) - half * np.sqrt(k**2 - half**2))
    expected = 1.0 if k >= half * np.sqrt(2) else area / side**2
    # Points of a fine grid over the square are as good as a uniform density.
    places = (np.arange(400) + 0.5) / 400 * side
    points = np.stack(np.meshgrid(places, places), axis=-1)
    errors = pixel_errors([half, half], points, 640)
    assert pck(errors, k) == pytest.approx(expected, abs=2e-3)


def test_a_constant_guess_scores_what_integration_says() -> None:
    # Points uniform in a disc of radius 80 about the guess: P(error < k) = (k / 80)^2 up to 1.
    rng = np.random.default_rng(0)
    radius, angle = 80 * np.sqrt(rng.uniform(size=200_000)), rng.uniform(0, 2 * np.pi, 200_000)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    expected = np.mean([min(1.0, (k / 80) ** 2) for k in range(1, 101)])
    assert auc(pixel_errors(np.zeros(2), points, 640)) == pytest.approx(expected, abs=2e-3)


def test_errors_are_in_pixels_of_the_reference_width() -> None:
    np.testing.assert_allclose(pixel_errors([[3, 4]], [[0, 0]], 1280), [2.5])


@pytest.mark.parametrize('seed', range(20))
def test_figures_equal_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    width = int(rng.integers(100, 2000))
    true = rng.uniform(0, width, (int(rng.integers(1, 60)), 2))
    predicted = true + rng.normal(0, width / 25, true.shape)
    errors = pixel_errors(predicted, true, width)
    each = [brute_force(predicted, true, width, k) for k in range(1, 101)]
    assert [pck(errors, k) for k in range(1, 101)] == pytest.approx(each)
    table = Accuracy.of(errors)
    assert table.auc == auc(errors) == pytest.approx(np.mean(each))
    squares = (((p - t) ** 2).sum() for p, t in zip(predicted, true, strict=True))
    distances = sorted(square**0.5 * 640 / width for square in squares)

    def quantile(share: float) -> float:
        low, part = divmod((len(distances) - 1) * share, 1)
        high = min(int(low) + 1, len(distances) - 1)
        return distances[int(low)] * (1 - part) + distances[high] * part

    assert table.queries == len(true)
    assert table.mean_px == pytest.approx(sum(distances) / len(distances))
    quantiles = (table.median_px, table.q75_px, table.q90_px, table.q95_px)
    assert quantiles == pytest.approx([quantile(q) for q in (0.5, 0.75, 0.9, 0.95)])
    shares = (table.pck_3, table.pck_5, table.pck_10, table.pck_20, table.pck_25, table.pck_50)
    assert shares == pytest.approx([each[k - 1] for k in (3, 5, 10, 20, 25, 50)])


def test_the_table_is_rounded_as_it_is_reported() -> None:
    rounded = Accuracy.of([1.0, 2.0, 4.12345]).rounded()
    assert rounded['queries'] == 3
    assert rounded['mean_px'] == 2.37
    assert rounded['pck_3'] == 0.6667
    brief = Accuracy.of([1.0, 2.0, 4.12345]).rounded(BRIEF)
    assert brief == {name: rounded[name] for name in BRIEF}


def test_what_cannot_be_summarised_is_refused() -> None:
    with pytest.raises(ValueError, match='no queries'):
        auc([])
    with pytest.raises(ValueError, match='NaN'):
        Accuracy.of([1.0, np.nan])
    with pytest.raises(ValueError, match='width'):
        pixel_errors([0, 0], [0, 0], 0)
    with pytest.raises(ValueError, match='no queries'):
        Accuracy.of([])
    with pytest.raises(ValueError, match='infinite'):
        Accuracy.of([1.0, np.inf])
