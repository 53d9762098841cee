"""Two robots share a graph and a database: each in its namespace, neither in the other's way."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
import yaml
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from tf2_msgs.msg import TFMessage
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from don_kp.srv import (
    DeleteDescriptor,
    GetDescriptor,
    GetSceneTruth,
    ResetScene,
    StoreDescriptor,
)
from don_kp_ros.bringup.processes import Bringup
from don_kp_ros.nodes.kit import camera_topics
from don_kp_ros.nodes.kit.qos import TF_STATIC
from don_kp_ros.robots.preset import load_preset

PANDA = load_preset('panda')
CALIBRATED = [0.0712, -0.0013, 0.0204]  # the camera's place on the second robot's hand
PATIENCE_S = 180.0  # for what takes ten seconds on an idle machine
ROBOTS = ('robot1', 'fleet/robot2')
pytestmark = pytest.mark.usefixtures('ros_environment')


@pytest.mark.parametrize(
    ('namespace', 'camera', 'topic'),
    [
        ('', 'camera/camera', '/camera/camera/color/image_raw'),
        ('robot1', 'camera/camera', '/robot1/camera/camera/color/image_raw'),
        ('/robot1/', 'left/cam/', '/robot1/left/cam/color/image_raw'),
        ('robot1', '/left/cam', '/left/cam/color/image_raw'),
        ('', 'left/cam', '/left/cam/color/image_raw'),
        ('', '/left/cam/', '/left/cam/color/image_raw'),
    ],
)
def test_a_node_takes_the_camera_s_topics_from_its_namespace(
    namespace: str, camera: str, topic: str
) -> None:
    arguments = {'namespace': namespace, 'camera_namespace': camera, 'nodes': 'perception'}
    bringup = Bringup(arguments)
    command = bringup.command(bringup.nodes[0])
    context = Context()
    rclpy.init(args=command[command.index('--ros-args') :], context=context)
    node = Node('node', context=context)
    try:
        taken = [
            node.create_subscription(Image, name, lambda _: None, 1).topic_name
            for name in camera_topics.ALL
        ]
    finally:
        node.destroy_node()
        context.shutdown()
    prefix = topic.removesuffix('/color/image_raw')
    assert taken[0] == topic
    assert {name.removeprefix(prefix) for name in taken} == {
        '/color/image_raw',
        '/color/camera_info',
        '/aligned_depth_to_color/image_raw',
        '/aligned_depth_to_color/camera_info',
    }


class User:
    """A user of one of the robots."""

    def __init__(self, context: Context, namespace: str) -> None:
        self.node = Node('user', context=context, namespace=namespace)
        self.joints: dict[str, float] = {}
        self.mount: list[float] = []
        self.pictures = 0
        self.node.create_subscription(JointState, 'joint_states', self._on_joints, 10)
        self.node.create_subscription(Image, camera_topics.COLOUR, self._on_colour, 10)
        self.node.create_subscription(TFMessage, 'tf_static', self._on_frames, TF_STATIC)
        self.arm = self.node.create_publisher(
            JointTrajectory, f'{PANDA.arm_controller}/joint_trajectory', 10
        )

    def _on_joints(self, message: JointState) -> None:
        self.joints = dict(zip(message.name, message.position, strict=True))

    def _on_colour(self, _: Image) -> None:
        self.pictures += 1

    def _on_frames(self, message: TFMessage) -> None:
        for transform in message.transforms:
            if transform.child_frame_id == 'camera_link':
                p = transform.transform.translation
                self.mount = [p.x, p.y, p.z]


class Graph:
    """Both robots' users on one graph, spun by the test while it waits."""

    def __init__(self, running: Sequence[Bringup] = ()) -> None:
        self.running = running
        self.context = Context()
        rclpy.init(context=self.context)
        self.users = [User(self.context, namespace) for namespace in ROBOTS]
        self._executor = SingleThreadedExecutor(context=self.context)
        for user in self.users:
            self._executor.add_node(user.node)

    def close(self) -> None:
        self._executor.shutdown()
        for user in self.users:
            user.node.destroy_node()
        self.context.shutdown()

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            for one in self.running:
                ended = one.poll()
                assert ended is None, f'{ended}:\n{one.tail(ended.node) if ended else ""}'
            assert time.monotonic() < deadline
            self._executor.spin_once(timeout_sec=0.1)

    def call(self, user: User, kind: Any, service: str, **fields: object) -> Any:
        client = user.node.create_client(kind, service)
        self.until(client.service_is_ready)
        future = client.call_async(kind.Request(**fields))
        self.until(future.done)
        return future.result()


@pytest.fixture(scope='module')
def graph(own_domain: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graph]:
    """Two simulated robots; the second has a camera that was calibrated."""
    folder = tmp_path_factory.mktemp('robots')
    calibrated = folder / 'second.yaml'
    calibrated.write_text(yaml.safe_dump({'base': 'panda', 'camera': {'translation': CALIBRATED}}))
    with contextlib.ExitStack() as running:
        started = []
        for namespace, robot in zip(ROBOTS, ('panda', str(calibrated)), strict=True):
            arguments = {
                'namespace': namespace,
                'robot': robot,
                'simulation': 'true',
                'simulation_domain': os.environ['ROS_DOMAIN_ID'],
                'nodes': 'simulation,descriptor_database',
                'database': str(folder / 'descriptors.sqlite'),
            }
            started.append(running.enter_context(Bringup(arguments, folder / namespace)))
        made = Graph(started)
        running.callback(made.close)
        made.until(lambda: all(u.joints and u.pictures and u.mount for u in made.users))
        yield made


def test_nothing_is_at_the_root(graph: Graph) -> None:
    names = {name for name, _ in graph.users[0].node.get_topic_names_and_types()}
    names |= {name for name, _ in graph.users[0].node.get_service_names_and_types()}
    ours = tuple(f'/{namespace}/' for namespace in ROBOTS)
    assert {name for name in names if not name.startswith(ours)} <= {
        '/parameter_events',
        '/rosout',
    }


def test_each_has_its_own_frames(graph: Graph) -> None:
    first, second = graph.users
    assert np.allclose(first.mount, PANDA.camera.translation)
    assert np.allclose(second.mount, CALIBRATED)


def test_one_s_service_is_not_the_other_s(graph: Graph) -> None:
    first, second = graph.users
    assert graph.call(first, ResetScene, 'simulation/reset', without_object=True).success
    assert not graph.call(first, GetSceneTruth, 'simulation/truth').has_object
    assert graph.call(second, GetSceneTruth, 'simulation/truth').has_object


def test_both_share_one_database(graph: Graph) -> None:
    first, second = graph.users
    key, values = {'name': 'cap/brim', 'model': 'ab12cd34ef567890'}, [0.6, 0.8]
    assert graph.call(first, StoreDescriptor, 'store_descriptor', **key, values=values).success
    found = graph.call(second, GetDescriptor, 'get_descriptor', **key)
    assert np.allclose(found.descriptor.values, values)


def test_answers_name_services_as_they_are_on_the_graph(graph: Graph) -> None:
    second = graph.users[1]
    key = {'name': 'mug/rim', 'model': 'ffff'}
    unknown = graph.call(second, GetDescriptor, 'get_descriptor', **key).message
    assert 'store it with /fleet/robot2/store_descriptor' in unknown
    assert graph.call(second, StoreDescriptor, 'store_descriptor', **key, values=[1.0]).success
    told = graph.call(second, DeleteDescriptor, 'delete_descriptor', **key).message
    assert '/fleet/robot2/restore_descriptor brings it back' in told
    deleted = graph.call(second, GetDescriptor, 'get_descriptor', **key).message
    assert 'bring it back with /fleet/robot2/restore_descriptor, or store it anew' in deleted
    # Nothing in an answer is a name that another robot has, or nobody.
    assert ' /store_descriptor' not in unknown + told + deleted


def test_one_s_arm_is_not_moved_by_the_other_s_commands(graph: Graph) -> None:
    first, second = graph.users
    joint = PANDA.arm_joints[0]
    rest = second.joints[joint]
    goal = [*PANDA.position('observe')]
    goal[0] += 0.5
    point = JointTrajectoryPoint(positions=goal)
    point.time_from_start.sec = 1
    graph.until(first.arm.get_subscription_count)
    first.arm.publish(JointTrajectory(joint_names=PANDA.arm_joints, points=[point]))
    graph.until(lambda: abs(first.joints[joint] - goal[0]) < 0.01)
    assert abs(second.joints[joint] - rest) < 0.01


def test_only_a_panda_is_simulated(ros_environment: None, tmp_path: Path) -> None:
    arguments = {'simulation': 'true', 'nodes': 'simulation', 'robot': 'fr3'}
    with Bringup(arguments, tmp_path) as stack:
        assert stack.process('simulation').wait(60) == 1
        assert 'only a Panda can, whose base_frame is panda_link0, not fr3_link0' in stack.tail(
            'simulation'
        )
