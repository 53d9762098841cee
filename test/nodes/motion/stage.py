"""Has the ideal robot play, and its users' nodes spin."""

import os
import threading
from contextlib import contextmanager

import numpy as np
import pytest
import rclpy
from ideal_robot import Controllers
from rclpy.executors import SingleThreadedExecutor

from don_kp_ros.geometry import rigid
from don_kp_ros.motion.port import MotionError

PATIENCE_S = 60.0  # for what takes a moment on an idle machine


@contextmanager
def spun(node):
    """Have a node spun in a thread of its own, as in a process of its own."""
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    spinner = threading.Thread(target=executor.spin, daemon=True)
    spinner.start()
    yield
    executor.shutdown()
    spinner.join(timeout=5.0)


@contextmanager
def playing():
    """Have the controllers play on a context of their own."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=int(os.environ['ROS_DOMAIN_ID']))
    controllers = Controllers(context)
    with spun(controllers):
        yield controllers
    controllers.destroy_node()
    context.shutdown()


def until(condition):
    for _ in range(int(PATIENCE_S / 0.02)):
        if condition():
            return
        threading.Event().wait(0.02)
    raise AssertionError


def down(x, y, z):
    return rigid.transform(np.diag([1.0, -1.0, -1.0]), [x, y, z])


def failure(call):
    with pytest.raises(MotionError) as caught:
        call()
    return caught.value
