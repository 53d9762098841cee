"""Errors of matches in space, if depth is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from don_kp_ros.data.depth_view import DepthView
from don_kp_ros.geometry.camera import Camera

Array = NDArray[np.float64]


def space_errors(predicted: ArrayLike, true: ArrayLike, depth: ArrayLike, camera: Camera) -> Array:
    """Lift predicted and true pixels uv (Q, 2) of one picture and measure between the points.

    depth (H, W): of the picture that both pixels lie in, metres along the optical axis, NaN or not
    positive where there is none; camera: its camera. Depth is interpolated as DepthView.depth_at
    does. Returns millimetres (Q,): NaN without depth at the true pixel, else infinite without
    depth at the predicted one, so that a guess at a hole in the depth gains nothing. Raises
    ValueError where the shapes do not fit or there are no queries.
    """
    predicted, true = np.asarray(predicted, np.float64), np.asarray(true, np.float64)
    if predicted.shape != true.shape or true.ndim != 2 or true.shape[1] != 2:
        raise ValueError(
            f'predicted pixels are {predicted.shape}, true ones {true.shape}; both must be (Q, 2)'
        )
    if len(true) == 0:
        raise ValueError('there are no queries to measure in space')
    if not np.isfinite([predicted, true]).all():
        raise ValueError('a pixel is NaN or infinite; every query needs a truth and a prediction')
    depth = np.asarray(depth, np.float32)
    if depth.shape != (camera.height, camera.width):
        raise ValueError(
            f'depth image is {depth.shape[::-1]}; the camera is {camera.width}x{camera.height}'
        )
    with np.errstate(invalid='ignore'):
        known = np.isfinite(depth) & (depth > 0)
    view = DepthView(np.uint8(255) * known, depth, camera, np.eye(4))
    guess, truth = (camera.deproject(uv, view.depth_at(uv)) for uv in (predicted, true))
    errors: Array = 1000 * np.linalg.norm(guess - truth, axis=1)
    errors[np.isnan(guess[:, 2])] = np.inf
    errors[np.isnan(truth[:, 2])] = np.nan
    return errors


def within(errors: Array, millimetres: float) -> float:
    """Compute, of errors as of `space_errors` with known truth, the share of smaller ones."""
    with_truth = errors[~np.isnan(errors)]
    if len(with_truth) == 0:
        raise ValueError('no query has depth at its true pixel; there is nothing to measure')
    return float(np.mean(with_truth < millimetres))


def space_summary(parts: Sequence[Array]) -> dict[str, float]:
    """Put errors as of `space_errors`, of several pairs, into figures as they are reported.

    Counts of queries, of those without depth at the true pixel, and of others without depth at the
    predicted one; millimetres of what is known. Raises ValueError where nothing is known.
    """
    if not parts:
        raise ValueError('there are no pairs to measure on')
    errors = np.concatenate(parts)
    known = errors[np.isfinite(errors)]
    if len(known) == 0:
        raise ValueError(
            f'none of {len(errors)} queries has depth at its true and its predicted pixel; there '
            'is nothing to measure'
        )
    median, q75, q90, q95 = np.quantile(known, [0.5, 0.75, 0.9, 0.95])
    return {
        'queries': len(errors),
        'truth_unknown': int(np.count_nonzero(np.isnan(errors))),
        'guess_unknown': int(np.count_nonzero(np.isinf(errors))),
        'mean_mm': round(float(np.mean(known)), 2),
        'median_mm': round(float(median), 2),
        'q75_mm': round(float(q75), 2),
        'q90_mm': round(float(q90), 2),
        'q95_mm': round(float(q95), 2),
        'within_5_mm': round(within(errors, 5), 4),
        'within_10_mm': round(within(errors, 10), 4),
    }
