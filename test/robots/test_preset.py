import numpy as np
import pytest
import yaml

from don_kp_ros import configuration
from don_kp_ros.configuration import ConfigurationError
from don_kp_ros.geometry import rigid
from don_kp_ros.motion.kinematics import Kinematics
from don_kp_ros.resources import config_path
from don_kp_ros.robots.preset import RobotPreset, load_preset


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
    assert panda.arm_topic == '/panda_arm_controller/joint_trajectory'
    assert panda.hand_topic == '/panda_hand_controller/joint_trajectory'
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


def test_unknown_names_are_told_with_the_remedy():
    with pytest.raises(FileNotFoundError, match=r'robots/ur5\.yaml not found; looked for'):
        load_preset('ur5')
    with pytest.raises(KeyError, match='ready, observe'):
        load_preset('panda').position('home')
