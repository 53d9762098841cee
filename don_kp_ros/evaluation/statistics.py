"""Uncertainty of figures: intervals over pairs, and spread over seeds.

Queries of one pair share its pictures and are not independent. So pairs are resampled, with all of
their queries (Efron and Tibshirani 1993, chapter 13: the percentile interval).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from don_kp_ros.evaluation.pck import THRESHOLDS

Array = NDArray[np.float64]
Counts = NDArray[np.int64]
# A figure of errors (Q,) by pair, with pair p counted counts[r, p] times: counts (R, P) give (R,).
Statistic = Callable[[Sequence[Array], Counts], Array]

_ELEMENTS_AT_ONCE = 1 << 21  # of the arrays (resamples, queries) that a quantile needs


def mean_of(value: Callable[[Array], Array]) -> Statistic:
    """Make the mean of a value (N,) of errors (N,), such as 1 for a hit and 0 for a miss."""

    def resampled(errors_by_pair: Sequence[Array], counts: Counts) -> Array:
        sums = np.array([value(errors).sum() for errors in errors_by_pair])
        sizes = np.array([len(errors) for errors in errors_by_pair])
        return np.asarray((counts @ sums) / (counts @ sizes))

    return resampled


def quantile(share: float) -> Statistic:
    """Make a quantile of errors, 0 to 1, interpolated linearly between them as NumPy's."""
    if not 0 <= share <= 1:
        raise ValueError(f'the share of a quantile is {share}; it must be from 0 to 1')

    def resampled(errors_by_pair: Sequence[Array], counts: Counts) -> Array:
        errors = np.concatenate(errors_by_pair)
        order = np.argsort(errors, kind='stable')
        errors = errors[order]
        pair = np.repeat(np.arange(len(errors_by_pair)), [len(e) for e in errors_by_pair])[order]
        rows = max(1, _ELEMENTS_AT_ONCE // len(errors))
        parts = []
        for start in range(0, len(counts), rows):
            until = np.cumsum(counts[start : start + rows, pair], axis=1)
            place = (until[:, -1] - 1) * share
            below = np.floor(place)
            low, high = (
                errors[(until <= rank[:, None]).sum(axis=1)] for rank in (below, np.ceil(place))
            )
            parts.append(low + (high - low) * (place - below))
        return np.concatenate(parts)

    return resampled


def pck_at(threshold: float) -> Statistic:
    """Make PCK@k: the share of errors strictly below the threshold in pixels."""
    return mean_of(lambda errors: (errors < threshold).astype(np.float64))


def _area(errors: Array) -> Array:
    """Compute the share of the thresholds 1..100 that lie above each error (N,)."""
    last = THRESHOLDS[-1]
    return np.clip(last - np.floor(errors), 0, last) / last


AUC = mean_of(_area)
MEAN = mean_of(lambda errors: errors)
MEDIAN = quantile(0.5)


def bootstrap(
    errors_by_pair: Sequence[ArrayLike],
    statistic: Statistic,
    resamples: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float] | None:
    """Compute the percentile bootstrap interval (low, high) of a statistic over pairs.

    Returns None for a single pair: nothing says how others would differ.

    errors_by_pair: the errors (Q,) of each pair; level: the share of the resamples between the
    ends. The same seed gives the same interval. Raises ValueError where there are no pairs, or one
    has no errors.
    """
    pairs = _checked(errors_by_pair)
    if resamples < 1:
        raise ValueError(f'resamples is {resamples}; it must be positive')
    if not 0 < level < 1:
        raise ValueError(f'level is {level}; it must lie between 0 and 1')
    if len(pairs) == 1:
        return None
    values = statistic(pairs, _counts(len(pairs), resamples, seed))
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _counts(pairs: int, resamples: int, seed: int) -> Counts:
    """Draw pairs with replacement and count how often each was drawn: (resamples, pairs)."""
    drawn = np.random.default_rng(seed).integers(pairs, size=(resamples, pairs))
    flat = drawn + pairs * np.arange(resamples)[:, None]
    return np.bincount(flat.reshape(-1), minlength=resamples * pairs).reshape(resamples, pairs)


def _checked(errors_by_pair: Sequence[ArrayLike]) -> list[Array]:
    pairs = [np.asarray(errors, np.float64).reshape(-1) for errors in errors_by_pair]
    if not pairs:
        raise ValueError('there are no pairs to measure on')
    for number, errors in enumerate(pairs):
        if len(errors) == 0:
            raise ValueError(f'pair {number} has no correspondences; leave it out')
        if not np.isfinite(errors).all():
            raise ValueError(f'pair {number}: an error is NaN or infinite; leave its query out')
    return pairs


def over_seeds(runs: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Summarise each figure of runs that differ only in their seed: mean, sigma and runs.

    sigma: sample standard deviation (over runs - 1), NaN for a single run. Raises ValueError where
    runs do not report the same figures, or one is not finite.
    """
    if not runs:
        raise ValueError('there are no runs to take the mean of')
    for run in runs:
        if set(run) != set(runs[0]):
            odd = ', '.join(sorted(set(run) ^ set(runs[0])))
            raise ValueError(f'not every run reports {odd}; runs must report the same figures')
    result: dict[str, dict[str, float]] = {}
    for name in runs[0]:
        values = [run[name] for run in runs]
        if not np.isfinite(values).all():
            raise ValueError(f'{name} is {values} in the runs; the figures of runs must be finite')
        sigma = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
        result[name] = {'mean': float(np.mean(values)), 'sigma': sigma, 'runs': len(values)}
    return result
