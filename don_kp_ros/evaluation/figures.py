"""What was found, in figures: accuracy and how far to trust it, errors in space."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.evaluation import statistics
from don_kp_ros.evaluation.matchers import MODEL, Found
from don_kp_ros.evaluation.pck import THRESHOLDS, Accuracy
from don_kp_ros.evaluation.protocols.protocol import Condition
from don_kp_ros.evaluation.space import space_errors, space_summary

INTERVALS: dict[str, statistics.Statistic] = {
    'auc': statistics.AUC,
    'pck_5': statistics.pck_at(5),
    'pck_10': statistics.pck_at(10),
    'mean_px': statistics.MEAN,
    'median_px': statistics.MEDIAN,
    'q75_px': statistics.quantile(0.75),
}
AMBIGUOUS = 0.95  # second peak over first


def joined(parts: Iterable[Found]) -> Found:
    """Join the matches of several conditions."""
    whole = Found([], [], [])
    for part in parts:
        whole.uv += part.uv
        whole.errors += part.errors
        whole.peaks += part.peaks
    return whole


def summed_up(conditions: Sequence[Condition]) -> list[int]:
    """Choose the conditions to sum up: those outside of curves or, without any, all of them."""
    whole = [i for i, condition in enumerate(conditions) if not condition.curve]
    return whole or list(range(len(conditions)))


def independent(conditions: Sequence[Condition]) -> list[Hashable]:
    """Group pairs with the same picture A; return each pair's group.

    Random views show a picture many times, and a curve shows it at each of its values.
    """
    data = [condition.data for condition in conditions]
    return [id(own.images[pair.image_a]) for own in data for pair in own.pairs]


def by_name(names: Sequence[Sequence[str]], found: Found) -> dict[str, Found]:
    """Split the matches by the names of their points, if they have names."""
    parts: dict[str, Found] = {}
    for named, uv, errors in zip(names, found.uv, found.errors, strict=True):
        for name in dict.fromkeys(named):
            own = np.array([other == name for other in named])
            part = parts.setdefault(name, Found([], [], []))
            part.uv.append(uv[own])
            part.errors.append(errors[own])
    return parts


def figures(
    found: Found, seed: int, resamples: int, groups: Sequence[Hashable] | None = None
) -> dict[str, Any]:
    """Summarise errors: figures, and bootstrap intervals over groups (none for a single one).

    groups: one for each pair (None: its own); pairs of one group are not independent and are
    resampled together.
    """
    every = np.concatenate(found.errors)
    result: dict[str, Any] = dict(Accuracy.of(every).rounded())
    together: dict[Hashable, list[NDArray[np.float64]]] = {}
    names: Sequence[Hashable] = range(len(found.errors)) if groups is None else groups
    for group, errors in zip(names, found.errors, strict=True):
        together.setdefault(group, []).append(errors)
    independent = [np.concatenate(parts) for parts in together.values()]
    intervals = {
        name: [round(end, 2 if name.endswith('_px') else 4) for end in interval]
        for name, statistic in INTERVALS.items()
        if (interval := statistics.bootstrap(independent, statistic, resamples, seed)) is not None
    }
    result['interval_95'] = intervals or None
    if found.peaks:
        ratios = np.concatenate(found.peaks)
        result['second_peak'] = {
            'queries': len(ratios),
            'median_ratio': round(float(np.median(ratios)), 3),
            f'share_above_{AMBIGUOUS:g}': round(float(np.mean(ratios >= AMBIGUOUS)), 4),
        }
    return result


def compared(
    name: str,
    found: Mapping[str, Sequence[Found]],
    seed: int,
    resamples: int,
    groups: Sequence[Hashable],
) -> dict[str, Any]:
    """Summarise what every method found in the same pairs, once or by models of several seeds.

    groups: as of `figures`; a pair of all seeds is resampled together.
    """
    errors = found[MODEL][0].errors
    return {
        'name': name,
        'pairs': len(errors),
        'queries': sum(len(own) for own in errors),
        'methods': {
            method: figures(joined(runs), seed, resamples, list(groups) * len(runs))
            for method, runs in found.items()
        },
    }


def curve(found: Found) -> list[float]:
    """Compute PCK@k for k = 1..100."""
    ordered = np.sort(np.concatenate(found.errors))
    below = np.searchsorted(ordered, THRESHOLDS, side='left') / len(ordered)
    return [round(float(share), 4) for share in below]


def space_figures(condition: Condition, found: Found) -> dict[str, Any] | None:
    """Summarise errors in millimetres; None if no depth is known."""
    if not condition.views:
        return None
    parts = []
    for pair, uv in zip(condition.data.pairs, found.uv, strict=True):
        view = condition.views[pair.image_b]
        depth = np.where(view.mask > 127, view.depth, np.float32(np.nan))
        parts.append(space_errors(uv, pair.uv_b, depth, view.camera))
    if not any(np.isfinite(errors).any() for errors in parts):
        return None
    return space_summary(parts)


def fingerprint(conditions: Sequence[Condition]) -> str:
    """Hash the pictures and points of conditions: 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for condition in conditions:
        for number, pair in enumerate(condition.data.pairs):
            for array in (*condition.data.pictures(number), pair.uv_a, pair.uv_b):
                digest.update(f'{array.dtype} {array.shape}'.encode())
                digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
