import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml

from don_kp_ros.bringup import description, processes
from don_kp_ros.bringup.processes import Bringup
from don_kp_ros.motion.safety import Scaling, load_safety
from don_kp_ros.nodes.kit import camera_topics

ALONE = {'nodes': 'descriptor_database'}
PATIENCE_S = 120.0  # for what takes a second on an idle machine


@pytest.fixture(autouse=True)
def _alone(ros_environment: None) -> None:
    """Every node here is one of this test session alone."""


def wait_for(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and not condition():
        time.sleep(0.05)
    return condition()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class TestTable:
    @pytest.mark.parametrize('node', description.NODES, ids=lambda node: node.name)
    def test_overrides_are_parameters_of_the_node(self, node: description.NodeSpec) -> None:
        content = yaml.safe_load(node.parameters_file.read_text())
        assert set(node.parameters) <= set(content['/**']['ros__parameters'])

    @pytest.mark.parametrize('argument', description.ARGUMENTS, ids=lambda argument: argument.name)
    def test_arguments_explain_themselves(self, argument: description.Argument) -> None:
        assert argument.description
        assert argument.default or 'empty:' in argument.description
        assert not argument.choices or argument.default in argument.choices

    def test_simulation_starts_everything(self) -> None:
        assert description.selected(description.checked({'simulation': 'true'})) == list(
            description.NODES
        )

    def test_without_being_asked_nothing_is_simulated(self) -> None:
        names = [node.name for node in description.selected(description.checked({}))]
        assert names == ['perception', 'descriptor_database', 'grasp']

    @pytest.mark.parametrize(
        ('arguments', 'complaint'),
        [
            ({'simulaton': 'true'}, r"'simulaton'.*simulation, .*, motion"),
            ({'real_time_factor': 'fast'}, "real_time_factor is 'fast'; it must be a number"),
            ({'simulation_domain': ''}, "simulation_domain is ''.*from 0 to 232"),
            ({'simulation_domain': '-1'}, "simulation_domain is '-1'.*from 0 to 232"),
            ({'simulation_domain': '300'}, "simulation_domain is '300'.*from 0 to 232"),
            ({'motion': 'magic'}, "motion is 'magic'.*embedded, moveit"),
            ({'nodes': 'grasp,perceptoin'}, "'perceptoin'.*perception"),
            ({'namespace': '1st'}, "namespace is '1st'.*the first no digit"),
            ({'namespace': 'robot 1'}, "namespace is 'robot 1'"),
            ({'namespace': 'a//b'}, "namespace is 'a//b'"),
            ({'camera_namespace': ''}, "camera_namespace is ''"),
            ({'camera_namespace': '/'}, "camera_namespace is '/'"),
            ({'camera_name': 'left cam'}, "camera_name is 'left cam'"),
            ({'camera_name': '/D455'}, "camera_name is '/D455'.*one name .* camera_namespace"),
            ({'camera_name': 'robot1/D455'}, "camera_name is 'robot1/D455'"),
            ({'camera_name': '/', 'camera_namespace': ''}, "camera_namespace is ''"),
            ({'joint_states': '/'}, "joint_states is '/'"),
            ({'camera_mount': 'stand'}, "camera_mount is 'stand'; .* hand, none"),
            ({'joint_states': '/1st'}, "joint_states is '/1st'"),
            ({'nodes': 'simulation'}, "nodes is 'simulation', but simulation is false: give"),
            ({'nodes': 'simulation,grasp'}, 'nodes is .*, but simulation is false: give'),
            ({'board': 'true'}, 'board is true, but simulation is false.* simulation:=true'),
            (
                {'real_time_factor': '0.5'},
                'real_time_factor is 0.5, but simulation is false.* simulation:=true',
            ),
            (
                {'simulation_domain': '5'},
                'simulation_domain is 5, but simulation is false.* leave simulation_domain out',
            ),
            (
                {'simulation': 'true', 'camera_mount': 'hand'},
                'camera_mount is hand, but simulation is true.* leave camera_mount out',
            ),
            (
                {'simulation': 'true', 'camera_driver': 'true'},
                'camera_driver is true, but simulation is true.* leave camera_driver out',
            ),
            (
                {'database': 'd.sqlite', 'database_url': 'postgresql://host/don_kp'},
                "database is 'd.sqlite', and database_url is given, too: leave out",
            ),
            ({'robot': 'ur5'}, "robot is 'ur5'.*shipped presets, which are fr3, panda"),
        ],
    )
    def test_wrong_arguments_are_named(self, arguments: dict[str, str], complaint: str) -> None:
        with pytest.raises(ValueError, match=complaint):
            description.checked(arguments)

    def test_what_is_refused_beside_another_may_stand_alone(self) -> None:
        every = ','.join(reversed([node.name for node in description.NODES]))
        for given in (
            {'simulation': 'true', 'board': 'true', 'nodes': every},
            {'simulation': 'true', 'camera_mount': 'none', 'camera_driver': 'false'},
            {'camera_mount': 'hand', 'camera_driver': 'true', 'database': 'd.sqlite'},
            {'database_url': 'postgresql://host/don_kp'},
        ):
            checked = description.checked(given)
            assert given.items() <= checked.items()
            assert description.checked(checked) == checked

    def test_another_camera_is_remapped(self) -> None:
        assert description.remappings(description.checked({})) == []
        pairs = description.remappings(description.checked({'camera_namespace': 'left/cam/'}))
        assert ('camera/camera/color/image_raw', 'left/cam/color/image_raw') in pairs

    @pytest.mark.parametrize(
        ('arguments', 'prefix'),
        [
            ({'camera_name': 'D455_1'}, 'camera/D455_1'),
            ({'camera_name': 'D455_1', 'camera_namespace': 'camera/camera'}, 'camera/D455_1'),
            ({'camera_name': 'D455_1', 'camera_namespace': '/robot1/'}, '/robot1/D455_1'),
            ({'camera_name': 'D455_1', 'camera_namespace': ''}, 'D455_1'),
            ({'camera_name': 'D455_1', 'camera_namespace': '/'}, '/D455_1'),
            ({'camera_namespace': 'left'}, 'left'),
        ],
    )
    def test_a_camera_is_named_as_its_driver_names_it(
        self, arguments: dict[str, str], prefix: str
    ) -> None:
        checked = description.checked(arguments)
        assert description.checked(checked) == checked
        pairs = dict(description.remappings(checked))
        assert pairs['camera/camera/color/image_raw'] == f'{prefix}/color/image_raw'
        assert set(pairs) == set(camera_topics.ALL)

    def test_joint_states_may_be_elsewhere(self) -> None:
        arguments = description.checked({'joint_states': '/franka/joint_states'})
        assert description.remappings(arguments) == [('joint_states', '/franka/joint_states')]

    def test_only_a_real_camera_s_place_on_the_hand_is_told(self) -> None:
        (perception,) = (node for node in description.NODES if node.name == 'perception')

        def mount(**arguments: str) -> object:
            return perception.overrides(description.checked(arguments))['camera_mount']

        assert mount() == 'hand'
        assert mount(camera_mount='none') == mount(simulation='true') == 'none'

    def test_simulation_stays_on_this_machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        name = 'ROS_AUTOMATIC_DISCOVERY_RANGE'
        monkeypatch.delenv(name, raising=False)
        simulated = description.checked({'simulation': 'true'})
        assert description.environment(simulated)[name] == 'LOCALHOST'
        assert name not in description.environment(description.checked({}))

    def test_a_simulation_is_apart_whatever_the_environment_says(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hostile = {'ROS_AUTOMATIC_DISCOVERY_RANGE': 'SUBNET', 'ROS_DOMAIN_ID': '0'}
        for name, value in {**hostile, 'ROS_STATIC_PEERS': '192.168.1.2'}.items():
            monkeypatch.setenv(name, value)
        apart = description.environment(description.checked({'simulation': 'true'}))
        assert {**apart, 'ROS_DOMAIN_ID': int(apart['ROS_DOMAIN_ID'])} == {
            **apart,
            'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
            'ROS_DOMAIN_ID': 77,
            'ROS_STATIC_PEERS': '',
        }
        chosen = description.checked({'simulation': 'true', 'simulation_domain': '5'})
        assert description.environment(chosen)['ROS_DOMAIN_ID'] == '5'
        assert not {*hostile} & {*description.environment(description.checked({}))}

    def test_a_real_arm_is_slow_and_waits_to_be_enabled(self) -> None:
        (grasp,) = (node for node in description.NODES if node.name == 'grasp')
        file = yaml.safe_load(grasp.parameters_file.read_text())['/**']['ros__parameters']
        assert (file['enabled'], file['simulated'], file['safety']) == (False, False, '')
        limits = load_safety()
        assert limits.hardware == Scaling(0.2, 0.2, line=0.1)
        assert limits.simulation == Scaling(1.0, 1.0, line=0.25)
        real = grasp.overrides(description.checked({}))
        assert not {'enabled', 'simulated', 'use_sim_time'} & {*real}
        simulated = grasp.overrides(description.checked({'simulation': 'true'}))
        expected = {'use_sim_time': True, 'enabled': True, 'simulated': True}
        assert {name: simulated[name] for name in expected} == expected
        given = description.checked(
            {'simulation': 'true', 'enable': 'false', 'safety': 'mine.yaml'}
        )
        assert grasp.overrides(given)['enabled'] is False
        assert grasp.overrides(given)['safety'] == 'mine.yaml'

    def test_what_no_argument_sets_the_parameter_file_does(self) -> None:
        by_launch = {'robot', 'camera_mount'}  # as their lines in the files say
        for node in description.NODES:
            assert set(node.overrides(description.checked({}))) <= by_launch
            text = node.parameters_file.read_text()
            for line in text.splitlines():
                if line.strip().startswith(tuple(f'{name}:' for name in by_launch)):
                    assert 'a launch file sets it' in line


class TestBringup:
    def test_parameters_of_nodes_go_before_all_others(self) -> None:
        given = {'grasp': {'looks': 1, 'enabled': False}, 'simulation': {'depth_holes': 0.1}}
        stack = Bringup({'simulation': 'true'}, parameters=given)
        commands = {node.name: stack.command(node) for node in stack.nodes}
        assert [text for text in commands['grasp'] if text.startswith(('looks', 'enabled'))] == [
            'enabled:=false',
            'looks:=1',
        ]
        assert 'depth_holes:=0.1' in commands['simulation']
        assert not any('looks' in text for text in commands['perception'])
        with pytest.raises(ValueError, match=r"parameters are given for 'grasper'; the nodes are"):
            Bringup({'simulation': 'true'}, parameters={'grasper': {'looks': 1}})

    @pytest.mark.parametrize('folder', ['a folder: with "signs"', 'Griffe für 🦾'])
    def test_starts_and_ends_a_node(self, tmp_path: Path, folder: str) -> None:
        database = tmp_path / folder / 'descriptors.sqlite'
        database.parent.mkdir()
        with Bringup({**ALONE, 'database': str(database)}, tmp_path) as stack:
            log = tmp_path / 'descriptor_database.log'
            assert wait_for(lambda: database.exists() or stack.poll() is not None)
            assert database.exists() and stack.poll() is None, log.read_text()
            pids = [process.pid for process in stack._processes.values()]
            assert all(alive(pid) for pid in pids)
        assert not any(alive(pid) for pid in pids)
        assert 'Traceback' not in (tmp_path / 'descriptor_database.log').read_text()

    def test_names_the_node_that_died(self, tmp_path: Path) -> None:
        with Bringup(ALONE, tmp_path) as stack:
            stack._processes['descriptor_database'].kill()
            assert wait_for(lambda: stack.poll() is not None)
            assert stack.poll() == processes.Exit('descriptor_database', -signal.SIGKILL)

    def test_tells_the_end_of_a_log(self, tmp_path: Path) -> None:
        stack = Bringup(ALONE, tmp_path)
        log = tmp_path / 'descriptor_database.log'
        log.write_bytes(b'only \xff\n')
        assert stack.tail('descriptor_database') == 'only \ufffd'
        log.write_text('\n'.join(map(str, range(25))))
        assert stack.tail('descriptor_database').split() == [str(i) for i in range(15, 25)]
        assert Bringup(ALONE).tail('descriptor_database') == ''

    def test_a_log_directory_that_is_a_file_is_named(self, tmp_path: Path) -> None:
        (tmp_path / 'logs').write_text('not a folder')
        for folder in (tmp_path / 'logs', tmp_path / 'logs' / 'below'):
            with pytest.raises(ValueError, match=f'{folder}/.*: cannot be written into'):
                Bringup(ALONE, folder)

    def test_rviz_is_started_and_its_end_ends_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program, called = tmp_path / 'bin' / 'rviz2', tmp_path / 'called'
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\necho "$@" > {called}; echo here\n')
        program.chmod(0o755)
        monkeypatch.setenv('PATH', f'{program.parent}:{os.environ["PATH"]}')
        arguments = {**ALONE, 'rviz': 'true', 'namespace': 'robot1'}
        monkeypatch.setattr(Bringup, 'command', lambda *_: ['sleep', '60'])
        with Bringup(arguments, tmp_path) as stack:
            assert stack.process('rviz2').wait(PATIENCE_S) == 0
            assert stack.poll() is None
        words = called.read_text().split()
        assert words[0] == '-d' and Path(words[1]).is_file()
        assert {'__ns:=/robot1', '/tf:=/robot1/tf', 'use_sim_time:=false'} < {*words}
        assert (tmp_path / 'rviz2.log').read_text() == 'here\n'

    @pytest.mark.parametrize(('robot', 'base'), [('panda', 'panda_link0'), ('fr3', 'fr3_link0')])
    def test_rviz_shows_everything_on_the_robot_s_base(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, robot: str, base: str
    ) -> None:
        program = tmp_path / 'rviz2'
        program.touch(mode=0o755)
        monkeypatch.setenv('PATH', str(tmp_path), prepend=os.pathsep)
        command = processes._rviz(description.checked({'robot': robot, 'rviz': 'true'}))['rviz2']
        assert command[command.index('-f') + 1] == base
        assert command.index('-f') < command.index('--ros-args')

    def test_rviz_that_is_not_there_is_told_with_the_remedy(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv('PATH', '/nowhere')
        with pytest.raises(ValueError, match=r'no rviz2 .* ros-jazzy-rviz2 .* rviz2 -d /.*\.rviz'):
            Bringup({**ALONE, 'rviz': 'true'})

    def test_only_a_launch_starts_the_camera(self) -> None:
        with pytest.raises(ValueError, match=r'camera_driver is true, .*ros2 launch don_kp'):
            Bringup({**ALONE, 'camera_driver': 'true'})

    def test_kills_what_does_not_end(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deaf = (
            'import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);'
            'print("deaf", flush=True); time.sleep(60)'
        )
        monkeypatch.setattr(Bringup, 'command', lambda self, node: [sys.executable, '-c', deaf])
        monkeypatch.setattr(processes, 'GRACE_S', 0.2)
        with Bringup(ALONE, tmp_path) as stack:
            log = tmp_path / 'descriptor_database.log'
            assert wait_for(lambda: log.read_text() == 'deaf\n')
            pid = stack._processes['descriptor_database'].pid
        assert not alive(pid)

    def test_a_node_that_hangs_says_where_before_it_is_killed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        hanging = (
            'import time; from rclpy.node import Node\n'
            'from don_kp_ros.nodes.kit.runner import run_node\n'
            'class Hanging(Node):\n'
            '    def end(self):\n'
            '        time.sleep(60)\n'
            'def begin():\n'
            '    node = Hanging("hanging")\n'
            '    print("begun", flush=True)\n'
            '    return node\n'
            'run_node(begin)'
        )
        command = [sys.executable, '-c', hanging]
        monkeypatch.setattr(Bringup, 'command', lambda self, node: command)
        monkeypatch.setattr(processes, 'GRACE_S', 1.0)
        with Bringup(ALONE, tmp_path) as stack:
            log = tmp_path / 'descriptor_database.log'
            assert wait_for(lambda: log.read_text() == 'begun\n')
            assert stack.process('descriptor_database').poll() is None
        assert 'descriptor_database did not end' in capsys.readouterr().out
        assert 'line 5 in end' in log.read_text()


class TestCommand:
    def start(self, *arguments: str, under: Sequence[str] = ()) -> 'subprocess.Popen[str]':
        return subprocess.Popen(
            [*under, sys.executable, '-u', '-m', 'don_kp_ros.cli', 'bringup', *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_ends_everything_quietly(self, tmp_path: Path, number: int) -> None:
        database = tmp_path / 'descriptors.sqlite'
        process = self.start('nodes:=descriptor_database', f'database:={database}')
        assert wait_for(database.exists)
        process.send_signal(number)
        output, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        assert 'Traceback' not in output

    def test_under_nohup_it_outlives_its_terminal(self) -> None:
        arguments = ('nodes:=descriptor_database', 'database:=/proc/nowhere/a.sqlite')
        process = self.start(*arguments, under=['nohup'])
        assert process.stdout is not None
        assert 'drivers' in process.stdout.readline()  # said once signals are heeded
        process.send_signal(signal.SIGHUP)
        output, _ = process.communicate(timeout=PATIENCE_S)
        assert 'descriptor_database ended with exit code 1' in output
        assert process.returncode == 1

    @pytest.mark.skipif(
        not shutil.which('setpriv'),
        reason='only setpriv (util-linux, in every Debian and Ubuntu) lets nodes end so',
    )
    def test_nodes_do_not_outlive_a_killed_parent(self, tmp_path: Path) -> None:
        database = tmp_path / 'descriptors.sqlite'
        process = self.start('nodes:=descriptor_database', f'database:={database}')
        assert wait_for(database.exists)
        process.kill()
        process.communicate(timeout=PATIENCE_S)  # returns once the node has closed the output, too

    def test_a_dead_node_ends_the_rest(self) -> None:
        process = self.start('nodes:=descriptor_database', 'database:=/proc/nowhere/a.sqlite')
        output, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 1
        assert '[descriptor_database] ' in output
        assert 'descriptor_database ended with exit code 1' in output

    def test_a_dead_nodes_last_words_are_shown(self, tmp_path: Path) -> None:
        process = self.start(
            'nodes:=descriptor_database',
            'database:=/proc/nowhere/a.sqlite',
            f'--log-directory={tmp_path}',
        )
        output, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 1
        assert f'The end of {tmp_path}/descriptor_database.log:' in output
        assert '/proc/nowhere' in output

    def test_wrong_arguments_are_refused(self) -> None:
        for argument in ('motion:=magic', 'motion=embedded'):
            process = self.start(argument)
            output, _ = process.communicate(timeout=PATIENCE_S)
            assert process.returncode == 2
            assert argument.split(':=')[-1] in output
