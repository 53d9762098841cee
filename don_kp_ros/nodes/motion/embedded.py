"""Motion by the embedded planner: plans here, has the controllers' actions follow."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
from action_msgs.msg import GoalStatus
from numpy.typing import NDArray
from rclpy.node import Node

from don_kp_ros.motion.heightmap import HeightMap
from don_kp_ros.motion.held import HeldBox
from don_kp_ros.motion.planner import Planner
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
from don_kp_ros.nodes.motion.action import how
from don_kp_ros.nodes.motion.arm_controller import ANSWER_TIME, ArmController
from don_kp_ros.nodes.motion.arrival import check_arrived, silence, worst
from don_kp_ros.nodes.motion.grippers.gripper import Hand
from don_kp_ros.nodes.motion.joint_monitor import JointMonitor
from don_kp_ros.nodes.motion.planned_path import PlannedPath
from don_kp_ros.nodes.motion.watchdog import Watchdog
from don_kp_ros.robots.preset import RobotPreset

Array = NDArray[np.float64]

# Radians between the arm and a segment's start: it goes there first, or not at all.
_AT_START, _START_TOLERANCE = 5e-4, 0.05
# An arm stands still that has moved less than that for so long; it is waited for, seconds.
_STILL_S, _SETTLING_S = 0.1, 1.0


class EmbeddedMotion:
    """The motion port on a node that another thread spins: calls here only wait, never spin.

    Reads joint_states; has the arm's joint_trajectory_controller follow what it plans.
    """

    def __init__(self, node: Node, preset: RobotPreset, safety: Safety) -> None:
        """Connect to the robot."""
        self._preset, self._safety = preset, safety
        self._logger = node.get_logger()
        self._planner = Planner(preset, safety)
        self._planner.cancelled = lambda: self._stopped
        self._stopped = True  # until engage()
        self._monitor = JointMonitor(node, preset)
        self._changed = self._monitor.changed
        self._path = PlannedPath(node, preset)
        self._arm = ArmController(node, preset, self._monitor)
        self._hand = Hand(node, preset, self._monitor, self._raise_if_stopped)
        self.watchdog = Watchdog(node, preset)

    def engage(self) -> None:
        """Listen to the joint states from now on, and allow motions, also after stop()."""
        self._monitor.start()
        self.watchdog.engage()
        with self._changed:
            self._stopped = False

    def disengage(self) -> None:
        """Listen no more; all later motions raise CANCELLED until engage()."""
        self.stop()
        self._monitor.stop()
        self.watchdog.disengage()
        self._path.clear()

    def joint_positions(self) -> Array:
        """Return the arm's joint positions (7,); STALE_STATE if they are old."""
        return self._monitor.joint_positions()

    def gripper_width(self) -> float:
        """Return the width between the fingers in metres; STALE_STATE if it is old."""
        return self._monitor.gripper_width()

    def set_obstacles(self, heights: HeightMap | None) -> None:
        """Replace what stands on the table; None clears it."""
        self._planner.set_obstacles(heights)

    def move_to_joints(self, q: Array, let_go: bool = False) -> None:
        """Move to joint positions (7,), around obstacles, but not what the fingers let go."""
        start = self._prepare()
        self._safety.check_joints(q)
        trajectory = self._planner.to_joints(start, q, let_go)
        self._path.show(trajectory)
        self._follow(trajectory)

    def move_to_pose(self, T_base_tcp: Array) -> None:
        """Move to a pose of the tool centre point (4, 4), around obstacles."""
        start = self._prepare()
        self._safety.check_pose(T_base_tcp)
        trajectory = self._planner.to_pose(start, T_base_tcp)
        self._path.show(trajectory)
        self._follow(trajectory)

    def plan_grasp(
        self, T_base_grasp: Array, approach_distance: float, lift_height: float, open_width: float
    ) -> GraspPlan:
        """Plan the whole pick from where the arm is; nothing moves."""
        start = self._prepare()
        for T in pick_poses(T_base_grasp, approach_distance, lift_height)[0]:
            self._safety.check_pose(T)
        plan = self._planner.grasp(start, T_base_grasp, approach_distance, lift_height, open_width)
        self._path.show(plan.to_pregrasp, plan.approach, plan.lift)
        return GraspPlan(
            plan.T_base_grasp,
            open_width,
            _segment('to pre-grasp', plan.to_pregrasp),
            _segment('approach', plan.approach),
            _segment('lift', plan.lift),
        )

    def hold(self, held: HeldBox | None) -> None:
        """Plan from now on with what the hand holds; None: it holds nothing."""
        self._planner.scene.hold(held)

    def plan_place(self, T_base_place: Array, distance: float) -> PlacePlan:
        """Plan to put what is held down, from a distance in metres above; nothing moves."""
        start = self._prepare()
        for T in (T_base_place, above(T_base_place, distance)):
            self._safety.check_pose(T)
        plan = self._planner.place(start, T_base_place, distance)
        self._path.show(plan.to_pregrasp, plan.approach, plan.lift)
        return PlacePlan(
            plan.T_base_grasp,
            _segment('to pre-place', plan.to_pregrasp),
            _segment('lower', plan.approach),
            _segment('retreat', plan.lift),
        )

    def execute(self, segment: Segment) -> None:
        """Run a planned segment; NOT_FOLLOWED if the arm does not stand at its start."""
        self._follow(segment.trajectory)

    def set_gripper(self, width: float, force: float) -> float:
        """Bring the fingers to a width in metres; return the width at which they settled."""
        self._safety.check_force(force)
        return self._hand.set_width(width, force)

    def wait(self, seconds: float) -> None:
        """Stand still for some seconds of ROS time."""
        self._monitor.wait(seconds, self._raise_if_stopped)

    def stop(self) -> None:
        """Stop and hold; the running call and all later ones raise CANCELLED until engage()."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _prepare(self) -> Array:
        """Return where the arm is, and tell the planner how wide the fingers are."""
        self._raise_if_stopped()
        self._planner.scene.set_width(self.gripper_width())
        return self.joint_positions()

    def _follow(self, trajectory: Trajectory) -> None:
        self._raise_if_stopped()
        goal = trajectory.positions[-1]
        here = self._rested_near(trajectory.positions[0])
        start_error = np.abs(here - trajectory.positions[0])
        if start_error.max() > _START_TOLERANCE:
            raise MotionError(
                MotionCode.NOT_FOLLOWED,
                f'the arm is not where the motion starts: {self._worst(start_error)}',
            )
        if trajectory.duration == 0.0:
            return
        if start_error.max() > _AT_START:
            trajectory = self._planner.begun_at(here, trajectory)
        self._safety.check_way(trajectory.positions, trajectory.velocities)
        self.watchdog.follow(trajectory)
        try:
            answer = self._run(trajectory)
        finally:
            self.watchdog.over()

        if aborted := self._arm.why_aborted(answer):
            with contextlib.suppress(MotionError):  # also where the arm is not heard any more
                aborted += f'; {self._worst(np.abs(self.joint_positions() - goal))}'
            raise self._safety.abort(aborted)
        ended = (
            f'the motion {how(answer.status)} by {self._arm.name}: '
            f'{answer.result.error_string or "it says no more"}'
        )
        if answer.status != GoalStatus.STATUS_SUCCEEDED:
            raise MotionError(MotionCode.NOT_FOLLOWED, ended)
        check_arrived(self._monitor, self._preset.arm_joints, goal, ended)

    def _rested_near(self, start: Array) -> Array:
        """Return where the arm is (7,), once it is at a start (7,), or stands still elsewhere.

        What is heard last may be of the motion before: to begin there, the arm would jump back.
        """

        def rests() -> bool:
            near = np.abs(self.joint_positions() - start).max() <= _AT_START
            return bool(near or self._monitor.arm.moved(_STILL_S) < _AT_START)

        self._monitor.wait(_SETTLING_S, rests)
        return self.joint_positions()

    def _run(self, trajectory: Trajectory) -> Any:
        """Have the controller follow a trajectory; return how that ended."""
        check = self._watch()
        handle = self._arm.start(trajectory, check)
        begun = self._monitor.time.now()
        try:
            return self._arm.result(handle, check, trajectory.duration + ANSWER_TIME)
        except Exception:  # whatever it is, the arm must not run on
            self._brake(handle, trajectory, begun)
            raise

    def _watch(self) -> Callable[[], None]:
        """Return what raises once the arm is to stop, or nothing is heard of it any more."""
        silent = silence(self._monitor)

        def check() -> None:
            self._raise_if_stopped()
            if error := silent():
                raise error

        return check

    def _brake(self, handle: Any, trajectory: Trajectory, begun: float) -> None:
        """Bring the arm to rest on its way; return when it rests, or after some seconds."""
        try:
            stopping = self._arm.brake(trajectory, begun, self.watchdog.brake)
            self.watchdog.over()
            if aborted := self._arm.wait_for_rest(stopping or handle):
                self._logger.error(str(self._safety.abort(aborted)))
        except Exception as error:
            self._logger.error(f'the arm is not slowed down but held at once: {error!r}')
            handle.cancel_goal_async()

    def _worst(self, error: Array) -> str:
        return worst(self._preset.arm_joints, error)

    def _raise_if_stopped(self) -> None:
        if self._stopped:
            raise MotionError(MotionCode.CANCELLED, 'the motion was stopped')
        self._safety.check_recovered()


def _segment(name: str, trajectory: Trajectory) -> Segment:
    return Segment(name, trajectory.duration, trajectory)
