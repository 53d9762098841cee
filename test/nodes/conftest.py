"""Real nodes in processes of their own, on a ROS domain of each module alone."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import rclpy
import torch
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.exceptions import InvalidHandle
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header
from waiting import PATIENCE_S, wait_until, within

from don_kp.msg import Descriptors, Model
from don_kp.srv import (
    DeleteDescriptor,
    Describe,
    ExportDescriptors,
    GetDescriptor,
    ImportDescriptors,
    ListDescriptors,
    RankDescriptors,
    RestoreDescriptor,
    StoreDescriptor,
)
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.matching.maps import describe_at
from don_kp_ros.networks.checkpoint import Checkpoint, Preprocessing
from don_kp_ros.networks.descriptor_network import DescriptorNetwork, NetworkConfiguration
from don_kp_ros.networks.keypoint_head import KeypointConfiguration
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.nodes.kit import camera_topics, conversions
from don_kp_ros.nodes.kit.meeting import Meeting
from don_kp_ros.nodes.kit.qos import LATCHED

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module', autouse=True)
def _alone(own_domain):
    """Every node here is one of its module alone."""


class NodeProcess:
    """A node as a user starts it."""

    def __init__(
        self, module: str, log: Path, renamed: Sequence[str], parameters: dict[str, object]
    ) -> None:
        command = [
            sys.executable,
            '-X',
            'faulthandler',
            '-m',
            f'don_kp_ros.nodes.{module}',
            '--ros-args',
        ]
        for rule in renamed:
            command += ['-r', rule]
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


@pytest.fixture(scope='session', name='wait_until')
def _wait_until():
    """Wait for a true value; return it, or fail."""
    return wait_until


@pytest.fixture(scope='module')
def start_node(tmp_path_factory):
    """Start nodes; they end with the module's tests."""
    started = []

    def start(module: str, *renamed: str, **parameters: object) -> NodeProcess:
        log = tmp_path_factory.mktemp('log') / f'{module}.log'
        node = NodeProcess(module, log, renamed, parameters)
        started.append(node)
        return node

    yield start
    for node in started:
        if node.process.poll() is None:
            node.process.terminate()
    for node in started:
        node.await_end()


@pytest.fixture(scope='module')
def start_grasps(start_node):
    """Start two grasp nodes on the same stack: one waits long for images, /hasty/grasp does not.

    A busy machine keeps the first from nothing; the second is for what is never to come.
    """
    asked = [f'perception/{name}' for name in ('describe', 'preference', 'scene', 'transform')]
    heard = ['don_kp/matches', 'don_kp/object_poses', 'joint_states', 'list_objects', *asked]

    def start() -> tuple[NodeProcess, NodeProcess]:
        patient = start_node('grasp', enabled=True, look_timeout=30.0, max_age=30.0)
        renamed = ['__ns:=/hasty', *(f'{name}:=/{name}' for name in heard)]
        return patient, start_node('grasp', *renamed, enabled=True, look_timeout=1.0)

    return start


@pytest.fixture(scope='module')
def context(own_domain):
    """The context of all nodes of a module's tests."""
    made = Context()
    rclpy.init(context=made)
    yield made
    made.shutdown()


@contextlib.contextmanager
def _spun(node):
    """Spin a node in a thread of its own, and destroy it in the end; give its executor."""
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    ending = threading.Event()

    def spin() -> None:
        with contextlib.suppress(ExternalShutdownException):
            while not ending.is_set():
                # A test may destroy what is about to be waited for.
                with contextlib.suppress(InvalidHandle):
                    executor.spin_once(timeout_sec=0.1)

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        yield executor
    finally:
        ending.set()
        thread.join()
        executor.shutdown()
        for waitable in list(node.waitables):
            if isinstance(waitable, ActionClient):
                waitable.destroy()  # or it keeps the node on the graph, for the next module
        node.destroy_node()


@pytest.fixture(scope='session')
def spun():
    """Spin nodes."""
    return _spun


class Peer:
    """The test's own node."""

    def __init__(self, node) -> None:
        self.node = node
        self._clients: dict = {}

    PATIENCE_S = PATIENCE_S
    within = staticmethod(within)
    wait_until = staticmethod(wait_until)

    def listen(self, kind, topic, qos) -> list:
        """Collect the messages of a topic."""
        heard: list = []
        self.node.create_subscription(kind, topic, heard.append, qos)
        return heard

    def meet(self, service) -> None:
        """Wait until the node that serves it knows this process: an answer before is lost."""
        with contextlib.closing(Meeting(self.node, service)) as meeting:
            wait_until(meeting.over)

    def call(self, kind, service, /, **fields):
        """Call a service and return its response."""
        future = self._client(kind, service).call_async(kind.Request(**fields))
        wait_until(future.done)
        return future.result()

    def _client(self, kind, service):
        if client := self._clients.get(service):
            wait_until(client.service_is_ready)
            return client
        client = self._clients[service] = self.node.create_client(kind, service)
        wait_until(client.service_is_ready)
        self.meet(client.service_name)
        return client


@pytest.fixture(scope='module')
def peer(context):
    """Talk to the nodes."""
    node = rclpy.create_node('test_peer', context=context)
    with _spun(node):
        yield Peer(node)


class PlayedCamera:
    """A camera that shows one picture at a time, when it is told to."""

    SIZE = (96, 128)
    FRAME = 'camera_color_optical_frame'
    CAMERA = Camera(128, 96, 100.0, 101.0, 63.5, 47.5)

    def __init__(self, peer) -> None:
        self._peer, self._node = peer, peer.node
        noise = np.random.default_rng(0).integers(0, 255, (12, 16, 3), dtype=np.uint8)
        self.picture = cv2.resize(noise, self.SIZE[::-1], interpolation=cv2.INTER_CUBIC)
        self.colours = self._node.create_publisher(Image, camera_topics.COLOUR, 10)
        self.depths = self._node.create_publisher(Image, camera_topics.DEPTH, 10)
        self.infos = self._node.create_publisher(CameraInfo, camera_topics.COLOUR_INFO, 10)

    def described(self, model, uv) -> np.ndarray:
        """Say what a model makes of pixels (N, 2) of the picture, or of one."""
        return describe_at(model.describe(self.picture), torch.as_tensor(uv), self.SIZE).numpy()

    def header(self, seconds: float) -> Header:
        return Header(stamp=conversions.stamp_from_seconds(seconds), frame_id=self.FRAME)

    def show(self, seconds: float, depth_mm: int | None = None, depth_late: float = 0.0, **colour):
        """Publish a picture with a stamp, its depth if there is one, and the camera; return it.

        `colour` sets fields of the image message.
        """
        header = self.header(seconds)
        self.infos.publish(conversions.info_from_camera(self.CAMERA, header))
        if depth_mm is not None:
            depth = np.broadcast_to(np.uint16(depth_mm), self.SIZE).copy()
            later = self.header(seconds + depth_late)
            self.depths.publish(conversions.image_message(depth, '16UC1', later))
        image = conversions.image_message(self.picture, 'rgb8', header)
        for field, value in colour.items():
            setattr(image, field, value)
        self.colours.publish(image)
        return header.stamp

    def wait_until_watched(self) -> None:
        """Wait until perception and this process have met, each the other."""
        told = self._peer.listen(Model, '/don_kp/model', LATCHED)
        self._peer.wait_until(lambda: told)
        for publisher in self.colours, self.depths, self.infos:
            self._peer.wait_until(publisher.get_subscription_count)

    def show_until_seen(self, age_s: float = 0.0, depth_mm: int | None = None):
        """Show the picture, as old as that, until perception has all of it; return its stamp."""

        def seen():
            now = 1e-9 * self._node.get_clock().now().nanoseconds
            stamp = self.show(now - age_s, depth_mm)

            def described():
                answer = self._peer.call(
                    Describe, '/perception/describe', stamp=stamp, u=[0.0], v=[0.0]
                )
                with_depth = depth_mm is None or (answer.success and not answer.reasons[0])
                return answer.success and np.isfinite(answer.fx) and with_depth

            return self._peer.within(2.0, described) and stamp

        return self._peer.wait_until(seen)

    def close(self) -> None:
        for publisher in self.colours, self.depths, self.infos:
            self._node.destroy_publisher(publisher)


@pytest.fixture(scope='module')
def camera(peer):
    """Show pictures to the nodes."""
    played = PlayedCamera(peer)
    yield played
    played.close()


class Desk:
    """A descriptor database node; perception is a real one, the test plays camera and users."""

    SIZE, FRAME, CAMERA = PlayedCamera.SIZE, PlayedCamera.FRAME, PlayedCamera.CAMERA

    def __init__(self, peer, start_node, checkpoint, model, **parameters) -> None:
        self.peer, self._start_node, self._checkpoint = peer, start_node, checkpoint
        self.database, self._parameters = parameters.get('database'), parameters
        self.model, self.MODEL, self.DIMENSION = model, model.fingerprint, model.dimension
        self.latched = peer.listen(Descriptors, '/don_kp/descriptors', LATCHED)
        self.camera = PlayedCamera(peer)
        self.perception: NodeProcess | None = None
        self.start()

    def start(self) -> None:
        self.node = self._start_node('descriptor_database', **self._parameters)
        self.node.wait_for(' descriptors in ')
        self.peer.meet('/list_descriptors')
        self.peer.wait_until(lambda: self.latched)
        if self.perception is not None:
            self._meet()

    def look(self) -> None:
        """Start perception; return when it sees, and the database knows its model."""
        self.perception = self._start_node(
            'perception', model=self._checkpoint, threads=1, max_rate_hz=0
        )
        self.perception.wait_for('waiting for images')
        self.camera.wait_until_watched()
        self._meet()

    def _meet(self) -> None:
        self.peer.wait_until(lambda: 'no model is known' not in self.get('meeting').message)
        self.peer.wait_until(lambda: 'no node serves' not in self.rank().message)

    def close(self) -> None:
        """End the nodes; take back what the test said for them."""
        for node in self.node, self.perception:
            if node is not None and node.process.poll() is None:
                assert node.end() == 0
        self.camera.close()

    def store(self, name, **fields):
        return self.peer.call(StoreDescriptor, '/store_descriptor', name=name, **fields)

    def get(self, name, model=''):
        return self.peer.call(GetDescriptor, '/get_descriptor', name=name, model=model)

    def delete(self, name, model=''):
        return self.peer.call(DeleteDescriptor, '/delete_descriptor', name=name, model=model)

    def restore(self, name, model=''):
        return self.peer.call(RestoreDescriptor, '/restore_descriptor', name=name, model=model)

    def list(self, prefix='', model='', **fields):
        return self.peer.call(
            ListDescriptors, '/list_descriptors', prefix=prefix, model=model, **fields
        )

    def export(self, file, **fields):
        return self.peer.call(ExportDescriptors, '/export_descriptors', file=file, **fields)

    def load(self, file, **fields):
        return self.peer.call(ImportDescriptors, '/import_descriptors', file=file, **fields)

    def rank(self, **fields):
        return self.peer.call(RankDescriptors, '/rank_descriptors', **fields)

    def change(self, statement) -> None:
        """Write to the file behind the node's back."""
        with sqlite3.connect(self.database) as connection:
            connection.execute(statement)
        connection.close()

    def names(self, prefix='', model='', **fields):
        response = self.list(prefix, model, **fields)
        assert response.success, response.message
        assert response.message.startswith(f'{len(response.descriptors)} descriptors')
        return [descriptor.name for descriptor in response.descriptors]

    def show(self, age_s: float = 0.0, depth_mm: int | None = None):
        """Show the picture, as old as that; return its stamp once perception has seen it."""
        return self.camera.show_until_seen(age_s, depth_mm)

    def answer(self, ask, refused_with='', **shown):
        """Show pictures, asking each time, until the answer is the wanted one; return it."""

        def answer():
            self.show(**shown)
            response = ask()
            if response.success == (not refused_with) and refused_with in response.message:
                return response
            assert not response.success, response.message
            return None

        return self.peer.wait_until(answer)

    def store_pixel(self, name, u, v, refused_with='', age_s=0.0, **fields):
        """Show pictures until the answer is the wanted one, for one is described when it is."""
        return self.answer(lambda: self.store(name, u=u, v=v, **fields), refused_with, age_s=age_s)

    def at(self, u, v):
        """Say what the model makes of a pixel."""
        return self.camera.described(self.model, [[u, v]])[0]

    def told(self, wanted):
        """Wait until the newest message on the latched topic is as wanted; return its content."""

        def newest():
            return self.latched and wanted([d.name for d in self.latched[-1].descriptors])

        self.peer.wait_until(newest)
        return list(self.latched[-1].descriptors)


@pytest.fixture(scope='module')
def open_desk(peer, start_node, checkpoint, random_model):
    """Start database nodes; they are closed with the module's tests."""
    with contextlib.ExitStack() as opened:

        def start(**parameters: object) -> Desk:
            desk = Desk(peer, start_node, checkpoint, random_model, **parameters)
            opened.callback(desk.close)
            return desk

        yield start


@pytest.fixture(scope='session')
def checkpoint(tmp_path_factory) -> Path:
    """A checkpoint of random weights, D = 8, with two keypoints of each of two kinds."""
    torch.manual_seed(0)
    keypoints = KeypointConfiguration(4, kinds=('cap', 'mug'))
    network = NetworkConfiguration('resnet18', channels=8, dimension=8, keypoints=keypoints)
    path = tmp_path_factory.mktemp('models') / 'tiny.safetensors'
    weights = DescriptorNetwork(network).state_dict()
    Checkpoint(network, Preprocessing(96), weights, 0.9).save(path)
    return path


@pytest.fixture(scope='session')
def random_model(checkpoint) -> DescriptorModel:
    """The checkpoint's model, as perception runs it."""
    return DescriptorModel.load(checkpoint)
