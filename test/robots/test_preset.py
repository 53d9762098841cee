from dataclasses import replace

import numpy as np
import pytest
import yaml

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


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('colour', 'white', 'colour'),
        ('velocity_limits', [1.0, 1.0], 'velocity_limits has 2 values; it needs 7'),
        ('acceleration_limits', [0.0] * 7, 'every value must be > 0'),
        ('open_width', 'wide', 'open_width'),
        ('positions', {'ready': [9.0] * 7, 'observe': [9.0] * 7}, 'panda_joint1 is 9.0'),
    ],
)
def test_wrong_values_are_named(key, value, message):
    values = mapping()
    values[key] = value
    with pytest.raises(ConfigurationError, match=message):
        configuration.read(RobotPreset, values, 'panda.yaml')


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


def test_a_missing_file_is_named(robots):
    with pytest.raises(FileNotFoundError, match=r'/no/where\.yaml not found.*fr3, panda'):
        load_preset('/no/where.yaml')
    with pytest.raises(
        FileNotFoundError, match=r'don_kp/robots/ur5\.yaml not found; looked for.*fr3, panda'
    ):
        load_preset('ur5')


def test_the_positions_of_a_robot_are_told():
    with pytest.raises(KeyError, match='ready, observe'):
        load_preset('panda').position('home')
