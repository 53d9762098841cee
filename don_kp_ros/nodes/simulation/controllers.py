"""A joint_trajectory_controller's topic and action, on simulated joints."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from queue import SimpleQueue

import numpy as np
from control_msgs.action import FollowJointTrajectory
from control_msgs.msg import JointTolerance
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSProfile
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from don_kp_ros.nodes.kit.conversions import seconds_from_stamp, stamp_from_seconds
from don_kp_ros.nodes.kit.guard import guarded
from don_kp_ros.nodes.simulation.goals import Goal, GoalServer
from don_kp_ros.nodes.simulation.trajectories import read_trajectory
from don_kp_ros.simulation.controllers import (
    CommandedTrajectory,
    TrajectoryController,
    TrajectoryError,
)

Array = NDArray[np.float64]
Result = FollowJointTrajectory.Result

_STOPPED = 0.01  # rad/s or m/s: slower is at rest, stopped_velocity_tolerance
_FEEDBACK_S = 0.05


class TrajectoryServer:
    """Takes trajectories for some joints, as joint_trajectory_controller does by its defaults.

    A trajectory replaces the one that runs, and a goal ends the goal before. Cancelled, or off
    the way by more than the goal allows, the joints hold where they are.
    """

    def __init__(
        self, node: Node, controller: str, joints: Sequence[str], now: Callable[[], float]
    ) -> None:
        """Serve `controller`/joint_trajectory and /follow_joint_trajectory; ``now`` in seconds."""
        self._node, self._name, self._joints, self._now = node, controller, list(joints), now
        self._commands: SimpleQueue[CommandedTrajectory] = SimpleQueue()
        self._goals = GoalServer(
            node, FollowJointTrajectory, f'{controller}/follow_joint_trajectory', self._refusal
        )
        self._goal: Goal | None = None
        self._reported = -np.inf
        node.create_subscription(
            JointTrajectory,
            f'{controller}/joint_trajectory',
            self._on_command,
            QoSProfile(depth=10),
        )

    def update(
        self, controller: TrajectoryController, now: float, position: Array, velocity: Array
    ) -> None:
        """Start what has come, and judge the running goal; positions and velocities (joints,)."""
        for _ in range(self._commands.qsize()):
            controller.accept(self._commands.get(), now)
        for goal in self._goals.accepted():
            self.abort('a newer goal takes its place', Result.INVALID_GOAL)
            trajectory = read_trajectory(goal.request.trajectory, self._joints, -np.inf)
            controller.accept(trajectory, now)
            self._goal = goal
        if self._goal is not None:
            self._judge(self._goal, controller, now, position, velocity)

    def abort(self, reason: str, code: int) -> None:
        """End the running goal, if there is one."""
        if self._goal is not None:
            self._goal.end('abort', Result(error_code=code, error_string=reason))
            self._goal = None

    def _judge(
        self,
        goal: Goal,
        controller: TrajectoryController,
        now: float,
        position: Array,
        velocity: Array,
    ) -> None:
        error = np.abs(controller.position - position)
        left = controller.seconds_left(now)
        asked: FollowJointTrajectory.Goal = goal.request
        patience = seconds_from_stamp(asked.goal_time_tolerance)
        if goal.cancelled:
            controller.hold(position)
            goal.end('canceled', Result(error_string='cancelled; the joints hold'))
            self._goal = None
        elif left > 0:
            if reason := self._outside(error, asked.path_tolerance):
                controller.hold(position)
                self.abort(f'off the way: {reason}', Result.PATH_TOLERANCE_VIOLATED)
            elif now >= self._reported + _FEEDBACK_S:
                self._reported = now
                goal.report(self._feedback(controller, now, position, velocity))
        else:
            reason = self._outside(error, asked.goal_tolerance)
            if not reason and (np.abs(velocity) < _STOPPED).all():
                goal.end('succeed', Result(error_string='the goal is reached'))
                self._goal = None
            elif patience and -left > patience:
                controller.hold(position)
                self.abort(
                    f'not at the goal {-left:.2f} s after its time: {reason or "still moving"}',
                    Result.GOAL_TOLERANCE_VIOLATED,
                )

    def _outside(self, error: Array, tolerances: Iterable[JointTolerance]) -> str:
        """Return which joint is off by more than it may be; 0 and below allow anything."""
        for tolerance in tolerances:
            if tolerance.position > 0 and tolerance.name in self._joints:
                off = float(error[self._joints.index(tolerance.name)])
                if off > tolerance.position:
                    return (
                        f'{tolerance.name} is off by {off:.4f}; allowed: {tolerance.position:.4f}'
                    )
        return ''

    def _feedback(
        self, controller: TrajectoryController, now: float, position: Array, velocity: Array
    ) -> FollowJointTrajectory.Feedback:
        def point(positions: Array, velocities: Array) -> JointTrajectoryPoint:
            return JointTrajectoryPoint(
                positions=positions.tolist(), velocities=velocities.tolist()
            )

        feedback = FollowJointTrajectory.Feedback(joint_names=self._joints)
        feedback.header.stamp = stamp_from_seconds(now)
        feedback.desired = point(controller.position, controller.velocity)
        feedback.actual = point(position, velocity)
        feedback.error = point(controller.position - position, controller.velocity - velocity)
        return feedback

    def _refusal(self, request: FollowJointTrajectory.Goal) -> str:
        if request.multi_dof_trajectory.points:
            return 'it has a multi_dof_trajectory; these joints have one degree of freedom each'
        try:
            read_trajectory(request.trajectory, self._joints, self._now())
        except TrajectoryError as error:
            return str(error)
        return ''

    @guarded
    def _on_command(self, message: JointTrajectory) -> None:
        try:
            self._commands.put(read_trajectory(message, self._joints, self._now()))
        except TrajectoryError as error:
            self._node.get_logger().error(f'trajectory of {self._name} rejected: {error}')
