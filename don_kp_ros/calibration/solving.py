"""From views to a calibration: which views count, how far they fit, how far it may be off."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.calibration.refinement import Poses, refined, started
from don_kp_ros.calibration.uncertainty import covariance, fitting_square
from don_kp_ros.calibration.views import Views, rotation_vectors
from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry import rigid

Array = NDArray[np.float64]

FEWEST_VIEWS = 5  # three would do, and could not be doubted
LITTLE_TURN = float(np.deg2rad(15))  # about the second axis: below it, more is advised
LEAST_TURN = float(np.deg2rad(2))  # below it, the camera's place is not told by the views

_SURE, _SAME_SQUARE = 3.0, 0.002  # deviations, and a share, by which the square may be off
_OUTLIER = 4.0  # times the median of the views' residuals
_OUTLIER_PX = 1.0  # and at least so much
_WORST_PX = 5.0  # of the median view: beyond it, the views tell of no one place


@dataclass(frozen=True)
class Calibration:
    """Where the camera is in the frame that it is fixed to, and the board in the other.

    views: those that count; left_out: the others, with how far off they are, pixels. off_px,
    off_m and off_rad: root mean squares over corners and views. error_m and error_rad: one
    standard deviation of the camera's place. turns (3,): by how much the hand turned between two
    views about its main axes, most first, root mean square, radians. square: the side of the
    squares by which the views fit best, and its standard deviation, metres.
    """

    poses: Poses
    views: Views
    left_out: dict[str, float]
    view_px: Array  # (V,)
    off_px: float
    off_m: float
    off_rad: float
    error_m: float
    error_rad: float
    turns: Array
    square: tuple[float, float]

    def doubts(self) -> list[str]:
        """Say what should be done better."""
        first, second = np.rad2deg(self.turns[:2])
        said = []
        if self.turns[1] < LITTLE_TURN:
            said.append(
                f'between two views the hand turns by {first:.1f} degrees about one axis and '
                f'{second:.1f} about the next (root mean square): tilt it more, by 20 to 30 '
                f'degrees to all sides, until the second is {np.rad2deg(LITTLE_TURN):.0f}'
            )
        given, (best, deviation) = self.views.board.side(), self.square
        if abs(best - given) > max(_SURE * deviation, _SAME_SQUARE * given):
            said.append(
                f'the views fit best with squares of {1e3 * best:.2f} +- {1e3 * deviation:.2f} '
                f"mm, and {1e3 * given:.2f} mm is given: measure them (--square), or the camera's "
                'focal length is wrong'
            )
        if len(self.left_out) > len(self.views.names) / 4:
            said.append(
                f'{len(self.left_out)} of {len(self.left_out) + len(self.views.names)} views do '
                'not fit: was the hand at rest, and the board fixed?'
            )
        return said


def calibrate(views: Views) -> Calibration:
    """Find the camera's place by all views together; views that do not fit are left out.

    A soft loss comes first, so that such views pull little; then least squares of the others.
    Raises RefusedError where the views are too few, turn too little or do not fit together.
    """
    count = len(views.names)
    _check(views)
    poses = refined(views, started(views), 'soft_l1')
    off = views.off(poses.residuals(views))
    middle = float(np.median(off))
    if middle > _WORST_PX:
        raise RefusedError(
            f'half of the views are off by {middle:.1f} pixels or more: they tell of no one place '
            'of the camera. Check whether it is on the hand (mount), the side of the squares '
            "(--square), the camera's numbers, and that T_base_hand is in metres, of the hand in "
            'the base frame, at the moment of the picture'
        )
    kept = np.flatnonzero(off <= max(_OUTLIER * middle, _OUTLIER_PX))
    believed = views.some(kept.tolist())
    _check(believed)
    poses = refined(believed, poses)
    residuals = poses.residuals(believed)
    metres, radians = believed.board_off(poses.T_a_camera, poses.T_b_board)
    spread = np.sqrt(np.diag(covariance(believed, poses)))
    return Calibration(
        poses,
        believed,
        {views.names[i]: float(off[i]) for i in range(count) if i not in kept},
        believed.off(residuals),
        off_px=_root_mean_square(np.linalg.norm(residuals, axis=1)),
        off_m=_root_mean_square(metres),
        off_rad=_root_mean_square(radians),
        error_m=float(np.linalg.norm(spread[:3])),
        error_rad=float(np.linalg.norm(spread[3:6])),
        turns=turns(believed.T_a_b),
        square=fitting_square(believed, poses),
    )


def turns(T_a_b: Array) -> Array:
    """Return by how much (3,) the hand turns between two views about its main axes, radians.

    The root mean square over all pairs of views; the axes are fixed in the frame a, most first.
    """
    between = np.array([T @ rigid.inverse(other) for T, other in combinations(T_a_b, 2)])
    vectors = rotation_vectors(between)
    squares = np.linalg.eigvalsh(vectors.T @ vectors / len(vectors))
    return np.sqrt(np.maximum(squares[::-1], 0.0))


def _check(views: Views) -> None:
    count, poses = len(views.names), len(np.unique(views.hand_pose()))
    if poses < FEWEST_VIEWS:
        same = f', from {poses} poses of the hand' if poses < count else ''
        raise RefusedError(
            f'{count} views are of use{same}; {FEWEST_VIEWS} are needed, and 15 are good: '
            'take more'
        )
    first, second = turns(views.T_a_b)[:2]
    if second < LEAST_TURN:
        raise RefusedError(
            f'between two views the hand turns by {np.rad2deg(first):.1f} degrees about one axis '
            f'and {np.rad2deg(second):.1f} about the next (root mean square); without turning '
            'about two axes the place of the camera cannot be told: tilt the hand by 20 to 30 '
            'degrees to all sides'
        )


def _root_mean_square(values: Array) -> float:
    return float(np.sqrt(np.mean(values**2)))
