"""The processes of the stack's nodes, started and ended without `launch`."""

import contextlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, NamedTuple

from don_kp_ros.bringup import description
from don_kp_ros.outputs import check_writable

GRACE_S = 10.0  # as `launch` gives; a busy machine needs some seconds to end a node
_LAST_WORDS_S = 0.5
# Of util-linux, on every Debian: Linux itself ends the nodes when this process is killed.
_END_WITH_PARENT = ['setpriv', '--pdeathsig', 'TERM'] if shutil.which('setpriv') else []


NodeParameters = Mapping[str, Mapping[str, str | float | bool]]
"""Parameters by the name of the node, then by theirs."""


class Exit(NamedTuple):
    """A node that ended by itself."""

    node: str
    code: int


class Bringup:
    """The stack's nodes as processes, each in a process group of its own.

    A context manager: entering starts the nodes, leaving stops them.

    Args:
        arguments: launch arguments by name; what is left out has its default.
        log_directory: where each node's output goes, as <node>.log; None: to the terminal,
            each line headed by the node's name.
        parameters: parameters of nodes by the node's name, which go before all others.

    Raises:
        ValueError: an unknown argument or value, parameters of a node that is not started,
            rviz:=true without RViz, camera_driver:=true, which only `launch` starts, or a log
            directory that cannot be written to.
    """

    def __init__(
        self,
        arguments: Mapping[str, str],
        log_directory: Path | None = None,
        parameters: NodeParameters | None = None,
    ) -> None:
        self.arguments = description.checked(arguments)
        self.nodes = description.selected(self.arguments)
        self._parameters = parameters or {}
        names = [node.name for node in self.nodes]
        if strange := [name for name in self._parameters if name not in names]:
            raise ValueError(
                f'parameters are given for {strange[0]!r}; the nodes are {", ".join(names)}.'
            )
        self._viewer = _rviz(self.arguments)
        if self.arguments['camera_driver'] == 'true':
            raise ValueError(
                'camera_driver is true, but only `ros2 launch don_kp grasp.launch.py` starts it: '
                'use that, or leave camera_driver out and start the driver yourself, with '
                '`ros2 launch realsense2_camera rs_launch.py align_depth.enable:=true '
                'enable_sync:=true`'
            )
        if log_directory is not None:
            check_writable(log_directory / f'{names[0]}.log')
        self._log_directory = log_directory
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._readers: list[threading.Thread] = []

    def __enter__(self) -> 'Bringup':
        """Start every node of the launch arguments.

        The nodes end when the thread that called this ends, however that comes about.
        """
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self) -> None:
        environment = {
            **os.environ,
            **description.environment(self.arguments),
            'PYTHONUNBUFFERED': '1',
        }
        commands = {node.name: self.command(node) for node in self.nodes}
        for name, command in {**commands, **self._viewer}.items():
            output = self._log_file(name)
            # A group of its own: Ctrl-C in the terminal reaches the nodes through stop() alone,
            # once, and stop() ends what a node started as well.
            process = subprocess.Popen(
                [*_END_WITH_PARENT, *command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output or subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors='replace',
                start_new_session=True,
            )
            self._processes[name] = process
            if output:
                output.close()
            else:
                reader = threading.Thread(target=_echo, args=(name, process), daemon=True)
                reader.start()
                self._readers.append(reader)

    def command(self, node: description.NodeSpec) -> list[str]:
        """Return the command line that starts a node."""
        command = [sys.executable, '-m', node.module, '--ros-args']
        command += ['--params-file', str(node.parameters_file)]
        command += ['-r', f'__ns:={description.namespace(self.arguments)}']
        own = self._parameters.get(node.name, {})
        for name, value in {**node.overrides(self.arguments), **own}.items():
            # YAML, and certainly a string; libyaml reads no pairs of \u, JSON's emoji.
            command += ['-p', f'{name}:={json.dumps(value, ensure_ascii=False)}']
        for old, new in description.remappings(self.arguments):
            command += ['-r', f'{old}:={new}']
        return command

    def poll(self) -> Exit | None:
        """Return the first node found to have ended, or None while all live."""
        for name, process in self._processes.items():
            code = process.poll()
            if code is not None and name not in self._viewer:  # whose window may be closed
                return Exit(name, code)
        return None

    def process(self, node: str) -> 'subprocess.Popen[str]':
        """Return a running node's process."""
        return self._processes[node]

    def tail(self, node: str) -> str:
        """Return the last 10 lines of a node's log; nothing where there is no log directory."""
        if self._log_directory is None:
            return ''
        lines = (self._log_directory / f'{node}.log').read_text(errors='replace').splitlines()
        return '\n'.join(lines[-10:])

    def stop(self) -> None:
        """End all nodes: ask, wait, and kill what still lives after `GRACE_S`."""
        try:
            for process in self._processes.values():
                # Not SIGINT: Python turns that into a traceback while a node still imports.
                _signal_group(process, signal.SIGTERM)
            deadline = time.monotonic() + GRACE_S
            for name, process in self._processes.items():
                try:
                    process.wait(max(0.0, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    print(f'{name} did not end within {GRACE_S:g} s and is killed', flush=True)
                    _signal_group(process, signal.SIGQUIT)  # its last words: where it hangs
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(_LAST_WORDS_S)
        finally:
            for process in self._processes.values():
                _signal_group(process, signal.SIGKILL)
                process.wait()
        for reader in self._readers:
            reader.join(1.0)
        self._processes.clear()
        self._readers.clear()

    def _log_file(self, name: str) -> IO[str] | None:
        if self._log_directory is None:
            return None
        self._log_directory.mkdir(parents=True, exist_ok=True)
        return (self._log_directory / f'{name}.log').open('w')


def _rviz(arguments: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the command that starts RViz, by its name, where it is asked for."""
    if arguments['rviz'] == 'false':
        return {}
    program, options = shutil.which('rviz2'), description.rviz_options(arguments)
    if program is None:
        raise ValueError(
            'rviz is true, but no rviz2 is on the PATH: install ros-jazzy-rviz2 and source '
            '/opt/ros/jazzy/setup.bash; or leave rviz out, and where there is one, in the same '
            f'ROS domain, run rviz2 {shlex.join(options)}'
        )
    command = [program, *options, '--ros-args']
    command += ['-r', f'__ns:={description.namespace(arguments)}']
    for old, new in description.root_remappings(arguments):
        command += ['-r', f'{old}:={new}']
    return {'rviz2': [*command, '-p', f'use_sim_time:={arguments["simulation"]}']}


def _echo(name: str, process: 'subprocess.Popen[str]') -> None:
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            print(f'[{name}] {line}', end='', flush=True)


def _signal_group(process: 'subprocess.Popen[str]', number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
