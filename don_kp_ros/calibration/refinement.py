"""Both poses refined over all views together, by what is seen, and how certain they are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import least_squares

from don_kp_ros.calibration.closed_form import solvers
from don_kp_ros.calibration.views import Views
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.lie import se3_exp

Array = NDArray[np.float64]
Loss = Literal['linear', 'soft_l1']

UNKNOWNS = 12
_BEHIND_PX = 1e4  # off is what lies behind the camera
_SOFT_PX = 1.0  # beyond it, a soft loss grows slowly


@dataclass(frozen=True)
class Poses:
    """Where the camera is in the frame that it is fixed to, and the board in the other."""

    T_a_camera: Array
    T_b_board: Array

    def moved(self, twist: Array) -> Poses:
        """Return them moved by a twist (12,): each by its own half, in its own frame."""
        step = se3_exp(torch.from_numpy(twist.reshape(2, 6))).numpy()
        return Poses(self.T_a_camera @ step[0], self.T_b_board @ step[1])

    def residuals(self, views: Views) -> Array:
        """Return how far off (M, 2), pixels, every corner is seen, also behind the camera."""
        return np.nan_to_num(views.residuals(self.T_a_camera, self.T_b_board), nan=_BEHIND_PX)


def started(views: Views) -> Poses:
    """Return the poses of that closed form by which the corners are seen best."""
    candidates = [
        completed(views, solve(views.T_a_b, views.T_camera_board)) for solve in solvers().values()
    ]
    return min(candidates, key=lambda poses: float(np.abs(poses.residuals(views)).mean()))


def refined(views: Views, poses: Poses, loss: Loss = 'linear') -> Poses:
    """Refine poses by the corners of all views: their least squares, or a soft loss of them."""

    def residuals(twist: Array) -> Array:
        return poses.moved(twist).residuals(views).ravel()

    found = least_squares(
        residuals, np.zeros(UNKNOWNS), x_scale='jac', loss=loss, f_scale=_SOFT_PX, method='trf'
    )
    return poses.moved(found.x)


def covariance(views: Views, poses: Poses) -> Array:
    """Estimate the covariance (12, 12) of the twist by which refined poses are off."""
    return _jackknife(views, _jacobian(views, poses), poses.residuals(views).ravel())


def fitting_square(views: Views, poses: Poses) -> tuple[float, float]:
    """Return the side of the squares by which the views fit best, and its deviation, metres.

    A robot's poses are metric, so that the views tell it: one step of Gauss and Newton from poses
    refined with the side that was given.
    """
    side, step = views.board.side(), 1e-4

    def residuals(scale: float) -> Array:
        scaled = replace(views, board=replace(views.board, square=scale * side))
        return poses.residuals(scaled).ravel()

    column = (residuals(1 + step) - residuals(1 - step)) / (2 * step)
    J, r = np.column_stack([_jacobian(views, poses), column]), residuals(1.0)
    found = np.linalg.lstsq(J, -r, rcond=None)[0]
    spread = _jackknife(views, J, r + J @ found)
    return side * (1 + float(found[-1])), side * float(np.sqrt(spread[-1, -1]))


def _jackknife(views: Views, J: Array, r: Array) -> Array:
    """Estimate the covariance (K, K) of a least squares solution, by leaving each view in turn.

    J (2 M, K) and the residuals r (2 M,) are those at the solution, which moves by one step of
    Gauss and Newton. So it counts that of a view whose pose the robot tells a bit wrong, all
    corners are off together. Efron and Stein 1981.
    """
    view, whole, count = np.repeat(views.view(), 2), J.T @ J, len(views.names)
    steps = np.empty((count, J.shape[1]))
    for one in range(count):
        own = J[view == one]
        steps[one] = np.linalg.lstsq(whole - own.T @ own, own.T @ r[view == one], rcond=None)[0]
    off = steps - steps.mean(axis=0)
    return np.asarray((count - 1) / count * off.T @ off)


def _jacobian(views: Views, poses: Poses) -> Array:
    """Differentiate the residuals (2 M,) by the twist (12,), by central differences."""
    step = 1e-6  # metres and radians
    columns = [
        poses.moved(twist).residuals(views) - poses.moved(-twist).residuals(views)
        for twist in step * np.eye(UNKNOWNS)
    ]
    return np.stack([column.ravel() for column in columns], axis=1) / (2 * step)


def completed(views: Views, T_a_camera: Array) -> Poses:
    """Add the board's pose: the mean of what the views say, its rotation the nearest to theirs."""
    seen = np.array(
        [
            rigid.inverse(T_a_b) @ T_a_camera @ T
            for T_a_b, T in zip(views.T_a_b, views.T_camera_board, strict=True)
        ]
    )
    U, _, Vt = np.linalg.svd(seen[:, :3, :3].sum(axis=0))
    R = U @ np.diag([1.0, 1.0, np.linalg.det(U @ Vt)]) @ Vt
    return Poses(T_a_camera, rigid.transform(R, np.median(seen[:, :3, 3], axis=0)))
