"""Real nodes in processes of their own, on a ROS domain of this test session alone."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import rclpy
import torch
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor

from don_kp_ros.networks.checkpoint import Checkpoint, Preprocessing
from don_kp_ros.networks.descriptor_network import DescriptorNetwork, NetworkConfiguration
from don_kp_ros.nodes.domain import free_domain
from don_kp_ros.resources import config_path

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0  # for what takes a second on an idle machine


@pytest.fixture(scope='session', autouse=True)
def ros_environment(tmp_path_factory):
    """Let no node see another session, or write into the user's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('HOME', str(tmp_path_factory.mktemp('home')))
        patch.delenv('XDG_DATA_HOME', raising=False)
        patch.setenv('ROS_DOMAIN_ID', str(free_domain()))
        patch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
        patch.setenv('FASTRTPS_DEFAULT_PROFILES_FILE', str(config_path('fastdds.xml')))
        yield


class NodeProcess:
    """A node as a user starts it."""

    def __init__(self, module: str, log: Path, parameters: dict[str, object]) -> None:
        command = [
            sys.executable,
            '-X',
            'faulthandler',
            '-m',
            f'don_kp_ros.nodes.{module}',
            '--ros-args',
        ]
        for name, value in parameters.items():
            command += ['-p', f'{name}:={value}']
        self._log = log
        with log.open('w') as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT
            )

    def wait_for(self, text: str) -> None:
        """Wait until the node has printed a text."""
        wait_until(lambda: text in self.output or self.process.poll() is not None)
        assert text in self.output, self.output

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; return the exit status."""
        self.process.send_signal(number)
        return self.await_end()

    def await_end(self) -> int:
        """Wait for the end; make a process that stays say where it is."""
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            self.process.wait()
            raise AssertionError(f'the node does not end:\n{self.output}') from None

    @property
    def output(self) -> str:
        return self._log.read_text()


def within(seconds: float, condition):
    """Wait for a true value; return it, or None when the time is over."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            return None
        time.sleep(0.01)
    return value


def wait_until(condition):
    """Wait for a true value; return it, or fail."""
    value = within(PATIENCE_S, condition)
    assert value, 'waited in vain'
    return value


@pytest.fixture(scope='module')
def start_node(tmp_path_factory):
    """Start nodes; they end with the module's tests."""
    started = []

    def start(module: str, **parameters: object) -> NodeProcess:
        log = tmp_path_factory.mktemp('log') / f'{module}.log'
        node = NodeProcess(module, log, parameters)
        started.append(node)
        return node

    yield start
    for node in started:
        if node.process.poll() is None:
            node.process.terminate()
    for node in started:
        node.await_end()


class Peer:
    """The test's own node, spinning in a thread."""

    def __init__(self) -> None:
        self.context = Context()
        rclpy.init(context=self.context)
        self.node = rclpy.create_node('test_peer', context=self.context)
        self._clients: dict = {}
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            while self.context.ok():
                self._executor.spin_once(timeout_sec=0.1)

    def close(self) -> None:
        self.context.shutdown()
        self._thread.join()
        self.node.destroy_node()

    within = staticmethod(within)
    wait_until = staticmethod(wait_until)

    def listen(self, kind, topic, qos) -> list:
        """Collect the messages of a topic."""
        heard: list = []
        self.node.create_subscription(kind, topic, heard.append, qos)
        return heard

    def call(self, kind, service, /, **fields):
        """Call a service and return its response."""
        if service not in self._clients:
            self._clients[service] = self.node.create_client(kind, service)
        client = self._clients[service]
        wait_until(client.service_is_ready)
        future = client.call_async(kind.Request(**fields))
        wait_until(future.done)
        return future.result()


@pytest.fixture(scope='module')
def peer():
    """Talk to the nodes."""
    made = Peer()
    yield made
    made.close()


@pytest.fixture(scope='session')
def checkpoint(tmp_path_factory) -> Path:
    """A checkpoint of random weights, D = 8."""
    torch.manual_seed(0)
    network = NetworkConfiguration(channels=8, dimension=8)
    path = tmp_path_factory.mktemp('models') / 'tiny.safetensors'
    weights = DescriptorNetwork(network).state_dict()
    Checkpoint(network, Preprocessing(96), weights, 0.9).save(path)
    return path
