"""Both poses refined over all views together, by what is seen."""

from __future__ import annotations

from dataclasses import dataclass
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


def jacobian(views: Views, poses: Poses) -> Array:
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
