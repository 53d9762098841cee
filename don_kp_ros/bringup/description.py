"""The stack's nodes and launch arguments, listed once for launch files and `don_kp bringup`."""

import os
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from don_kp_ros.bringup.conflicts import refuse_conflicts
from don_kp_ros.bringup.ros_names import with_ros_names
from don_kp_ros.errors import did_you_mean
from don_kp_ros.nodes.kit import camera_topics
from don_kp_ros.resources import config_path

LAST_DOMAIN = 232
_JOINTS = 'joint_states'
_MISTYPED = 0.83  # as like ours as use_simulation; ros_namespace and enable_gyro are others' names


@dataclass(frozen=True)
class Argument:
    """A launch argument; `choices` empty means any text that `kind` reads."""

    name: str
    default: str
    description: str
    choices: tuple[str, ...] = ()
    kind: type[str] | type[float] | type[bool] = str

    def read(self, text: str) -> str | float | bool:
        """Return the value of a text."""
        return text == 'true' if self.kind is bool else self.kind(text)


@dataclass(frozen=True)
class NodeSpec:
    """A node of the stack.

    `parameters` maps the node's parameters to the launch arguments that override them; an empty
    argument leaves the value of the parameter file, or of `simulated`, which holds what a
    simulation changes. `only_if` names an argument that must be 'true'.
    """

    name: str
    description: str
    parameters: Mapping[str, str]
    only_if: str = ''
    simulated: Mapping[str, str | float | bool] = field(
        default_factory=lambda: {'use_sim_time': True}
    )

    @property
    def executable(self) -> str:
        """Return the name of the executable for `ros2 run don_kp`."""
        return self.name

    @property
    def module(self) -> str:
        """Return the Python module that holds the node's main()."""
        return f'don_kp_ros.nodes.{self.name}'

    @property
    def parameters_file(self) -> Path:
        """Return the path of the node's parameter file."""
        return config_path(f'{self.name}.yaml')

    def overrides(self, arguments: Mapping[str, str]) -> dict[str, str | float | bool]:
        """Return the parameters that the launch arguments set."""
        given = {
            name: _KNOWN[argument].read(arguments[argument])
            for name, argument in self.parameters.items()
            if arguments[argument]
        }
        return {**(self.simulated if arguments['simulation'] == 'true' else {}), **given}


NODES = (
    NodeSpec(
        'simulation',
        'The robot, its camera and the objects, in MuJoCo',
        {'robot': 'robot', 'real_time_factor': 'real_time_factor', 'board': 'board'},
        only_if='simulation',
        simulated={},
    ),
    NodeSpec(
        'perception',
        'Finds the stored points in the camera picture',
        {'model': 'model', 'robot': 'robot', 'camera_mount': 'camera_mount'},
    ),
    NodeSpec(
        'descriptor_database',
        'Keeps named descriptors',
        {'database': 'database', 'database_url': 'database_url'},
    ),
    NodeSpec(
        'grasp',
        'Grasps at the points that perception finds',
        {'robot': 'robot', 'motion': 'motion', 'enabled': 'enable', 'safety': 'safety'},
        # No one is hurt by a simulated arm.
        simulated={'use_sim_time': True, 'enabled': True, 'simulated': True},
    ),
)


ARGUMENTS = (
    Argument(
        'simulation',
        'false',
        'true: simulate robot, camera and objects; false: drivers of the real ones run',
        ('true', 'false'),
    ),
    Argument(
        'simulation_domain',
        '77',
        'ROS domain of the nodes with simulation:=true, apart from that of a real robot: '
        'export ROS_DOMAIN_ID=77 where you use them',
    ),
    Argument(
        'real_time_factor',
        '',
        'Simulated seconds in a second, at most; 0: as many as perception can follow; empty: the '
        "parameter file's, which is 1.0",
        kind=float,
    ),
    Argument(
        'board',
        '',
        'true: simulate a board on the table, and a camera mounted a bit off: to calibrate it; '
        "empty: the parameter file's, which is false",
        ('true', 'false', ''),
        kind=bool,
    ),
    Argument(
        'enable',
        '',
        'true: the arm may move at once; false: after a call of `enable`; empty: the parameter '
        "file's, which is false, or true with simulation:=true",
        ('true', 'false', ''),
        kind=bool,
    ),
    Argument(
        'safety',
        '',
        'File whose keys override those of config/safety.yaml: workspace, speeds, force and tilt '
        'that the arm is held to; empty: none',
    ),
    Argument(
        'motion',
        '',
        'Who plans: embedded (OMPL, needs nothing) or moveit (a MoveIt installation); empty: the '
        "parameter file's, which is embedded",
        ('embedded', 'moveit', ''),
    ),
    Argument(
        'robot',
        'panda',
        "Preset in config/robots, overridden by don_kp/robots in the user's configuration folder; "
        'or a file',
    ),
    Argument(
        'model',
        '',
        "Descriptor network to run; empty: the parameter file's, which is the shipped one",
    ),
    Argument(
        'database',
        '',
        'SQLite file of the descriptor database; empty: database_url, or else '
        "don_kp/descriptors.sqlite in the user's data folder",
    ),
    Argument(
        'database_url',
        '',
        'PostgreSQL server in place of the file, e.g. postgresql+psycopg://robot@host/don_kp; '
        'empty: the file, if one is given, or else DON_KP_DATABASE_URL',
    ),
    Argument(
        'namespace', '', 'Namespace of all nodes and names, one for each robot; empty: the root'
    ),
    Argument(
        'camera_namespace',
        camera_topics.NAMESPACE,
        'Namespace of the camera topics, within `namespace` unless it begins with /; its last '
        "name is the camera's, which begins the names of its frames",
    ),
    Argument(
        'camera_name',
        '',
        "The camera's name, where camera_namespace is without it, as for realsense2_camera: "
        'topics in camera_namespace/camera_name (camera_namespace by default: '
        f'{posixpath.dirname(camera_topics.NAMESPACE)}); empty: the last in camera_namespace',
    ),
    Argument(
        'camera_mount',
        '',
        'Where the camera sits: hand (its pose there is told on /tf_static, by the preset of '
        '`robot`) or none (somebody else tells where it is, e.g. on a stand); empty: hand, or '
        'none with simulation:=true',
        ('hand', 'none', ''),
    ),
    Argument(
        'camera_driver',
        '',
        "true: start realsense2_camera's driver; false: the camera's driver runs already, or "
        'elsewhere; empty: true for a real camera, where perception is among the nodes',
        ('true', 'false', ''),
    ),
    Argument(
        _JOINTS,
        _JOINTS,
        'Topic of the joint states of arm and hand, within `namespace` unless it begins with /',
    ),
    Argument('rviz', 'false', 'Show everything in RViz', ('true', 'false')),
    Argument('nodes', ','.join(node.name for node in NODES), 'Nodes to start, by commas'),
)
_KNOWN = {argument.name: argument for argument in ARGUMENTS}


def ours(given: Mapping[str, str]) -> dict[str, str]:
    """Return our launch arguments out of those of all launch files.

    Raises ValueError for one that is nearly one of ours: it is mistyped, and would do nothing. One
    with a number or an s, such as robot_2 and robots, is of a file that launches several.
    """
    for name in given:
        single = {name, name.rstrip('_0123456789'), name.removesuffix('s')}
        if single.isdisjoint(_KNOWN) and did_you_mean(name, _KNOWN, cutoff=_MISTYPED):
            raise _unknown(name)
    return {name: value for name, value in given.items() if name in _KNOWN}


def checked(arguments: Mapping[str, str]) -> dict[str, str]:
    """Return all launch arguments, defaults filled in.

    Raises ValueError for an unknown argument, a value that is not allowed, one that would do
    nothing beside another, an unknown node or robot, a preset that is wrong, and a namespace that
    is no ROS name.
    """
    for name in arguments:
        if name not in _KNOWN:
            raise _unknown(name)
    defaults = {name: argument.default for name, argument in _KNOWN.items()}
    values = {**defaults, **arguments}
    for name, value in values.items():
        choices = _KNOWN[name].choices
        if choices and value not in choices:
            allowed = ', '.join(choice or 'empty' for choice in choices)
            raise ValueError(f'{name} is {value!r}; it must be one of {allowed}.')
        try:
            if value:
                _KNOWN[name].read(value)
        except ValueError:
            raise ValueError(f'{name} is {value!r}; it must be a number.') from None
    domain = values['simulation_domain']
    if not (domain.isdecimal() and int(domain) <= LAST_DOMAIN):
        raise ValueError(
            f'simulation_domain is {domain!r}; it must be a whole number from 0 to {LAST_DOMAIN}.'
        )
    names = [node.name for node in NODES]
    for name in values['nodes'].split(','):
        if name not in names:
            raise ValueError(f'nodes names {name!r}; the nodes are {", ".join(names)}.')
    values = with_ros_names(values, defaults)
    refuse_conflicts(values, defaults)
    if not values['camera_mount']:  # a simulation tells itself where its own is
        values['camera_mount'] = 'none' if values['simulation'] == 'true' else 'hand'
    from don_kp_ros.robots.preset import load_preset  # only now: NumPy is slow to import

    try:
        load_preset(values['robot'])
    except FileNotFoundError as error:
        raise ValueError(str(error)) from None
    return values


def _unknown(name: str) -> ValueError:
    return ValueError(
        f'Unknown argument {name!r}; the arguments are {", ".join(_KNOWN)}'
        f'{did_you_mean(name, _KNOWN) or "."}'
    )


def selected(arguments: Mapping[str, str]) -> list[NodeSpec]:
    """Return the nodes that these (checked) launch arguments ask for."""
    names = arguments['nodes'].split(',')
    return [
        node
        for node in NODES
        if node.name in names and (not node.only_if or arguments[node.only_if] == 'true')
    ]


def starts_camera(arguments: Mapping[str, str]) -> bool:
    """Tell whether a launch of these (checked) arguments starts the camera's driver."""
    if given := arguments['camera_driver']:
        return given == 'true'
    perceives = 'perception' in [node.name for node in selected(arguments)]
    return arguments['simulation'] == 'false' and perceives


def namespace(arguments: Mapping[str, str]) -> str:
    """Return the nodes' namespace from the root, e.g. /robot1, or / itself."""
    return posixpath.join('/', arguments['namespace'])


def remappings(arguments: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the topics that have another name than in the nodes, as (from, to)."""
    own, given = camera_topics.NAMESPACE, arguments['camera_namespace']
    pairs = [(topic, topic.replace(own, given, 1)) for topic in camera_topics.ALL if given != own]
    if (joints := arguments['joint_states']) != _JOINTS:
        pairs.append((_JOINTS, joints))
    if arguments['simulation'] == 'true' and arguments['namespace']:
        # Each simulation has a time of its own.
        pairs.append(('/clock', posixpath.join(namespace(arguments), 'clock')))
    return pairs


def root_remappings(arguments: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the names that tf2_ros and RViz take from the root, wherever they are."""
    names = ('tf', 'tf_static', 'clock')
    return [(f'/{name}', posixpath.join(namespace(arguments), name)) for name in names]


def rviz_options(arguments: Mapping[str, str]) -> list[str]:
    """Return RViz's options for our view, on the base of the robot."""
    from don_kp_ros.robots.preset import load_preset  # only now, as in `checked`

    base = load_preset(arguments['robot']).base_frame
    return ['-d', str(config_path('rviz/don_kp.rviz')), '-f', base]


def hint(arguments: Mapping[str, str]) -> str:
    """Return what the user of a simulation must know to reach it, or nothing."""
    domain = arguments['simulation_domain']
    if arguments['simulation'] == 'false' or os.environ.get('ROS_DOMAIN_ID') == domain:
        return ''
    return (
        f'The simulation is in ROS domain {domain} of this machine. In your other terminals: '
        f'export ROS_DOMAIN_ID={domain}'
    )


def environment(arguments: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that the nodes need beside, or in place of, the user's."""
    wanted = {'FASTRTPS_DEFAULT_PROFILES_FILE': str(config_path('fastdds.xml'))}
    apart = {}
    if arguments['simulation'] == 'true':
        # A simulated grasp must not command a real arm, whatever the environment says.
        apart = {
            'ROS_DOMAIN_ID': arguments['simulation_domain'],
            'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
            'ROS_STATIC_PEERS': '',
        }
    return {**{k: v for k, v in wanted.items() if k not in os.environ}, **apart}
