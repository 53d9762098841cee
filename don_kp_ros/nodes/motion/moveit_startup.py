"""How MoveIt is started: its parameters, and what it needs to hear first."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import JointState

from don_kp_ros import configuration
from don_kp_ros.nodes.kit.clock import RosTime
from don_kp_ros.nodes.kit.conversions import seconds_from_stamp
from don_kp_ros.nodes.kit.runner import EndedError, StartupError, told_to_end
from don_kp_ros.nodes.motion.installation import installed
from don_kp_ros.nodes.motion.joint_monitor import joint_states_elsewhere
from don_kp_ros.resources import config_path
from don_kp_ros.robots.preset import RobotPreset, merged

_NODE_NAME = 'don_kp_moveit'
_OWN_PACKAGE = 'don_kp'
_PATIENCE_S, _OLDEST_S = 10.0, 1.0


def start_moveit(node: Node, preset: RobotPreset) -> tuple[Any, dict[str, Any]]:
    """Start MoveItPy in a node's namespace and time; return it and its parameters.

    Raises StartupError where MoveIt, a file of the robot's or the robot itself is missing.
    """
    planning = installed('moveit.planning')
    parameters = moveit_parameters(preset)
    parameters['use_sim_time'] = node.get_parameter('use_sim_time').value
    _wait_for_joint_states(node, preset)
    # By a file for any node: a config_dict is for one without a namespace.
    with tempfile.NamedTemporaryFile('w', prefix=f'{_NODE_NAME}_', suffix='.yaml') as file:
        yaml.safe_dump({'/**': {'ros__parameters': parameters}}, file)
        file.flush()
        try:
            moveit = planning.MoveItPy(
                node_name=_NODE_NAME,
                name_space=node.get_namespace(),
                launch_params_filepaths=[file.name],
                remappings={
                    '/tf': 'tf',
                    '/tf_static': 'tf_static',
                    '/clock': node.resolve_topic_name('/clock'),
                    'joint_states': node.resolve_topic_name('joint_states'),
                },
            )
        except RuntimeError as error:
            raise StartupError(
                f'MoveIt does not start for the robot {preset.name}: {error}; '
                'what it logged above says why'
            ) from error
    return moveit, parameters


def moveit_parameters(preset: RobotPreset) -> dict[str, Any]:
    """Return MoveIt's parameters: those of the robot's files, and above them our own."""
    names = preset.moveit
    builder = installed('moveit_configs_utils').MoveItConfigsBuilder
    try:
        parameters: dict[str, Any] = (
            builder(names.robot_name, package_name=names.package)
            .robot_description(_file(preset, names.description), dict(names.mappings))
            .robot_description_semantic(_file(preset, names.semantic), dict(names.mappings))
            .trajectory_execution(_file(preset, names.trajectory_execution))
            .joint_limits(_file(preset, names.joint_limits))
            .planning_pipelines(pipelines=['ompl', 'pilz_industrial_motion_planner'])
            .pilz_cartesian_limits(_file(preset, names.pilz_cartesian_limits))
            .to_moveit_configs()
            .to_dict()
        )
        ompl = _file(preset, names.ompl_planning)
    except LookupError as error:  # of packages and of files
        raise StartupError(
            f'MoveIt lacks what the robot {preset.name} names under moveit: {error}. Install '
            f'{names.package}, or name other files in a preset of your own (docs/robots.md)'
        ) from error
    if ompl is not None:
        parameters['ompl'] = merged(parameters['ompl'], configuration.load(Path(ompl)))
    # Ours last: a robot's package may have no line checked against the planning scene.
    return merged(parameters, configuration.load(config_path('moveit_cpp.yaml')))


def _file(preset: RobotPreset, name: str) -> str | None:
    """Return the path of a file that a preset names; None is the package's usual one."""
    if not name:
        return None
    package, path = preset.moveit.package, name
    if name.startswith('package://'):
        package, _, path = name.removeprefix('package://').partition('/')
    if package == _OWN_PACKAGE:
        return str(config_path(path.removeprefix('config/')))
    share = installed('ament_index_python.packages').get_package_share_directory(package)
    return str(Path(share, path))


def _wait_for_joint_states(node: Node, preset: RobotPreset) -> None:
    """Wait until the robot is heard: without it, MoveItPy ends the whole process.

    On a node of its own, since nobody spins the given one yet.
    """
    listener = Node(
        f'{_NODE_NAME}_startup',
        context=node.context,
        namespace=node.get_namespace(),
        use_global_arguments=False,  # MoveIt does not know them either
        cli_args=['--ros-args', '-r', f'/clock:={node.resolve_topic_name("/clock")}'],
        parameter_overrides=[node.get_parameter('use_sim_time')],
        start_parameter_services=False,
        enable_rosout=False,
    )
    time_of_node = RosTime(listener)
    missing = {*preset.arm_joints, preset.finger_joint}

    def hear(message: JointState) -> None:
        if time_of_node.now() - seconds_from_stamp(message.header.stamp) < _OLDEST_S:
            missing.difference_update(message.name)

    topic = node.resolve_topic_name('joint_states')
    listener.create_subscription(JointState, topic, hear, qos_profile_sensor_data)
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(listener)
    deadline = time.monotonic() + _PATIENCE_S
    while missing and not told_to_end() and time.monotonic() < deadline:
        executor.spin_once(timeout_sec=0.1)
    executor.shutdown()
    listener.destroy_node()
    if told_to_end():
        raise EndedError
    if missing:
        raise StartupError(
            f'no fresh joint states on {topic} for {_PATIENCE_S:g} s of '
            f'{", ".join(sorted(missing))}; is the robot running, and does its clock agree?'
            f'{joint_states_elsewhere(node, topic)}'
        )
