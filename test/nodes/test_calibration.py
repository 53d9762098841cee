"""`don_kp calibrate record` and `check` beside a camera and a hand that the test plays."""

import os
import threading

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from rendered_board import BOARD, D435, rendered
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from benchmarks.hand_eye import T_TABLE_BOARD, camera_poses
from don_kp_ros.calibration.folder import read_index
from don_kp_ros.clients import calibration, stack
from don_kp_ros.clients.calibrate_command import main
from don_kp_ros.geometry import rigid
from don_kp_ros.nodes.kit import camera_topics, conversions
from don_kp_ros.nodes.kit.qos import TF
from don_kp_ros.robots.hand import T_LINK_OPTICAL
from don_kp_ros.robots.preset import load_preset

PANDA = load_preset('panda')
T_HAND_CAMERA = PANDA.camera.T_hand_optical
PATIENCE_S = 60.0
BLANK = np.full((480, 640, 3), 128, dtype=np.uint8)


class PlayedRobot:
    """Shows pictures and tells frames twenty times a second, until it is closed."""

    def __init__(self, peer) -> None:
        self._node, self._ending = peer.node, threading.Event()
        self.told_s = conversions.seconds_from_stamp(peer.node.get_clock().now().to_msg())
        self.images = peer.node.create_publisher(Image, camera_topics.COLOUR, 10)
        self.infos = peer.node.create_publisher(CameraInfo, camera_topics.COLOUR_INFO, 10)
        self.frames = peer.node.create_publisher(TFMessage, 'tf', TF)
        self.picture, self.T_base_hand, self.restless_m = BLANK, np.eye(4), 0.0
        self._thread = threading.Thread(target=self._play)
        self._thread.start()

    def look(self, T_board_camera) -> None:
        """Show the board as seen from there, with the hand where it then is."""
        self.T_base_hand = T_TABLE_BOARD @ T_board_camera @ rigid.inverse(T_HAND_CAMERA)
        self.picture = rendered(T_board_camera, D435)

    def close(self) -> None:
        self._ending.set()
        self._thread.join()
        for publisher in self.images, self.infos, self.frames:
            self._node.destroy_publisher(publisher)

    def _play(self) -> None:
        moved = 0.0
        while not self._ending.wait(0.05):
            stamp = self._node.get_clock().now().to_msg()
            header = Header(stamp=stamp, frame_id='camera_color_optical_frame')
            moved += self.restless_m
            shaken = rigid.transform(translation=[moved, 0.0, 0.0]) @ self.T_base_hand
            told = (
                (PANDA.base_frame, PANDA.hand_frame, shaken),
                ('camera_link', header.frame_id, T_LINK_OPTICAL),
            )
            self.frames.publish(
                TFMessage(
                    transforms=[
                        TransformStamped(
                            header=Header(stamp=stamp, frame_id=parent),
                            child_frame_id=child,
                            transform=conversions.transform_from_matrix(T),
                        )
                        for parent, child, T in told
                    ]
                )
            )
            self.told_s = conversions.seconds_from_stamp(stamp)
            self.infos.publish(conversions.info_from_camera(D435, header))
            self.images.publish(conversions.image_message(self.picture, 'rgb8', header))


@pytest.fixture
def robot(peer):
    played = PlayedRobot(peer)
    yield played
    played.close()


@pytest.fixture
def typing(robot, monkeypatch):
    """Type a line each time one is asked for, after doing what comes with it."""
    steps: list = []

    def line(running, prompt):
        do, typed = steps.pop(0)
        do()
        # Told for longer than a hand must rest before a view counts.
        rested = robot.told_s + 2 * calibration.REST_S
        assert running.wait(lambda: robot.told_s > rested, PATIENCE_S)
        return typed

    monkeypatch.setattr(calibration, '_line', line)
    return steps


def test_views_are_taken_when_the_hand_rests_and_the_board_is_seen(
    robot, typing, tmp_path, capsys
):
    seen = camera_poses(np.random.default_rng(1), 2, 0.4)
    robot.look(seen[0])

    def restless() -> None:
        robot.restless_m = 0.002

    def blank() -> None:
        robot.restless_m, robot.picture = 0.0, BLANK

    typing += [
        (lambda: None, '\n'),
        (restless, '\n'),
        (blank, '\n'),
        (lambda: robot.look(seen[1]), '\n'),
        (lambda: None, 'q\n'),
    ]
    folder = tmp_path / 'views'
    assert main(['record', str(folder), '--square', '32']) == 0
    told = capsys.readouterr().out
    assert 'not taken: the hand moved by ' in told
    assert 'not taken: 0 corners and 0 markers' in told
    assert '00.png: 28 corners' in told
    assert f'2 views; now: don_kp calibrate solve {folder}' in told
    taken = read_index(folder)
    assert (taken.camera, taken.board, taken.mount) == (D435, BOARD, 'hand')
    assert [view.picture for view in taken.views] == ['00.png', '01.png']
    first = T_TABLE_BOARD @ seen[0] @ rigid.inverse(T_HAND_CAMERA)
    assert np.allclose(taken.views[0].T_base_hand, first, atol=1e-9)
    assert np.allclose(taken.T_link_camera, T_LINK_OPTICAL, atol=1e-9)
    assert main(['record', str(folder)]) == 1
    assert 'has views already; name another folder' in capsys.readouterr().err


def test_the_tool_tip_s_distance_from_a_corner_is_told(robot, typing, tmp_path, capsys):
    seen = camera_poses(np.random.default_rng(1), 6, 0.5)
    typing += [(lambda T=T: robot.look(T), '\n') for T in seen] + [(lambda: None, '')]
    assert main(['record', str(tmp_path / 'views'), '--square', '32']) == 0
    # The last inner corner of the board, and the tip 3 mm above it.
    corner = rigid.apply(T_TABLE_BOARD, BOARD.corners()[27])
    down = rigid.transform(np.diag([1.0, -1.0, -1.0]), corner + [0.0, 0.0, 0.003])

    def touch() -> None:
        robot.T_base_hand = down @ rigid.inverse(PANDA.T_hand_tcp)

    typing += [(touch, '\n'), (lambda: None, 'q\n')]
    capsys.readouterr()
    assert main(['check', str(tmp_path / 'views')]) == 0
    told = capsys.readouterr().out.splitlines()[-1]
    assert told.startswith('corner 27: the tip is ')
    assert abs(float(told.split(' mm off')[0].rpartition(' ')[2]) - 3.0) < 1.0


def test_where_nothing_runs_it_says_which_topics_are_silent(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(stack, 'PATIENCE_S', 0.1)
    assert main(['record', str(tmp_path / 'views'), '--namespace', 'robot7']) == 1
    wrong = capsys.readouterr().err
    assert '/robot7/camera/camera/color/image_raw' in wrong and '--camera-namespace' in wrong
    assert not os.path.exists(tmp_path / 'views')
