"""The most likely pose given the matches that agree with it, and how certain it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.pose.consensus import GATE
from don_kp_ros.pose.matches import Matches

Array = NDArray[np.float64]

_ITERATIONS = 10
_DETERMINED = 1e-9  # of the largest eigenvalue; directions below it are left alone
_STILL = 1e-7  # metres and radians of a step that ends the iteration

_E = np.zeros((3, 3, 3))  # of Levi-Civita: the columns of arm @ _E are the axes x arm
_E[0, 1, 2] = _E[1, 2, 0] = _E[2, 0, 1] = 1
_E[0, 2, 1] = _E[1, 0, 2] = _E[2, 1, 0] = -1


def refined(matches: Matches, T: Array, iterations: int = _ITERATIONS) -> Array:
    """Refine a pose (4, 4) over the matches within the gate (Gauss-Newton on MSAC's cost).

    In every iteration each point is matched to its nearest candidate, and left out beyond the
    gate. Along directions that the points leave undetermined, the pose stays as it is.
    """
    for _ in range(iterations):
        chosen = inliers(matches, T)
        hessian, gradient, _ = normal_equations(matches, chosen, T)
        information, directions = np.linalg.eigh(hessian)
        known = information > _DETERMINED * information[-1]
        along = directions[:, known]
        step = -along @ ((gradient @ along) / information[known])
        T = stepped(T, step)
        if np.abs(step).max() < _STILL:
            break
    return T


def stepped(T: Array, step: Array) -> Array:
    """Shift a pose (4, 4) and turn it about its origin by a step (6,), see `Pose.covariance`."""
    angle = float(np.linalg.norm(step[3:]))
    turn = rigid.rotation_about(step[3:], angle) if angle > 0 else np.eye(3)
    return rigid.transform(turn @ T[:3, :3], T[:3, 3] + step[:3])


def inliers(matches: Matches, T: Array) -> NDArray[np.int64]:
    """Return the matches (L,) that are the nearest of their points under a pose, and near."""
    squared = matches.squared_distances(T)
    nearest = matches.best(-squared)
    return np.asarray(nearest[squared[nearest] <= GATE])


def motion(points: Array, T: Array) -> Array:
    """Return how points (M, 3) of the object move by the six steps of its pose: (M, 3, 6)."""
    turning = _turning(points, T)
    return np.concatenate([np.broadcast_to(np.eye(3), turning.shape), turning], axis=2)


def _turning(points: Array, T: Array) -> Array:
    """Return how points (M, 3) of the object move by turns of its pose: (M, 3, 3)."""
    return (points @ T[:3, :3].T @ _E.reshape(3, 9)).reshape(-1, 3, 3)


def normal_equations(
    matches: Matches, chosen: NDArray[np.int64], T: Array
) -> tuple[Array, Array, float]:
    """Return the Hessian (6, 6), the gradient (6,) and the cost of some matches under a pose."""
    whitening = matches.whitening[chosen]
    of_object, weight = matches.of_object[chosen], matches.weight[matches.point[chosen]]
    off = of_object @ T[:3, :3].T + T[:3, 3] - matches.measured[chosen]
    off = (whitening @ off[:, :, None]).reshape(-1)
    jacobian = np.concatenate([whitening, whitening @ _turning(of_object, T)], axis=2)
    jacobian = jacobian.reshape(-1, 6)
    counts = weight.repeat(3)
    weighted = (jacobian * counts[:, None]).T
    return weighted @ jacobian, weighted @ off, float((counts * off) @ off)
