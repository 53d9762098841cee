"""The grasp node with an arm that only waits, and its user."""

from __future__ import annotations

import itertools
import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from don_kp.action import Grasp
from don_kp_ros.motion.port import MotionCode, MotionError
from don_kp_ros.nodes.grasp import node as grasp
from don_kp_ros.nodes.kit.action import PunctualActionClient

STEPS = 20  # of a motion, each a millisecond, or more where the machine is busy


class Arm:
    """Stands for a motion adapter: every motion takes some steps and can be stopped."""

    def __init__(self, *_: Any) -> None:
        self.stopped = True
        self.moving, self.most_moving, self.motions = 0, 0, 0
        self.looked = -1
        self.arrives, self.steps = True, 0
        self.watchdog = SimpleNamespace(start=lambda: None)

    def engage(self) -> None:
        self.stopped = False

    def disengage(self) -> None:
        self.stopped = True

    def stop(self) -> None:
        self.stopped = True

    def hold(self, _: Any) -> None:
        pass

    def joint_positions(self) -> np.ndarray:
        return np.zeros(7)

    def set_gripper(self, width: float, force: float) -> float:
        self.motions += 1
        self.moving += 1
        self.most_moving = max(self.most_moving, self.moving)
        try:
            for _ in range(STEPS) if self.arrives else itertools.count():
                if self.stopped:
                    raise MotionError(MotionCode.CANCELLED, 'the motion was stopped')
                time.sleep(0.001)
                self.steps += 1
        finally:
            self.moving -= 1
        return width

    def set_obstacles(self, _: Any) -> None:
        self.looked = self.motions

    def move_to_joints(self, _: np.ndarray, let_go: bool = False) -> None:
        assert self.looked == self.motions  # what stands there is seen after the fingers opened
        self.set_gripper(0.0, 0.0)


class Stage:
    """The grasp node and its user, each on an executor of its own."""

    def __init__(self, enabled: bool) -> None:
        self.node = grasp.GraspNode()
        self.node._enabled = enabled
        self.node._observer.newest_points = lambda: np.zeros((0, 3))
        self.arm: Arm = self.node._motion
        self.user = Node('user')
        self.client = PunctualActionClient(self.user, Grasp, 'grasp')
        self.recover = self.user.create_client(Trigger, 'recover')
        self.enable = self.user.create_client(SetBool, 'enable')
        self.executors = [MultiThreadedExecutor(4), SingleThreadedExecutor()]
        for executor, node in zip(self.executors, (self.node, self.user), strict=True):
            executor.add_node(node)
            threading.Thread(target=executor.spin, daemon=True).start()
        assert self.client.wait_for_server(60.0)

    def send(self) -> Any:
        return answer(self.client.send_goal_async(Grasp.Goal(mode='release')))

    def close(self) -> None:
        for executor in self.executors:
            executor.shutdown(5.0)
        self.node.destroy_node()
        self.user.destroy_node()


def answer(future: Any) -> Any:
    deadline = time.monotonic() + 60.0
    while not future.done():
        assert time.monotonic() < deadline
        time.sleep(0.0005)
    return future.result()
