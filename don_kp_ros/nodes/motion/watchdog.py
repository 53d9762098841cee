"""Stops the arm where the process that moves it dies.

A joint_trajectory_controller follows what it has accepted to the end, whether or not the one who
sent it lives: its `cmd_timeout` only counts from there. So a process of its own knows what is
being followed. While something is, it looks whether the other one is about to die: to free its
memory takes Linux 0.1 s, and only then it closes the socket between the two.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from action_msgs.srv import CancelGoal
from rclpy.node import Node

from don_kp_ros.motion.timing import Trajectory
from don_kp_ros.nodes.kit.clock import RosTime
from don_kp_ros.nodes.kit.runner import run_node
from don_kp_ros.nodes.motion.arm_controller import ArmController
from don_kp_ros.nodes.motion.joint_monitor import JointMonitor
from don_kp_ros.robots.preset import RobotPreset

# Seconds: a watchdog that takes nothing for so long hangs; a controller answers by then.
_SEND_S, _CANCEL_S = 1, 3.0
# So often it looks, seconds; and what it looks for, Linux's PF_EXITING in proc(5)'s flags.
_LOOKS_S, _EXITING = 0.005, 0x4
_PRIORITY = -10
_TRIES = 3  # a controller of a busy machine may hear of a stop when its time is over


class Watchdog:
    """Tells another process what the arm does. It does nothing before it is started.

    Not thread-safe: the one thread that moves the arm tells of it.
    """

    def __init__(self, node: Node, preset: RobotPreset) -> None:
        """Watch over a node's motions of a robot."""
        self._node, self._preset, self._time = node, preset, RosTime(node)
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def start(self) -> None:
        """Start the process."""
        ours, theirs = socket.socketpair()
        node = self._node
        simulated = node.get_parameter('use_sim_time').value
        command = [sys.executable, '-m', __name__, str(theirs.fileno()), '--ros-args']
        # The first rule for a name is the one that counts.
        command += ['-r', f'__node:={node.get_name()}_watchdog']
        command += ['-r', f'__ns:={node.get_namespace()}']
        command += ['-p', f'use_sim_time:={str(simulated).lower()}', '--', *sys.argv[1:]]
        with ours, theirs:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, 'ROS_DOMAIN_ID': str(node.context.get_domain_id())},
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # what ends the node's group must leave it alive
            )
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack('ll', _SEND_S, 0))
            self._connection = Connection(ours.detach(), readable=False)
        self._send((os.getpid(), self._preset))

    def engage(self) -> None:
        """Motions may come; where the process has ended, another is started."""
        if self._process is not None:
            if self._connection is None or self._process.poll() is not None:
                self.start()
            self._tell('engage')

    def disengage(self) -> None:
        """None comes any more."""
        self._tell('disengage')

    def follow(self, trajectory: Trajectory) -> None:
        """From now on the controller may follow a trajectory."""
        self._tell('follow', trajectory, self._time.now())

    def brake(self, stopping: Trajectory, at: float) -> None:
        """It is about to be sent a way to rest, which begins at a time; until over()."""
        self._tell('brake', stopping, at)

    def over(self) -> None:
        """The arm rests, or comes to rest by itself."""
        self._tell('over')

    def _tell(self, what: str, *values: object) -> None:
        if self._connection is not None:
            self._send((what, values))

    def _send(self, message: object) -> None:
        assert self._connection is not None and self._process is not None
        try:
            self._connection.send(message)
        except OSError as error:
            self._process.kill()  # else it would take the end of the connection for ours
            self._connection.close()
            self._connection = None
            self._node.get_logger().error(
                f'the watchdog is gone ({error}): should this node die now, the arm would follow '
                'its motion to the end; the next goal starts another'
            )


class WatchdogNode(Node):
    """Hears what the arm does, and stops it where the connection ends meanwhile."""

    def __init__(self, connection: Connection, process: int, preset: RobotPreset) -> None:
        """Watch a process that moves a robot: listen in a thread of its own."""
        super().__init__('watchdog')
        self._connection, self._state = connection, Path(f'/proc/{process}/stat')
        self._monitor = JointMonitor(self, preset)
        self._arm = ArmController(self, preset, self._monitor)
        self._arm.rehearse()
        self._cancel = self.create_client(CancelGoal, f'{self._arm.name}/_action/cancel_goal')
        # While the arm moves: sends what brings it to rest; returns the handle, or None.
        self._brakes: Callable[[], Any | None] | None = None
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            with contextlib.suppress(EOFError, ConnectionError):
                while True:
                    if self._connection.poll(None if self._brakes is None else _LOOKS_S):
                        what, values = self._connection.recv()
                        getattr(self, what)(*values)
                    elif self._orphaned():
                        break
            if self._brakes is not None:
                self._stop(self._brakes)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)  # ends the node, however far its start is

    def _orphaned(self) -> bool:
        """Tell whether the process that moves the arm is ending, or has ended."""
        try:
            fields = self._state.read_text().rpartition(')')[2].split()
        except OSError:
            return True
        return bool(int(fields[6]) & _EXITING)

    def engage(self) -> None:
        """Listen to the joint states from now on."""
        self._monitor.start()

    def disengage(self) -> None:
        """Listen no more."""
        self.over()
        self._monitor.stop()

    def follow(self, trajectory: Trajectory, begun: float) -> None:
        """Keep what is followed since a time."""
        self._brakes = lambda: self._arm.brake(trajectory, begun)

    def brake(self, stopping: Trajectory, at: float) -> None:
        """Keep how the arm is being stopped: to send that again changes nothing."""
        self._brakes = lambda: self._arm.come_to_rest(stopping, at)

    def over(self) -> None:
        """Forget it."""
        self._brakes = None

    def _stop(self, brakes: Callable[[], Any | None]) -> None:
        log, failure = self.get_logger(), None
        for _ in range(_TRIES):
            try:
                stopping = brakes()
            except Exception as error:
                failure = error
                continue
            log.error(f'who moved the arm has died: {self._rest(stopping)}')
            return
        log.error(
            f'who moved the arm has died: the arm is not slowed down but held at once: {failure!r}'
        )
        self._cancel.call(CancelGoal.Request(), timeout_sec=_CANCEL_S)  # of all goals

    def _rest(self, stopping: Any | None) -> str:
        """Wait until the arm rests, where it has been sent a way to rest; say what it does."""
        if stopping is None:
            return 'the arm comes to rest by itself'
        try:
            aborted = self._arm.wait_for_rest(stopping)
        except Exception as error:
            return f'the arm is slowed down, but does not tell that it rests: {error}'
        return aborted or 'the arm is stopped'


def main() -> int:
    """Watch over the process at the other end of a socket, whose number is the first argument."""
    connection = Connection(int(sys.argv[1]), writable=False)
    try:
        process, preset = connection.recv()
    except (EOFError, ConnectionError):  # who started it has ended before
        return 0
    with contextlib.suppress(PermissionError):  # for root alone
        os.nice(_PRIORITY)
    return run_node(lambda: WatchdogNode(connection, process, preset))


if __name__ == '__main__':
    sys.exit(main())
