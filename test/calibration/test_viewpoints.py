"""Proposed poses of the hand: what the camera sees from there, and what they tell."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from benchmarks.hand_eye import BOARD, OFF_M, OFF_RAD, T_TABLE_BOARD, drawn
from don_kp_ros.calibration.detection import FEWEST_CORNERS
from don_kp_ros.calibration.solving import LITTLE_TURN, turns
from don_kp_ros.calibration.viewpoints import TILT, around_board, around_tool, looking
from don_kp_ros.calibration.views import angles
from don_kp_ros.geometry import rigid
from don_kp_ros.robots.preset import load_preset
from don_kp_ros.simulation.camera import D435

PANDA = load_preset('panda')
T_HAND_CAMERA = PANDA.camera.T_hand_optical
MIDDLE = np.array([4 * 0.032, 2.5 * 0.032, 0.0])
VIEWS = 15


def proposed(T_hand_camera: np.ndarray) -> np.ndarray:
    """Return T_base_hand (V, 4, 4) for a camera that is really there, from a first look."""
    T_board_camera = looking(MIDDLE + [0.04, -0.03, 0.0], 1.0, 0.3, 2.0, 0.5)
    T_base_hand = T_TABLE_BOARD @ T_board_camera @ rigid.inverse(T_hand_camera)
    T_camera_board = rigid.inverse(T_board_camera)
    poses = around_board(BOARD, D435, T_camera_board, T_base_hand, T_HAND_CAMERA)
    return np.array(list(islice(poses, VIEWS)))


def test_the_camera_looks_at_the_board_s_middle_tilted_to_all_sides() -> None:
    T_board_camera = rigid.inverse(T_TABLE_BOARD) @ proposed(T_HAND_CAMERA) @ T_HAND_CAMERA
    axes = T_board_camera[:, :3, 2]
    tilts = np.arccos(axes[:, 2])  # the board's z points into it
    assert (tilts > TILT[0] - 1e-6).all() and (tilts < TILT[1] + 1e-6).all()
    # Within any quarter of the circle there is one of the first seven.
    azimuths = np.sort(np.arctan2(axes[:7, 1], axes[:7, 0]))
    assert np.diff([*azimuths, azimuths[0] + 2 * np.pi]).max() < np.pi / 2 + 0.3
    distances = np.linalg.norm(T_board_camera[:, :3, 3] - MIDDLE, axis=1)
    assert np.ptp(distances) > 0.15
    for T in T_board_camera:
        assert np.allclose(D435.project(rigid.apply(rigid.inverse(T), MIDDLE)), (319.5, 239.5))
        seen = D435.project(rigid.apply(rigid.inverse(T), BOARD.corners()))
        assert D435.contains(seen).all()
    # Rolled to both sides of how it was.
    rolls = [np.arctan2(T[1, 0], T[0, 0]) - 2.0 for T in T_board_camera]
    assert min(rolls) < -0.4 and max(rolls) > 0.4 and np.abs(rolls).max() < 1.0


def test_views_so_taken_are_not_doubted_also_where_the_mount_is_off() -> None:
    for seed in range(20):
        T_hand_camera = T_HAND_CAMERA @ drawn(np.random.default_rng(seed), OFF_M, OFF_RAD)
        hands = proposed(T_hand_camera)
        assert turns(np.array([rigid.inverse(T) for T in hands]))[1] > LITTLE_TURN
        for T in hands:
            seen = rigid.inverse(T @ T_hand_camera) @ T_TABLE_BOARD
            corners = D435.contains(D435.project(rigid.apply(seen, BOARD.corners())))
            assert corners.sum() >= 2 * FEWEST_CORNERS


def test_a_hand_with_the_board_turns_about_all_axes_where_it_is() -> None:
    now = rigid.transform(np.diag([1.0, -1.0, -1.0]), [0.5, 0.1, 0.5])
    hands = np.array(list(islice(around_tool(now, PANDA.T_hand_tcp), VIEWS)))
    off = rigid.inverse(now @ PANDA.T_hand_tcp) @ hands @ PANDA.T_hand_tcp
    assert np.abs(off[:, :3, 3]).max() <= 0.05
    assert angles(off) == pytest.approx(np.clip(angles(off), *TILT))
    assert turns(hands)[2] > LITTLE_TURN  # about three axes
