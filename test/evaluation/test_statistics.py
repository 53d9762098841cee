from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from don_kp_ros.evaluation import statistics
from don_kp_ros.evaluation.pck import Accuracy, auc, pck
from don_kp_ros.evaluation.statistics import (
    AUC,
    MEAN,
    MEDIAN,
    Statistic,
    bootstrap,
    over_seeds,
    pck_at,
    quantile,
)

Array = NDArray[np.float64]

FIGURES: dict[str, tuple[Statistic, Callable[[Array], float]]] = {
    'AUC': (AUC, auc),
    'PCK@10': (pck_at(10), lambda errors: pck(errors, 10)),
    'mean': (MEAN, lambda errors: float(np.mean(errors))),
    'median': (MEDIAN, lambda errors: float(np.median(errors))),
    'quantile': (quantile(0.9), lambda errors: float(np.quantile(errors, 0.9))),
}


def random_pairs(seed: int, pairs: int, most: int = 12) -> list[Array]:
    """Make errors of which some are equal, and some whole numbers."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, most + 1, pairs)
    return [np.round(rng.gamma(1.0, 40.0, size), rng.integers(0, 3)) for size in sizes]


@pytest.mark.parametrize('name', FIGURES)
def test_a_statistic_of_errors_is_the_plain_one(name: str) -> None:
    statistic, plain = FIGURES[name]
    for seed in range(20):
        errors = random_pairs(seed, 5)
        once = np.ones((1, 5), np.int64)
        assert statistic(errors, once) == pytest.approx(plain(np.concatenate(errors)))


@settings(derandomize=True, deadline=None, max_examples=30)
@given(
    st.sampled_from(sorted(FIGURES)),
    st.integers(2, 9),
    st.integers(0, 1000),
    st.sampled_from([0.9, 0.95]),
)
def test_all_resamples_at_once_equal_resampling_written_out(
    name: str, pairs: int, seed: int, level: float
) -> None:
    statistic, plain = FIGURES[name]
    errors = random_pairs(seed, pairs)
    values = [
        plain(np.concatenate([errors[pair] for pair in drawn]))
        for drawn in np.random.default_rng(seed).integers(pairs, size=(25, pairs))
    ]
    expected = tuple(np.quantile(values, [(1 - level) / 2, (1 + level) / 2]))
    at_once = bootstrap(errors, statistic, 25, seed, level)
    assert at_once == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = random_pairs(0, 7)
    whole = bootstrap(errors, MEDIAN, 100, 0)
    monkeypatch.setattr(statistics, '_ELEMENTS_AT_ONCE', 1)
    assert bootstrap(errors, MEDIAN, 100, 0) == whole


@pytest.mark.parametrize(('hits', 'pairs'), [(10, 20), (36, 40), (4, 30)])
def test_the_interval_is_that_of_the_binomial_distribution(hits: int, pairs: int) -> None:
    # Pairs that hit or miss as a whole: the number of hits drawn is binomial, however many
    # queries the pairs have.
    errors = [np.full(50, 1.0 if pair < hits else 1000.0) for pair in range(pairs)]
    expected = stats.binom.ppf([0.025, 0.975], pairs, hits / pairs) / pairs
    assert bootstrap(errors, pck_at(5), 20_000, 0) == pytest.approx(expected, abs=1e-12)


def test_the_interval_agrees_with_scipy() -> None:
    errors = list(np.random.default_rng(0).gamma(1.0, 20.0, (25, 1)))
    expected = stats.bootstrap(
        (np.concatenate(errors),),
        np.mean,
        n_resamples=20_000,
        method='percentile',
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert bootstrap(errors, MEAN, 20_000, 0) == pytest.approx(tuple(expected), rel=0.01)


@pytest.mark.parametrize('statistic', [MEAN, AUC])
def test_more_queries_of_the_same_pairs_make_no_narrower_interval(statistic: Statistic) -> None:
    errors = [np.full(1, error) for error in np.random.default_rng(0).uniform(0, 99, 12)]
    low, high = bootstrap(errors, statistic, 200, 0)
    many = bootstrap([np.repeat(one, 101) for one in errors], statistic, 200, 0)
    assert many == pytest.approx((low, high))
    assert high > low


def test_the_seed_decides() -> None:
    errors = random_pairs(0, 10)
    assert bootstrap(errors, MEAN, 100, 1) == bootstrap(errors, MEAN, 100, 1)
    assert bootstrap(errors, MEAN, 100, 1) != bootstrap(errors, MEAN, 100, 2)


def test_equal_pairs_have_no_spread() -> None:
    errors = [np.array([1.0, 2.0, 6.0])] * 4
    assert bootstrap(errors, MEAN, 100, 0) == (3, 3)
    assert bootstrap(errors, MEDIAN, 100, 0) == (2, 2)


def test_what_has_no_interval_is_refused() -> None:
    one = np.ones(3)
    with pytest.raises(ValueError, match='no pairs'):
        bootstrap([], AUC)
    assert bootstrap([one], AUC) is None
    with pytest.raises(ValueError, match='pair 1 has no correspondences'):
        bootstrap([one, []], AUC)
    with pytest.raises(ValueError, match='pair 2: an error is NaN'):
        bootstrap([one, one, [np.nan]], AUC)
    with pytest.raises(ValueError, match='resamples is 0'):
        bootstrap([one, one], AUC, 0)
    with pytest.raises(ValueError, match='level is 95'):
        bootstrap([one, one], AUC, level=95)
    with pytest.raises(ValueError, match=r'quantile is 1\.5'):
        quantile(1.5)


def test_runs_are_summarised_by_mean_and_sample_deviation() -> None:
    runs = [Accuracy.of(errors).rounded() for errors in ([1.0, 3.0], [2.0, 4.0], [6.0, 30.0])]
    summary = over_seeds(runs)
    assert summary['median_px']['mean'] == pytest.approx((2 + 3 + 18) / 3)
    squares = sum((value - 23 / 3) ** 2 for value in (2, 3, 18))
    assert summary['median_px']['sigma'] == pytest.approx((squares / 2) ** 0.5)
    assert summary['auc']['runs'] == 3


def test_one_run_has_no_deviation() -> None:
    assert np.isnan(over_seeds([{'auc': 0.5}])['auc']['sigma'])


def test_runs_that_cannot_be_summarised_are_refused() -> None:
    with pytest.raises(ValueError, match='no runs'):
        over_seeds([])
    with pytest.raises(ValueError, match='pck_5'):
        over_seeds([{'auc': 1.0, 'pck_5': 1.0}, {'auc': 1.0}])
    with pytest.raises(ValueError, match='finite'):
        over_seeds([{'auc': 1.0}, {'auc': np.nan}])
