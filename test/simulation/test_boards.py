"""The simulated board, seen by a camera that is not where it is meant to be."""

import numpy as np

from don_kp_ros.calibration.board import Board
from don_kp_ros.calibration.detection import find_corners
from don_kp_ros.geometry import rigid
from don_kp_ros.robots.preset import load_preset
from don_kp_ros.simulation.boards import T_WORLD_BOARD
from don_kp_ros.simulation.camera import D435, with_faults
from don_kp_ros.simulation.renderer import Renderer
from don_kp_ros.simulation.scene import Layout
from don_kp_ros.simulation.world import World

PRESET = load_preset('panda')
BOARD = Board(square=0.032)


def test_its_corners_are_seen_where_they_are_and_the_mount_is_a_bit_off() -> None:
    nominal = PRESET.camera.T_hand_optical
    for seed in (1, 2):
        world = World(Layout(seed, None, board=True), PRESET)
        off = rigid.inverse(nominal) @ world.T_hand_optical
        assert 0.009 < np.linalg.norm(off[:3, 3]) < 0.021
        assert np.deg2rad(2) < np.arccos((np.trace(off[:3, :3]) - 1) / 2) < np.deg2rad(5.1)
        renderer = Renderer(world.model)
        frame = renderer.render(world.data, world.camera_pose())
        renderer.close()
        corners = find_corners(with_faults(frame, np.random.default_rng(0)).colour, BOARD)
        assert len(corners.number) == 28
        T_camera_board = rigid.inverse(world.camera_pose()) @ T_WORLD_BOARD
        true = D435.project(rigid.apply(T_camera_board, BOARD.corners()))
        assert np.abs(corners.uv - true).max() < 0.3
    ordinary = World(Layout.draw(1, 0), PRESET)
    assert np.allclose(ordinary.T_hand_optical, nominal)
