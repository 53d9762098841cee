"""The board's corners in a picture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from don_kp_ros.calibration.board import Board
from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera

Array = NDArray[np.float64]

FEWEST_CORNERS = 8  # as many numbers as a pose has, and as many again


class UnseenError(RefusedError):
    """The board is not in a picture, or not enough of it."""


@dataclass(frozen=True)
class Corners:
    """The numbers (N,) of the board's corners that are seen, and their pixels uv (N, 2)."""

    number: NDArray[np.int64]
    uv: Array


def find_corners(picture: NDArray[np.uint8], board: Board) -> Corners:
    """Find the corners in a picture (H, W, 3) RGB; raises UnseenError where there are too few."""
    detector = cv2.aruco.CharucoDetector(board.aruco())
    places, numbers, _, markers = detector.detectBoard(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))
    seen = 0 if numbers is None else len(numbers)
    if seen < FEWEST_CORNERS:
        found = 0 if markers is None else len(markers)
        raise UnseenError(
            f'{seen} corners and {found} markers of the board are seen; {FEWEST_CORNERS} corners '
            'are needed: nearer, sharper, less aslant, or another board (--columns, --rows, '
            '--dictionary)'
        )
    number = np.asarray(numbers, dtype=np.int64).ravel()
    if board.aruco().checkCharucoCornersCollinear(number.astype(np.int32)):
        raise UnseenError('only one line of corners is seen: it has no pose; show more of them')
    return Corners(number, np.asarray(places, dtype=np.float64).reshape(-1, 2))


def pose_of_board(corners: Corners, board: Board, camera: Camera) -> Array:
    """Return T_camera_board (4, 4) from the corners of one view.

    By SQPNP (Terzakis and Lourakis 2020), which also bears a board that is looked at straight (on
    which IPPE fails), and finds the better of the two poses that flat things have; refined by
    Levenberg-Marquardt on the rays, so that any lens will do. Raises RefusedError where the lens
    sends no rays to the corners.
    """
    rays = camera.deproject(corners.uv, np.ones(len(corners.uv)))[:, :2].copy()
    points = board.corners()[corners.number]
    if not np.isfinite(rays).all():
        raise RefusedError(
            'corners lie where the lens sends no ray, by its coefficients; check distortion'
        )
    _, turns, shifts, errors = cv2.solvePnPGeneric(
        points, rays, np.eye(3), None, flags=cv2.SOLVEPNP_SQPNP
    )
    if not turns or not np.isfinite(errors).all():
        raise RefusedError('the corners have no pose; look at the board less aslant')
    turn, shift = cv2.solvePnPRefineLM(points, rays, np.eye(3), None, turns[0], shifts[0])
    return rigid.transform(cv2.Rodrigues(turn)[0], np.asarray(shift).reshape(3))
