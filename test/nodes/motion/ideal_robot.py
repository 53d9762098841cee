"""Stands for a robot: the simulation's controllers on joints that follow exactly, in real time."""

import threading
from types import SimpleNamespace

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import JointState

from don_kp_ros.nodes.kit.clock import RosTime
from don_kp_ros.nodes.simulation.controllers import TrajectoryServer
from don_kp_ros.nodes.simulation.gripper import GripperServer
from don_kp_ros.robots.preset import load_preset
from don_kp_ros.simulation.controllers import TrajectoryController

PRESET = load_preset('panda')
OBSERVE = PRESET.position('observe')
STEP = 0.01


class Controllers(Node):
    """Serves the actions of arm and hand, and publishes joint states at 50 Hz."""

    def __init__(self, context):
        super().__init__('controllers', context=context)
        self.joints = [*PRESET.arm_joints, PRESET.finger_joint]
        self.time = RosTime(self)
        self.lock = threading.Lock()
        self.reset()
        self.publisher = self.create_publisher(JointState, '/joint_states', 10)
        self.arm_server = TrajectoryServer(
            self, PRESET.arm_controller, PRESET.arm_joints, self.time.now
        )
        self.received = []
        judged = self.arm_server._goals._refusal
        self.arm_server._goals._refusal = lambda goal: self.received.append(goal) or judged(goal)
        self.gripper = GripperServer(self, 'panda_hand_controller', 'franka_gripper', 0.08)
        self.create_timer(STEP, self.step)

    def reset(self):
        with self.lock:
            self.arm_controller = TrajectoryController(OBSERVE)
            self.hand = TrajectoryController(np.array([0.04]))
            self.arm, self.finger = np.array(OBSERVE), 0.04
            self.commands, self.steps = [], 0  # the arm's, (n, 7), one a step
            self.object_width, self.stuck, self.silent = 0.0, False, False
            self.velocity = np.zeros(9)

    def step(self):
        with self.lock:
            now = self.time.now()
            self.arm_controller.update(now)
            self.hand.update(now)
            self.commands.append((now, self.arm_controller.position))
            before = np.array([*self.arm, self.finger, self.finger])
            if not self.stuck:
                self.arm = np.array(self.arm_controller.position)
            self.finger = max(float(self.hand.position[0]), self.object_width / 2)
            self.velocity = (np.array([*self.arm, self.finger, self.finger]) - before) / STEP
            self.arm_server.update(self.arm_controller, now, self.arm, self.velocity[:7])
            self.gripper.update(self, now)
            self.steps += 1
            if self.silent or self.steps % 2:
                return
            message = JointState(name=self.joints, position=[*self.arm.tolist(), self.finger])
            message.header.stamp = self.get_clock().now().to_msg()
            self.publisher.publish(message)

    # What a gripper's server asks of a simulated world.

    def joint_state(self):
        return SimpleNamespace(position=np.array([*self.arm, self.finger]), velocity=self.velocity)

    def move_hand(self, trajectory, force):
        self.hand.accept(trajectory, self.time.now())
        self.force = force
