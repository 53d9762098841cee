"""Motion by MoveIt: OMPL for free motions, Pilz LIN for straight ones, through moveit_py.

Needs an installed ROS with MoveIt; nothing of it is imported before an adapter is made.
"""

from __future__ import annotations

import copy
import importlib
import threading
import time
from typing import Any

import numpy as np
from geometry_msgs.msg import Point, Pose, PoseStamped, Quaternion
from numpy.typing import NDArray
from rclpy.node import Node
from shape_msgs.msg import SolidPrimitive

from don_kp_ros.geometry import rigid
from don_kp_ros.motion.heightmap import CLEAR_RADIUS, LOWEST, HeightMap
from don_kp_ros.motion.port import GraspPlan, MotionCode, MotionError, Segment, pick_poses
from don_kp_ros.nodes.kit.runner import StartupError
from don_kp_ros.nodes.motion.joint_monitor import JointMonitor
from don_kp_ros.resources import config_path
from don_kp_ros.robots.preset import RobotPreset

Array = NDArray[np.float64]

_NODE_NAME = 'don_kp_moveit'
# So many cells of the height map along x and y make one column.
_COLUMN_CELLS = 2
_WATCH_SECONDS = 0.05
_GRIPPER_SPEED = 0.05
_GRIPPER_SECONDS = 10.0

# moveit_msgs/MoveItErrorCodes; any other is UNREACHABLE.
_CODES = {
    -6: MotionCode.TIMEOUT,  # TIMED_OUT
    -10: MotionCode.COLLISION,  # START_STATE_IN_COLLISION
    -12: MotionCode.COLLISION,  # GOAL_IN_COLLISION
}


class MoveItMotion:
    """The motion port on a node that another thread spins; MoveIt runs a node of its own.

    moveit_py plans without letting other Python threads run, so that a stop() is heard only
    between two plans; an execution is stopped at once.
    """

    def __init__(self, node: Node, preset: RobotPreset, speed: float = 0.1) -> None:
        """Start MoveIt; speed in m/s is that of a pick's straight lines.

        Raises StartupError with the packages to install where MoveIt is missing.
        """
        if not speed > 0:
            raise ValueError(f'speed is {speed}; it must be > 0 m/s')
        planning = _module('moveit.planning')
        builder = _module('moveit_configs_utils').MoveItConfigsBuilder
        self._collision_object = _module('moveit_msgs.msg').CollisionObject
        self._preset, self._names = preset, preset.moveit
        configuration = _configuration(builder, preset)
        self._moveit: Any = planning.MoveItPy(node_name=_NODE_NAME, config_dict=configuration)
        self._arm: Any = self._moveit.get_planning_component(self._names.arm_group)
        self._monitor: Any = self._moveit.get_planning_scene_monitor()
        self._free: Any = planning.PlanRequestParameters(self._moveit, 'free')
        self._line: Any = planning.PlanRequestParameters(self._moveit, 'line')
        limits = configuration.get('robot_description_planning', {}).get('cartesian_limits', {})
        fastest = float(limits.get('max_trans_vel', 1.0))
        self._line.max_velocity_scaling_factor = min(1.0, speed / fastest)
        self._joints = JointMonitor(node, preset)
        self._stopped = threading.Event()
        self._stopped.set()  # until engage()
        self._heights: HeightMap | None = None
        self._gripper: _GroupGripper | _FrankaGripper = (
            _FrankaGripper(node, preset, self._stopped)
            if self._names.gripper == 'franka'
            else _GroupGripper(self)
        )
        self._add_table()

    def engage(self) -> None:
        """Listen to the joint states from now on, and allow motions, also after stop()."""
        self._joints.start()
        self._stopped.clear()

    def disengage(self) -> None:
        """Listen no more; all later motions raise CANCELLED until engage()."""
        self._stopped.set()
        self._joints.stop()

    def joint_positions(self) -> Array:
        """Return the arm's joint positions (7,); STALE_STATE if they are old."""
        return self._joints.joint_positions()

    def gripper_width(self) -> float:
        """Return the width between the fingers in metres; STALE_STATE if it is old."""
        return self._joints.gripper_width()

    def move_to_joints(self, q: Array) -> None:
        """Move to joint positions (7,), around obstacles."""
        start = self._start()
        goal = self._state(start, q)
        self._run(self._plan(self._arm, start, self._free, robot_state=goal), 'to joints')

    def plan_grasp(
        self, T_base_grasp: Array, approach_distance: float, lift_height: float, open_width: float
    ) -> GraspPlan:
        """Plan the whole pick from where the arm is; nothing moves."""
        start = self._start()
        failure: MotionError | None = None
        for T_pre, T_grasp, T_lift in pick_poses(T_base_grasp, approach_distance, lift_height):
            try:
                to_pregrasp = self._plan_pose(start, T_pre, self._free)
                above = self._state(start, _end(to_pregrasp, self._preset))
                near = T_grasp[:3, 3]
                approach = self._plan_line(above, T_grasp, near)
                at = self._state(start, _end(approach, self._preset))
                lift = self._plan_line(at, T_lift, near)
            except MotionError as error:
                if error.code is MotionCode.CANCELLED:
                    raise
                failure = failure or error
                continue
            return GraspPlan(
                T_grasp,
                open_width,
                _segment('to pre-grasp', to_pregrasp),
                _segment('approach', approach),
                _segment('lift', lift),
            )
        assert failure is not None
        raise failure

    def execute(self, segment: Segment) -> None:
        """Run a planned segment; MoveIt refuses it where the arm does not stand at its start."""
        self._run(segment.trajectory, segment.name)

    def set_gripper(self, width: float, force: float) -> float:
        """Bring the fingers to a width in metres; return the width at which they settled."""
        if not 0.0 <= width <= self._preset.open_width + 1e-6:
            raise ValueError(
                f'width is {width} m; the gripper goes from 0 to {self._preset.open_width} m'
            )
        self._raise_if_stopped()
        self._gripper.move(width, force, closing=width < self.gripper_width() - 0.001)
        self._raise_if_stopped()
        return self.gripper_width()

    def set_obstacles(self, heights: HeightMap | None) -> None:
        """Replace what stands on the table; None clears it."""
        self._heights = heights
        self._show(heights)

    def stop(self) -> None:
        """Stop and hold; the running call and all later ones raise CANCELLED until engage()."""
        self._stopped.set()
        self._stop_execution()

    def move_fingers(self, width: float) -> None:
        """Bring the fingers to a width in metres by planning the hand's group."""
        component = self._moveit.get_planning_component(self._names.hand_group)
        start = self._start()
        goal = copy.deepcopy(start)
        goal.joint_positions = {self._preset.finger_joint: width / 2}
        goal.update()
        trajectory = self._plan(component, start, self._free, robot_state=goal)
        # On an object the fingers stall before their goal; their width tells.
        self._execute(trajectory)

    def _start(self) -> Any:
        """Return MoveIt's state with joint states that are surely fresh (moveit#749)."""
        self._raise_if_stopped()
        q, finger = self.joint_positions(), self.gripper_width() / 2
        with self._monitor.read_only() as scene:
            state = copy.deepcopy(scene.current_state)
        state.joint_positions = {self._preset.finger_joint: finger}
        return self._state(state, q)

    def _state(self, state: Any, q: Array) -> Any:
        changed = copy.deepcopy(state)
        changed.joint_positions = dict(
            zip(self._preset.arm_joints, (float(x) for x in q), strict=True)
        )
        changed.update()
        return changed

    def _plan(self, component: Any, start: Any, parameters: Any, **goal: Any) -> Any:
        self._raise_if_stopped()
        component.set_start_state(robot_state=start)
        component.set_goal_state(**goal)
        result = component.plan(single_plan_parameters=parameters)
        if not result:
            value = int(result.error_code.val)
            raise MotionError(
                _CODES.get(value, MotionCode.UNREACHABLE),
                f'MoveIt found no motion of {component.planning_group_name}: '
                f'error code {value} of moveit_msgs/MoveItErrorCodes',
            )
        return result.trajectory

    def _plan_pose(self, start: Any, T_base_tcp: Array, parameters: Any) -> Any:
        goal = PoseStamped(pose=_pose(T_base_tcp @ rigid.inverse(self._names.T_tip_tcp)))
        goal.header.frame_id = self._preset.base_frame
        return self._plan(
            self._arm, start, parameters, pose_stamped_msg=goal, pose_link=self._names.tip_link
        )

    def _plan_line(self, start: Any, T_base_tcp: Array, near: Array) -> Any:
        self._show(self._heights.cleared(near, CLEAR_RADIUS) if self._heights else None)
        try:
            return self._plan_pose(start, T_base_tcp, self._line)
        finally:
            self._show(self._heights)

    def _run(self, trajectory: Any, name: str) -> None:
        status = self._execute(trajectory)
        if not status:
            raise MotionError(
                MotionCode.NOT_FOLLOWED, f"the motion '{name}' ended with {status.status}"
            )

    def _execute(self, trajectory: Any) -> Any:
        """Run a trajectory; return MoveIt's status, or raise CANCELLED where it was stopped."""
        over = threading.Event()

        def watch() -> None:
            # What stop() asks of MoveIt is lost where execute() has not yet begun.
            while not over.wait(_WATCH_SECONDS):
                if self._stopped.is_set():
                    self._stop_execution()

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            self._raise_if_stopped()
            status = self._moveit.execute(trajectory, controllers=[])
        finally:
            over.set()
            watcher.join()
        self._raise_if_stopped()
        return status

    def _stop_execution(self) -> None:
        self._moveit.get_trajectory_execution_manager().stop_execution()

    def _raise_if_stopped(self) -> None:
        if self._stopped.is_set():
            raise MotionError(MotionCode.CANCELLED, 'the motion was stopped')

    def _add_table(self) -> None:
        # In front of the robot, whose base would touch it otherwise.
        self._apply('table', [_box([0.75, 0.0, -0.05], [1.0, 1.6, 0.1])])

    def _show(self, heights: HeightMap | None) -> None:
        self._apply('obstacles', _columns(heights) if heights is not None else [])

    def _apply(self, name: str, boxes: list[tuple[SolidPrimitive, Pose]]) -> None:
        message = self._collision_object(id=name)
        message.header.frame_id = self._preset.base_frame
        message.operation = self._collision_object.ADD if boxes else self._collision_object.REMOVE
        message.primitives = [primitive for primitive, _ in boxes]
        message.primitive_poses = [pose for _, pose in boxes]
        with self._monitor.read_write() as scene:
            scene.apply_collision_object(message)
            scene.current_state.update()


class _GroupGripper:
    """Moves the fingers by planning their group, as MoveIt's Panda demo can."""

    def __init__(self, motion: MoveItMotion) -> None:
        self._motion = motion

    def move(self, width: float, force: float, closing: bool) -> None:
        self._motion.move_fingers(width)


class _FrankaGripper:
    """Moves the fingers by the actions of franka_gripper."""

    def __init__(self, node: Node, preset: RobotPreset, stopped: threading.Event) -> None:
        from rclpy.action import ActionClient

        prefix = preset.moveit.gripper_action
        actions = _module('franka_msgs.action')
        self._actions, self._stopped = actions, stopped
        self._open_width = preset.open_width
        self._grasp = ActionClient(node, actions.Grasp, f'{prefix}/grasp')
        self._move = ActionClient(node, actions.Move, f'{prefix}/move')

    def move(self, width: float, force: float, closing: bool) -> None:
        if closing:
            goal = self._actions.Grasp.Goal(width=width, speed=_GRIPPER_SPEED, force=force)
            # The object's width is unknown: any counts as held, and the caller reads it.
            goal.epsilon.inner = goal.epsilon.outer = self._open_width
            self._call(self._grasp, goal)
        else:
            self._call(self._move, self._actions.Move.Goal(width=width, speed=_GRIPPER_SPEED))

    def _call(self, client: Any, goal: Any) -> None:
        deadline = time.monotonic() + _GRIPPER_SECONDS
        while not client.server_is_ready():
            self._pause(deadline, 'no gripper action server; is franka_gripper running?')
        sent = client.send_goal_async(goal)
        try:
            while not sent.done():
                self._pause(deadline, 'the gripper does not answer')
        except MotionError:
            sent.add_done_callback(lambda answer: answer.result().cancel_goal_async())
            raise
        handle = sent.result()
        if not handle.accepted:
            raise MotionError(MotionCode.NOT_FOLLOWED, 'the gripper rejected the goal')
        result = handle.get_result_async()
        try:
            while not result.done():
                self._pause(deadline, 'the gripper does not finish')
        except MotionError:
            handle.cancel_goal_async()
            raise
        outcome = result.result().result
        if not outcome.success and client is self._move:
            raise MotionError(MotionCode.NOT_FOLLOWED, f'the gripper failed: {outcome.error}')

    def _pause(self, deadline: float, complaint: str) -> None:
        if self._stopped.wait(0.02):
            raise MotionError(MotionCode.CANCELLED, 'the motion was stopped')
        if time.monotonic() > deadline:
            raise MotionError(MotionCode.TIMEOUT, complaint)


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise StartupError(
            f'motion: moveit needs {name}, which is missing ({error}). Install it: sudo apt '
            'install ros-$ROS_DISTRO-moveit-py ros-$ROS_DISTRO-moveit-configs-utils '
            'ros-$ROS_DISTRO-pilz-industrial-motion-planner (and franka_ros2 for franka_msgs), '
            'or choose motion: embedded'
        ) from error


def _configuration(builder: Any, preset: RobotPreset) -> dict[str, Any]:
    names = preset.moveit
    configs = (
        builder(names.robot_name, package_name=names.package)
        .robot_description(file_path=names.description or None, mappings=dict(names.mappings))
        .robot_description_semantic(file_path=names.semantic)
        .trajectory_execution(file_path=names.trajectory_execution)
        .planning_pipelines(pipelines=['ompl', 'pilz_industrial_motion_planner'])
        .pilz_cartesian_limits()
        .moveit_cpp(file_path=str(config_path('robots/moveit_cpp.yaml')))
        .to_moveit_configs()
    )
    parameters: dict[str, Any] = configs.to_dict()
    return parameters


def _segment(name: str, trajectory: Any) -> Segment:
    return Segment(name, float(trajectory.duration), trajectory)


def _end(trajectory: Any, preset: RobotPreset) -> Array:
    """Return the arm's joint positions (7,) at a trajectory's end."""
    message = trajectory.get_robot_trajectory_msg().joint_trajectory
    last = dict(zip(message.joint_names, message.points[-1].positions, strict=True))
    return np.array([last[joint] for joint in preset.arm_joints])


def _pose(T: Array) -> Pose:
    x, y, z, w = (float(value) for value in rigid.to_quaternion(T))
    px, py, pz = (float(value) for value in T[:3, 3])
    return Pose(position=Point(x=px, y=py, z=pz), orientation=Quaternion(x=x, y=y, z=z, w=w))


def _box(centre: list[float], size: list[float]) -> tuple[SolidPrimitive, Pose]:
    primitive = SolidPrimitive(type=SolidPrimitive.BOX, dimensions=[float(x) for x in size])
    return primitive, _pose(rigid.transform(translation=centre))


def _columns(heights: HeightMap) -> list[tuple[SolidPrimitive, Pose]]:
    """Return boxes from the table up, each over a few cells."""
    n, cell = _COLUMN_CELLS, heights.grid.cell
    values = np.nan_to_num(heights.heights)
    nx, ny = values.shape
    values = np.pad(values, ((0, -nx % n), (0, -ny % n)))
    tops = values.reshape(values.shape[0] // n, n, values.shape[1] // n, n).max(axis=(1, 3))
    return [
        _box(
            [
                heights.grid.x_min + (i + 0.5) * n * cell,
                heights.grid.y_min + (j + 0.5) * n * cell,
                tops[i, j] / 2,
            ],
            [n * cell, n * cell, tops[i, j]],
        )
        for i, j in np.argwhere(tops > LOWEST)
    ]
