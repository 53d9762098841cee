"""Motion by MoveIt: OMPL for free motions, Pilz LIN for straight ones, through moveit_py.

Needs an installed ROS with MoveIt; nothing of it is imported before an adapter is made.
"""

from __future__ import annotations

import copy
import threading
from contextlib import nullcontext
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rclpy.node import Node

from don_kp_ros.geometry import rigid
from don_kp_ros.motion.heightmap import CLEAR_RADIUS, HeightMap
from don_kp_ros.motion.held import HeldBox
from don_kp_ros.motion.port import (
    GraspPlan,
    MotionCode,
    MotionError,
    PlacePlan,
    Segment,
    above,
    pick_poses,
)
from don_kp_ros.motion.safety import Safety
from don_kp_ros.motion.timing import Trajectory
from don_kp_ros.nodes.kit.conversions import pose_from_matrix
from don_kp_ros.nodes.motion.arm_controller import ArmController
from don_kp_ros.nodes.motion.arrival import check_arrived, silence
from don_kp_ros.nodes.motion.grippers.gripper import Hand
from don_kp_ros.nodes.motion.installation import installed
from don_kp_ros.nodes.motion.joint_monitor import JointMonitor
from don_kp_ros.nodes.motion.moveit_startup import start_moveit
from don_kp_ros.nodes.motion.moveit_trajectory import end_of, segment_of, timed
from don_kp_ros.nodes.motion.planned_path import PlannedPath
from don_kp_ros.nodes.motion.planning_scene import HandLinks, PlanningScene
from don_kp_ros.nodes.motion.watchdog import Watchdog
from don_kp_ros.robots import hand
from don_kp_ros.robots.preset import RobotPreset

Array = NDArray[np.float64]

_WATCH_SECONDS = 0.05
_START_TOLERANCE = 0.01  # radians, MoveIt's own where its files name none
_AT_START = 0.005  # radians: nearer to a motion's start, the arm has not begun it
# Pilz refuses a line that a joint would have to follow too fast: slower, it may do.
_SLOWDOWNS = (1, 2, 4)
_WAYS = 3  # that OMPL finds at random, of which one must keep the limits of safety

# moveit_msgs/MoveItErrorCodes; any other is UNREACHABLE.
_PLANNING_FAILED = -1
_ABORTED = 'ABORTED'  # of moveit_controller_manager::ExecutionStatus: by the controller
_REASONS = {
    -2: (MotionCode.COLLISION, 'touches something or breaks a limit'),  # INVALID_MOTION_PLAN
    -6: (MotionCode.TIMEOUT, 'was not found in time'),  # TIMED_OUT
    -10: (MotionCode.COLLISION, 'starts touching something'),  # START_STATE_IN_COLLISION
    -12: (MotionCode.COLLISION, 'ends touching something'),  # GOAL_IN_COLLISION
}


class MoveItMotion:
    """The motion port on a node that another thread spins; MoveIt runs a node of its own.

    moveit_py plans without letting other Python threads run, so that a stop() is heard only
    between two plans; an execution is stopped at once.
    """

    def __init__(self, node: Node, preset: RobotPreset, safety: Safety) -> None:
        """Start MoveIt.

        Raises StartupError with the remedy where MoveIt, its files or the robot are missing.
        """
        self._preset, self._names, self._safety = preset, preset.moveit, safety
        self._moveit, moveit_parameters = start_moveit(node, preset)
        self._arm: Any = self._moveit.get_planning_component(self._names.arm_group)
        self._monitor: Any = self._moveit.get_planning_scene_monitor()
        request = installed('moveit.planning').PlanRequestParameters
        free = request(self._moveit, 'free')
        scaling = safety.scaling
        free.max_velocity_scaling_factor = scaling.velocity
        limits = moveit_parameters['robot_description_planning']['cartesian_limits']
        self._free, self._line = [free] * _WAYS, []
        for slowdown in _SLOWDOWNS:
            line = request(self._moveit, 'line')
            velocity = min(scaling.velocity, scaling.line / limits['max_trans_vel'])
            gentle = safety.acceleration(carrying=True)
            acceleration = min(gentle, line.max_acceleration_scaling_factor)
            line.max_velocity_scaling_factor = velocity / slowdown
            line.max_acceleration_scaling_factor = acceleration / slowdown
            self._line.append(line)
        running = moveit_parameters.get('trajectory_execution', {})
        self._start_tolerance = running.get('allowed_start_tolerance', _START_TOLERANCE)
        self._joints = JointMonitor(node, preset)
        self._controller = ArmController(node, preset, self._joints)
        self._path = PlannedPath(node, preset)
        self._logger = node.get_logger()
        self._stopped = threading.Event()
        self._stopped.set()  # until engage()
        self._scene = PlanningScene(self._monitor, preset.base_frame)
        self._holds = False  # what the scene knows of
        self._hand = Hand(node, preset, self._joints, self._raise_if_stopped)
        self.watchdog = Watchdog(node, preset)

    def engage(self) -> None:
        """Listen to the joint states from now on, and allow motions, also after stop()."""
        self._joints.start()
        self.watchdog.engage()
        self._stopped.clear()

    def disengage(self) -> None:
        """Listen no more; all later motions raise CANCELLED until engage()."""
        self._stopped.set()
        self._joints.stop()
        self.watchdog.disengage()
        self._path.clear()

    def joint_positions(self) -> Array:
        """Return the arm's joint positions (7,); STALE_STATE if they are old."""
        return self._joints.joint_positions()

    def gripper_width(self) -> float:
        """Return the width between the fingers in metres; STALE_STATE if it is old."""
        return self._joints.gripper_width()

    def move_to_joints(self, q: Array, let_go: bool = False) -> None:
        """Move to joint positions (7,), around obstacles, but not what the fingers let go."""
        start = self._start()
        self._safety.check_joints(q)
        goal = self._state(start, q)
        cleared = self._scene.cleared(self._tcp(start), CLEAR_RADIUS)
        with cleared if let_go else nullcontext():
            trajectory = self._plan(start, self._free, robot_state=goal)
        self._show(trajectory)
        self._run(trajectory, 'to joints')

    def move_to_pose(self, T_base_tcp: Array) -> None:
        """Move to a pose of the tool centre point (4, 4), around obstacles."""
        start = self._start()
        self._safety.check_pose(T_base_tcp)
        trajectory = self._plan_pose(start, T_base_tcp, self._free)
        self._show(trajectory)
        self._run(trajectory, 'to a pose')

    def plan_grasp(
        self, T_base_grasp: Array, approach_distance: float, lift_height: float, open_width: float
    ) -> GraspPlan:
        """Plan the whole pick from where the arm is; nothing moves."""
        start = self._start(open_width)
        for T in pick_poses(T_base_grasp, approach_distance, lift_height)[0]:
            self._safety.check_pose(T)
        failure: MotionError | None = None
        for T_pre, T_grasp, T_lift in pick_poses(T_base_grasp, approach_distance, lift_height):
            try:
                to_pregrasp = self._plan_pose(start, T_pre, self._free)
                above = self._state(start, end_of(to_pregrasp, self._preset))
                near = T_grasp[:3, 3]
                approach = self._plan_line(above, T_grasp, near)
                at = self._state(start, end_of(approach, self._preset))
                lift = self._plan_line(at, T_lift, near)
            except MotionError as error:
                if error.code is MotionCode.CANCELLED:
                    raise
                failure = failure or error
                continue
            self._show(to_pregrasp, approach, lift)
            return GraspPlan(
                T_grasp,
                open_width,
                segment_of('to pre-grasp', to_pregrasp),
                segment_of('approach', approach),
                segment_of('lift', lift),
            )
        assert failure is not None
        raise failure

    def hold(self, held: HeldBox | None) -> None:
        """Plan from now on with what the hand holds; None: it holds nothing."""
        self._scene.hold(held, HandLinks.of(self._preset))
        self._holds = held is not None

    def plan_place(self, T_base_place: Array, distance: float) -> PlacePlan:
        """Plan to put what is held down, from a distance in metres above; nothing moves."""
        start = self._start()
        T_above = above(T_base_place, distance)
        for T in (T_base_place, T_above):
            self._safety.check_pose(T)
        to_preplace = self._plan_pose(start, T_above, self._free)
        over = self._state(start, end_of(to_preplace, self._preset))
        lower = self._plan_pose(over, T_base_place, self._line)
        at = self._state(start, end_of(lower, self._preset))
        retreat = self._plan_pose(at, T_above, self._line)
        self._show(to_preplace, lower, retreat)
        return PlacePlan(
            T_base_place,
            segment_of('to pre-place', to_preplace),
            segment_of('lower', lower),
            segment_of('retreat', retreat),
        )

    def execute(self, segment: Segment) -> None:
        """Run a planned segment; MoveIt refuses it where the arm does not stand at its start."""
        self._run(segment.trajectory, segment.name)

    def set_gripper(self, width: float, force: float) -> float:
        """Bring the fingers to a width in metres; return the width at which they settled."""
        self._safety.check_force(force)
        return self._hand.set_width(width, force)

    def set_obstacles(self, heights: HeightMap | None) -> None:
        """Replace what stands on the table; None clears it."""
        self._scene.set_obstacles(heights)

    def wait(self, seconds: float) -> None:
        """Stand still for some seconds of ROS time."""
        self._joints.wait(seconds, self._raise_if_stopped)

    def stop(self) -> None:
        """Stop and hold; the running call and all later ones raise CANCELLED until engage()."""
        self._stopped.set()

    def _start(self, open_width: float | None = None) -> Any:
        """Return MoveIt's state with joint states that are surely fresh (moveit#749).

        open_width: metres, to which the fingers will have opened before the arm moves.
        """
        self._raise_if_stopped()
        q = self.joint_positions()
        # MoveIt refuses a start by the least that a joint is beyond its range.
        width = min(max(0.0, self.gripper_width()), self._preset.open_width)
        # What nobody knows of may be in the hand, too.
        carrying = self._holds or hand.may_hold(width, self._preset.open_width)
        self._free[0].max_acceleration_scaling_factor = self._safety.acceleration(carrying)
        with self._monitor.read_only() as scene:
            state = copy.deepcopy(scene.current_state)
        width = width if open_width is None else open_width
        state.joint_positions = {self._preset.finger_joint: width / 2}
        return self._state(state, q)

    def _state(self, state: Any, q: Array) -> Any:
        changed = copy.deepcopy(state)
        changed.joint_positions = dict(
            zip(self._preset.arm_joints, (float(x) for x in q), strict=True)
        )
        changed.update()
        return changed

    def _tcp(self, state: Any) -> Array:
        """Return the tool centre point's position (3,) in the base frame."""
        T_world_base = state.get_global_link_transform(self._preset.base_frame)
        T_world_tip = state.get_global_link_transform(self._names.tip_link)
        T_base_tcp: Array = rigid.inverse(T_world_base) @ T_world_tip @ self._names.T_tip_tcp
        return T_base_tcp[:3, 3]

    def _plan(self, start: Any, attempts: list[Any], **goal: Any) -> Any:
        """Return a trajectory that keeps the limits of safety, by the first parameters that do.

        MoveIt knows nothing of the workspace's walls; another way may lead inside of them.
        """
        self._arm.set_start_state(robot_state=start)
        self._arm.set_goal_state(**goal)
        unsafe: MotionError | None = None
        for parameters in attempts:
            self._raise_if_stopped()
            result = self._arm.plan(single_plan_parameters=parameters)
            if result:
                try:
                    self._checked(result.trajectory)
                except MotionError as error:
                    unsafe = error
                    continue
                return result.trajectory
            value = int(result.error_code.val)
            if value != _PLANNING_FAILED or attempts is self._free:
                break
        if unsafe is not None:
            raise unsafe
        code, reason = _REASONS.get(value, (MotionCode.UNREACHABLE, 'was not found'))
        way = 'straight way' if attempts is self._line else 'way'
        raise MotionError(
            code,
            f'the {way} of {self._names.arm_group} {reason}: '
            f'error code {value} of moveit_msgs/MoveItErrorCodes',
        )

    def _checked(self, trajectory: Any) -> Trajectory:
        """Return a trajectory as ours; MotionError where it breaks a limit of safety."""
        way = timed(trajectory, self._preset)
        self._safety.check_way(way.positions, way.velocities)
        return way

    def _plan_pose(self, start: Any, T_base_tcp: Array, attempts: list[Any]) -> Any:
        goal = PoseStamped(
            pose=pose_from_matrix(T_base_tcp @ rigid.inverse(self._names.T_tip_tcp))
        )
        goal.header.frame_id = self._preset.base_frame
        return self._plan(start, attempts, pose_stamped_msg=goal, pose_link=self._names.tip_link)

    def _plan_line(self, start: Any, T_base_tcp: Array, near: Array) -> Any:
        with self._scene.cleared(near, CLEAR_RADIUS):
            return self._plan_pose(start, T_base_tcp, self._line)

    def _show(self, *trajectories: Any) -> None:
        self._path.show(*(timed(trajectory, self._preset) for trajectory in trajectories))

    def _run(self, trajectory: Any, name: str) -> None:
        """Have a trajectory executed; MotionError CANCELLED where it was stopped."""
        way = self._checked(trajectory)
        over, failures = threading.Event(), list[MotionError]()
        stopper = threading.Thread(target=self._stop_in_time, args=(way, over, failures))
        stopper.start()
        try:
            self._raise_if_stopped()
            self._check_start(way.positions[0], name)
            self.watchdog.follow(way)
            status = self._moveit.execute(trajectory, controllers=[])
        finally:
            over.set()
            stopper.join()
            self.watchdog.over()
        self._raise_if_stopped()
        if failures:
            raise failures[0]
        ended = f"MoveIt's execution of '{name}' ended with {status.status}"
        if status.status == _ABORTED:
            raise self._safety.abort(ended)
        if not status:
            raise MotionError(MotionCode.NOT_FOLLOWED, f"{ended}; MoveIt's log says why")
        check_arrived(self._joints, self._preset.arm_joints, way.positions[-1], ended)

    def _check_start(self, q: Array, name: str) -> None:
        """Refuse what MoveIt would abort without a motion, from which nothing is to recover."""
        off = np.abs(self.joint_positions() - q)
        i = int(np.argmax(off))
        if off[i] > self._start_tolerance > 0:  # 0: MoveIt does not look
            raise MotionError(
                MotionCode.NOT_FOLLOWED,
                f"the arm is not where '{name}' starts: {self._preset.arm_joints[i]} is off by "
                f'{off[i]:.3f} rad; let it stand still, then send the goal again',
            )

    def _stop_in_time(
        self, way: Trajectory, over: threading.Event, failures: list[MotionError]
    ) -> None:
        """End an execution, with the arm at rest, once stop() is called or the arm is silent."""
        begun, silent = self._joints.time.now(), silence(self._joints)
        while not self._stopped.wait(_WATCH_SECONDS):
            if over.is_set():
                return
            if error := silent():
                failures.append(error)
                break
        if not over.is_set():
            self._brake(way, begun)
        while True:
            # What is asked of MoveIt is lost where execute() has not yet begun.
            self._moveit.get_trajectory_execution_manager().stop_execution()
            if over.wait(_WATCH_SECONDS):
                return

    def _brake(self, way: Trajectory, begun: float) -> None:
        """Bring the arm to rest on its way: MoveIt would have the controller hold it at once."""
        try:
            known = self._joints.arm
            moved = np.abs(known.latest - way.positions[0]).max() if known.known else np.inf
            tell = self.watchdog.brake
            if moved > _AT_START and (handle := self._controller.brake(way, begun, tell)):
                self.watchdog.over()
                if aborted := self._controller.wait_for_rest(handle):
                    self._logger.error(str(self._safety.abort(aborted)))
        except Exception as error:  # whatever it is, the execution has yet to be ended
            self._logger.error(f'the arm is not slowed down but held at once: {error!r}')

    def _raise_if_stopped(self) -> None:
        if self._stopped.is_set():
            raise MotionError(MotionCode.CANCELLED, 'the motion was stopped')
        self._safety.check_recovered()
