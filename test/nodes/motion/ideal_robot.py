"""Stands for a robot: the simulation's controllers on joints that follow exactly, in real time."""

import threading
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import JointState

from don_kp_ros.motion.safety import Safety, Scaling, Workspace, load_safety
from don_kp_ros.nodes.kit.clock import RosTime
from don_kp_ros.nodes.kit.conversions import stamp_from_seconds
from don_kp_ros.nodes.simulation.controllers import TrajectoryServer
from don_kp_ros.nodes.simulation.gripper import GripperServer
from don_kp_ros.robots.preset import load_preset
from don_kp_ros.simulation.controllers import TrajectoryController

PRESET = load_preset('panda')
OBSERVE = PRESET.position('observe')
STEP = 0.01


def anywhere(scale=0.5):
    """Return what holds the arm to a share of its speed, and lets it go wherever it can."""
    limits = replace(load_safety(), workspace=Workspace((-1.0, 1.0), (-1.0, 1.0), (-0.5, 1.5)))
    return Safety(limits, PRESET, Scaling(scale, scale), 'call /recover')


class ArmController(TrajectoryController):
    """Keeps what it is told."""

    def __init__(self, position):
        super().__init__(position)
        self.told = []

    def accept(self, trajectory, now):
        """Follow a trajectory, and note when it is to begin."""
        self.told.append((now if trajectory.start is None else trajectory.start, trajectory))
        super().accept(trajectory, now)

    def commands_in_time(self):
        """Return the times (n,) and positions (n, 7) commanded where each stop is heard at once.

        How late this process hears of one depends on what else the machine does.
        """
        first, _ = self.told[0]
        controller, commands, told = TrajectoryController(OBSERVE), [], list(self.told)
        for now in np.arange(first, max(t + x.times[-1] for t, x in told) + STEP, STEP):
            while told and told[0][0] <= now:
                moment, trajectory = told.pop(0)
                controller.accept(trajectory, moment)
            controller.update(now)
            commands.append((now - first, controller.position))
        times, positions = zip(*commands, strict=True)
        return np.array(times), np.array(positions)


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
            self.arm_controller = ArmController(OBSERVE)
            self.hand = TrajectoryController(np.array([0.04]))
            self.arm, self.finger = np.array(OBSERVE), 0.04
            self.commands, self.steps = [], 0  # the arm's positions (7,), one a step
            self.object_width, self.stuck, self.silent = 0.0, False, False
            self.velocity = np.zeros(9)
            self._awaited = None

    def when(self, come: Callable[[], bool], act: Callable[[], None]):
        """Do something once, in the first step after which a condition holds.

        A test that looked for itself would come late on a busy machine.
        """
        self._awaited = come, act

    def step(self):
        self._step()
        if self._awaited and self._awaited[0]():
            (_, act), self._awaited = self._awaited, None
            act()

    def _step(self):
        with self.lock:
            now = self.time.now()
            self.arm_controller.update(now)
            self.hand.update(now)
            self.commands.append(self.arm_controller.position)
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
            message.header.stamp = stamp_from_seconds(now)
            self.publisher.publish(message)

    # What a gripper's server asks of a simulated world.

    def joint_state(self):
        return SimpleNamespace(position=np.array([*self.arm, self.finger]), velocity=self.velocity)

    def move_hand(self, trajectory, force):
        self.hand.accept(trajectory, self.time.now())
        self.force = force
