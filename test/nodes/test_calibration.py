"""`don_kp calibrate record` and `check` beside a camera and a hand that the test plays."""

import os
import posixpath
import signal
import threading

import numpy as np
import pytest
from geometry_msgs.msg import TransformStamped
from rclpy.action import ActionServer, CancelResponse
from rendered_board import BOARD, D435, rendered
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from benchmarks.hand_eye import T_TABLE_BOARD, camera_poses
from don_kp.action import Grasp
from don_kp_ros.calibration.folder import read_index
from don_kp_ros.calibration.views import angles
from don_kp_ros.clients import calibration, calibration_drive, stack
from don_kp_ros.clients.calibrate_command import main
from don_kp_ros.geometry import rigid
from don_kp_ros.nodes.kit import camera_topics, conversions
from don_kp_ros.nodes.kit.qos import TF
from don_kp_ros.robots.hand import T_LINK_OPTICAL, TIP_LENGTH
from don_kp_ros.robots.preset import load_preset

PANDA = load_preset('panda')
T_HAND_CAMERA = PANDA.camera.T_hand_optical
PATIENCE_S = 60.0
BLANK = np.full((480, 640, 3), 128, dtype=np.uint8)


class PlayedRobot:
    """Shows pictures and tells frames twenty times a second, until it is closed."""

    def __init__(self, peer, namespace='/', camera='camera') -> None:
        self._node, self._ending = peer.node, threading.Event()
        self.optical, self.tells_hand = f'{camera}_color_optical_frame', True
        self.camera_frames = [(f'{camera}_link', self.optical, T_LINK_OPTICAL)]
        colour, info = (
            posixpath.join(namespace, topic.replace('camera/camera', f'camera/{camera}', 1))
            for topic in (camera_topics.COLOUR, camera_topics.COLOUR_INFO)
        )
        self.told_s = conversions.seconds_from_stamp(peer.node.get_clock().now().to_msg())
        self.images = peer.node.create_publisher(Image, colour, 10)
        self.infos = peer.node.create_publisher(CameraInfo, info, 10)
        self.frames = peer.node.create_publisher(TFMessage, posixpath.join(namespace, 'tf'), TF)
        self.picture, self.T_base_hand, self.restless_m = BLANK, np.eye(4), 0.0
        self._thread = threading.Thread(target=self._play)
        self._thread.start()

    def look(self, T_board_camera) -> None:
        """Show the board as seen from there, with the hand where it then is."""
        self.T_base_hand = T_TABLE_BOARD @ T_board_camera @ rigid.inverse(T_HAND_CAMERA)
        self.picture = rendered(T_board_camera, D435)

    def go(self, T_base_hand) -> None:
        """Bring the hand there at once; the camera on it then sees the board from there."""
        self.look(rigid.inverse(T_TABLE_BOARD) @ T_base_hand @ T_HAND_CAMERA)

    def close(self) -> None:
        self._ending.set()
        self._thread.join()
        for publisher in self.images, self.infos, self.frames:
            self._node.destroy_publisher(publisher)

    def _play(self) -> None:
        moved = 0.0
        while not self._ending.wait(0.05):
            stamp = self._node.get_clock().now().to_msg()
            header = Header(stamp=stamp, frame_id=self.optical)
            moved += self.restless_m
            shaken = rigid.transform(translation=[moved, 0.0, 0.0]) @ self.T_base_hand
            told = [*self.camera_frames]
            if self.tells_hand:
                told += [(PANDA.base_frame, PANDA.hand_frame, shaken)]
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
def robot(peer, request):
    played = PlayedRobot(peer, *getattr(request, 'param', ()))
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

    monkeypatch.setattr(calibration, 'line', line)
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
        (lambda: None, '\n'),
        (restless, '\n'),
        (blank, '\n'),
        (lambda: robot.look(seen[1]), '\n'),
        (lambda: None, 'q\n'),
    ]
    folder = tmp_path / 'views'
    assert main(['record', str(folder), '--square', '32']) == 0
    told = capsys.readouterr().out
    assert 'not taken: the hand is where it was for 00.png' in told
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


@pytest.mark.parametrize('robot', [('/robot1', 'D455_1')], indirect=True)
def test_views_keep_the_names_of_camera_hand_and_stack(robot, typing, tmp_path, capsys):
    robot.look(next(iter(camera_poses(np.random.default_rng(1), 1, 0.4))))
    typing += [(lambda: None, '\n'), (lambda: None, 'q\n')]
    named = ['--namespace', 'robot1', '--camera-namespace', 'camera/D455_1']
    folder, own = tmp_path / 'views', tmp_path / 'my robot.yaml'
    own.write_text('base: panda')
    named += ['--robot', str(own)]
    assert main(['record', str(folder), '--square', '32', '--mount', 'stand', *named]) == 0
    assert f"solve {folder} --robot '{own}'\n" in capsys.readouterr().out
    taken = read_index(folder)
    assert (taken.link, taken.namespace) == ('D455_1_link', '/robot1')
    assert taken.hand_frame == PANDA.hand_frame
    assert np.allclose(taken.T_link_camera, T_LINK_OPTICAL, atol=1e-9)


def test_the_tool_tip_s_distance_from_a_corner_is_told(robot, typing, tmp_path, capsys):
    seen = camera_poses(np.random.default_rng(1), 6, 0.5)
    typing += [(lambda T=T: robot.look(T), '\n') for T in seen] + [(lambda: None, '')]
    assert main(['record', str(tmp_path / 'views'), '--square', '32']) == 0
    # The last inner corner of the board, and the ends of the fingers 3 mm above it.
    corner = rigid.apply(T_TABLE_BOARD, BOARD.corners()[27])
    down = rigid.transform(np.diag([1.0, -1.0, -1.0]), corner + [0.0, 0.0, 0.003])

    def touch() -> None:
        ends = PANDA.T_hand_tcp @ rigid.transform(translation=[0.0, 0.0, TIP_LENGTH])
        robot.T_base_hand = down @ rigid.inverse(ends)

    typing += [(touch, '\n'), (lambda: None, 'q\n')]
    capsys.readouterr()
    assert main(['check', str(tmp_path / 'views')]) == 0
    told = capsys.readouterr().out.splitlines()[-1]
    assert told.startswith('corner 27: the tip is ')
    assert abs(float(told.split(' mm off')[0].rpartition(' ')[2]) - 3.0) < 1.0


def test_a_hand_that_is_no_longer_told_is_not_measured(
    robot, typing, monkeypatch, tmp_path, capsys
):
    seen = camera_poses(np.random.default_rng(1), 6, 0.5)
    typing += [(lambda T=T: robot.look(T), '\n') for T in seen] + [(lambda: None, '')]
    assert main(['record', str(tmp_path / 'views'), '--square', '32']) == 0

    def end_the_driver() -> None:
        robot.tells_hand = False
        monkeypatch.setattr(stack, 'PATIENCE_S', 0.5)  # that nothing comes is soon certain

    typing += [(lambda: None, '\n'), (end_the_driver, '\n'), (lambda: None, 'q\n')]
    capsys.readouterr()
    assert main(['check', str(tmp_path / 'views')]) == 1
    told = capsys.readouterr()
    assert told.out.count('the tip is ') == 1
    assert 'where the hand is has not been told' in told.err
    assert "start the robot's driver" in told.err


def test_pictures_of_another_size_than_the_camera_info_are_refused(
    robot, typing, tmp_path, capsys
):
    robot.picture = np.zeros((720, 1280, 3), np.uint8)
    typing += [(lambda: None, '\n'), (lambda: None, 'q\n')]
    assert main(['record', str(tmp_path / 'views'), '--square', '32']) == 1
    told = capsys.readouterr()
    assert 'color/image_raw is 1280x720, and' in told.out
    assert 'camera_info says 640x480' in told.out
    assert 'no view was taken' in told.err


def test_the_root_of_another_driver_s_camera_is_looked_up(robot, typing, tmp_path):
    robot.look(next(iter(camera_poses(np.random.default_rng(1), 1, 0.4))))
    robot.optical = 'oak_rgb_camera_optical_frame'
    T_oak_rgb = rigid.transform(translation=[0.0, 0.02, 0.0])
    robot.camera_frames = [
        ('oak', 'oak_rgb', T_oak_rgb),
        ('oak_rgb', robot.optical, T_LINK_OPTICAL),
        ('world', PANDA.base_frame, np.eye(4)),
        ('world', 'oak', np.eye(4)),  # where somebody believed it to be
    ]
    typing += [(lambda: None, '\n'), (lambda: None, 'q\n')]
    folder = tmp_path / 'views'
    assert main(['record', str(folder), '--square', '32', '--mount', 'stand']) == 0
    taken = read_index(folder)
    assert (taken.link, taken.frame) == ('oak', robot.optical)
    assert np.allclose(taken.T_link_camera, T_oak_rgb @ T_LINK_OPTICAL, atol=1e-9)


def test_a_camera_whose_driver_tells_no_frames_is_its_own_root(robot, typing, tmp_path):
    robot.look(next(iter(camera_poses(np.random.default_rng(1), 1, 0.4))))
    robot.optical, robot.camera_frames = 'usb_cam', []
    typing += [(lambda: None, '\n'), (lambda: None, 'q\n')]
    folder = tmp_path / 'views'
    assert main(['record', str(folder), '--square', '32', '--mount', 'stand']) == 0
    taken = read_index(folder)
    assert taken.link == 'usb_cam'
    assert np.allclose(taken.T_link_camera, np.eye(4))


class Pause:
    """Lets others run, in a coroutine of rclpy's."""

    def __await__(self):
        yield


class PlayedArm:
    """Serves the goals of a hand that is at once where it is told to go."""

    def __init__(self, peer, robot) -> None:
        self._robot = robot
        self.goals: list[Grasp.Goal] = []
        self.refusals: dict[int, tuple[int, str]] = {}  # by the number of the goal
        self.interrupted: int | None = None  # the goal during which the user presses Ctrl-C
        self._server = ActionServer(
            peer.node, Grasp, 'grasp', self._serve, cancel_callback=lambda _: CancelResponse.ACCEPT
        )
        robot.look(camera_poses(np.random.default_rng(1), 1, 0.2)[0])

    def close(self) -> None:
        self._server.destroy()

    async def _serve(self, handle) -> Grasp.Result:
        number, goal = len(self.goals), handle.request
        self.goals.append(goal)
        if number == self.interrupted:
            os.kill(os.getpid(), signal.SIGINT)
            while not handle.is_cancel_requested:
                await Pause()
            handle.canceled()
            return Grasp.Result(code=Grasp.Result.CANCELLED, message='cancelled')
        if number in self.refusals:
            handle.abort()
            code, message = self.refusals[number]
            return Grasp.Result(code=code, message=message)
        self.go(number)
        handle.succeed()
        return Grasp.Result(success=True, code=Grasp.Result.SUCCEEDED)

    def go(self, number) -> None:
        if self.goals[number].blind:  # the board is on the hand, and the camera beside
            self._robot.T_base_hand = self.hand(number)
        else:
            self._robot.go(self.hand(number))

    def hand(self, number) -> np.ndarray:
        """Return T_base_hand of a goal."""
        return conversions.matrix_from_pose(self.goals[number].pose.pose) @ rigid.inverse(
            PANDA.T_hand_tcp
        )


@pytest.fixture
def arm(peer, robot):
    played = PlayedArm(peer, robot)
    yield played
    played.close()


def driven(folder, *options) -> int:
    return main(['record', str(folder), '--square', '32', '--drive', *options])


def test_the_arm_goes_from_view_to_view_and_what_it_cannot_reach_is_skipped(arm, tmp_path, capsys):
    arm.refusals[1] = Grasp.Result.UNREACHABLE, 'no joint positions reach it'
    assert driven(tmp_path / 'views', '--yes', '--views', '3') == 0
    told = capsys.readouterr().out
    assert 'The arm goes to 3 poses around the board' in told
    assert 'pose 1: skipped: no joint positions reach it' in told
    assert '02.png: 28 corners' in told and '3 views; now: ' in told
    assert len(arm.goals) == 4
    for goal in arm.goals:
        assert (goal.mode, goal.blind) == ('move', False)
        assert goal.pose.header.frame_id == PANDA.base_frame
    taken = read_index(tmp_path / 'views').views
    for view, number in zip(taken, (0, 2, 3), strict=True):
        assert np.allclose(view.T_base_hand, arm.hand(number), atol=1e-6)


def test_fewer_views_than_asked_for_are_told_and_kept(arm, tmp_path, capsys):
    arm.refusals |= dict.fromkeys(range(1, 6), (Grasp.Result.UNREACHABLE, 'out of reach'))
    assert driven(tmp_path / 'views', '--yes', '--views', '3') == 1
    said = capsys.readouterr()
    assert 'it ends here: 1 of 3 views were taken' in said.err
    assert len(arm.goals) == 6
    assert '1 views; now: ' in said.out and len(read_index(tmp_path / 'views').views) == 1


def test_nothing_moves_without_consent(arm, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(calibration_drive, 'line', lambda *_: '\n')
    assert driven(tmp_path / 'views') == 0
    assert 'nothing is moved' in capsys.readouterr().out
    assert not arm.goals and not os.path.exists(tmp_path / 'views')


def test_an_arm_that_may_not_move_ends_it_and_what_was_taken_is_kept(arm, tmp_path, capsys):
    arm.refusals[1] = Grasp.Result.NOT_ENABLED, 'the arm is not enabled; call /enable'
    assert driven(tmp_path / 'views', '--yes') == 1
    said = capsys.readouterr()
    assert 'it ends here: the arm is not enabled; call /enable' in said.err
    assert '1 views; now: ' in said.out and len(read_index(tmp_path / 'views').views) == 1


def test_a_pose_without_the_board_is_skipped(arm, robot, monkeypatch, tmp_path, capsys):
    look = robot.look

    def blind_at_first(T_board_camera) -> None:
        look(T_board_camera)
        if len(arm.goals) == 1:
            robot.picture = BLANK

    monkeypatch.setattr(robot, 'look', blind_at_first)
    assert driven(tmp_path / 'views', '--yes', '--views', '1') == 0
    assert 'pose 0: skipped: 0 corners and 0 markers' in capsys.readouterr().out
    assert len(arm.goals) == 2


def test_an_interruption_stops_the_arm_and_what_was_taken_is_kept(arm, tmp_path, capsys):
    arm.interrupted = 1
    assert driven(tmp_path / 'views', '--yes') == 130
    assert 'stopping the arm' in capsys.readouterr().err
    assert len(arm.goals) == 2 and len(read_index(tmp_path / 'views').views) == 1


def test_a_board_on_the_hand_is_turned_where_it_is_before_a_camera_on_a_stand(
    arm, robot, tmp_path, capsys
):
    tool = robot.T_base_hand @ PANDA.T_hand_tcp
    assert driven(tmp_path / 'views', '--yes', '--views', '2', '--mount', 'stand') == 0
    assert 'knows the table alone' in capsys.readouterr().out
    assert read_index(tmp_path / 'views').mount == 'stand'
    for number, goal in enumerate(arm.goals):
        assert goal.blind
        off = rigid.inverse(tool) @ arm.hand(number) @ PANDA.T_hand_tcp
        assert np.abs(off[:3, 3]).max() <= 0.05
        assert np.deg2rad(19) < angles(off) < np.deg2rad(31)


def test_pictures_of_before_a_motion_are_passed_over(arm, monkeypatch, tmp_path):
    go = arm.go

    def late(number) -> None:  # pictures and frames lag behind the goal's end
        threading.Timer(1.0 if number == 1 else 0.0, go, [number]).start()

    monkeypatch.setattr(arm, 'go', late)
    assert driven(tmp_path / 'views', '--yes', '--views', '2') == 0
    assert len(arm.goals) == 2
    second = read_index(tmp_path / 'views').views[1]
    assert np.allclose(second.T_base_hand, arm.hand(1), atol=1e-6)


def test_where_nothing_runs_it_says_which_topics_are_silent(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(stack, 'PATIENCE_S', 0.1)
    assert main(['record', str(tmp_path / 'views'), '--namespace', 'robot7']) == 1
    wrong = capsys.readouterr().err
    assert '/robot7/camera/camera/color/image_raw' in wrong and '--camera-namespace' in wrong
    assert not os.path.exists(tmp_path / 'views')
