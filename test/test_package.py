import ast
import importlib
import importlib.util
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import pytest

import don_kp
from don_kp_ros import cli
from don_kp_ros.bringup import description

ROOT = Path(__file__).resolve().parent.parent
# Where everything is installed: an environment, or colcon's install folder.
PREFIX = next(
    path for path in Path(don_kp.__file__).parents if (path / 'share' / 'don_kp').is_dir()
)
BARE = {name: os.environ[name] for name in ('HOME', 'PATH') if name in os.environ}

# What takes long to import.
HEAVY = {'torch', 'lightning', 'cv2', 'matplotlib', 'numpy', 'rich', 'sqlalchemy', 'alembic'}

# What Jazzy's own tf2_msgs announces; a node elsewhere takes /tf only under this hash.
# As other builds of Jazzy's control_msgs and std_srvs have them.
JAZZY_HASHES = {
    'control_msgs/action/FollowJointTrajectory': (
        '738ebcb7a2d7cfa42f9f1001cc99ce3a4383d1cfe508015d9be8485e4b1c66f6'
    ),
    'control_msgs/action/GripperCommand': (
        'e17c0e644eccf14bea84a0a93e0977182872c2eb7873ca6694900059b46dbc84'
    ),
    'std_srvs/srv/Trigger': 'eeff2cd6fa5ad9d27cdf4dec64818317839b62f212a91e6b5304b634b2062c5f',
}
TF_MESSAGE_HASH = 'RIHS01_e369d0f05a23ae52508854b66f6aa0437f3449d652e8cbf22d5abe85d020f087'

# Modules that have another name than rosdep's key (less python3-), or than PyPI's project.
ROSDEP_KEYS = {'cv2': 'opencv', 'PIL': 'pil'}
PYPI_NAMES = {
    'cv2': 'opencv-python-headless',
    'fast_simplification': 'fast-simplification',
    'PIL': 'pillow',
    'pillow_heif': 'pillow-heif',
    'yaml': 'pyyaml',
}


def imported_libraries() -> set[str]:
    """Name the top modules of others that the package imports, wherever it does."""
    names = set()
    for path in (ROOT / 'don_kp_ros').rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module)
    ours = {'don_kp', 'don_kp_ros'}
    return {name.partition('.')[0] for name in names} - sys.stdlib_module_names - ours


def pinned(*names: str) -> set[str]:
    """Name the projects of some files of requirements."""
    text = '\n'.join((ROOT / 'requirements' / f'{name}.txt').read_text() for name in names)
    return {name.lower() for name in re.findall(r'^[\w.-]+', text, re.MULTILINE)}


def in_a_bare_environment(*command: str, **more: str) -> str:
    done = subprocess.run(
        command,
        env={**BARE, **more},
        cwd='/',
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestInterfaces:
    @pytest.mark.parametrize('kind', ['msg', 'srv', 'action'])
    def test_every_file_is_a_class(self, kind: str) -> None:
        module = importlib.import_module(f'don_kp.{kind}')
        for path in (ROOT / kind).glob(f'*.{kind}'):
            assert hasattr(module, path.stem)

    def test_nodes_run_with_nothing_sourced(self) -> None:
        script = (
            'import rclpy; from don_kp.srv import GetDescriptor;'
            'from tf2_msgs.msg import TFMessage;'
            'rclpy.init(); node = rclpy.create_node("bare");'
            'node.create_publisher(TFMessage, "/bare_tf", 1);'
            'node.create_service(GetDescriptor, "~/bare", lambda request, response: response);'
            'print(node.get_publishers_info_by_topic("/bare_tf")[0].topic_type_hash)'
        )
        # No shared memory: Fast DDS would complain of any that a stopped process holds.
        printed = in_a_bare_environment(
            sys.executable, '-c', script, FASTDDS_BUILTIN_TRANSPORTS='UDPv4'
        )
        assert printed.strip() == TF_MESSAGE_HASH

    @pytest.mark.parametrize(('interface', 'type_hash'), JAZZY_HASHES.items())
    def test_interfaces_made_here_are_those_of_jazzy(self, interface: str, type_hash: str) -> None:
        described = json.loads((PREFIX / 'share' / f'{interface}.json').read_text())
        hashes = {one['type_name']: one['hash_string'] for one in described['type_hashes']}
        assert hashes[interface] == f'RIHS01_{type_hash}'


class TestInstallation:
    def test_versions_agree(self) -> None:
        written = ElementTree.parse(ROOT / 'package.xml').findtext('version')
        assert version('don_kp') == written

    @pytest.mark.parametrize('node', description.NODES, ids=lambda node: node.name)
    def test_ros2_run_finds_an_executable(self, node: description.NodeSpec) -> None:
        executable = PREFIX / 'lib' / 'don_kp' / node.executable
        assert os.access(executable, os.X_OK)
        interpreter = executable.read_text().splitlines()[0].removeprefix('#!')
        assert Path(interpreter).samefile(sys.executable)

    @pytest.mark.skipif(
        not Path('/proc/self/maps').exists(),
        reason="only Linux's /proc shows when the imports have begun",
    )
    def test_ctrl_c_during_the_imports_ends_an_executable_quietly(self) -> None:
        process = subprocess.Popen(
            [PREFIX / 'lib' / 'don_kp' / 'perception'],
            env=BARE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 60
        while 'libtorch' not in Path(f'/proc/{process.pid}/maps').read_text():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert process.returncode in (-signal.SIGINT, 0)
        assert errors == ''

    def test_share_holds_what_launch_files_need(self) -> None:
        share = PREFIX / 'share' / 'don_kp'
        for name in ('package.xml', 'launch/grasp.launch.py', 'config/fastdds.xml', 'models'):
            assert (share / name).exists()

    def test_build_requirements_name_what_cmake_looks_for(self) -> None:
        found = re.findall(
            r'find_package\((\w+) REQUIRED\)', (ROOT / 'CMakeLists.txt').read_text()
        )
        assert 'sensor_msgs' in found
        assert {f'ros-{name.replace("_", "-")}' for name in found} <= pinned('build')


class TestDependencies:
    def test_package_xml_names_every_library(self) -> None:
        elements = ElementTree.parse(ROOT / 'package.xml').iter()
        declared = {element.text for element in elements if element.tag.endswith('depend')}
        comment = (ROOT / 'package.xml').read_text().split('No rosdep key:')[1].split('.')[0]
        known = declared | set(re.findall(r'[\w-]+', comment))
        libraries = imported_libraries()
        assert {'rclpy', 'torch', 'cv2'} <= libraries
        for name in libraries:
            assert {name, f'python3-{ROSDEP_KEYS.get(name, name)}'} & known, name

    def test_interfaces_that_may_be_made_here_are_looked_for_once_they_are_built(self) -> None:
        (named,) = re.findall(r'foreach\(package (.+)\)', (ROOT / 'CMakeLists.txt').read_text())
        elements = ElementTree.parse(ROOT / 'package.xml').iter()
        first = {one.text for one in elements if one.tag in ('depend', 'build_depend')}
        first |= set(json.loads((ROOT / 'colcon.pkg').read_text())['dependencies'])
        assert set(named.split()) <= first

    def test_every_pin_stands_once(self) -> None:
        files = (ROOT / 'requirements').glob('*.txt')
        names = [
            name
            for path in files
            for name in set(re.findall(r'^([\w.-]+).*==', path.read_text(), re.MULTILINE))
        ]
        assert len(names) > 40
        assert sorted(names) == sorted(set(names))

    def test_requirements_name_every_library(self) -> None:
        files = ('base', 'train', 'meshes', 'export', 'server', 'simulation', 'ros', 'peers')
        known = pinned(*files, 'recordings', 'page', 'planner', 'without_dependencies')
        for name in imported_libraries():
            # ros-common-interfaces brings the messages.
            if not name.endswith(('_msgs', '_srvs', '_interfaces')):
                assert {PYPI_NAMES.get(name, name), f'ros-{name}'} & known, name

    def test_users_of_an_installed_jazzy_are_told_all_but_another_ros(self) -> None:
        readme = (ROOT / 'README.md').read_text()
        section = readme.split('## With a ROS 2 Jazzy installation')[1].split('\n## ')[0]
        told = set(re.findall(r'-r (\w+)\.txt', section))
        assert not {name for name in pinned(*told) if name.startswith('ros-')}
        extra = (ROOT / 'pyproject.toml').read_text().split('\nros = ')[1].split(']')[0]
        wanted = set(re.findall(r'requirements/(\w+)\.txt', extra))
        assert told == wanted - {'ros'} | {'base', 'without_dependencies'}


class TestCommandLine:
    @pytest.mark.parametrize('command', cli.COMMANDS.values(), ids=list(cli.COMMANDS))
    def test_every_command_has_its_module(self, command: cli.Command) -> None:
        assert importlib.util.find_spec(command.module)

    def test_installed_command_tells_its_version(self) -> None:
        command = str(PREFIX / 'bin' / 'don_kp')
        assert in_a_bare_environment(command, '--version') == f'don_kp {version("don_kp")}\n'

    def test_help_names_every_command(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(['--help']) == 0
        text = capsys.readouterr().out
        assert all(name in text for name in cli.COMMANDS)

    @pytest.mark.parametrize(
        'command',
        ['train', 'evaluate', 'study', 'match', 'db', 'data', 'mask', 'calibrate', 'inspect', ''],
    )
    def test_help_imports_nothing_heavy(self, command: str) -> None:
        script = (
            'import atexit, sys; from don_kp_ros import cli;'
            'atexit.register(lambda: print(*sys.modules));'
            f'cli.main([*{command.split()}, "--help"])'
        )
        output = in_a_bare_environment(sys.executable, '-c', script, PYTHONPATH=str(ROOT))
        modules = output.splitlines()[-1].split()
        assert 'don_kp_ros.cli' in modules
        assert not HEAVY & set(modules)

    def test_unknown_command_names_the_known_ones(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert cli.main(['grapsh']) == 2
        text = capsys.readouterr().err
        assert "'grapsh'" in text
        assert all(name in text for name in cli.COMMANDS)

    @pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    def test_a_signal_ends_a_command_without_traceback(
        self, tmp_path: Path, number: signal.Signals
    ) -> None:
        (tmp_path / 'endless.py').write_text(
            'import time\ndef main(argv):\n    print("on", flush=True)\n    time.sleep(60)\n'
        )
        script = (
            'import signal, sys; from don_kp_ros import cli;'
            'signal.signal(signal.SIGINT, signal.SIG_DFL);'  # as scripts/executable.in does
            'signal.signal(signal.SIGHUP, signal.SIG_DFL);'  # tests may run under nohup
            'cli.COMMANDS["endless"] = cli.Command("endless", "");'
            'sys.exit(cli.main(["endless"]))'
        )
        process = subprocess.Popen(
            [sys.executable, '-c', script],
            env={**BARE, 'PYTHONPATH': f'{ROOT}{os.pathsep}{tmp_path}'},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == 'on\n'
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (130, '')

    def test_a_command_under_nohup_outlives_its_terminal(self, tmp_path: Path) -> None:
        (tmp_path / 'hung_up.py').write_text(
            'import os, signal\ndef main(argv):\n    os.kill(os.getpid(), signal.SIGHUP)\n'
            '    return 7\n'
        )
        script = (
            'import signal, sys; from don_kp_ros import cli;'
            'signal.signal(signal.SIGHUP, signal.SIG_IGN);'
            'cli.COMMANDS["hung_up"] = cli.Command("hung_up", "");'
            'sys.exit(cli.main(["hung_up"]))'
        )
        path = f'{ROOT}{os.pathsep}{tmp_path}'
        command = [sys.executable, '-c', script]
        assert subprocess.run(command, env={**BARE, 'PYTHONPATH': path}).returncode == 7


@pytest.mark.parametrize('path', [*(ROOT / 'launch').glob('*.py')], ids=lambda path: path.stem)
class TestLaunchFiles:
    def test_compiles(self, path: Path) -> None:
        compile(path.read_text(), str(path), 'exec')

    # PyPI's ROS has no launch, and a folder of this name lies in the checkout.
    @pytest.mark.skipif(
        getattr(importlib.util.find_spec('launch'), 'origin', None) is None,
        reason='ROS 2 launch is not on PyPI: source a Jazzy that has it',
    )
    def test_loads(self, path: Path) -> None:
        runpy.run_path(str(path))['generate_launch_description']()
