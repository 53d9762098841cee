"""What the grasp node holds its arm to, and recovery of an arm that has an action for it."""

import threading
from types import SimpleNamespace

import pytest
from franka_msgs.action import ErrorRecovery
from rclpy.action import ActionServer
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from std_srvs.srv import Trigger

from don_kp_ros.motion.port import MotionError
from don_kp_ros.motion.safety import Safety, load_safety
from don_kp_ros.nodes.grasp.safety import RecoverService, safety_of
from don_kp_ros.nodes.kit.runner import StartupError
from don_kp_ros.robots.preset import load_preset

FR3 = load_preset('fr3')


class Driver(Node):
    """Serves error_recovery as franka_ros2 does; recovers where a test lets it."""

    def __init__(self, context):
        super().__init__('action_server', context=context)
        self.recovers, self.asked = True, 0
        self.server = ActionServer(self, ErrorRecovery, '~/error_recovery', self.recover)

    def recover(self, handle):
        self.asked += 1
        (handle.succeed if self.recovers else handle.abort)()
        return ErrorRecovery.Result()


@pytest.fixture
def safety(context):
    """What the node's `recover` frees."""
    limits = load_safety()
    made = Safety(limits, FR3, limits.hardware, 'call /recover')
    made.abort('a reflex')
    node = Node('grasp', context=context)
    RecoverService(node, FR3, made)
    executor = MultiThreadedExecutor(2, context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin)
    thread.start()
    yield made
    executor.shutdown()
    thread.join()
    node.destroy_node()


@pytest.mark.parametrize('recovers', [True, False])
def test_the_driver_recovers_first(context, spun, peer, safety, recovers):
    driver = Driver(context)
    driver.recovers = recovers
    with spun(driver):
        answer = peer.call(Trigger, '/recover')
    assert driver.asked == 1
    assert answer.success is recovers, answer.message
    if recovers:
        safety.check_recovered()
    else:
        assert '/action_server/error_recovery was aborted' in answer.message
        with pytest.raises(MotionError):
            safety.check_recovered()


def test_without_the_driver_nothing_is_recovered(peer, safety):
    answer = peer.call(Trigger, '/recover')
    assert not answer.success
    assert '/action_server/error_recovery' in answer.message
    assert "is the arm's driver running?" in answer.message
    with pytest.raises(MotionError, match='a reflex'):
        safety.check_recovered()


@pytest.mark.parametrize('robot', ['panda', 'fr3'])
def test_a_workspace_must_contain_where_the_arm_looks_from(peer, tmp_path, robot):
    preset, own = load_preset(robot), tmp_path / 'mine.yaml'
    settings = SimpleNamespace(safety='', closing_force=30.0, simulated=False)
    safety_of(peer.node, preset, settings).check_joints(preset.position('observe'))
    settings.safety = str(own)
    own.write_text('workspace: {z: [0.0, 0.4]}\n')
    with pytest.raises(StartupError) as caught:
        safety_of(peer.node, preset, settings)
    for told in ('observe', 'its z is 0.4', 'allowed are 0 to 0.4 m', 'positions.observe'):
        assert told in str(caught.value)
