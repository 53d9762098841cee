"""Where the hand should go so that the camera sees the board from all sides."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.calibration.board import Board
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera

Array = NDArray[np.float64]

TILT = np.deg2rad([20.0, 30.0])
_ROLL = np.deg2rad([-40.0, 40.0])  # about the optical axis
_FARTHER = 1.6  # times as far as where the board fills the picture
_SHIFT_M = 0.05  # of the tool, where the board is on the hand


def looking(middle: Array, azimuth: float, tilt: float, roll: float, distance: float) -> Array:
    """Return T_board_camera (4, 4) of a camera that looks at a point (3,) of the board.

    It is tilted about the direction at an azimuth of the board's plane, and rolled about its own
    axis; radians and metres.
    """
    lean = rigid.rotation_about([np.cos(azimuth), np.sin(azimuth), 0.0], tilt)
    R = lean @ rigid.rotation_about([0.0, 0.0, 1.0], roll)
    return rigid.transform(R, middle - distance * R[:, 2])


def around_board(
    board: Board, camera: Camera, T_camera_board: Array, T_base_hand: Array, T_hand_camera: Array
) -> Iterator[Array]:
    """Propose poses of the hand (4, 4) in the base frame, for a camera on it, without end.

    From where the board is seen now: the camera looks at its middle, tilted to all sides, rolled
    to both, from where the board fills the picture and from farther. However soon one stops, the
    views differ as much as so many can.
    """
    T_base_board = T_base_hand @ T_hand_camera @ T_camera_board
    across, down = board.side() * np.array([board.columns, board.rows])
    middle = np.array([across / 2, down / 2, 0.0])
    near = np.hypot(across, down) * max(camera.fx / camera.width, camera.fy / camera.height)
    now = np.arctan2(T_camera_board[0, 1], T_camera_board[0, 0])  # how it is rolled
    for u in _evenly(4):
        T_board_camera = looking(
            middle,
            2 * np.pi * u[0],
            _between(TILT, u[1]),
            now + _between(_ROLL, u[2]),
            near * _between([1.0, _FARTHER], u[3]),
        )
        yield T_base_board @ T_board_camera @ rigid.inverse(T_hand_camera)


def around_tool(T_base_hand: Array, T_hand_tcp: Array) -> Iterator[Array]:
    """Propose poses of the hand (4, 4) in the base frame, with the board on it, without end.

    The tool centre point stays within 5 cm of where it is, and the hand is turned by 20 to 30
    degrees about every direction: where the camera is, and how the board sits, is not known.
    """
    T_base_tcp = T_base_hand @ T_hand_tcp
    for u in _evenly(6):
        z, azimuth = _between([-1.0, 1.0], u[0]), 2 * np.pi * u[1]
        r = np.sqrt(1 - z**2)
        turn = rigid.rotation_about(
            [r * np.cos(azimuth), r * np.sin(azimuth), z], _between(TILT, u[2])
        )
        moved = rigid.transform(turn, _SHIFT_M * (2 * u[3:] - 1))
        yield T_base_tcp @ moved @ rigid.inverse(T_hand_tcp)


def _between(ends: Array | list[float], share: float) -> float:
    return float(ends[0] + share * (ends[1] - ends[0]))


def _evenly(dimensions: int) -> Iterator[Array]:
    """Fill the unit cube evenly, from its middle, without end: Roberts' sequence (2018)."""
    root = 2.0
    for _ in range(64):
        root = (1 + root) ** (1 / (dimensions + 1))
    step, place = root ** -np.arange(1.0, dimensions + 1), np.full(dimensions, 0.5)
    while True:
        yield place
        place = (place + step) % 1.0
