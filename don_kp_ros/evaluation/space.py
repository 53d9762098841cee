"""Errors of matches in space, if depth is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from don_kp_ros.data.depth_view import DepthView
from don_kp_ros.geometry.camera import Camera

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SpaceErrors:
    """Distances between predicted and true points in space.

    errors_mm (Q,): millimetres, NaN if either pixel has no depth; truth_unknown, guess_unknown:
    number of queries without depth at the true pixel, and of others without depth at the predicted
    one.
    """

    errors_mm: Array
    truth_unknown: int
    guess_unknown: int

    @property
    def known_mm(self) -> Array:
        """The distances (K,) that are known; may be empty."""
        known: Array = self.errors_mm[~np.isnan(self.errors_mm)]
        return known

    def within(self, millimetres: float) -> float:
        """Compute, among queries with known truth, the share with a smaller error.

        A prediction without depth is a miss, so a guess at a hole in the depth gains nothing.
        """
        queries = len(self.errors_mm) - self.truth_unknown
        if queries == 0:
            raise ValueError('no query has depth at its true pixel; there is nothing to measure')
        return float(np.count_nonzero(self.known_mm < millimetres) / queries)

    def summary(self) -> dict[str, float]:
        """Return the figures as they are reported: counts, and millimetres of what is known.

        Raises ValueError where nothing is known.
        """
        known = self.known_mm
        if len(known) == 0:
            raise ValueError(
                f'none of {len(self.errors_mm)} queries has depth at its true and its predicted '
                'pixel; there is nothing to measure'
            )
        median, q75, q90, q95 = np.quantile(known, [0.5, 0.75, 0.9, 0.95])
        return {
            'queries': len(self.errors_mm),
            'truth_unknown': self.truth_unknown,
            'guess_unknown': self.guess_unknown,
            'mean_mm': round(float(np.mean(known)), 2),
            'median_mm': round(float(median), 2),
            'q75_mm': round(float(q75), 2),
            'q90_mm': round(float(q90), 2),
            'q95_mm': round(float(q95), 2),
        }

    @classmethod
    def joined(cls, parts: list[SpaceErrors]) -> SpaceErrors:
        """Put the errors of several pairs together."""
        if not parts:
            raise ValueError('there are no pairs to measure on')
        return cls(
            np.concatenate([part.errors_mm for part in parts]),
            sum(part.truth_unknown for part in parts),
            sum(part.guess_unknown for part in parts),
        )


def space_errors(
    predicted: ArrayLike, true: ArrayLike, depth: ArrayLike, camera: Camera
) -> SpaceErrors:
    """Lift predicted and true pixels uv (Q, 2) of one picture and measure between the points.

    depth (H, W): of the picture that both pixels lie in, metres along the optical axis, NaN or not
    positive where there is none; camera: its camera. Depth is interpolated as DepthView.depth_at
    does. Raises ValueError where the shapes do not fit or there are no queries.
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
    truth_unknown = np.isnan(truth[:, 2])
    guess_unknown = np.isnan(guess[:, 2]) & ~truth_unknown
    return SpaceErrors(
        1000 * np.linalg.norm(guess - truth, axis=1),
        int(np.count_nonzero(truth_unknown)),
        int(np.count_nonzero(guess_unknown)),
    )
