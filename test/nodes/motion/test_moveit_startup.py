"""The start of the MoveIt adapter with a stand-in for moveit_py; see there what it can tell."""

import os
import signal
import threading
import types

import pytest
import rclpy
import yaml
from ideal_robot import PRESET, anywhere
from moveit_stand_in import MoveItPy
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState

from don_kp_ros import configuration
from don_kp_ros.nodes.kit.runner import StartupError, run_node
from don_kp_ros.nodes.motion import moveit_startup
from don_kp_ros.nodes.motion.moveit import MoveItMotion
from don_kp_ros.nodes.motion.moveit_startup import moveit_parameters
from don_kp_ros.resources import config_path
from don_kp_ros.robots.preset import load_preset


def test_missing_moveit_is_told_with_the_remedy(user):
    with pytest.raises(StartupError, match=r'moveit-py.*or choose motion: embedded'):
        MoveItMotion(user, PRESET, anywhere())


@pytest.mark.parametrize(
    ('missing', 'message'),
    [
        ('config/joint_limits.yaml', r'names under moveit: .*joint_limits\.yaml doesn.t exist'),
        ('', r"package 'moveit_resources_panda_moveit_config' not found"),
    ],
)
def test_what_moveit_lacks_of_the_robot_is_told_with_the_remedy(share, missing, message):
    package = PRESET.moveit.package
    index = share / 'ament_index/resource_index/packages' / package
    (share / package / missing if missing else index).unlink()
    with pytest.raises(StartupError, match=f'{message}.*Install {package}, or name other files'):
        moveit_parameters(PRESET)


def test_franka_s_package_is_completed(share):
    """What franka_ros2 v3.4.0 lacks for MoveItPy is ours, and fits the preset."""
    preset = load_preset('fr3')
    parameters = moveit_parameters(preset)
    assert parameters['robot_description'] == 'the FR3'
    assert parameters['robot_description_semantic'] == 'its groups'
    ompl = parameters['ompl']
    assert ompl['planning_plugins'] == ['ompl_interface/OMPLPlanner']
    planner = parameters['free']['plan_request_params']['planner_id']
    assert planner in ompl[preset.moveit.arm_group]['planner_configs']
    assert planner in ompl['planner_configs']
    assert 'moveit_controller_manager' in parameters
    manager = parameters['moveit_simple_controller_manager']
    assert manager['controller_names'] == [preset.arm_controller]
    assert manager[preset.arm_controller]['joints'] == list(preset.arm_joints)
    limits = parameters['robot_description_planning']
    assert limits['cartesian_limits']['max_trans_vel'] == 1.0
    for joint, velocity, acceleration in zip(
        preset.arm_joints, preset.velocity_limits, preset.acceleration_limits, strict=True
    ):
        limit = limits['joint_limits'][joint]
        assert limit['has_velocity_limits'] and limit['max_velocity'] == velocity
        assert limit['has_acceleration_limits'] and limit['max_acceleration'] == acceleration


@pytest.mark.parametrize('robot', ['panda', 'fr3'])
def test_what_a_robot_s_package_says_of_the_pipelines_does_not_count(share, robot):
    package = share / load_preset(robot).moveit.package / 'config'
    for name in ('ompl', 'pilz_industrial_motion_planner'):
        theirs = {'planning_plugins': ['theirs'], 'response_adapters': ['theirs'], 'theirs': 1}
        (package / f'{name}_planning.yaml').write_text(yaml.safe_dump(theirs))
        pipeline = moveit_parameters(load_preset(robot))[name]
        assert pipeline['theirs'] == 1
        ours = configuration.load(config_path('moveit_cpp.yaml'))[name]
        assert pipeline | ours == pipeline
        assert 'default_planning_response_adapters/ValidateSolution' in ours['response_adapters']


@pytest.mark.parametrize('simulated', [False, True])
@pytest.mark.parametrize(
    ('renamed', 'topic'),
    [([], '/robot1/joint_states'), (['-r', 'joint_states:=/franka/joints'], '/franka/joints')],
)
def test_moveit_runs_in_the_node_s_namespace_and_time(
    share, robot, monkeypatch, simulated, renamed, topic
):
    time = Parameter('use_sim_time', value=simulated)
    user = Node(
        'user',
        context=robot.context,
        namespace='robot1',
        parameter_overrides=[time],
        cli_args=['--ros-args', *renamed],
    )
    there = robot.create_publisher(JointState, topic, 10)
    monkeypatch.setattr(robot, 'publisher', there)
    MoveItMotion(user, PRESET, anywhere())
    made = MoveItPy.made
    assert (made.namespace, made.parameters['use_sim_time']) == ('/robot1', simulated)
    assert made.joint_states == topic
    for option in ('joint_state', 'attached_collision_object', 'monitored_planning_scene'):
        name = made.parameters['planning_scene_monitor_options'][f'{option}_topic']
        assert user.resolve_topic_name(name).startswith('/robot1/') == (
            not renamed or option != 'joint_state'
        )
    user.destroy_node()


@pytest.mark.parametrize(
    ('case', 'missing'),
    [
        ('silent', 'panda_finger_joint1, panda_joint1, '),
        ('of old', 'panda_finger_joint1, panda_joint1, '),
        ('without fingers', 'panda_finger_joint1; '),
    ],
)
def test_a_robot_that_is_not_heard_is_told_before_moveit_starts(
    share, robot, user, monkeypatch, case, missing
):
    monkeypatch.setattr(moveit_startup, '_PATIENCE_S', 1.0)
    publisher = robot.publisher

    def publish(message):
        if case == 'of old':
            message.header.stamp.sec -= 60
        if case == 'without fingers':
            message.name = message.name[:-1] + ['another']
        publisher.publish(message)

    robot.silent = case == 'silent'
    monkeypatch.setattr(robot, 'publisher', types.SimpleNamespace(publish=publish))
    with pytest.raises(StartupError, match=f'joint states on /joint_states for 1 s of {missing}'):
        MoveItMotion(user, PRESET, anywhere())


def test_what_moveit_says_when_it_does_not_start_is_told(share, robot, user, monkeypatch):
    monkeypatch.setattr(moveit_startup, '_wait_for_joint_states', lambda *_: None)
    robot.silent = True
    with pytest.raises(StartupError, match='panda: Unable to configure planning scene monitor'):
        MoveItMotion(user, PRESET, anywhere())


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_node_while_it_waits_for_the_robot(share, robot, number, capfd):
    robot.silent = True
    made = getattr(MoveItPy, 'made', None)

    class Moving(Node):
        def __init__(self):
            super().__init__('moving')
            os.kill(os.getpid(), number)
            MoveItMotion(self, PRESET, anywhere())

    assert run_node(Moving, []) == 0
    assert getattr(MoveItPy, 'made', None) is made
    assert 'no fresh joint states' not in capfd.readouterr().err


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_node_though_moveit_took_the_signals(share, robot, number):
    ended = threading.Event()

    class Moving(Node):
        def __init__(self):
            super().__init__('moving')
            self.motion = MoveItMotion(self, PRESET, anywhere())
            self.create_timer(0.1, self.interrupt)
            # Whatever comes of the signal, the test ends.
            self.rescue = threading.Timer(5.0, rclpy.try_shutdown)
            self.rescue.start()

        def interrupt(self):
            os.kill(os.getpid(), number)

        def end(self):
            ended.set()
            self.motion.stop()
            self.rescue.cancel()

    assert run_node(Moving, []) == 0
    assert ended.is_set()
    assert not MoveItPy.made.shut_down.is_set()
