"""The arrows of the layout: what may import what."""

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / 'don_kp_ros'
SOURCES = sorted(PACKAGE.rglob('*.py'))

# What a room may import of ours, besides itself: arrows run down.
BASE = {'geometry', 'arguments', 'configuration', 'errors', 'outputs', 'resources', 'signals'}
LEARNING = BASE | {'networks', 'data', 'matching', 'evaluation'}
STACK = BASE | {
    'robots', 'networks', 'data', 'database', 'meshes', 'matching', 'pose', 'motion', 'grasping',
}  # fmt: skip
ALLOWED = {
    'geometry': set[str](),
    'arguments': {'errors'},
    'configuration': {'errors'},
    'errors': set[str](),
    'outputs': {'errors'},
    'resources': set[str](),
    'signals': set[str](),
    'robots': BASE,
    'networks': BASE,
    'data': BASE,
    'meshes': BASE,
    'database': BASE,
    'matching': BASE | {'networks', 'data'},
    'pose': BASE | {'data', 'matching', 'meshes', 'networks'},
    'page': BASE | {'annotation', 'data', 'matching', 'networks'},
    'calibration': BASE | {'data', 'robots'},
    'recordings': BASE | {'data'},
    'annotation': BASE | {'data', 'meshes', 'pose', 'recordings'},
    'motion': BASE | {'robots'},
    'simulation': BASE | {'robots', 'data', 'meshes', 'calibration'},
    'grasping': BASE | {'robots', 'motion'},
    'evaluation': BASE | {'networks', 'data', 'matching'},
    'training': LEARNING | {'meshes'},
    'studies': LEARNING | {'training'},
    'nodes': STACK | {'simulation'},
    'bringup': BASE | {'robots', 'nodes'},
    'clients': BASE
    | {'robots', 'data', 'database', 'meshes', 'calibration', 'recordings', 'nodes', 'bringup'}
    | {'page'},
    'demo': STACK | {'bringup', 'nodes', 'simulation', 'clients', 'page'},
}
ROS = {
    'rclpy', 'don_kp', 'action_msgs', 'builtin_interfaces', 'control_msgs', 'diagnostic_msgs',
    'franka_msgs', 'geometry_msgs', 'moveit_msgs', 'nav_msgs', 'rcl_interfaces', 'sensor_msgs',
    'shape_msgs', 'std_msgs', 'std_srvs', 'tf2_msgs', 'trajectory_msgs', 'visualization_msgs',
    'ament_index_python', 'tf2_ros', 'cv_bridge', 'moveit', 'launch', 'launch_ros',
}  # fmt: skip
ONLY_IN_A_ROS_INSTALLATION = ('moveit', 'moveit_configs_utils', 'tf2_ros', 'cv_bridge')


def imported(source: str, package: tuple[str, ...]) -> Iterator[str]:
    """Yield the full names of all modules that a source in a package imports, wherever it does."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            module = '.'.join([*above, *([node.module] if node.module else [])])
            yield module
            yield from (f'{module}.{alias.name}' for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith('import_module'):
            yield from (str(a.value) for a in node.args if isinstance(a, ast.Constant))


def imports(path: Path) -> set[str]:
    return set(imported(path.read_text(), path.relative_to(ROOT).parts[:-1]))


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix('').parts[0]


def inside(path: Path, *folders: str) -> bool:
    return any(path.is_relative_to(PACKAGE / folder) for folder in folders)


@pytest.mark.parametrize('path', SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
class TestEveryModule:
    def test_only_the_simulation_knows_the_simulation(self, path: Path) -> None:
        if inside(path, 'simulation', 'nodes/simulation', 'demo'):
            return
        secrets = ('don_kp_ros.simulation', 'don_kp_ros.nodes.simulation')
        assert not [name for name in imports(path) if name.startswith(secrets)]

    def test_only_nodes_and_those_who_ask_them_know_ros(self, path: Path) -> None:
        if inside(path, 'nodes', 'clients', 'demo'):
            return
        assert not {name.partition('.')[0] for name in imports(path)} & ROS

    def test_arrows_run_downwards(self, path: Path) -> None:
        if part(path) in ('cli', '__init__'):
            return
        ours = [name.split('.') for name in imports(path) if name.startswith('don_kp_ros.')]
        used = {names[1] for names in ours} - {part(path)}
        assert used <= ALLOWED[part(path)]

    def test_launch_is_for_launch_files(self, path: Path) -> None:
        assert not {name.partition('.')[0] for name in imports(path)} & {'launch', 'launch_ros'}


@pytest.mark.parametrize('library', ONLY_IN_A_ROS_INSTALLATION)
def test_what_only_a_ros_installation_has_is_imported_in_one_module(library: str) -> None:
    users = [
        path for path in SOURCES if library in {name.partition('.')[0] for name in imports(path)}
    ]
    assert len(users) <= 1


def test_only_the_simulator_reads_the_simulators_state() -> None:
    """MuJoCo may model the robot elsewhere; its service of the truth is for judges alone."""
    for path in SOURCES:
        if not inside(path, 'nodes/simulation', 'demo'):
            assert 'GetSceneTruth' not in path.read_text(), path


def test_no_circle_of_files() -> None:
    modules = {'.'.join(path.relative_to(ROOT).with_suffix('').parts): path for path in SOURCES}
    uses = {name: imports(path) & modules.keys() - {name} for name, path in modules.items()}
    graphlib.TopologicalSorter(uses).prepare()  # raises CycleError, which names the circle


def test_the_check_sees_what_it_looks_for() -> None:
    source = 'from ..simulation import world\nif 1:\n    importlib.import_module("rclpy")\n'
    found = set(imported(source, ('don_kp_ros', 'grasping')))
    assert found == {'don_kp_ros.simulation', 'don_kp_ros.simulation.world', 'rclpy'}
