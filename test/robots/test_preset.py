import re
from dataclasses import replace

import numpy as np
import pytest
import yaml
from scipy.spatial.transform import Rotation

from don_kp_ros import configuration
from don_kp_ros.configuration import ConfigurationError
from don_kp_ros.geometry import rigid
from don_kp_ros.motion.kinematics import Kinematics
from don_kp_ros.resources import config_path
from don_kp_ros.robots.preset import RobotPreset, load_preset, preset_files


def mapping():
    return yaml.safe_load(config_path('robots/panda.yaml').read_text())


@pytest.mark.parametrize('name', ['panda', 'fr3'])
def test_the_camera_looks_straight_down_on_the_table_s_centre(name):
    preset = load_preset(name)
    T_base_tcp = Kinematics(preset).forward(preset.position('observe'))
    T_base_camera = T_base_tcp @ rigid.inverse(preset.T_hand_tcp) @ preset.T_hand_camera_link
    # camera_link looks along its x; the picture's top, its z, points away from the robot.
    assert np.allclose(T_base_camera[:3, 0], [0, 0, -1], atol=1e-3)
    assert np.allclose(T_base_camera[:3, 2], [1, 0, 0], atol=1e-3)
    assert np.allclose(T_base_camera[:3, 3], [0.48, 0.0, 0.58], atol=2e-3)


def test_the_names_are_the_robot_s():
    panda, fr3 = load_preset('panda'), load_preset('fr3')
    assert panda.arm_controller == 'panda_arm_controller'
    assert (panda.gripper.kind, panda.gripper.action) == (
        'command',
        'panda_hand_controller/gripper_cmd',
    )
    assert (fr3.gripper.kind, fr3.gripper.action) == ('franka', 'franka_gripper')
    assert panda.arm_joints == tuple(f'panda_joint{i}' for i in range(1, 8))
    assert fr3.arm_joints == tuple(f'fr3_joint{i}' for i in range(1, 8))
    assert np.allclose(panda.T_hand_tcp[:3, 3], [0, 0, 0.1034])


PER_JOINT = (
    'arm_joints',
    'position_lower',
    'position_upper',
    'velocity_limits',
    'acceleration_limits',
    'stopping_accelerations',
)


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('colour', 'white', 'colour'),
        ('velocity_limits', [1.0, 1.0], 'velocity_limits has 2 values; it needs 7'),
        ('acceleration_limits', [0.0] * 7, 'every value must be > 0'),
        ('open_width', 'wide', 'open_width'),
        ('open_width', 0.0, r'open_width is 0\.0; .* in metres, above 0 and at most 0\.2'),
        ('open_width', 80.0, r'open_width is 80\.0; .* in metres, above 0 and at most 0\.2'),
        ('arm_joints', ['panda_joint1'] * 7, "arm_joints is .*; it must name the arm's 7 joints"),
        ('finger_joint', 'panda_joint7', "finger_joint is 'panda_joint7', which is among arm_jo"),
        ('positions', {'ready': [9.0] * 7, 'observe': [9.0] * 7}, 'panda_joint1 is 9.0'),
    ],
)
def test_wrong_values_are_named(key, value, message):
    values = mapping()
    values[key] = value
    with pytest.raises(ConfigurationError, match=message):
        configuration.read(RobotPreset, values, 'panda.yaml')


def test_an_arm_of_six_joints_is_refused():
    values = mapping()
    positions = {name: six[:6] for name, six in values.pop('positions').items()}
    lists = {key: seven[:6] for key, seven in values.items() if key in PER_JOINT}
    with pytest.raises(ConfigurationError, match=r"arm_joints is .*; it must name the arm's 7"):
        configuration.read(RobotPreset, values | lists | {'positions': positions}, 'ur5.yaml')


CALIBRATION = """
camera:
  translation: [0.0712, -0.0013, 0.0204]
  quaternion: [0.7071, 0.0012, 0.7071, -0.0008]
"""


@pytest.fixture
def robots(tmp_path, monkeypatch):
    """The user's folder of robots."""
    monkeypatch.setenv('XDG_CONFIG_HOME', str(tmp_path))
    folder = tmp_path / 'don_kp' / 'robots'
    folder.mkdir(parents=True)
    return folder


def assert_is_calibrated(preset):
    """All but the camera's pose is the shipped Panda's, even its frame."""
    shipped = configuration.read(RobotPreset, mapping(), 'panda.yaml')
    assert preset.camera.translation == (0.0712, -0.0013, 0.0204)
    assert preset.camera.quaternion == (0.7071, 0.0012, 0.7071, -0.0008)
    assert replace(preset, camera=shipped.camera) == shipped
    assert preset.camera.frame == shipped.camera.frame


def test_the_user_s_file_overrides_keys_of_the_shipped_preset_of_its_name(robots):
    shipped = load_preset('panda')
    (robots / 'panda.yaml').write_text(CALIBRATION)
    assert_is_calibrated(load_preset('panda'))
    assert preset_files('panda') == (config_path('robots/panda.yaml'), robots / 'panda.yaml')
    assert preset_files('fr3') == (config_path('robots/fr3.yaml'),)
    (robots / 'panda.yaml').write_text('')
    assert load_preset('panda') == shipped


@pytest.mark.parametrize('how', ['path', 'name'])
def test_a_file_of_another_name_says_what_it_is_based_on(robots, tmp_path, how):
    path = robots / 'left.yaml' if how == 'name' else tmp_path / 'a file.yaml'
    robot = 'left' if how == 'name' else str(path)
    path.write_text(f'base: panda\n{CALIBRATION}')
    # Based on the shipped preset, not on what the user made of it.
    (robots / 'panda.yaml').write_text('open_width: 0.01')
    assert_is_calibrated(load_preset(robot))
    assert preset_files(robot) == (config_path('robots/panda.yaml'), path)


def test_a_file_may_be_whole(robots, tmp_path, monkeypatch):
    values = mapping() | {'name': 'mine'}
    (tmp_path / 'mine.yaml').write_text(yaml.safe_dump(values))
    monkeypatch.setenv('HOME', str(tmp_path))
    preset = load_preset('~/mine.yaml')
    assert replace(preset, name='panda') == load_preset('panda')
    assert preset_files('~/mine.yaml') == (tmp_path / 'mine.yaml',)
    (robots / 'panda.yaml').write_text(f'base: null\n{yaml.safe_dump(values)}')
    assert load_preset('panda').name == 'mine'


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('camera: {rotation: 3}', r'config/robots/panda\.yaml, overridden by .*left\.yaml: '
         r'unknown key camera\.rotation; allowed are frame'),
        ('camera: [1, 2, 3]', r'left\.yaml: camera is \[1, 2, 3\]; a mapping'),
        ('base: ur5', r"left\.yaml: base is 'ur5'; it must be a shipped preset: fr3, panda"),
        ('base: [panda]', r"left\.yaml: base is \['panda'\]"),
        ('base: null', r'left\.yaml: the configuration: .*missing'),
    ],
)  # fmt: skip
def test_a_wrong_file_is_named(robots, text, message):
    base = '' if text.startswith('base') else 'base: panda\n'
    (robots / 'left.yaml').write_text(base + text)
    with pytest.raises(ConfigurationError, match=message):
        load_preset('left')


def mounted(**changed):
    """The shipped Panda with another camera."""
    values = mapping()
    values['camera'] |= changed
    return configuration.read(RobotPreset, values, 'panda.yaml')


@pytest.mark.parametrize(
    ('quaternion', 'length'),
    [
        ([0.0, 0.0, 0.0, 0.0], '0'),
        ([0.7, 0.0, 0.7, 0.7], '1.212'),
        ([0.0, 90.0, 0.0, 1.0], '90.01'),
        ([float('inf'), 0.0, 0.0, 1.0], 'inf'),
    ],
)
def test_a_quaternion_that_is_no_rotation_is_refused_with_its_length(quaternion, length):
    with pytest.raises(
        ConfigurationError, match=rf'camera\.quaternion is \[.*\], of length {length};'
    ):
        mounted(quaternion=quaternion)
    values = mapping()
    values['moveit']['tip_tcp_quaternion'] = quaternion
    with pytest.raises(ConfigurationError, match=r'moveit\.tip_tcp_quaternion is .* has length 1'):
        configuration.read(RobotPreset, values, 'panda.yaml')


def test_two_decimals_of_a_quaternion_are_enough():
    assert np.allclose(
        mounted(quaternion=[0.71, 0.0, 0.71, 0.0]).T_hand_camera_link,
        load_preset('panda').T_hand_camera_link,
        atol=1e-8,
    )


C = 0.70710678
TILTED = Rotation.from_euler('y', 25, degrees=True) * Rotation.from_quat([C, 0, C, 0])


@pytest.mark.parametrize('link', [[C, 0.0, C, 0.0], TILTED.as_quat().tolist()])
def test_a_hand_eye_pose_of_either_frame_is_the_same_camera(link):
    as_link = mounted(quaternion=link)
    # Of the D435: 15 mm to the left, then z forward, x right, y down.
    T_link_optical = np.array([[0, 0, 1, 0], [-1, 0, 0, 0.015], [0, -1, 0, 0], [0, 0, 0, 1.0]])
    T = as_link.T_hand_camera_link @ T_link_optical
    as_optical = mounted(
        frame='camera_color_optical_frame',
        translation=T[:3, 3].tolist(),
        quaternion=rigid.to_quaternion(T).tolist(),
    )
    assert np.allclose(as_optical.T_hand_camera_link, as_link.T_hand_camera_link, atol=1e-7)
    assert as_link.doubts_of_camera() == as_optical.doubts_of_camera() == ''


def test_the_pose_of_another_optical_frame_is_refused():
    with pytest.raises(ConfigurationError, match=r"camera\.frame is 'camera_depth_optical_frame'"):
        mounted(frame='camera_depth_optical_frame')


OPTICAL = 'camera_color_optical_frame'


@pytest.mark.parametrize(
    ('changed', 'doubts'),
    [
        # The shipped pose as wxyz turns the camera round.
        (
            {'quaternion': [0.0, C, 0.0, C]},
            rf'looks 180 degrees away from where panda_hand points, by the pose of camera_link, '
            rf'xyzw; .*quaternion were wxyz: write \[{C}, 0\.0, {C}, 0\.0\]$',
        ),
        (
            {'frame': OPTICAL, 'quaternion': [-C, 0.0, 0.0, C]},
            rf'looks 90 degrees away .*pose of {OPTICAL}, .*write \[0\.0, 0\.0, {C}, -{C}\]$',
        ),
        # The optical frame's pose as that of camera_link, and the reverse.
        ({'quaternion': [0.0, 0.0, -C, C]}, f'looks 90 degrees .* write frame: {OPTICAL}$'),
        ({'frame': OPTICAL}, r'looks 90 degrees .*were that of camera_link: write frame: cam'),
        ({'quaternion': [0.0, 0.0, 1.0, 0.0]}, r'looks 90 degrees .*if its pose were that of'),
        ({'quaternion': [0.0, -C, 0.0, C], 'frame': 'wrist'}, ''),
        ({'translation': [71.2, 0.0, 20.4]}, r'sits 74\.1 m from panda_hand: .* in metres'),
    ],
)
def test_a_camera_that_looks_away_is_told_with_what_may_be_meant(changed, doubts):
    told = mounted(**changed).doubts_of_camera()
    assert re.search(doubts, told) and bool(told) == bool(doubts), told


def test_a_missing_file_is_named(robots):
    with pytest.raises(FileNotFoundError, match=r'/no/where\.yaml not found.*fr3, panda'):
        load_preset('/no/where.yaml')
    with pytest.raises(FileNotFoundError, match=r'~nobody_here/mine\.yaml not found'):
        load_preset('~nobody_here/mine.yaml')
    with pytest.raises(
        FileNotFoundError, match=r'don_kp/robots/ur5\.yaml not found; looked for.*fr3, panda'
    ):
        load_preset('ur5')


def test_the_positions_of_a_robot_are_told():
    with pytest.raises(KeyError, match='ready, observe'):
        load_preset('panda').position('home')
