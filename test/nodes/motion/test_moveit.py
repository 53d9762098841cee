"""The MoveIt adapter against a stand-in for moveit_py; see there what it can tell."""

import os
import signal
import sys
import threading
import types
from contextlib import contextmanager
from dataclasses import replace

import moveit_stand_in
import numpy as np
import pytest
import rclpy
import yaml
from ideal_robot import OBSERVE, PRESET, Controllers
from moveit_stand_in import KINEMATICS, PATIENCE_S, MoveItPy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState

from don_kp_ros import configuration
from don_kp_ros.geometry import rigid
from don_kp_ros.motion.heightmap import Grid, HeightMap
from don_kp_ros.motion.port import MotionCode, MotionError
from don_kp_ros.nodes.kit.runner import StartupError, run_node
from don_kp_ros.nodes.motion import moveit_startup
from don_kp_ros.nodes.motion.moveit import MoveItMotion
from don_kp_ros.nodes.motion.moveit_startup import moveit_parameters
from don_kp_ros.resources import config_path
from don_kp_ros.robots.preset import load_preset
from don_kp_ros.simulation.controllers import TrajectoryController

READY = PRESET.position('ready')


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    for name, content in moveit_stand_in.MODULES.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    moveit_stand_in.install(tmp_path)
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    yield tmp_path / 'share'
    for number, handler in handlers.items():
        signal.signal(number, handler)


@contextmanager
def spun(node):
    """Have a node spun in a thread of its own, as in a process of its own."""
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    spinner = threading.Thread(target=executor.spin, daemon=True)
    spinner.start()
    yield
    executor.shutdown()
    spinner.join(timeout=5.0)


@pytest.fixture(scope='module')
def controllers():
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=int(os.environ['ROS_DOMAIN_ID']))
    controllers = Controllers(context)
    with spun(controllers):
        yield controllers
    controllers.destroy_node()
    context.shutdown()


@pytest.fixture
def robot(controllers, monkeypatch):
    controllers.reset()
    monkeypatch.setattr(MoveItPy, 'robot', controllers)
    return controllers


@pytest.fixture
def user(controllers):
    """The node that moves the robot; nobody spins it yet."""
    node = Node('user', context=controllers.context)
    yield node
    node.destroy_node()


@pytest.fixture
def adapter(stand_in, robot, user):
    motion = MoveItMotion(user, PRESET)

    def is_heard():
        try:
            return np.allclose(motion.joint_positions(), robot.arm, rtol=0, atol=1e-6)
        except MotionError:
            return False

    def arrive(q):
        """Move at once; return when the adapter has heard of it, as MoveIt would have."""
        robot.arm_controller = TrajectoryController(np.array(q))
        until(lambda: np.array_equal(robot.arm, q) and is_heard())

    MoveItPy.made.arrive = arrive
    motion.engage()
    with spun(user):
        until(is_heard)
        yield robot, motion, MoveItPy.made


def until(condition):
    for _ in range(int(PATIENCE_S / 0.02)):
        if condition():
            return
        threading.Event().wait(0.02)
    raise AssertionError


def down(x, y, z):
    return rigid.transform(np.diag([1.0, -1.0, -1.0]), [x, y, z])


def failure(call):
    with pytest.raises(MotionError) as caught:
        call()
    return caught.value


def standing(*blocks):
    """Return a height map with blocks on it, each given by its slices of cells and its height."""
    heights = np.zeros(Grid().shape)
    for xs, ys, height in blocks:
        heights[xs, ys] = height
    return HeightMap(Grid(), heights)


def test_missing_moveit_is_told_with_the_remedy(user):
    with pytest.raises(StartupError, match=r'moveit-py.*or choose motion: embedded'):
        MoveItMotion(user, PRESET)


def test_the_table_is_in_the_scene(adapter):
    table = adapter[2].objects['table']
    top = table.primitive_poses[0].position.z + table.primitives[0].dimensions[2] / 2
    assert top == pytest.approx(0.0)


@pytest.mark.parametrize(
    ('missing', 'message'),
    [
        ('config/joint_limits.yaml', r'names under moveit: .*joint_limits\.yaml doesn.t exist'),
        ('', r"package 'moveit_resources_panda_moveit_config' not found"),
    ],
)
def test_what_moveit_lacks_of_the_robot_is_told_with_the_remedy(stand_in, missing, message):
    package = PRESET.moveit.package
    index = stand_in / 'ament_index/resource_index/packages' / package
    (stand_in / package / missing if missing else index).unlink()
    with pytest.raises(StartupError, match=f'{message}.*Install {package}, or name other files'):
        moveit_parameters(PRESET)


def test_franka_s_package_is_completed(stand_in):
    """What franka_ros2 v3.4.0 lacks for MoveItPy is ours, and fits the preset."""
    preset = load_preset('fr3')
    parameters = moveit_parameters(preset)
    assert parameters['robot_description'] == 'the FR3'
    assert parameters['robot_description_semantic'] == 'its groups'
    ompl = parameters['ompl']
    assert ompl['planning_plugins'] == ['ompl_interface/OMPLPlanner']
    planner = parameters['free']['plan_request_params']['planner_id']
    assert planner in ompl[preset.moveit.arm_group]['planner_configs']
    assert planner in ompl['planner_configs']
    assert 'moveit_controller_manager' in parameters
    manager = parameters['moveit_simple_controller_manager']
    assert manager['controller_names'] == [preset.arm_controller]
    assert manager[preset.arm_controller]['joints'] == list(preset.arm_joints)
    limits = parameters['robot_description_planning']
    assert limits['cartesian_limits']['max_trans_vel'] == 1.0
    for joint, velocity, acceleration in zip(
        preset.arm_joints, preset.velocity_limits, preset.acceleration_limits, strict=True
    ):
        limit = limits['joint_limits'][joint]
        assert limit['has_velocity_limits'] and limit['max_velocity'] == velocity
        assert limit['has_acceleration_limits'] and limit['max_acceleration'] == acceleration


@pytest.mark.parametrize('robot', ['panda', 'fr3'])
def test_what_a_robot_s_package_says_of_the_pipelines_does_not_count(stand_in, robot):
    package = stand_in / load_preset(robot).moveit.package / 'config'
    for name in ('ompl', 'pilz_industrial_motion_planner'):
        theirs = {'planning_plugins': ['theirs'], 'response_adapters': ['theirs'], 'theirs': 1}
        (package / f'{name}_planning.yaml').write_text(yaml.safe_dump(theirs))
        pipeline = moveit_parameters(load_preset(robot))[name]
        assert pipeline['theirs'] == 1
        ours = configuration.load(config_path('moveit_cpp.yaml'))[name]
        assert pipeline | ours == pipeline
        assert 'default_planning_response_adapters/ValidateSolution' in ours['response_adapters']


@pytest.mark.parametrize('simulated', [False, True])
def test_moveit_runs_in_the_node_s_namespace_and_time(stand_in, robot, monkeypatch, simulated):
    time = Parameter('use_sim_time', value=simulated)
    user = Node('user', context=robot.context, namespace='robot1', parameter_overrides=[time])
    there = robot.create_publisher(JointState, '/robot1/joint_states', 10)
    monkeypatch.setattr(robot, 'publisher', there)
    MoveItMotion(user, PRESET)
    made = MoveItPy.made
    assert (made.namespace, made.parameters['use_sim_time']) == ('/robot1', simulated)
    for topic in ('joint_state', 'attached_collision_object', 'monitored_planning_scene'):
        name = made.parameters['planning_scene_monitor_options'][f'{topic}_topic']
        assert user.resolve_topic_name(name).startswith('/robot1/')
    user.destroy_node()


@pytest.mark.parametrize(
    ('case', 'missing'),
    [
        ('silent', 'panda_finger_joint1, panda_joint1, '),
        ('of old', 'panda_finger_joint1, panda_joint1, '),
        ('without fingers', 'panda_finger_joint1; '),
    ],
)
def test_a_robot_that_is_not_heard_is_told_before_moveit_starts(
    stand_in, robot, user, monkeypatch, case, missing
):
    monkeypatch.setattr(moveit_startup, '_PATIENCE_S', 1.0)
    publisher = robot.publisher

    def publish(message):
        if case == 'of old':
            message.header.stamp.sec -= 60
        if case == 'without fingers':
            message.name = message.name[:-1] + ['another']
        publisher.publish(message)

    robot.silent = case == 'silent'
    monkeypatch.setattr(robot, 'publisher', types.SimpleNamespace(publish=publish))
    with pytest.raises(StartupError, match=f'joint states on /joint_states for 1 s of {missing}'):
        MoveItMotion(user, PRESET)


def test_what_moveit_says_when_it_does_not_start_is_told(stand_in, robot, user, monkeypatch):
    monkeypatch.setattr(moveit_startup, '_wait_for_joint_states', lambda *_: None)
    robot.silent = True
    with pytest.raises(StartupError, match='panda: Unable to configure planning scene monitor'):
        MoveItMotion(user, PRESET)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_node_though_moveit_took_the_signals(stand_in, robot, number):
    ended = threading.Event()

    class Moving(Node):
        def __init__(self):
            super().__init__('moving')
            self.motion = MoveItMotion(self, PRESET)
            self.create_timer(0.1, self.interrupt)
            # Whatever comes of the signal, the test ends.
            self.rescue = threading.Timer(5.0, rclpy.try_shutdown)
            self.rescue.start()

        def interrupt(self):
            os.kill(os.getpid(), number)

        def end(self):
            ended.set()
            self.motion.stop()
            self.rescue.cancel()

    assert run_node(Moving, []) == 0
    assert ended.is_set()
    assert not MoveItPy.made.shut_down.is_set()


def test_the_arm_moves_to_joint_positions(adapter):
    robot, motion, _ = adapter
    motion.move_to_joints(READY)
    assert np.allclose(robot.arm, READY)


@pytest.mark.parametrize('finger', [0.0400008, -0.0000008])
def test_fingers_a_little_beyond_their_range_are_at_its_end(adapter, finger):
    robot, motion, _ = adapter
    robot.object_width = -1.0  # so that they may be beyond
    robot.hand = TrajectoryController(np.array([finger]))
    until(lambda: abs(motion.gripper_width() / 2 - finger) < 1e-9)
    motion.move_to_joints(READY)


def test_joint_states_are_heard_only_while_it_is_engaged(adapter):
    robot, motion, _ = adapter
    motion.disengage()
    until(lambda: not robot.publisher.get_subscription_count())
    for call in (
        lambda: motion.move_to_joints(READY),
        lambda: motion.set_gripper(0.0, 30.0),
        lambda: motion.wait(60.0),
        lambda: motion.plan_grasp(down(0.52, 0.05, 0.02), 0.1, 0.15, 0.08),
    ):
        assert failure(call).code is MotionCode.CANCELLED
    assert np.allclose(robot.arm, OBSERVE)
    motion.engage()
    motion.move_to_joints(READY)
    assert np.allclose(robot.arm, READY)


def test_a_pick_is_planned_whole_before_anything_moves(adapter):
    robot, motion, moveit = adapter
    # At the grasp, x 0.50 to 0.54, y 0 to 0.1; and far from it.
    motion.set_obstacles(
        standing((slice(30, 34), slice(50, 60), 0.06), (slice(30, 34), slice(90, 92), 0.09))
    )
    assert len(moveit.objects['obstacles'].primitives) == 2 * 5 + 2
    plan = motion.plan_grasp(down(0.52, 0.05, 0.02), 0.1, 0.15, 0.08)
    assert np.allclose(robot.arm, OBSERVE)
    assert [asked.ns for asked, _ in moveit.plans] == ['free', 'line', 'line']
    # A tenth of a metre per second, of the half that Pilz allows at most.
    scales = [asked.max_velocity_scaling_factor for asked, _ in moveit.plans]
    assert scales[1:] == pytest.approx([0.2, 0.2])
    # The lines are planned with the grasp's surroundings cleared, the free motion is not.
    assert [len(objects.primitives) for _, objects in moveit.plans] == [12, 2, 2]
    assert len(moveit.objects['obstacles'].primitives) == 12
    for segment, z in ((plan.to_pregrasp, 0.12), (plan.approach, 0.02), (plan.lift, 0.17)):
        motion.execute(segment)
        reached = KINEMATICS.forward(robot.arm)
        assert np.allclose(reached[:3, 3], [0.52, 0.05, z], atol=1e-3)
        assert np.allclose(reached[:3, :3], plan.T_base_grasp[:3, :3], atol=1e-3)
    motion.set_obstacles(None)
    assert 'obstacles' not in moveit.objects


def test_the_arm_leaves_what_it_has_let_go(adapter):
    robot, motion, moveit = adapter
    motion.set_obstacles(
        standing((slice(30, 34), slice(52, 58), 0.06), (slice(30, 34), slice(90, 92), 0.09))
    )
    plan = motion.plan_grasp(down(0.52, 0.05, 0.02), 0.1, 0.15, 0.08)
    motion.execute(plan.to_pregrasp)
    motion.execute(plan.approach)
    assert moveit.touches(robot.arm)
    motion.move_to_joints(OBSERVE)
    assert np.allclose(robot.arm, OBSERVE)
    # All the rest is heeded, and what it left is again.
    assert len(moveit.plans[-1][1].primitives) == 2
    assert len(moveit.objects['obstacles'].primitives) == 2 * 3 + 2


def test_a_straight_line_into_something_is_refused(adapter):
    _, motion, moveit = adapter
    error = failure(lambda: motion.plan_grasp(down(0.5, 0.1, -0.02), 0.1, 0.1, 0.08))
    assert error.code is MotionCode.COLLISION
    assert 'the straight way of panda_arm touches something or breaks a limit' in str(error)
    assert [asked.ns for asked, _ in moveit.plans][:2] == ['free', 'line']


@pytest.mark.parametrize(('most', 'tries'), [(0.06, 2), (0.03, 3), (0.01, 3)])
def test_a_line_that_is_too_fast_for_a_joint_is_tried_slower(adapter, most, tries):
    _, motion, moveit = adapter
    moveit.most = most

    def plan():
        return motion.plan_grasp(down(0.5, 0.1, 0.02), 0.1, 0.1, 0.08)

    if most > 0.025:
        plan()
    else:
        assert failure(plan).code is MotionCode.UNREACHABLE
    for name, first in (('velocity', 0.2), ('acceleration', 0.1)):
        scales = [getattr(asked, f'max_{name}_scaling_factor') for asked, _ in moveit.plans]
        assert scales[1 : 1 + tries] == pytest.approx([first, first / 2, first / 4][:tries])


def test_failures_have_their_codes(adapter):
    robot, motion, moveit = adapter
    error = failure(lambda: motion.plan_grasp(down(0.9, 0.6, 0.1), 0.1, 0.1, 0.08))
    assert error.code is MotionCode.UNREACHABLE
    assert 'the way of panda_arm was not found: error code -31' in str(error)
    motion.set_obstacles(standing((slice(30, 34), slice(50, 60), 0.2)))
    error = failure(lambda: motion.plan_grasp(down(0.52, 0.05, 0.02), 0.1, 0.1, 0.08))
    assert error.code is MotionCode.COLLISION
    assert '-12' in str(error)
    moveit.status = 'ABORTED'
    error = failure(lambda: motion.move_to_joints(READY))
    assert error.code is MotionCode.NOT_FOLLOWED
    assert str(error) == "MoveIt's execution of 'to joints' ended with ABORTED"
    assert np.allclose(robot.arm, OBSERVE)


def test_the_fingers_rest_before_their_width_counts(adapter):
    robot, motion, moveit = adapter
    assert motion.set_gripper(0.0, 30.0) == pytest.approx(0.0, abs=1e-3)
    assert robot.force == 30.0
    # Near enough for their controller before they have moved at all.
    assert motion.set_gripper(0.015, 30.0) == pytest.approx(0.015, abs=1e-3)
    assert motion.set_gripper(0.08, 30.0) == pytest.approx(0.08, abs=1e-3)
    with pytest.raises(ValueError, match=r'0\.5'):
        motion.set_gripper(0.5, 30.0)
    assert moveit.plans == []


def test_the_gripper_of_franka_closes_on_what_there_is(stand_in, robot, user):
    gripper = replace(PRESET.gripper, kind='franka', action='franka_gripper')
    motion = MoveItMotion(user, replace(PRESET, gripper=gripper))
    motion.engage()
    robot.object_width = 0.055
    with spun(user):
        assert motion.set_gripper(0.0, 20.0) == pytest.approx(0.055, abs=1e-3)
        assert robot.force == 20.0
        assert motion.set_gripper(0.08, 20.0) == pytest.approx(0.08, abs=1e-3)


def test_stop_ends_the_execution(adapter):
    _, motion, moveit = adapter
    moveit.slow = True
    failures = []
    mover = threading.Thread(
        target=lambda: failures.append(failure(lambda: motion.move_to_joints(OBSERVE + 0.1)))
    )
    mover.start()
    assert moveit.running.wait(PATIENCE_S)
    motion.stop()
    mover.join(timeout=PATIENCE_S)
    assert failures[0].code is MotionCode.CANCELLED
    assert failure(lambda: motion.move_to_joints(OBSERVE)).code is MotionCode.CANCELLED
    moveit.slow = False
    motion.engage()
    motion.move_to_joints(OBSERVE)


def test_a_stop_just_before_an_execution_begins_ends_it(adapter):
    _, motion, moveit = adapter
    moveit.slow, moveit.at_first = True, motion.stop
    error = failure(lambda: motion.move_to_joints(OBSERVE + 0.1))
    assert error.code is MotionCode.CANCELLED
