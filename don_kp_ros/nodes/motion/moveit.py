"""Motion by MoveIt: OMPL for free motions, Pilz LIN for straight ones, through moveit_py.

Needs an installed ROS with MoveIt; nothing of it is imported before an adapter is made.
"""

from __future__ import annotations

import copy
import tempfile
import threading
from typing import Any

import numpy as np
import yaml
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rclpy.node import Node

from don_kp_ros.geometry import rigid
from don_kp_ros.motion.heightmap import CLEAR_RADIUS, HeightMap
from don_kp_ros.motion.port import GraspPlan, MotionCode, MotionError, Segment, pick_poses
from don_kp_ros.nodes.kit.conversions import pose_from_matrix
from don_kp_ros.nodes.motion.grippers.franka import FrankaGripper
from don_kp_ros.nodes.motion.grippers.gripper import Gripper
from don_kp_ros.nodes.motion.grippers.group import GroupGripper
from don_kp_ros.nodes.motion.installation import installed
from don_kp_ros.nodes.motion.joint_monitor import JointMonitor
from don_kp_ros.nodes.motion.planning_scene import PlanningScene
from don_kp_ros.resources import config_path
from don_kp_ros.robots.preset import RobotPreset

Array = NDArray[np.float64]

_NODE_NAME = 'don_kp_moveit'
_WATCH_SECONDS = 0.05

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
        planning = installed('moveit.planning')
        builder = installed('moveit_configs_utils').MoveItConfigsBuilder
        self._preset, self._names = preset, preset.moveit
        configuration = _configuration(builder, preset)
        self._moveit: Any = _started(planning, node.get_namespace(), configuration)
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
        self._scene = PlanningScene(self._monitor, preset.base_frame)
        self._gripper: Gripper = (
            FrankaGripper(node, preset, self._stopped)
            if self._names.gripper == 'franka'
            else GroupGripper(self._move_fingers)
        )

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
        self._scene.set_obstacles(heights)

    def stop(self) -> None:
        """Stop and hold; the running call and all later ones raise CANCELLED until engage()."""
        self._stopped.set()
        self._stop_execution()

    def _move_fingers(self, width: float) -> None:
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
        goal = PoseStamped(
            pose=pose_from_matrix(T_base_tcp @ rigid.inverse(self._names.T_tip_tcp))
        )
        goal.header.frame_id = self._preset.base_frame
        return self._plan(
            self._arm, start, parameters, pose_stamped_msg=goal, pose_link=self._names.tip_link
        )

    def _plan_line(self, start: Any, T_base_tcp: Array, near: Array) -> Any:
        with self._scene.cleared(near, CLEAR_RADIUS):
            return self._plan_pose(start, T_base_tcp, self._line)

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


def _started(planning: Any, namespace: str, configuration: dict[str, Any]) -> Any:
    """Start MoveItPy with its topics and its controllers' actions in a namespace."""
    # By a file for any node: a config_dict is for one without a namespace.
    with tempfile.NamedTemporaryFile('w', prefix='don_kp_moveit_', suffix='.yaml') as file:
        yaml.safe_dump({'/**': {'ros__parameters': configuration}}, file)
        file.flush()
        return planning.MoveItPy(
            node_name=_NODE_NAME,
            name_space=namespace,
            launch_params_filepaths=[file.name],
            remappings={'/tf': 'tf', '/tf_static': 'tf_static'},
        )


def _configuration(builder: Any, preset: RobotPreset) -> dict[str, Any]:
    names = preset.moveit
    configs = (
        builder(names.robot_name, package_name=names.package)
        .robot_description(file_path=names.description or None, mappings=dict(names.mappings))
        .robot_description_semantic(file_path=names.semantic)
        .trajectory_execution(file_path=names.trajectory_execution)
        .planning_pipelines(pipelines=['ompl', 'pilz_industrial_motion_planner'])
        .pilz_cartesian_limits()
        .moveit_cpp(file_path=str(config_path('moveit_cpp.yaml')))
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
