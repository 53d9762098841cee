"""The MoveIt adapter against a stand-in for moveit_py, which runs on an installed ROS only.

The stand-in has the documented signatures and refuses any other use; what MoveIt itself does with
them is not tested here.
"""

import copy
import os
import sys
import threading
import time
import types
from pathlib import Path

import numpy as np
import pytest
import rclpy
import yaml
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Header

from don_kp_ros.geometry import rigid
from don_kp_ros.motion.heightmap import Grid, HeightMap
from don_kp_ros.motion.kinematics import Kinematics
from don_kp_ros.motion.port import MotionCode, MotionError
from don_kp_ros.nodes.kit.runner import StartupError
from don_kp_ros.nodes.motion.moveit import MoveItMotion
from don_kp_ros.robots.preset import load_preset

PRESET = load_preset('panda')
KINEMATICS = Kinematics(PRESET)
ARM = list(PRESET.arm_joints)
OBSERVE = PRESET.position('observe')


class RobotState:
    def __init__(self, positions):
        self._positions = dict(positions)
        self.dirty = False

    @property
    def joint_positions(self):
        return dict(self._positions)

    @joint_positions.setter
    def joint_positions(self, values):
        assert set(values) <= set(self._positions)
        self._positions.update(values)
        self.dirty = True

    def update(self, force=False, type='all'):
        self.dirty = False


class RobotTrajectory:
    def __init__(self, names, start, end):
        self.names, self.start, self.end, self.duration = names, start, end, 1.5

    def get_robot_trajectory_msg(self, joint_filter=()):
        points = [types.SimpleNamespace(positions=list(q)) for q in (self.start, self.end)]
        joints = types.SimpleNamespace(joint_names=self.names, points=points)
        return types.SimpleNamespace(joint_trajectory=joints)


class Result:
    def __init__(self, trajectory, value):
        self.trajectory, self.error_code = trajectory, types.SimpleNamespace(val=value)

    def __bool__(self):
        return self.error_code.val == 1


class PlanRequestParameters:
    def __init__(self, moveit_py_instance, ns):
        self.ns = ns
        self.max_velocity_scaling_factor = 0.0


class PlanningComponent:
    def __init__(self, moveit, group):
        self.moveit, self.planning_group_name = moveit, group

    def set_start_state(self, configuration_name=None, robot_state=None):
        assert configuration_name is None
        assert not robot_state.dirty
        self.start = copy.deepcopy(robot_state)

    def set_goal_state(
        self,
        configuration_name=None,
        robot_state=None,
        pose_stamped_msg=None,
        pose_link=None,
        motion_plan_constraints=None,
    ):
        assert (robot_state is None) != (pose_stamped_msg is None)
        assert (pose_link is None) == (pose_stamped_msg is None)
        self.goal, self.link = robot_state or pose_stamped_msg, pose_link

    def plan(
        self,
        single_plan_parameters=None,
        multi_plan_parameters=None,
        planning_scene=None,
        solution_selection_function=None,
        stopping_criterion_callback=None,
    ):
        self.moveit.plans.append(
            (
                single_plan_parameters.ns,
                single_plan_parameters.max_velocity_scaling_factor,
                self.moveit.objects.get('obstacles'),
            )
        )
        names = ARM if self.planning_group_name == 'panda_arm' else [PRESET.finger_joint]
        start = [self.start.joint_positions[name] for name in names]
        if isinstance(self.goal, RobotState):
            assert not self.goal.dirty
            end = [self.goal.joint_positions[name] for name in names]
            return Result(RobotTrajectory(names, start, end), 1)
        assert self.goal.header.frame_id == 'panda_link0'
        assert self.link == 'panda_link8'
        p, o = self.goal.pose.position, self.goal.pose.orientation
        T_base_link8 = rigid.from_quaternion([o.x, o.y, o.z, o.w], [p.x, p.y, p.z])
        c = np.sqrt(0.5)
        T_link8_tcp = rigid.transform([[c, c, 0], [-c, c, 0], [0, 0, 1]], [0, 0, 0.1034])
        q = KINEMATICS.inverse(T_base_link8 @ T_link8_tcp, start)
        if q is None:
            return Result(None, -31)
        return Result(RobotTrajectory(names, start, list(q)), self.moveit.verdict)


class Scene:
    def __init__(self, moveit):
        self.moveit = moveit
        self.current_state = RobotState(dict.fromkeys([*ARM, PRESET.finger_joint], 0.5))

    def apply_collision_object(self, collision_object_msg, color_msg=None):
        message = collision_object_msg
        assert message.header.frame_id == 'panda_link0'
        assert len(message.primitives) == len(message.primitive_poses)
        if message.operation == CollisionObject.REMOVE:
            self.moveit.objects.pop(message.id, None)
        else:
            self.moveit.objects[message.id] = message

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None


class CollisionObject:
    ADD, REMOVE = b'\x00', b'\x01'

    def __init__(self, **fields):
        assert set(fields) <= {'id'}
        self.header, self.operation = Header(), self.ADD
        self.primitives, self.primitive_poses = [], []
        self.id = fields['id']


class Status:
    def __init__(self, status):
        self.status = status

    def __bool__(self):
        return self.status == 'SUCCEEDED'


class MoveItPy:
    def __init__(
        self,
        node_name='moveit_py',
        name_space='',
        launch_params_filepaths=None,
        config_dict=None,
        provide_planning_service=True,
        remappings=None,
    ):
        assert config_dict is None
        assert remappings == {'/tf': 'tf', '/tf_static': 'tf_static'}
        (path,) = launch_params_filepaths
        self.config = yaml.safe_load(Path(path).read_text())['/**']['ros__parameters']
        self.namespace = name_space
        self.plans, self.objects, self.verdict = [], {}, 1
        self.status, self.running = 'SUCCEEDED', threading.Event()
        self.halt = threading.Event()
        self.slow = False
        self.at_first = None  # called when an execution begins, before it can be stopped
        MoveItPy.made = self

    def get_planning_component(self, name):
        assert name in ('panda_arm', 'hand')
        return PlanningComponent(self, name)

    def get_planning_scene_monitor(self):
        scene = Scene(self)
        return types.SimpleNamespace(read_only=lambda: scene, read_write=lambda: scene)

    def get_trajectory_execution_manager(self):
        return types.SimpleNamespace(stop_execution=lambda auto_clear=True: self.halt.set())

    def execute(self, robot_trajectory, controllers):
        assert controllers == []
        if self.at_first:
            self.at_first()
        if self.slow:
            self.halt.clear()
            self.running.set()
            assert self.halt.wait(10.0)
            return Status('PREEMPTED')
        if self.status == 'SUCCEEDED':
            self.robot.put(robot_trajectory.names, robot_trajectory.end)
        return Status(self.status)


class MoveItConfigsBuilder:
    def __init__(self, robot_name, robot_description='robot_description', package_name=None):
        self.calls = {'robot_name': robot_name, 'package_name': package_name}

    def robot_description(self, file_path=None, mappings=None):
        return self._keep('robot_description', (file_path, mappings))

    def robot_description_semantic(self, file_path=None, mappings=None):
        return self._keep('semantic', file_path)

    def trajectory_execution(self, file_path=None, moveit_manage_controllers=True):
        return self._keep('trajectory_execution', file_path)

    def planning_pipelines(self, default_planning_pipeline=None, pipelines=None, load_all=True):
        return self._keep('pipelines', pipelines)

    def pilz_cartesian_limits(self, file_path=None):
        return self._keep('pilz', file_path)

    def moveit_cpp(self, file_path=None):
        assert os.path.isabs(file_path)
        return self._keep('moveit_cpp', file_path)

    def to_moveit_configs(self):
        return self

    def to_dict(self):
        limits = {'cartesian_limits': {'max_trans_vel': 0.5}}
        return {**self.calls, 'robot_description_planning': limits}

    def _keep(self, key, value):
        self.calls[key] = value
        return self


class Robot(Node):
    """Publishes joint states."""

    def __init__(self, context):
        super().__init__('robot', context=context)
        self.q = dict(zip([*ARM, PRESET.finger_joint], [*OBSERVE, 0.04], strict=True))
        self.publisher = self.create_publisher(JointState, '/joint_states', 10)
        self.create_timer(0.02, self.publish)

    def put(self, names, values):
        self.q.update(zip(names, map(float, values), strict=True))
        time.sleep(0.1)

    def publish(self):
        message = JointState(name=list(self.q), position=list(self.q.values()))
        message.header.stamp = self.get_clock().now().to_msg()
        self.publisher.publish(message)


@pytest.fixture
def stand_in(monkeypatch):
    modules = {
        'moveit': {},
        'moveit.planning': {
            'MoveItPy': MoveItPy,
            'PlanRequestParameters': PlanRequestParameters,
        },
        'moveit_configs_utils': {'MoveItConfigsBuilder': MoveItConfigsBuilder},
        'moveit_msgs': {},
        'moveit_msgs.msg': {'CollisionObject': CollisionObject},
    }
    for name, content in modules.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture
def nodes():
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=1 + os.getpid() % 100)
    robot, user = Robot(context), Node('user', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(robot)
    executor.add_node(user)
    spinner = threading.Thread(target=executor.spin, daemon=True)
    spinner.start()
    yield robot, user
    executor.shutdown()
    spinner.join(timeout=5.0)
    user.destroy_node()
    robot.destroy_node()
    context.shutdown()


@pytest.fixture
def adapter(stand_in, nodes):
    robot, user = nodes
    motion = MoveItMotion(user, PRESET)
    MoveItPy.made.robot = robot
    motion.engage()
    deadline = time.monotonic() + 10
    while True:
        try:
            motion.joint_positions()
        except MotionError:
            assert time.monotonic() < deadline
        else:
            return robot, motion, MoveItPy.made


def down(x, y, z):
    return rigid.transform(np.diag([1.0, -1.0, -1.0]), [x, y, z])


def failure(call):
    with pytest.raises(MotionError) as caught:
        call()
    return caught.value


def arm(robot):
    return np.array([robot.q[name] for name in ARM])


def test_missing_moveit_is_told_with_the_remedy(nodes):
    with pytest.raises(StartupError, match=r'moveit-py.*or choose motion: embedded'):
        MoveItMotion(nodes[1], PRESET)


def test_the_configuration_is_the_preset_s(adapter):
    _, _, moveit = adapter
    assert moveit.config['robot_name'] == 'moveit_resources_panda'
    assert moveit.config['semantic'] == 'config/panda.srdf'
    assert moveit.config['pipelines'] == ['ompl', 'pilz_industrial_motion_planner']
    table = moveit.objects['table']
    top = table.primitive_poses[0].position.z + table.primitives[0].dimensions[2] / 2
    assert top == pytest.approx(0.0)


def test_moveit_runs_in_the_node_s_namespace(stand_in, nodes):
    user = Node('user', context=nodes[1].context, namespace='robot1')
    MoveItMotion(user, PRESET)
    assert MoveItPy.made.namespace == '/robot1'
    for topic in ('joint_state', 'attached_collision_object', 'monitored_planning_scene'):
        options = yaml.safe_load(Path(MoveItPy.made.config['moveit_cpp']).read_text())
        name = options['planning_scene_monitor_options'][f'{topic}_topic']
        assert user.resolve_topic_name(name).startswith('/robot1/')
    user.destroy_node()


def test_the_arm_moves_to_joint_positions(adapter):
    robot, motion, _ = adapter
    motion.move_to_joints(PRESET.position('ready'))
    assert np.allclose(arm(robot), PRESET.position('ready'))


def test_joint_states_are_heard_only_while_it_is_engaged(adapter):
    robot, motion, _ = adapter
    motion.disengage()
    deadline = time.monotonic() + 10
    while robot.publisher.get_subscription_count():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for call in (
        lambda: motion.move_to_joints(PRESET.position('ready')),
        lambda: motion.set_gripper(0.0, 30.0),
        lambda: motion.plan_grasp(down(0.52, 0.05, 0.02), 0.1, 0.15, 0.08),
    ):
        assert failure(call).code is MotionCode.CANCELLED
    assert np.allclose(arm(robot), OBSERVE)
    motion.engage()
    motion.move_to_joints(PRESET.position('ready'))
    assert np.allclose(arm(robot), PRESET.position('ready'))


def test_a_pick_is_planned_whole_before_anything_moves(adapter):
    robot, motion, moveit = adapter
    heights = np.zeros(Grid().shape)
    heights[30:34, 50:60] = 0.06  # at the grasp, x 0.50 to 0.54, y 0 to 0.1
    heights[30:34, 90:92] = 0.09  # far from it
    motion.set_obstacles(HeightMap(Grid(), heights))
    assert len(moveit.objects['obstacles'].primitives) == 2 * 5 + 2
    plan = motion.plan_grasp(down(0.52, 0.05, 0.02), 0.1, 0.15, 0.08)
    assert np.allclose(arm(robot), OBSERVE)
    assert [name for name, _, _ in moveit.plans] == ['free', 'line', 'line']
    # A tenth of a metre per second, of the half that Pilz allows at most.
    assert [scale for _, scale, _ in moveit.plans[1:]] == pytest.approx([0.2, 0.2])
    # The lines are planned with the grasp's surroundings cleared, the free motion is not.
    assert [len(objects.primitives) for _, _, objects in moveit.plans] == [12, 2, 2]
    assert len(moveit.objects['obstacles'].primitives) == 12
    for segment, z in ((plan.to_pregrasp, 0.12), (plan.approach, 0.02), (plan.lift, 0.17)):
        motion.execute(segment)
        reached = KINEMATICS.forward(arm(robot))
        assert np.allclose(reached[:3, 3], [0.52, 0.05, z], atol=1e-3)
        assert np.allclose(reached[:3, :3], plan.T_base_grasp[:3, :3], atol=1e-3)
    motion.set_obstacles(None)
    assert 'obstacles' not in moveit.objects


def test_failures_have_their_codes(adapter):
    robot, motion, moveit = adapter
    error = failure(lambda: motion.plan_grasp(down(0.9, 0.6, 0.1), 0.1, 0.1, 0.08))
    assert error.code is MotionCode.UNREACHABLE
    assert '-31' in str(error)
    moveit.verdict = -12
    error = failure(lambda: motion.plan_grasp(down(0.5, 0.1, 0.1), 0.1, 0.1, 0.08))
    assert error.code is MotionCode.COLLISION
    moveit.verdict = 1
    moveit.status = 'ABORTED'
    error = failure(lambda: motion.move_to_joints(PRESET.position('ready')))
    assert error.code is MotionCode.NOT_FOLLOWED
    assert 'ABORTED' in str(error)
    assert np.allclose(arm(robot), OBSERVE)


def test_the_hand_s_group_moves_the_fingers(adapter):
    _, motion, _ = adapter
    assert motion.set_gripper(0.0, 30.0) == pytest.approx(0.0)
    assert motion.set_gripper(0.08, 30.0) == pytest.approx(0.08)
    with pytest.raises(ValueError, match=r'0\.5'):
        motion.set_gripper(0.5, 30.0)


def test_stop_ends_the_execution(adapter):
    _, motion, moveit = adapter
    moveit.slow = True
    failures = []
    mover = threading.Thread(
        target=lambda: failures.append(failure(lambda: motion.move_to_joints(OBSERVE + 0.1)))
    )
    mover.start()
    assert moveit.running.wait(10.0)
    motion.stop()
    mover.join(timeout=10.0)
    assert failures[0].code is MotionCode.CANCELLED
    assert failure(lambda: motion.move_to_joints(OBSERVE)).code is MotionCode.CANCELLED
    moveit.slow = False
    motion.engage()
    motion.move_to_joints(OBSERVE)


@pytest.mark.parametrize('call', ['arm', 'fingers'])
def test_a_stop_just_before_an_execution_begins_ends_it(adapter, call):
    _, motion, moveit = adapter
    moveit.slow, moveit.at_first = True, motion.stop
    error = failure(
        lambda: (
            motion.move_to_joints(OBSERVE + 0.1)
            if call == 'arm'
            else motion.set_gripper(0.0, 30.0)
        )
    )
    assert error.code is MotionCode.CANCELLED
