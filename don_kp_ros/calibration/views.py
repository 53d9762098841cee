"""What was measured: of every view the robot's pose and the board's corners."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from don_kp_ros.calibration.board import Board
from don_kp_ros.calibration.detection import Corners, pose_of_board
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.geometry.lie import so3_log

Array = NDArray[np.float64]

_ONE_M, _ONE_RAD = 0.005, float(np.deg2rad(1))  # within which two poses of a hand are one


def rotation_vectors(T: Array) -> Array:
    """Return the rotation vectors (..., 3), radians, of transforms (..., 4, 4)."""
    return np.asarray(so3_log(torch.from_numpy(np.ascontiguousarray(T[..., :3, :3]))))


def angles(T: Array) -> Array:
    """Return by how much (...) transforms (..., 4, 4) turn, radians."""
    return np.asarray(np.linalg.norm(rotation_vectors(T), axis=-1))


def are_one(T: Array, other: Array) -> bool:
    """Tell whether two poses (4, 4) of a hand, or inverses of such, are within 5 mm and 1 degree.

    A robot tells both wrong alike, so that the second one tells nothing new.
    """
    there, back = rigid.inverse(T) @ other, T @ rigid.inverse(other)
    metres = min(np.linalg.norm(there[:3, 3]), np.linalg.norm(back[:3, 3]))
    return bool(metres <= _ONE_M and angles(there) <= _ONE_RAD)


@dataclass(frozen=True)
class Views:
    """Views (V) of a board by one camera.

    The camera is fixed to the frame a, the hand or the base, and the board to b, the other one.
    T_a_b (V, 4, 4) is the robot's; T_camera_board (V, 4, 4) is seen, by each view alone.
    """

    names: tuple[str, ...]
    camera: Camera
    board: Board
    T_a_b: Array
    corners: tuple[Corners, ...]
    T_camera_board: Array

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        camera: Camera,
        board: Board,
        T_a_b: Array,
        corners: Sequence[Corners],
    ) -> Views:
        """Find the pose of the board in each view; raises as `pose_of_board`."""
        seen = np.array([pose_of_board(one, board, camera) for one in corners])
        return cls(tuple(names), camera, board, np.asarray(T_a_b), tuple(corners), seen)

    def some(self, kept: Sequence[int]) -> Views:
        """Return some of the views."""
        return Views(
            tuple(self.names[i] for i in kept),
            self.camera,
            self.board,
            self.T_a_b[list(kept)],
            tuple(self.corners[i] for i in kept),
            self.T_camera_board[list(kept)],
        )

    def view(self) -> NDArray[np.int64]:
        """Return the view (M,) of every corner that is seen."""
        return np.repeat(np.arange(len(self.corners)), [len(one.number) for one in self.corners])

    def hand_pose(self) -> NDArray[np.int64]:
        """Return for each view (V,) the first from the same pose of the hand; see `are_one`."""
        first: list[int] = []
        for number, T in enumerate(self.T_a_b):
            before = (one for one in sorted(set(first)) if are_one(self.T_a_b[one], T))
            first.append(next(before, number))
        return np.array(first, dtype=np.int64)

    def residuals(self, T_a_camera: Array, T_b_board: Array) -> Array:
        """Return how far off (M, 2), pixels, every corner is seen; NaN: it is not."""
        T = rigid.inverse(T_a_camera) @ self.T_a_b @ T_b_board  # T_camera_board
        number = np.concatenate([one.number for one in self.corners])
        points, view = self.board.corners()[number], self.view()
        placed = np.einsum('mij,mj->mi', T[view, :3, :3], points) + T[view, :3, 3]
        return self.camera.project(placed) - np.concatenate([one.uv for one in self.corners])

    def off(self, residuals: Array) -> Array:
        """Return how far off (V,) the corners of each view are: root mean square, pixels."""
        squares = (residuals**2).sum(axis=1)
        sums = np.bincount(self.view(), squares, len(self.corners))
        return np.sqrt(sums / [len(one.number) for one in self.corners])

    def board_off(self, T_a_camera: Array, T_b_board: Array) -> tuple[Array, Array]:
        """Return how far (V,) the board that each view sees is from the common one.

        Metres between the middles of both, and radians.
        """
        middle = self.board.corners().mean(axis=0)
        common = rigid.inverse(T_a_camera) @ self.T_a_b @ T_b_board
        between = [
            rigid.inverse(one) @ seen
            for one, seen in zip(common, self.T_camera_board, strict=True)
        ]
        shift = [float(np.linalg.norm(rigid.apply(T, middle) - middle)) for T in between]
        return np.array(shift), angles(np.array(between))
