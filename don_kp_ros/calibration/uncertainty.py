"""How certain refined poses are, and the side of the squares by which the views fit best."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from don_kp_ros.calibration.refinement import Poses, jacobian
from don_kp_ros.calibration.views import Views

Array = NDArray[np.float64]

_LEAST_PX = 1e-12  # of noise, so that views without any can be divided by it
_RANGE = (-7.0, 7.0)  # of the logarithm of what the robot adds to what a view alone leaves open


def covariance(views: Views, poses: Poses) -> Array:
    """Estimate the covariance (12, 12) of the twist by which refined poses are off."""
    return _covariance(views, jacobian(views, poses), poses.residuals(views).ravel())


def covariance_by(views: Views, J: Array, px: float, robot: Array) -> Array:
    """Return the covariance (K, K) of a least squares solution by known scatters.

    J (2 M, K): the residuals' derivatives, the camera's twist first. px: standard deviation of a
    corner in each direction. robot: variances (6,), of the twist by which a view's camera seems
    off, metres and radians, squared.
    """
    pose = _hand_poses(views)
    scatter, bread = px**2 * J.T @ J, np.linalg.inv(J.T @ J)
    for one in np.unique(pose):
        part = J[pose == one]
        together = part.T @ part[:, :6]
        scatter += together * robot @ together.T
    return np.asarray(bread @ scatter @ bread)


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
    J, r = np.column_stack([jacobian(views, poses), column]), residuals(1.0)
    found = np.linalg.lstsq(J, -r, rcond=None)[0]
    spread = _covariance(views, J, r + J @ found)
    return side * (1 + float(found[-1])), side * float(np.sqrt(spread[-1, -1]))


def _covariance(views: Views, J: Array, r: Array) -> Array:
    """Estimate the covariance (K, K) of a least squares solution.

    J (2 M, K), the camera's twist first, and the residuals r (2 M,) are those at the solution. The
    corners scatter, and all of a view are off together, as the robot tells its pose a bit wrong:
    as if the camera were off by a twist in each view, alike along all axes; views from one pose
    of the hand count as one. How much either is off, the scatter within the views and between
    them tells, by restricted maximum likelihood
    (Patterson and Thompson 1971).
    """
    pose = _hand_poses(views)
    parts = [(J[pose == one], r[pose == one]) for one in np.unique(pose)]
    # What each view tells alone: the twist that fits it, and how uncertain that is where px is 1.
    alone = [_solved(part[:, :6], np.column_stack([part, rest])) for part, rest in parts]
    own, told = (np.array(one) for one in zip(*alone, strict=True))
    within = sum(
        float(rest @ (rest - part[:, :6] @ one[:, -1]))
        for (part, rest), one in zip(parts, told, strict=True)
    )
    px = max(np.sqrt(max(within, 0.0) / (len(r) - 6 * len(parts))), _LEAST_PX)
    told[..., -1] /= px
    scale = np.einsum('vii->vi', own).mean(axis=0).reshape(2, 3).mean(axis=1)

    def robot(logs: Array) -> Array:
        """Return its variances (6,) along and about the axes, where px is 1."""
        return np.repeat(scale * np.exp(2 * logs), 3)

    def unlikely(logs: Array) -> float:
        S = own + np.diag(robot(logs))
        whole = np.einsum('vij,vik->jk', told, np.linalg.solve(S, told))
        information, both = whole[:-1, :-1], whole[:-1, -1]
        left = whole[-1, -1] - both @ np.linalg.solve(information, both)
        return float(np.linalg.slogdet(S)[1].sum() + np.linalg.slogdet(information)[1] + left)

    found = minimize(unlikely, np.full(2, -2.0), bounds=[_RANGE, _RANGE], method='L-BFGS-B')
    return covariance_by(views, J, px, px**2 * robot(found.x))


def _hand_poses(views: Views) -> NDArray[np.int64]:
    """Return the pose of the hand (2 M,) of every residual."""
    return np.repeat(views.hand_pose()[views.view()], 2)


def _solved(G: Array, right: Array) -> tuple[Array, Array]:
    """Return the inverse (6, 6) of what G (m, 6) tells, and its least squares solutions (6, n)."""
    W = np.linalg.inv(G.T @ G)
    return W, W @ G.T @ right
