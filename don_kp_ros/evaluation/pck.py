"""PCK@k, its AUC, and pixel errors in figures (paper 2, appendix C and table 4).

Errors are in pixels of a 640-pixel-wide picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

REFERENCE_WIDTH = 640
THRESHOLDS = np.arange(1, 101)
BRIEF = ('queries', 'auc', 'median_px', 'pck_5', 'pck_10', 'pck_20')  # a model's main figures


def pixel_errors(predicted: ArrayLike, true: ArrayLike, width: int) -> Array:
    """Compute distances between pixels uv (..., 2), in pixels of a 640-pixel-wide picture.

    width: of the picture that the pixels lie in. Returns (...).
    """
    if width <= 0:
        raise ValueError(f'width is {width}; it must be positive')
    difference = np.asarray(predicted, np.float64) - np.asarray(true, np.float64)
    distances: Array = np.linalg.norm(difference, axis=-1) * (REFERENCE_WIDTH / width)
    return distances


def pck(errors: ArrayLike, threshold: float) -> float:
    """Compute PCK@k: the share of errors strictly below the threshold in pixels."""
    return float(np.mean(_checked(errors) < threshold))


def auc(errors: ArrayLike) -> float:
    """Compute the area under the PCK curve: the mean of PCK@k over k = 1..100."""
    ordered = np.sort(_checked(errors))
    return float(np.mean(np.searchsorted(ordered, THRESHOLDS, side='left') / len(ordered)))


@dataclass(frozen=True)
class Accuracy:
    """Pixel errors in figures: AUC, mean and quantiles in pixels, and PCK@k."""

    queries: int
    auc: float
    median_px: float
    pck_5: float
    pck_10: float
    pck_20: float
    mean_px: float
    q75_px: float
    q90_px: float
    q95_px: float
    pck_3: float
    pck_25: float
    pck_50: float

    @classmethod
    def of(cls, errors: ArrayLike) -> Accuracy:
        """Summarise errors in pixels of a 640-pixel-wide picture, of any shape but not empty.

        Quantiles are interpolated linearly between the ordered errors, as NumPy's.
        """
        flat = _checked(errors)
        if not np.isfinite(flat).all():
            raise ValueError('an error is infinite: its mean and quantiles are not defined')
        median, q75, q90, q95 = np.quantile(flat, [0.5, 0.75, 0.9, 0.95]).tolist()
        return cls(
            queries=len(flat),
            auc=auc(flat),
            median_px=median,
            mean_px=float(np.mean(flat)),
            q75_px=q75,
            q90_px=q90,
            q95_px=q95,
            **{f'pck_{threshold}': pck(flat, threshold) for threshold in (3, 5, 10, 20, 25, 50)},
        )

    def rounded(self, names: Sequence[str] | None = None) -> dict[str, float]:
        """Return all figures, or those of some names, as they are reported."""
        return {
            name: value if name == 'queries' else round(value, 2 if name.endswith('_px') else 4)
            for name, value in vars(self).items()
            if names is None or name in names
        }


def _checked(errors: ArrayLike) -> Array:
    flat = np.asarray(errors, dtype=np.float64).reshape(-1)
    if len(flat) == 0:
        raise ValueError('no errors to summarise: there are no queries')
    if np.isnan(flat).any():
        raise ValueError('an error is NaN: every query needs a true pixel and a prediction')
    return flat
