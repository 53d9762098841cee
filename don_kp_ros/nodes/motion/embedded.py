"""Motion by the embedded planner: plans here, commands the trajectory controllers by topic."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from don_kp_ros.motion.heightmap import HeightMap
from don_kp_ros.motion.planner import Planner
from don_kp_ros.motion.port import GraspPlan, MotionCode, MotionError, Segment
from don_kp_ros.motion.timing import Trajectory
from don_kp_ros.nodes.motion.joint_monitor import STALE, STALE_MOVING, History, JointMonitor
from don_kp_ros.robots.preset import RobotPreset

Array = NDArray[np.float64]

# A segment starts and ends within these of its ends, radians.
_START_TOLERANCE = 0.05
_GOAL_TOLERANCE = 0.01
# At rest: no joint moved more than this, radians or metres, for this long, seconds.
_ARM_REST, _FINGER_REST = 0.002, 0.0003
_REST_SECONDS = 0.2
# Without motion for this long before the goal, the arm or the gripper is stuck.
_STUCK_SECONDS = 1.5
# Speed of each finger, m/s.
_FINGER_SPEED = 0.05
_CONNECT_SECONDS = 3.0
_HOLD_SECONDS = 0.1


class EmbeddedMotion:
    """The motion port on a node that another thread spins: calls here only wait, never spin.

    Reads joint_states; publishes to the preset's controller topics.
    """

    def __init__(
        self, node: Node, preset: RobotPreset, planner: Planner | None = None, speed: float = 0.1
    ) -> None:
        """Connect to the robot; speed in m/s is that of a pick's straight lines."""
        self._preset = preset
        self._planner = planner or Planner(preset)
        self._planner.cancelled = lambda: self._stopped
        self._speed = speed
        self._stopped = True  # until engage()
        self._monitor = JointMonitor(node, preset)
        self._changed = self._monitor.changed
        self._arm, self._finger = self._monitor.arm, self._monitor.finger
        self._arm_publisher = node.create_publisher(JointTrajectory, preset.arm_topic, 10)
        self._hand_publisher = node.create_publisher(JointTrajectory, preset.hand_topic, 10)

    def engage(self) -> None:
        """Listen to the joint states from now on, and allow motions, also after stop()."""
        self._monitor.start()
        with self._changed:
            self._stopped = False

    def disengage(self) -> None:
        """Listen no more; all later motions raise CANCELLED until engage()."""
        self.stop()
        self._monitor.stop()

    def joint_positions(self) -> Array:
        """Return the arm's joint positions (7,); STALE_STATE if they are old."""
        return self._monitor.joint_positions()

    def gripper_width(self) -> float:
        """Return the width between the fingers in metres; STALE_STATE if it is old."""
        return self._monitor.gripper_width()

    def set_obstacles(self, heights: HeightMap | None) -> None:
        """Replace what stands on the table; None clears it."""
        self._planner.set_obstacles(heights)

    def move_to_joints(self, q: Array) -> None:
        """Move to joint positions (7,), around obstacles."""
        start = self._prepare()
        self._follow(self._planner.to_joints(start, q))

    def plan_grasp(
        self, T_base_grasp: Array, approach_distance: float, lift_height: float, open_width: float
    ) -> GraspPlan:
        """Plan the whole pick from where the arm is; nothing moves."""
        start = self._prepare()
        plan = self._planner.grasp(
            start, T_base_grasp, approach_distance, lift_height, open_width, self._speed
        )

        def segment(name: str, trajectory: Trajectory) -> Segment:
            return Segment(name, trajectory.duration, trajectory)

        return GraspPlan(
            plan.T_base_grasp,
            open_width,
            segment('to pre-grasp', plan.to_pregrasp),
            segment('approach', plan.approach),
            segment('lift', plan.lift),
        )

    def execute(self, segment: Segment) -> None:
        """Run a planned segment; NOT_FOLLOWED if the arm does not stand at its start."""
        self._follow(segment.trajectory)

    def set_gripper(self, width: float, force: float) -> float:
        """Bring the fingers to a width in metres; return the width at which they settled.

        The force in newtons goes along as the trajectory's effort, for controllers that heed it.
        """
        if not 0.0 <= width <= self._preset.open_width + 1e-6:
            raise ValueError(
                f'width is {width} m; the gripper goes from 0 to {self._preset.open_width} m'
            )
        self._raise_if_stopped()
        goal = np.array([width / 2])
        start = np.array([self.gripper_width() / 2])
        seconds = max(0.1, float(np.abs(goal - start)[0]) / _FINGER_SPEED)
        point = JointTrajectoryPoint(
            positions=goal.tolist(),
            effort=[float(force)],
            time_from_start=Duration(seconds=seconds).to_msg(),
        )
        command = JointTrajectory(joint_names=[self._preset.finger_joint], points=[point])
        begun = self._publish(self._hand_publisher, command, self._finger)

        def settled() -> bool:
            return (
                self._finger.stamp >= begun + seconds
                and self._finger.moved(_REST_SECONDS) < _FINGER_REST
            )

        self._wait(settled, self._finger, lambda: self._hold(self._finger), seconds + 5.0)
        return self.gripper_width()

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
        start_error = np.abs(self.joint_positions() - trajectory.positions[0])
        if start_error.max() > _START_TOLERANCE:
            raise MotionError(
                MotionCode.NOT_FOLLOWED,
                f'the arm is not where the motion starts: {self._worst(start_error)}',
            )
        points = [
            JointTrajectoryPoint(
                positions=position.tolist(),
                velocities=velocity.tolist(),
                time_from_start=Duration(seconds=float(seconds)).to_msg(),
            )
            # The first is where the arm is: a point at time zero would be in the past.
            for seconds, position, velocity in zip(
                trajectory.times[1:],
                trajectory.positions[1:],
                trajectory.velocities[1:],
                strict=True,
            )
        ]
        if not points:
            return
        command = JointTrajectory(joint_names=list(self._preset.arm_joints), points=points)
        begun = self._publish(self._arm_publisher, command, self._arm)

        def arrived() -> bool:
            error = np.abs(self._arm.latest - goal)
            late = self._arm.stamp - begun
            if late > trajectory.duration and error.max() <= _GOAL_TOLERANCE:
                return self._arm.moved(_REST_SECONDS) < _ARM_REST
            if late > _STUCK_SECONDS and self._arm.moved(_STUCK_SECONDS) < _ARM_REST:
                self._hold(self._arm)
                raise MotionError(
                    MotionCode.NOT_FOLLOWED, f'the arm is stuck: {self._worst(error)}'
                )
            return False

        # The robot's clock may be slower than this machine's.
        limit = 5.0 * trajectory.duration + 10.0
        self._wait(arrived, self._arm, lambda: self._hold(self._arm), limit)

    def _worst(self, error: Array) -> str:
        joint = int(np.argmax(error))
        return f'{self._preset.arm_joints[joint]} is off by {error[joint]:.3f} rad'

    def _publish(self, publisher: Publisher, command: JointTrajectory, history: History) -> float:
        """Send a trajectory; return the robot's time at which it was sent."""
        deadline = time.monotonic() + _CONNECT_SECONDS
        while publisher.get_subscription_count() == 0:
            self._raise_if_stopped()
            if time.monotonic() > deadline:
                raise MotionError(
                    MotionCode.NOT_FOLLOWED,
                    f'no controller listens on {publisher.topic_name}; '
                    'is it running? (ros2 control list_controllers)',
                )
            time.sleep(0.02)
        with self._changed:
            self._raise_if_stopped()
            history.raise_if_stale(STALE_MOVING)
            publisher.publish(command)
            return history.stamp

    def _wait(
        self, done: Callable[[], bool], history: History, hold: Callable[[], None], limit: float
    ) -> None:
        """Wait until done; hold the robot and raise where it is stopped, stale or too slow."""
        deadline = time.monotonic() + limit
        with self._changed:
            while not done():
                self._changed.wait(0.05)
                try:
                    self._raise_if_stopped()
                    history.raise_if_stale(STALE_MOVING)
                    if time.monotonic() > deadline:
                        raise MotionError(
                            MotionCode.TIMEOUT, f'the motion did not end within {limit:.0f} s'
                        )
                except MotionError:
                    hold()
                    raise

    def _hold(self, history: History) -> None:
        """Stop where the joints come to rest from their present velocity."""
        if history is self._arm:
            joints, publisher = list(self._preset.arm_joints), self._arm_publisher
        else:
            joints, publisher = [self._preset.finger_joint], self._hand_publisher
        command = JointTrajectory(joint_names=joints)
        if history.age <= STALE:
            rest = history.latest + 0.5 * _HOLD_SECONDS * history.velocity
            point = JointTrajectoryPoint(
                positions=rest.tolist(),
                velocities=[0.0] * len(joints),
                time_from_start=Duration(seconds=_HOLD_SECONDS).to_msg(),
            )
            command.points = [point]
        # An old position must not be gone back to; a trajectory without points stops the
        # controller where it is.
        publisher.publish(command)

    def _raise_if_stopped(self) -> None:
        if self._stopped:
            raise MotionError(MotionCode.CANCELLED, 'the motion was stopped')
