"""What the tests of motions wait for, ask for and look at."""

import time

import numpy as np
import pytest

from don_kp_ros.geometry import rigid
from don_kp_ros.motion.port import MotionError

PATIENCE_S = 60.0  # for what takes a moment on an idle machine


def until(condition, seconds=PATIENCE_S):
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    return value


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
