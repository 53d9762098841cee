"""`don_kp calibrate`: the printed board, a folder solved, and what is written."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import yaml
from rendered_board import BOARD, D435, rendered

from benchmarks.hand_eye import T_TABLE_BOARD, camera_poses
from don_kp_ros.calibration.board import Board
from don_kp_ros.calibration.detection import find_corners
from don_kp_ros.calibration.folder import Recording, View, matrix, read_index, write_index
from don_kp_ros.clients.calibrate_command import main
from don_kp_ros.configuration import ConfigurationError
from don_kp_ros.data.picture_file import write_image
from don_kp_ros.geometry import rigid
from don_kp_ros.robots.own_file import with_camera
from don_kp_ros.robots.preset import load_preset

T_HAND_CAMERA = load_preset('panda').camera.T_hand_optical @ rigid.transform(
    rigid.rotation_about([1, 2, 3], 0.04), [0.004, -0.006, 0.01]
)


@pytest.fixture
def own(tmp_path, monkeypatch) -> Path:
    """The user's own file of the Panda; it is not there yet."""
    monkeypatch.setenv('XDG_CONFIG_HOME', str(tmp_path / 'config'))
    return tmp_path / 'config/don_kp/robots/panda.yaml'


@pytest.fixture(scope='module')
def folder(tmp_path_factory) -> Path:
    """Eight views of a camera on the hand, rendered."""
    root = tmp_path_factory.mktemp('views')
    views = []
    for number, T in enumerate(camera_poses(np.random.default_rng(2), 8, 0.5)):
        write_image(root / f'{number:02}.png', rendered(T, D435))
        T_base_hand = T_TABLE_BOARD @ T @ rigid.inverse(T_HAND_CAMERA)
        views.append(View(f'{number:02}.png', matrix(T_base_hand)))
    write_index(root, Recording(D435, replace(BOARD, square=None), tuple(views)))
    return root


def error(T) -> tuple[float, float]:
    """Metres and radians off the true place of the camera."""
    off = rigid.inverse(T_HAND_CAMERA) @ T
    return np.linalg.norm(off[:3, 3]), np.arccos(min((np.trace(off[:3, :3]) - 1) / 2, 1.0))


class TestBoard:
    @pytest.mark.parametrize('paper', ['a4', 'letter'])
    def test_a_pdf_is_a_board_of_true_size_that_opencv_reads(self, tmp_path, paper):
        assert main(['board', str(tmp_path / 'board.pdf'), '--paper', paper]) == 0
        text = (tmp_path / 'board.pdf').read_text(encoding='ascii')
        box = re.search(r'MediaBox \[0 0 (\S+) (\S+)\]', text)
        assert box
        size_mm = [float(value) * 25.4 / 72 for value in box.groups()]
        assert np.allclose(size_mm, {'a4': (297, 210), 'letter': (279.4, 215.9)}[paper], atol=1e-3)
        # Drawn at 10 pixels a millimetre; the paper's corner is at pixel -.5.
        page = np.full((round(10 * size_mm[1]), round(10 * size_mm[0]), 3), 255, dtype=np.uint8)
        for found in re.finditer(r'^(\S+) (\S+) (\S+) (\S+) re f$', text, re.MULTILINE):
            x, y, w, h = (float(value) * 254 / 72 for value in found.groups())
            top = page.shape[0] - y
            rows, columns = np.rint([top - h, top]), np.rint([x, x + w])
            page[int(rows[0]) : int(rows[1]), int(columns[0]) : int(columns[1])] = 0
        corners = find_corners(page, Board())
        assert corners.number.tolist() == list(range(28))
        across = corners.uv[6] - corners.uv[0]
        assert np.allclose(across, [6 * 320, 0], atol=1.0)  # 6 squares of 32 mm
        down = corners.uv[21] - corners.uv[0]
        assert np.allclose(down, [0, 3 * 320], atol=1.0)

    def test_what_its_table_of_contents_points_to_is_there(self, tmp_path):
        assert main(['board', str(tmp_path / 'board.pdf')]) == 0
        data = (tmp_path / 'board.pdf').read_bytes()
        start = int(data.split(b'startxref\n')[1].split()[0])
        assert data[start:].startswith(b'xref\n0 6\n')
        for number, line in enumerate(data[start:].splitlines()[3:8], start=1):
            assert data[int(line[:10]) :].startswith(b'%d 0 obj' % number)

    def test_a_png_has_its_size_in_its_resolution(self, tmp_path):
        path = tmp_path / 'board.png'
        assert main(['board', str(path), '--columns', '5', '--rows', '7', '--square', '20']) == 0
        with PIL.Image.open(path) as picture:
            mm = [25.4 * pixels / picture.info['dpi'][0] for pixels in picture.size]
        assert np.allclose(mm, [100, 140], atol=0.05)

    @pytest.mark.parametrize(
        ('arguments', 'said'),
        [
            (['--square', '40'], 'does not fit on a4; squares of 35 mm do: --square 35'),
            (['--rows', '2'], 'rows is 2; allowed is 3 to 50'),
            (['--marker', '1.2'], 'marker is 1.2; allowed is 0.3 to 0.9'),
            (['--dictionary', 'DICT_9'], "dictionary is 'DICT_9'; allowed are DICT_4X4_50"),
            (['--columns', '20', '--rows', '20'], '200 markers, and DICT_4X4_50 50'),
        ],
    )
    def test_what_cannot_be_is_refused(self, tmp_path, capsys, arguments, said):
        assert main(['board', str(tmp_path / 'board.pdf'), *arguments]) == 1
        assert said in capsys.readouterr().err
        assert not (tmp_path / 'board.pdf').exists()


@pytest.mark.parametrize('command', ['board', 'record', 'solve', 'check'])
@pytest.mark.parametrize('square', ['0', '-32', 'nan', '0.0319'])
def test_squares_of_no_side_in_millimetres_are_refused(tmp_path, capsys, command, square):
    path = tmp_path / ('board.png' if command == 'board' else 'views')
    assert main([command, str(path), '--square', square]) == 1
    told = f'--square (mm) is {float(square)}; allowed is 2 to 1000'
    assert told in capsys.readouterr().err
    assert not path.exists()


class TestSolve:
    def test_a_folder_becomes_the_robot_s_own_file(self, folder, own, capsys):
        assert main(['solve', str(folder), '--square', '32', '--yes']) == 0
        told = capsys.readouterr().out
        assert '8 views' in told and '07.png: ' in told and 'within' in told
        metres, radians = error(load_preset('panda').camera.T_hand_frame)
        assert metres < 1e-3 and radians < np.deg2rad(0.1)
        assert load_preset('panda').camera.frame == 'camera_color_optical_frame'
        assert f'+++ {own}' in told and '+camera:' in told
        moved = re.search(r'that is (\S+) mm and (\S+) degrees from where panda', told)
        assert moved
        assert abs(float(moved[1]) - 12.33) < 1 and abs(float(moved[2]) - 2.29) < 0.1
        # The board's corner lies where the table has it.
        place = re.search(r'corner 0 in panda_link0: \((\S+), (\S+), (\S+)\) m', told)
        assert place
        true = rigid.apply(T_TABLE_BOARD, [0.032, 0.032, 0.0])
        assert np.allclose([float(value) for value in place.groups()], true, atol=1e-3)

    @pytest.mark.parametrize(('typed', 'written'), [('y', True), ('', False)])
    def test_it_asks_before_it_writes(self, folder, own, monkeypatch, typed, written):
        monkeypatch.setattr('builtins.input', lambda question: typed)
        assert main(['solve', str(folder), '--square', '32']) == 0
        assert own.is_file() == written

    def test_views_of_another_robot_s_hand_are_refused(self, folder, tmp_path, own, capsys):
        write_index(tmp_path, replace(read_index(folder), hand_frame='fr3_hand'))
        assert main(['solve', str(tmp_path), '--square', '32', '--yes']) == 1
        told = capsys.readouterr().err
        assert 'poses of fr3_hand, and the hand of panda is panda_hand' in told
        assert '--robot' in told and not own.exists()

    @pytest.fixture
    def root(self, own) -> str:
        """The own file is there, with the pose of another driver's root frame."""
        own.parent.mkdir(parents=True)
        own.write_text('camera:\n  frame: camera_base\n  translation: [0.07, 0.0, 0.02]\n')
        return 'camera_base'

    def test_the_root_of_another_driver_s_frames_keeps_its_name(self, folder, tmp_path, root):
        T = rigid.transform(rigid.rotation_about([1, 0, 0], 0.4), [0.0, 0.03, 0.01])
        recording = replace(
            read_index(folder), frame='rgb_camera_link', link=root, T_link_camera=matrix(T)
        )
        for path in folder.glob('*.png'):
            (tmp_path / path.name).write_bytes(path.read_bytes())
        write_index(tmp_path, recording)
        assert main(['solve', str(tmp_path), '--square', '32', '--yes']) == 0
        camera = load_preset('panda').camera
        assert camera.frame == camera.root_of('camera') == root
        assert error(camera.T_hand_frame @ T)[0] < 1e-3

    def test_it_is_not_replaced_by_a_frame_that_may_never_be_told(self, folder, own, root, capsys):
        before = own.read_text()
        assert main(['solve', str(folder), '--square', '32', '--yes']) == 1
        told = capsys.readouterr().err
        assert f'panda has the pose of {root}' in told and 'link and T_link_camera' in told
        assert own.read_text() == before

    def test_the_side_of_the_squares_is_asked_for(self, folder, own, capsys):
        assert main(['solve', str(folder)]) == 1
        assert 'measure ten of them' in capsys.readouterr().err

    def test_a_picture_without_the_board_is_left_out_by_name(self, folder, tmp_path, own, capsys):
        for path in folder.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        write_image(tmp_path / '03.png', np.full((480, 640, 3), 128, dtype=np.uint8))
        (tmp_path / '05.png').unlink()
        assert main(['solve', str(tmp_path), '--square', '32', '--yes']) == 0
        told = capsys.readouterr().out
        assert '03.png: left out: 0 corners' in told and '05.png: left out: ' in told
        assert error(load_preset('panda').camera.T_hand_frame)[0] < 2e-3

    def test_a_camera_on_a_stand_is_told_for_tf(self, tmp_path, own, capsys):
        T_base_camera = rigid.transform(rigid.rotation_about([1, 0.3, -0.2], 2.2), [0.9, 0.4, 0.7])
        T_hand_board = rigid.transform(rigid.rotation_about([0, 1, 0], -0.7), [0.02, -0.1, 0.08])
        T_link_camera = rigid.transform(rigid.rotation_about([0, 0, 1], 0.3), [0.0, 0.02, 0.01])
        views = []
        for number, T in enumerate(camera_poses(np.random.default_rng(2), 8, 0.5)):
            write_image(tmp_path / f'{number}.png', rendered(T, D435))
            T_base_hand = T_base_camera @ rigid.inverse(T) @ rigid.inverse(T_hand_board)
            views.append(View(f'{number}.png', matrix(T_base_hand)))
        write_index(tmp_path, Recording(D435, BOARD, tuple(views), 'stand', matrix(T_link_camera)))
        assert main(['solve', str(tmp_path)]) == 0
        told = capsys.readouterr().out
        numbers = dict(re.findall(r'--(x|y|z|qx|qy|qz|qw) (\S+)', told))
        true = T_base_camera @ rigid.inverse(T_link_camera)
        assert np.allclose([float(numbers[key]) for key in 'xyz'], true[:3, 3], atol=2e-3)
        quaternion = [float(numbers[f'q{key}']) for key in 'xyzw']
        assert abs(quaternion @ rigid.to_quaternion(true)) > 1 - 1e-5
        assert told.endswith('--frame-id panda_link0 --child-frame-id camera_link\n')
        named = {'link': 'D455_1_link', 'namespace': '/robot1'}
        index = yaml.safe_load((tmp_path / 'calibration.yaml').read_text())
        (tmp_path / 'calibration.yaml').write_text(yaml.safe_dump({**index, **named}))
        assert main(['solve', str(tmp_path)]) == 0
        assert capsys.readouterr().out.endswith(
            ' --child-frame-id D455_1_link --ros-args -r /tf_static:=/robot1/tf_static\n'
        )
        assert not own.exists()
        assert main(['check', str(tmp_path)]) == 1
        assert 'the board was on the hand' in capsys.readouterr().err

    @pytest.mark.parametrize(
        ('change', 'said'),
        [
            (
                lambda index: index['views'][2].update(T_base_hand=np.ones((4, 4)).tolist()),
                'rigid',
            ),
            (lambda index: index['views'][2].update(picture='../x.png'), 'without a folder'),
            (lambda index: index['views'][2].update(picture='01.png'), '01.png 2 times'),
            (lambda index: index.update(views=[]), 'views is empty'),
            (lambda index: index.update(mount='wall'), 'mount is .wall.; allowed are hand, stand'),
            (lambda index: index.update(squares=3), 'unknown key squares'),
            (lambda index: index['camera'].update(fx=0.0), 'camera.camera fx is 0.0'),
        ],
    )
    def test_a_wrong_index_says_where(self, folder, tmp_path, change, said):
        index = yaml.safe_load((folder / 'calibration.yaml').read_text())
        change(index)
        (tmp_path / 'calibration.yaml').write_text(yaml.safe_dump(index))
        with pytest.raises(ConfigurationError, match=said):
            read_index(tmp_path)


class TestOwnFile:
    def test_everything_else_in_it_stays_as_it_is_written(self, own):
        own.parent.mkdir(parents=True)
        own.write_text(
            '# mine\nopen_width: 0.079  # measured\n\ncamera:\n  # by hand\n'
            '  translation: [0.0712, -0.0013, 0.0204]\n\n# how it waits\narm_controller: mine\n'
        )
        change = with_camera('panda', T_HAND_CAMERA)
        change.write()
        lines = own.read_text().splitlines()
        assert lines[:4] == ['# mine', 'open_width: 0.079  # measured', '', 'camera:']
        assert lines[-2:] == ['# how it waits', 'arm_controller: mine']
        preset = load_preset('panda')
        assert preset == change.preset
        assert (preset.open_width, preset.arm_controller) == (0.079, 'mine')
        assert np.allclose(preset.camera.T_hand_optical, T_HAND_CAMERA, atol=1e-6)

    def test_a_file_of_another_name_keeps_its_base(self, own):
        own.parent.mkdir(parents=True)
        left = own.with_name('left.yaml')
        left.write_text('base: fr3')
        with_camera('left', T_HAND_CAMERA).write()
        assert left.read_text().startswith('base: fr3\ncamera:\n')
        assert load_preset('left').name == 'fr3'

    def test_what_cannot_be_replaced_line_by_line_is_left_alone(self, own):
        own.parent.mkdir(parents=True)
        own.write_text('{open_width: 0.079, camera: {translation: [0.07, 0.0, 0.02]}}\n')
        with pytest.raises(ConfigurationError, match='write this in its place:\ncamera:'):
            with_camera('panda', T_HAND_CAMERA)
        assert own.read_text().startswith('{open_width')
