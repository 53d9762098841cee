"""What the tests of motions wait for, ask for and look at."""

import numpy as np
import pytest
from ideal_robot import OBSERVE, PRESET
from nav_msgs.msg import Path
from waiting import wait_until

from don_kp_ros.geometry import rigid
from don_kp_ros.motion.kinematics import Kinematics
from don_kp_ros.motion.port import MotionError
from don_kp_ros.nodes.kit.conversions import matrix_from_pose
from don_kp_ros.nodes.kit.qos import LATCHED


def down(x, y, z):
    return rigid.transform(np.diag([1.0, -1.0, -1.0]), [x, y, z])


def failure(call):
    with pytest.raises(MotionError) as caught:
        call()
    return caught.value


def stopped_on_the_way(robot, motion, goal, has_come):
    """Move to joint positions, stop when a condition holds; return the failure of the motion."""
    robot.when(has_come, motion.stop)
    return failure(lambda: motion.move_to_joints(goal))


def speeds_and_accelerations(times, positions):
    """Return what an arm was commanded: rad/s (n, 7) and rad/s^2 (n - 1, 7)."""
    speeds = np.diff(positions, axis=0) / np.diff(times)[:, None]
    return speeds, np.diff(speeds, axis=0) / ((times[2:] - times[:-2]) / 2)[:, None]


def check_that_ways_are_told(motion, robot):
    """Pick and go home: what is told before is what the tool does, and in the end nothing."""
    told = []
    listening = robot.create_subscription(Path, '/don_kp/planned_path', told.append, LATCHED)
    forward = Kinematics(PRESET).forward
    asked = robot.get_clock().now().nanoseconds
    plan = motion.plan_grasp(down(0.52, 0.05, 0.02), 0.1, 0.15, 0.08)
    # One of an earlier test may be told first.
    planned = wait_until(lambda: next((one for one in told if _nanoseconds(one) > asked), None))
    assert planned.header.frame_id == PRESET.base_frame
    way = [matrix_from_pose(one.pose) for one in planned.poses]
    assert np.allclose(way[0], forward(robot.arm), atol=1e-4)
    begun = len(robot.commands)
    for segment in (plan.to_pregrasp, plan.approach, plan.lift):
        motion.execute(segment)
        # It ends within a tolerance, and goes on to rest.
        wait_until(lambda: min(np.abs(T - forward(robot.arm)).max() for T in way) < 1e-3)
    wait_until(lambda: np.allclose(way[-1], forward(robot.arm), atol=1e-3))
    for q in robot.commands[begun:]:
        assert _off(forward(q)[:3, 3], np.array(way)[:, :3, 3]) < 2e-3
    motion.move_to_joints(OBSERVE)
    home = wait_until(lambda: told[-1] is not planned and told[-1].poses)
    assert np.allclose(matrix_from_pose(home[-1].pose), forward(OBSERVE), atol=1e-6)
    motion.disengage()
    wait_until(lambda: not told[-1].poses)
    robot.destroy_subscription(listening)


def _nanoseconds(path):
    return 10**9 * path.header.stamp.sec + path.header.stamp.nanosec


def _off(point, corners):
    """Return how far a point (3,) is from a line through corners (n, 3)."""
    starts, along = corners[:-1], np.diff(corners, axis=0)
    squares = np.maximum((along**2).sum(axis=1), 1e-12)
    share = np.clip(((point - starts) * along).sum(axis=1) / squares, 0, 1)[:, None]
    return np.linalg.norm(starts + share * along - point, axis=1).min()
