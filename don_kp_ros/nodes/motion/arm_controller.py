"""The arm's joint_trajectory_controller: it follows trajectories, and brings the arm to rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from action_msgs.msg import GoalStatus
from control_msgs.action import FollowJointTrajectory
from control_msgs.msg import JointTolerance
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.serialization import serialize_message
from trajectory_msgs.msg import JointTrajectoryPoint

from don_kp_ros.motion.braking import braked, progress
from don_kp_ros.motion.port import MotionCode, MotionError
from don_kp_ros.motion.timing import Trajectory
from don_kp_ros.nodes.kit.conversions import stamp_from_seconds
from don_kp_ros.nodes.motion.action import ControllerAction
from don_kp_ros.nodes.motion.joint_monitor import STALE, JointMonitor
from don_kp_ros.robots.preset import RobotPreset

# Of the goal, and of the way: farther off it the controller gives up; radians.
GOAL_TOLERANCE = 0.01
_PATH_TOLERANCE = 0.2
# So long after its time the controller waits for the arm to be there, seconds.
_GOAL_TIME = 2.0
# So long after its time the answer is waited for: an arm that is held back is given up before.
ANSWER_TIME = _GOAL_TIME + 5.0
_BRAKING_TIME = 1.0  # the longest way to rest
_BEHIND = 0.1  # seconds, by which one process may hear of simulated time later than another


class ArmController:
    """Sends trajectories from threads that do not spin; a new one takes the place of the last."""

    def __init__(self, node: Node, preset: RobotPreset, monitor: JointMonitor) -> None:
        """Look for the controller on a node that others spin."""
        self._joints, self._limits = list(preset.arm_joints), preset.stopping_accelerations
        self._monitor = monitor
        self._action = ControllerAction(
            node,
            FollowJointTrajectory,
            f'{preset.arm_controller}/follow_joint_trajectory',
            monitor.changed,
            'is the controller active? (ros2 control list_controllers)',
        )

    @property
    def name(self) -> str:
        """The action's name."""
        return self._action.name

    def rehearse(self) -> None:
        """Make a goal and send it nowhere: the first takes 0.1 s, for what Python loads."""
        rest = np.zeros((2, len(self._joints)))
        serialize_message(self._goal(Trajectory(np.arange(2.0), rest, rest), 1.0))

    def start(self, trajectory: Trajectory, check: Callable[[], None], at: float = 0.0) -> Any:
        """Send a trajectory and return its handle; ``at`` is in seconds of ROS time, 0 for now.

        Raises MotionError NOT_FOLLOWED where there is no controller or it refuses.
        """
        return self._action.start(self._goal(trajectory, at), check)

    def result(self, handle: Any, check: Callable[[], None], seconds: float) -> Any:
        """Wait for a trajectory's end; return its ``status`` and its ``result``."""
        return self._action.result(handle, check, seconds)

    def brake(
        self,
        trajectory: Trajectory,
        begun: float,
        told: Callable[[Trajectory, float], None] = lambda *_: None,
    ) -> Any | None:
        """Have the arm come to rest on the way that it follows since a time; return the handle.

        To cancel the trajectory would hold the arm at once, with more than it can stand. None
        where the trajectory itself is over as soon. Else what start() takes is ``told`` before it
        is sent: the same sent twice, by whomever, is followed once. Raises MotionError as start()
        does.
        """
        arm, now = self._monitor.arm, self._monitor.time.now()
        passed, start = now - begun, 0.0
        if passed < -_BEHIND:
            raise MotionError(
                MotionCode.STALE_STATE,
                f'ROS time was set back by {-passed:.1f} s: how far the arm is, is not known',
            )
        with self._monitor.changed:
            passed = max(0.0, passed)
            if abs(now - arm.stamp) <= STALE:  # else robot and node have not the same time
                passed, start = progress(trajectory, arm.latest, passed) + now - arm.stamp, now
        stopping = braked(trajectory, max(0.0, passed), self._limits)
        if stopping is None:
            return None
        told(stopping, start)
        return self.come_to_rest(stopping, start)

    def come_to_rest(self, stopping: Trajectory, at: float) -> Any:
        """Send a way to rest, as start() does; nothing stops it."""
        return self.start(stopping, _nothing, at)

    def wait_for_rest(self, handle: Any) -> str:
        """Wait for the end of a trajectory that nothing stops; MotionError where it lasts.

        Return why the controller gave it up, or nothing.
        """
        answer = self.result(handle, _nothing, _BRAKING_TIME + ANSWER_TIME)
        return self.why_aborted(answer)

    def why_aborted(self, answer: Any) -> str:
        """Return why the controller gave a trajectory up, or nothing."""
        if answer.status != GoalStatus.STATUS_ABORTED:
            return ''
        said = answer.result.error_string or 'it says no more'
        return f'the motion was aborted by {self.name}: {said}'

    def _goal(self, trajectory: Trajectory, at: float) -> FollowJointTrajectory.Goal:
        joints = self._joints
        goal = FollowJointTrajectory.Goal()
        goal.trajectory.joint_names = joints
        goal.trajectory.header.stamp = stamp_from_seconds(at)
        # Without the first: that is where the arm is.
        goal.trajectory.points = [
            JointTrajectoryPoint(
                positions=position.tolist(),
                velocities=velocity.tolist(),
                time_from_start=Duration(seconds=float(seconds)).to_msg(),
            )
            for seconds, position, velocity in zip(
                trajectory.times[1:],
                trajectory.positions[1:],
                trajectory.velocities[1:],
                strict=True,
            )
        ]
        for name in joints:
            goal.path_tolerance.append(JointTolerance(name=name, position=_PATH_TOLERANCE))
            goal.goal_tolerance.append(JointTolerance(name=name, position=GOAL_TOLERANCE))
        goal.goal_time_tolerance = Duration(seconds=_GOAL_TIME).to_msg()
        return goal


def _nothing() -> None:
    """Wait on: braking is not stopped."""
