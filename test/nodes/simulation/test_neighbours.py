"""The simulation among others in its ROS domain: real nodes, in one process."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import pytest
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import JointState

from don_kp_ros.nodes.kit.runner import StartupError
from don_kp_ros.nodes.simulation import neighbours
from don_kp_ros.nodes.simulation.neighbours import Neighbours


@pytest.fixture
def node(ros_environment: None) -> Iterator[Callable[..., Node]]:
    """Give what makes a node that publishes joint states, as a robot's driver does."""
    context = rclpy.Context()
    rclpy.init(context=context)
    made = []

    def make(name: str, namespace: str = '') -> Node:
        made.append(rclpy.create_node(name, context=context, namespace=namespace))
        return made[-1]

    yield make
    for one in made:
        one.destroy_node()
    context.shutdown()


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, 'LOOK_SECONDS', 0.05)
    monkeypatch.setattr(neighbours, 'MEETING_SECONDS', 0.2)


def robot(node: Node) -> Node:
    node.create_publisher(JointState, 'joint_states', 1)
    return node


def spin(node: Node, seconds: float) -> None:
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        executor.spin_once(0.05)
    executor.remove_node(node)


def test_alone_it_lives(node: Callable[[str], Node]) -> None:
    simulation = node('simulation')
    with contextlib.closing(Neighbours(simulation)) as watching:
        robot(simulation)
        watching.watch()
        spin(simulation, 0.5)


def test_beside_a_robot_it_does_not_begin(node: Callable[[str], Node]) -> None:
    robot(node('franka_driver'))
    with pytest.raises(StartupError, match=r'^/franka_driver publishes /joint_states'):
        Neighbours(node('simulation'))


def test_a_robot_that_was_not_found_in_time_ends_it(node: Callable[[str], Node]) -> None:
    simulation = node('simulation')
    with contextlib.closing(Neighbours(simulation)) as watching:
        robot(simulation)
        watching.watch()
        robot(node('franka_driver'))
        with pytest.raises(StartupError, match=r'^/franka_driver publishes /joint_states'):
            spin(simulation, 30.0)


def test_of_two_simulations_the_first_stays(
    node: Callable[..., Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Before ROS has told either of the other.
    monkeypatch.setattr(neighbours, 'publishers', lambda *_: [])
    with contextlib.closing(Neighbours(node('simulation'))):
        with pytest.raises(StartupError, match=r'^another simulation publishes /joint_states'):
            Neighbours(node('simulation'))
        Neighbours(node('simulation', namespace='two')).close()
    Neighbours(node('simulation')).close()  # its name is free again
