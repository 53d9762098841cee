"""Stands in for moveit_py, which runs on an installed ROS only: it does not plan as MoveIt does.

It has the documented signatures and refuses any other use. Besides, it refuses, with the same
error codes, what MoveIt 2.12.4 was seen to refuse: a start beyond a joint's range by the least, a
start in contact, a straight line into something (only where a response adapter looks for that),
one that a joint would have to follow too fast, to run what begins elsewhere, parameters without
planners or controllers, an unheard robot. Its constructor takes signals, as rclcpp::init does.
"""

import copy
import functools
import signal
import sys
import threading
import types
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import yaml
from ideal_robot import PRESET
from moveit_contacts import corners_of, in_contact
from moveit_packages import MoveItConfigsBuilder, install
from rclpy.duration import Duration
from std_msgs.msg import Header
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from don_kp_ros.geometry import rigid
from don_kp_ros.motion.kinematics import Kinematics
from don_kp_ros.simulation.controllers import CommandedTrajectory

SIGNALS = (signal.SIGINT, signal.SIGTERM)
KINEMATICS = Kinematics(PRESET)
ARM = list(PRESET.arm_joints)
BOUNDS = {PRESET.finger_joint: (0.0, 0.04)} | {
    name: (lower, upper)
    for name, lower, upper in zip(ARM, PRESET.position_lower, PRESET.position_upper, strict=True)
}
T_WORLD_BASE = rigid.transform(rigid.rotation_about([0.0, 0.0, 1.0], 1.0), [0.5, -0.3, 0.2])
_C = np.sqrt(0.5)
T_LINK8_TCP = rigid.transform([[_C, _C, 0], [-_C, _C, 0], [0, 0, 1]], [0, 0, 0.1034])


class RobotState:
    def __init__(self, positions):
        self._positions = dict(positions)
        self.dirty = False
        self.attached = {}

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

    def get_global_link_transform(self, link_name):
        assert not self.dirty
        if link_name == 'panda_link0':
            return T_WORLD_BASE
        assert link_name == 'panda_link8'
        q = [self._positions[name] for name in ARM]
        return T_WORLD_BASE @ KINEMATICS.forward(q) @ rigid.inverse(T_LINK8_TCP)


class RobotTrajectory:
    def __init__(self, start, end, duration, detour):
        self.start, self.end, self.duration, self.detour = start, end, duration, detour

    def smooth(self):
        """Return times (n,), positions and velocities (n, 7) of a cubic from rest to rest.

        In the middle it is a detour off, from which it comes back.
        """
        s = np.linspace(0.0, 1.0, 16)[:, None]
        way = np.array(self.end) - self.start
        aside, back = 16 * (s - s**2) ** 2, 32 * (s - s**2) * (1 - 2 * s)
        return (
            s[:, 0] * self.duration,
            self.start + (3 * s**2 - 2 * s**3) * way + aside * self.detour,
            (6 * (s - s**2) * way + back * self.detour) / self.duration,
        )

    def get_robot_trajectory_msg(self, joint_filter=()):
        times, positions, velocities = self.smooth()
        points = [
            JointTrajectoryPoint(
                positions=list(q), velocities=list(v), time_from_start=Duration(seconds=t).to_msg()
            )
            for t, q, v in zip(times, positions, velocities, strict=True)
        ]
        joints = JointTrajectory(joint_names=ARM, points=points)
        return types.SimpleNamespace(joint_trajectory=joints)


class Result:
    def __init__(self, value, trajectory=None):
        self.trajectory, self.error_code = trajectory, types.SimpleNamespace(val=value)

    def __bool__(self):
        return self.error_code.val == 1


class PlanRequestParameters:
    def __init__(self, moveit_py_instance, ns):
        self.ns = ns
        vars(self).update(moveit_py_instance.parameters[ns]['plan_request_params'])


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
        asked, moveit = single_plan_parameters, self.moveit
        share = asked.max_velocity_scaling_factor
        moveit.plans.append((copy.copy(asked), moveit.objects.get('obstacles')))
        moveit.starts.append(self.start)
        pipeline = moveit.parameters[asked.planning_pipeline]
        request, response = (
            {name.partition('/')[2] for name in pipeline.get(f'{kind}_adapters', [])}
            for kind in ('request', 'response')
        )
        start = [self.start.joint_positions[name] for name in ARM]
        inside = all(
            BOUNDS[n][0] <= q <= BOUNDS[n][1] for n, q in self.start.joint_positions.items()
        )
        if 'CheckStartStateBounds' in request and not inside:
            return Result(-26)
        touches = functools.partial(moveit.touches, attached=self.start.attached)
        if 'CheckStartStateCollision' in request and touches(start):
            return Result(-10)
        end = self._end(start)
        if end is None:
            return Result(-31)
        if asked.planning_pipeline == 'ompl':
            return Result(-12) if touches(end) else Result(1, moveit.way(start, end, share, True))
        assert asked.planner_id == 'LIN'
        if asked.max_acceleration_scaling_factor > moveit.most:
            return Result(-1)
        between = [start + s * (np.array(end) - start) for s in np.linspace(0.0, 1.0, 11)]
        if 'ValidateSolution' in response and any(map(touches, between)):
            return Result(-2)
        return Result(1, moveit.way(start, end, share))

    def _end(self, start):
        if isinstance(self.goal, RobotState):
            assert not self.goal.dirty
            return [self.goal.joint_positions[name] for name in ARM]
        assert self.goal.header.frame_id == 'panda_link0'
        assert self.link == 'panda_link8'
        p, o = self.goal.pose.position, self.goal.pose.orientation
        T_base_link8 = rigid.from_quaternion([o.x, o.y, o.z, o.w], [p.x, p.y, p.z])
        return KINEMATICS.inverse(T_base_link8 @ T_LINK8_TCP, start)


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

    def process_attached_collision_object(self, object):
        """Attach, or detach: what is detached stays in the world, where it is."""
        attached, body = self.current_state.attached, object.object
        assert object.link_name == body.header.frame_id == 'panda_link8'
        assert set(object.touch_links) == {
            'panda_hand', 'panda_leftfinger', 'panda_rightfinger'
        }  # fmt: skip
        if body.operation == CollisionObject.ADD:
            assert body.id not in attached and len(body.primitives) == 1
            attached[body.id] = body
        else:
            self.moveit.objects[body.id] = attached.pop(body.id)

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


class AttachedCollisionObject:
    def __init__(self, **fields):
        assert set(fields) == {'link_name', 'touch_links'}
        vars(self).update(fields)


class Status:
    def __init__(self, status):
        self.status = status

    def __bool__(self):
        return self.status == 'SUCCEEDED'


class MoveItPy:
    robot = None  # what it hears, if anything: one of ideal_robot.Controllers

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
        self.joint_states = remappings.pop('joint_states')
        assert remappings == {'/tf': 'tf', '/tf_static': 'tf_static', '/clock': '/clock'}
        (path,) = launch_params_filepaths
        text = Path(path).read_text()
        # rcl reads no aliases.
        assert not any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text))
        self.parameters = yaml.safe_load(text)['/**']['ros__parameters']
        self.shut_down = threading.Event()
        for number in SIGNALS:
            signal.signal(number, lambda *_: self.shut_down.set())
        self.namespace = name_space
        for name in self.parameters['planning_pipelines']['pipeline_names']:
            if not self.parameters[name].get('planning_plugins'):
                raise RuntimeError(f"Planning plugin name is empty or not defined: '{name}'")
        if self.robot is None or self.robot.silent:
            raise RuntimeError('Unable to configure planning scene monitor')
        self.plans, self.starts, self.objects = [], [], {}
        self.scene = Scene(self)
        self.most = 1.0  # the acceleration scaling that no line may exceed
        self.status, self.running, self.halt = 'SUCCEEDED', threading.Event(), threading.Event()
        self.slow, self.duration = False, 1.5  # whether a way takes time; seconds
        self.detour, self.detours_left = np.zeros(7), 10**6  # rad, of so many free ways
        self.at_first = None  # called when an execution begins, before it can be stopped
        MoveItPy.made = self

    def way(self, start, end, share, free=False):
        """Return a way at a share of the limits of speed at most."""
        detour = np.zeros(7)
        if free and self.detours_left:
            detour, self.detours_left = self.detour, self.detours_left - 1
        way = RobotTrajectory(start, end, self.duration, detour)
        _, _, velocities = way.smooth()
        way.duration *= max(1.0, np.abs(velocities / PRESET.velocity_limits).max() / share)
        return way

    def touches(self, q, attached=()):
        T_base_tcp = KINEMATICS.forward(q)
        T_base_link8 = T_base_tcp @ rigid.inverse(T_LINK8_TCP)
        held = corners_of(dict(attached).values(), T_base_link8)
        return in_contact(self.objects.values(), T_base_tcp[:3, 3], held)

    def get_planning_component(self, name):
        assert name == 'panda_arm'
        return PlanningComponent(self, name)

    def get_planning_scene_monitor(self):
        scene = self.scene
        return types.SimpleNamespace(read_only=lambda: scene, read_write=lambda: scene)

    def get_trajectory_execution_manager(self):
        return types.SimpleNamespace(stop_execution=lambda auto_clear=True: self.halt.set())

    def execute(self, robot_trajectory, controllers):
        assert controllers == []
        manager = self.parameters.get('moveit_simple_controller_manager', {})
        known = 'panda_arm_controller' in manager.get('controller_names', [])
        elsewhere = np.abs(self.robot.arm - robot_trajectory.start).max() > 0.01
        if elsewhere or not known or 'moveit_controller_manager' not in self.parameters:
            return Status('ABORTED')  # nothing has moved
        if self.at_first:
            self.at_first()
        if self.slow:
            self.halt.clear()
            # As its controller would; held at once where it is stopped.
            with self.robot.lock:
                arm = self.robot.arm_controller
                way = CommandedTrajectory(*robot_trajectory.smooth())
                arm.accept(way, self.robot.time.now())
                running = arm._trajectory
            self.running.set()
            return Status(self._followed(running, robot_trajectory.end))
        if self.status == 'SUCCEEDED':
            self.arrive(robot_trajectory.end)
        return Status(self.status)

    def _followed(self, running, end):
        """Wait as MoveIt does for its controller, which gives up what does not arrive."""
        robot, arm = self.robot, self.robot.arm_controller
        while not self.halt.wait(0.01):
            over = robot.time.now() - running.times[-1]
            if over > 0 and np.abs(robot.arm - end).max() < 0.01:
                return 'SUCCEEDED'
            if over > 2.0:
                return 'ABORTED'
        with robot.lock:
            if arm._trajectory is running:
                arm.hold(robot.arm)
        return 'PREEMPTED'


MODULES = {
    'moveit': {},
    'moveit.planning': {'MoveItPy': MoveItPy, 'PlanRequestParameters': PlanRequestParameters},
    'moveit_configs_utils': {'MoveItConfigsBuilder': MoveItConfigsBuilder},
    'moveit_msgs': {},
    'moveit_msgs.msg': {
        'CollisionObject': CollisionObject,
        'AttachedCollisionObject': AttachedCollisionObject,
    },
}


@contextmanager
def stand_in(patch, prefix):
    """Have the stand-in imported, and its packages found in an installation's prefix."""
    for name, content in MODULES.items():
        module = types.ModuleType(name)
        vars(module).update(content)
        patch.setitem(sys.modules, name, module)
    install(prefix)
    patch.setenv('AMENT_PREFIX_PATH', str(prefix))
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
