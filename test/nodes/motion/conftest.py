"""A robot that the tests play, its user, and MoveIt's stand-in."""

import pytest
from ideal_robot import Controllers
from moveit_stand_in import MoveItPy, stand_in
from rclpy.node import Node


@pytest.fixture(scope='module')
def controllers(context, spun):
    controllers = Controllers(context)
    with spun(controllers):
        yield controllers


@pytest.fixture
def robot(controllers, monkeypatch):
    """A robot at rest, which MoveIt hears, too."""
    controllers.reset()
    monkeypatch.setattr(MoveItPy, 'robot', controllers)
    return controllers


@pytest.fixture
def user(context):
    """The node that moves the robot; nobody spins it yet."""
    node = Node('user', context=context)
    yield node
    node.destroy_node()


@pytest.fixture
def share(monkeypatch, tmp_path):
    """Have MoveIt stood in for; return where its packages are installed."""
    with stand_in(monkeypatch, tmp_path):
        yield tmp_path / 'share'
