"""Start the whole stack: `ros2 launch don_kp grasp.launch.py simulation:=true`.

With simulation:=false it starts the camera's driver, too, unless camera_driver:=false or the nodes
are without perception; the arm's driver is started by itself, e.g. by
`ros2 launch franka_fr3_moveit_config moveit.launch.py robot_ip:=...`.
"""

import posixpath
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import Command, LaunchConfiguration
from launch_ros.actions import Node, SetRemap
from launch_ros.parameter_descriptions import ParameterValue

from don_kp_ros.bringup import description
from don_kp_ros.robots.preset import load_preset


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, and start what they ask for."""
    declared = [
        DeclareLaunchArgument(
            argument.name,
            default_value=argument.default,
            description=argument.description,
            choices=list(argument.choices) or None,
        )
        for argument in description.ARGUMENTS
    ]
    return LaunchDescription(
        [
            *declared,
            OpaqueFunction(function=_nodes),
            OpaqueFunction(
                function=_description, condition=IfCondition(LaunchConfiguration('simulation'))
            ),
            GroupAction(
                [
                    OpaqueFunction(function=_frames),
                    OpaqueFunction(function=_camera),
                    OpaqueFunction(
                        function=_rviz, condition=IfCondition(LaunchConfiguration('rviz'))
                    ),
                ]
            ),
        ]
    )


def _arguments(context: LaunchContext) -> dict[str, str]:
    return description.checked(description.ours(context.launch_configurations))


def _nodes(context: LaunchContext) -> list[Action]:
    arguments = _arguments(context)
    environment = description.environment(arguments)
    return [
        *([LogInfo(msg=hint)] if (hint := description.hint(arguments)) else []),
        *(SetEnvironmentVariable(name, value) for name, value in environment.items()),
        *(_node(spec, arguments) for spec in description.selected(arguments)),
    ]


def _node(spec: description.NodeSpec, arguments: dict[str, str]) -> Node:
    overrides = {
        name: ParameterValue(value, value_type=type(value))
        for name, value in spec.overrides(arguments).items()
    }
    return Node(
        package='don_kp',
        executable=spec.executable,
        namespace=description.namespace(arguments),
        parameters=[str(spec.parameters_file), overrides],
        remappings=description.remappings(arguments),
        output='screen',
        emulate_tty=True,
        on_exit=Shutdown(reason=f'{spec.name} ended'),
    )


def _frames(context: LaunchContext) -> list[Action]:
    return [SetRemap(*pair) for pair in description.root_remappings(_arguments(context))]


def _camera(context: LaunchContext) -> list[Action]:
    arguments = _arguments(context)
    if not description.starts_camera(arguments):
        return []
    namespace = description.namespace(arguments)
    camera_namespace, camera_name = posixpath.split(
        posixpath.join(namespace, arguments['camera_namespace'])
    )
    try:
        driver = Path(get_package_share_directory('realsense2_camera')) / 'launch' / 'rs_launch.py'
    except PackageNotFoundError:
        raise RuntimeError(
            "realsense2_camera, the camera's driver, is not installed: sudo apt install "
            'ros-jazzy-realsense2-camera; or give camera_driver:=false, and start that of your '
            'camera yourself'
        ) from None
    return [
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(str(driver)),
            launch_arguments={
                'camera_namespace': camera_namespace,
                'camera_name': camera_name,
                'align_depth.enable': 'true',
                'enable_sync': 'true',
                'rgb_camera.color_profile': '640x480x30',
                'depth_module.depth_profile': '640x480x30',
            }.items(),
        ),
    ]


def _description(context: LaunchContext) -> list[Action]:
    """Publish the robot's description, for RViz and MoveIt, where it is installed.

    The simulation publishes the frames itself: those that robot_state_publisher makes go nowhere.
    """
    arguments = _arguments(context)
    names = load_preset(arguments['robot']).moveit
    package, path = names.package, names.description
    if path.startswith('package://'):
        package, _, path = path.removeprefix('package://').partition('/')
    try:
        for needed in ('robot_state_publisher', 'xacro'):
            get_package_share_directory(needed)
        file = Path(get_package_share_directory(package)) / path
    except PackageNotFoundError as error:
        return [LogInfo(msg=f'RViz shows frames, but no robot; install what is missing: {error}')]
    if not file.is_file():
        return [LogInfo(msg=f'RViz shows frames, but no robot: {file} is no file')]
    mappings = [f' {name}:={value}' for name, value in names.mappings.items()]
    return [
        Node(
            package='robot_state_publisher',
            executable='robot_state_publisher',
            namespace=description.namespace(arguments),
            parameters=[
                {
                    'robot_description': ParameterValue(
                        Command(['xacro ', str(file), *mappings]), value_type=str
                    ),
                    'use_sim_time': True,
                }
            ],
            remappings=[(topic, f'robot_description{topic}') for topic in ('/tf', '/tf_static')],
        )
    ]


def _rviz(context: LaunchContext) -> list[Action]:
    arguments = _arguments(context)
    return [
        Node(
            package='rviz2',
            executable='rviz2',
            namespace=description.namespace(arguments),
            parameters=[{'use_sim_time': arguments['simulation'] == 'true'}],
            arguments=description.rviz_options(arguments),
        )
    ]
