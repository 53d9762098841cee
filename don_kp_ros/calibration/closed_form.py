"""Hand-eye calibration in closed form, A X = X B: where the refinement begins."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from don_kp_ros.calibration.views import rotation_vectors
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.alignment import kabsch

Array = NDArray[np.float64]
Solver = Callable[[Array, Array], Array]

# Those of OpenCV 4, and of a 5 that is newer than 5.0.0, whose Python lacks them.
_OF_OPENCV = ('TSAI', 'PARK', 'HORAUD', 'ANDREFF', 'DANIILIDIS')


def solvers() -> dict[str, Solver]:
    """Return the solvers that there are, by name.

    Each takes T_a_b (V, 4, 4) of the robot and T_camera_board (V, 4, 4), for which
    T_a_b T_b_board = T_a_camera T_camera_board, and returns T_a_camera: a is the frame that the
    camera is fixed to, the hand or the base, and b the other.
    """
    own: dict[str, Solver] = {'Park and Martin': park_martin}
    if hasattr(cv2, 'calibrateHandEye'):
        own |= {f'OpenCV {name.title()}': _of_opencv(name) for name in _OF_OPENCV}
    return own


def park_martin(T_a_b: Array, T_camera_board: Array) -> Array:
    """Solve for the rotation by least squares of rotation vectors, then for the translation.

    Park and Martin 1994. Every pair of views counts, in both orders: so the vectors' mean is 0,
    and the rotation that maps one set to the other is that of `kabsch`.
    """
    pairs = list(permutations(range(len(T_a_b)), 2))
    A = np.array([T_a_b[j] @ rigid.inverse(T_a_b[i]) for i, j in pairs])
    B = np.array([T_camera_board[j] @ rigid.inverse(T_camera_board[i]) for i, j in pairs])
    alpha, beta = (torch.from_numpy(rotation_vectors(T)) for T in (A, B))
    R = kabsch(beta, alpha).numpy()[:3, :3]
    left = (A[:, :3, :3] - np.eye(3)).reshape(-1, 3)
    right = (B[:, :3, 3] @ R.T - A[:, :3, 3]).reshape(-1)
    return rigid.transform(R, np.linalg.lstsq(left, right, rcond=None)[0])


def _of_opencv(name: str) -> Solver:
    opencv: Any = cv2  # its types are those of a version without
    method = getattr(cv2, f'CALIB_HAND_EYE_{name}')

    def solve(T_a_b: Array, T_camera_board: Array) -> Array:
        T_b_a = np.array([rigid.inverse(T) for T in T_a_b])
        R, t = opencv.calibrateHandEye(
            list(T_b_a[:, :3, :3]),
            list(T_b_a[:, :3, 3]),
            list(T_camera_board[:, :3, :3]),
            list(T_camera_board[:, :3, 3]),
            method=method,
        )
        return rigid.transform(R, np.asarray(t).reshape(3))

    return solve
