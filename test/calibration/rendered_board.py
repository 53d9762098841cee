"""Pictures of the board, as a pinhole camera sees it."""

from __future__ import annotations

import cv2
import numpy as np

from benchmarks.hand_eye import BOARD
from don_kp_ros.geometry.camera import Camera

D435 = Camera(640, 480, 615.0, 613.0, 321.0, 238.0)


def rendered(T_board_camera: np.ndarray, camera: Camera) -> np.ndarray:
    """Warp OpenCV's picture of the board to what a pinhole camera sees of it."""
    side, border = 96, 48  # pixels
    size = BOARD.columns * side + 2 * border, BOARD.rows * side + 2 * border
    flat = BOARD.aruco().generateImage(size, marginSize=border, borderBits=1)
    # From the picture's pixels to metres: its pixel (border - .5) is the board's edge.
    scale = BOARD.side() / side
    to_board = np.array(
        [[scale, 0, (0.5 - border) * scale], [0, scale, (0.5 - border) * scale], [0, 0, 1]]
    )
    T = np.linalg.inv(T_board_camera)
    H = camera.K @ T[:3, [0, 1, 3]] @ to_board
    large = cv2.warpPerspective(
        flat,
        np.array([[4, 0, 1.5], [0, 4, 1.5], [0, 0, 1]]) @ H,
        (4 * camera.width, 4 * camera.height),
        flags=cv2.INTER_LINEAR,
        borderValue=200,
    )
    grey = cv2.resize(large, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
    return np.repeat(grey[..., None], 3, axis=2)
