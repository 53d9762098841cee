"""A board on the table, and a camera that is not where it is meant to be: to calibrate."""

from __future__ import annotations

import mujoco
import numpy as np
from numpy.typing import NDArray

from don_kp_ros.calibration.board import Board
from don_kp_ros.calibration.options import SQUARE_MM
from don_kp_ros.geometry import rigid
from don_kp_ros.simulation import objects
from don_kp_ros.simulation.disturbances import mounted_off

Array = NDArray[np.float64]

BOARD = 'board'  # the body's name in the scene
_BOARD = Board(square=1e-3 * SQUARE_MM)
_PIXELS, _BORDER = 64, 32  # of a square's side, and of the white paper around the board
_THICK = 0.002  # metres, of what it is glued onto
_OFF_M, _OFF_RAD = 0.02, float(np.deg2rad(5.0))  # of the camera, at most

# Face up, and turned a bit: the board's z points down.
T_WORLD_BOARD = rigid.transform(
    rigid.rotation_about([0.0, 0.0, 1.0], -1.4) @ np.diag([1.0, -1.0, -1.0]),
    [0.517, 0.14, _THICK],
)


def add_board(spec: mujoco.MjSpec, body: mujoco.MjsBody) -> None:
    """Add the board to a body, whose frame is that of the board."""
    size = np.array([_BOARD.columns, _BOARD.rows])
    picture = _BOARD.aruco().generateImage(
        (size * _PIXELS + 2 * _BORDER).tolist(), marginSize=_BORDER, borderBits=1
    )
    border = _BORDER / _PIXELS
    x, y = (_BOARD.side() * np.array([-border, count + border]) for count in size)
    paper = np.stack([*np.meshgrid(x, y), np.zeros((2, 2))], axis=-1)
    objects.add_drawn(spec, body, 'paper', paper, np.repeat(picture[..., None], 3, axis=2))


def mount_off(rng: np.random.Generator) -> Array:
    """Draw by how much a camera is mounted off (4, 4)."""
    axis, direction = rng.normal(size=(2, 3))
    metres, radians = _OFF_M * rng.uniform(0.5, 1.0), _OFF_RAD * rng.uniform(0.5, 1.0)
    return mounted_off(axis, radians, direction, metres)
