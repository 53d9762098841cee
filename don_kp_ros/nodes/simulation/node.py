"""The simulation node: stands where realsense2_camera, the controllers and the robot would."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from dataclasses import replace
from queue import Empty, SimpleQueue

import numpy as np
from control_msgs.action import FollowJointTrajectory
from geometry_msgs.msg import Vector3
from numpy.typing import NDArray
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from don_kp.msg import Matches
from don_kp.srv import GetSceneTruth, ResetScene
from don_kp_ros.nodes.kit import qos
from don_kp_ros.nodes.kit.conversions import (
    point_message,
    pose_from_matrix,
    seconds_from_stamp,
    stamp_from_seconds,
)
from don_kp_ros.nodes.kit.guard import guarded, guarded_service
from don_kp_ros.nodes.kit.parameters import Parameters
from don_kp_ros.nodes.kit.robot import robot_preset
from don_kp_ros.nodes.kit.runner import StartupError, run_node
from don_kp_ros.nodes.simulation.camera import SimulatedCamera
from don_kp_ros.nodes.simulation.controllers import TrajectoryServer
from don_kp_ros.nodes.simulation.frames import link_frames, static_frames
from don_kp_ros.nodes.simulation.gripper import GripperServer
from don_kp_ros.nodes.simulation.neighbours import Neighbours
from don_kp_ros.nodes.simulation.parameters import STEP_SECONDS, SimulationParameters
from don_kp_ros.robots.panda import ARM_JOINTS, FINGER_JOINTS
from don_kp_ros.robots.preset import RobotPreset
from don_kp_ros.simulation.instances import UNSEEN
from don_kp_ros.simulation.scene import Layout
from don_kp_ros.simulation.world import JOINTS, World
from don_kp_ros.simulation.world import JointState as WorldState

Array = NDArray[np.float64]

PATIENCE_SECONDS = 1.0  # with perception, on this machine's clock
MAX_LAG_SECONDS = 0.02  # farther behind this machine's clock, simulated time slows down
HAND_CONTROLLER, FRANKA_GRIPPER = 'panda_hand_controller', 'franka_gripper'
MOST_OTHERS = 8  # for more there is no room


class Simulation(Node):
    """A Panda with a wrist-mounted D435 before a table, in simulated time.

    Publishes /clock and what realsense2_camera, joint_state_broadcaster and robot_state_publisher
    publish; serves what the trajectory controllers of arm and hand, a gripper controller and
    franka_gripper serve. ``~/reset`` lays out the table anew, ``~/truth`` tells a judge where the
    objects are, ``~/push`` shifts the object. One thread owns the world: a picture is taken
    between two steps and bears that moment.
    """

    def __init__(self) -> None:
        """Build the first scene and start to simulate in a thread of its own."""
        super().__init__('simulation', automatically_declare_parameters_from_overrides=True)
        self._settings = Parameters(self, SimulationParameters)
        settings = self._settings.value
        self._preset = robot_preset(self, settings.robot)
        _check_is_panda(self._preset)
        self._neighbours = Neighbours(self)
        seed = settings.seed
        first = _layout(
            ResetScene.Request(
                seed=seed, instance=UNSEEN[seed % len(UNSEEN)], others=-1, board=settings.board
            )
        )
        self._world = World(first, self._preset, settings.disturbances)
        self._world.data.time = 0.0
        self._noise = np.random.default_rng([seed, 0x301])
        self._shown = self._searched = 0.0  # stamps of the last picture and of the last matches
        self._looked = threading.Condition()
        self._steps = self._begun = 0  # of all; at which this world began
        self._newcomers: SimpleQueue[tuple[World, Future[float]]] = SimpleQueue()
        self._pushes: SimpleQueue[Array] = SimpleQueue()

        default = QoSProfile(depth=10)
        self._time = self.create_publisher(Clock, '/clock', 1)
        self._joints = self.create_publisher(JointState, 'joint_states', default)
        self._tf = self.create_publisher(TFMessage, 'tf', qos.TF)
        self._tf_static = self.create_publisher(TFMessage, 'tf_static', qos.TF_STATIC)
        self._camera = SimulatedCamera(self, seed)
        self._tf_static.publish(static_frames(self._preset))

        preset = self._preset
        self._arm = TrajectoryServer(self, preset.arm_controller, preset.arm_joints, self._now)
        self._hand = TrajectoryServer(self, HAND_CONTROLLER, [preset.finger_joint], self._now)
        self._gripper = GripperServer(self, HAND_CONTROLLER, FRANKA_GRIPPER, preset.open_width)
        group = ReentrantCallbackGroup()
        self.create_subscription(
            Matches, 'don_kp/matches', self._on_matches, default, callback_group=group
        )
        self.create_service(ResetScene, '~/reset', self._on_reset, callback_group=group)
        self.create_service(GetSceneTruth, '~/truth', self._on_truth, callback_group=group)
        self.create_subscription(Vector3, '~/push', self._on_push, default, callback_group=group)
        self._neighbours.watch()

        self._stopping = threading.Event()
        self._looking = threading.Lock()
        self._thread = threading.Thread(target=self._run, name='simulation', daemon=True)
        self._thread.start()
        self.get_logger().info(f'simulating a {self._preset.name}; press Ctrl-C to end')

    def destroy_node(self) -> None:
        """Stop the thread first: it publishes."""
        self._stopping.set()
        self._thread.join(timeout=2.0)
        self._neighbours.close()
        super().destroy_node()

    def _now(self) -> float:
        return self._steps * STEP_SECONDS

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopping.is_set():
            self._advance()
            if factor := self._settings.value.real_time_factor:
                now = time.monotonic()
                due = max(due + STEP_SECONDS / factor, now - MAX_LAG_SECONDS)
                self._stopping.wait(max(0.0, due - now))
        self._camera.close()

    @guarded
    def _advance(self) -> None:
        """Simulate one step, and publish what is due after it."""
        settings = self._settings.value
        self._replace_world()
        world = self._world
        with self._looking:
            for _ in range(self._pushes.qsize()):
                self._push(self._pushes.get())
            world.step(STEP_SECONDS)
        self._steps += 1
        now = self._now()
        state, measured = world.joint_state(), None
        if settings.joint_noise:
            angles = settings.disturbances.measured(state.position[:7], self._noise)
            measured = np.array([*angles, *state.position[7:]])
            state = replace(state, position=measured)
        if self._is_due(settings.state_hz):
            self._publish_state(state, now)
        if self._is_due(settings.frames_hz):
            self._tf.publish(link_frames(world, stamp_from_seconds(now), measured))
        if self._is_due(settings.camera_hz):
            self._shoot(world, now)
        arm, finger = slice(0, 7), slice(7, 8)
        self._arm.update(world.arm, now, state.position[arm], state.velocity[arm])
        self._hand.update(world.hand, now, state.position[finger], state.velocity[finger])
        self._gripper.update(world, now)

    def _is_due(self, rate: float) -> bool:
        """Tell whether what comes so often a second, from the world's beginning, comes now."""
        steps = self._steps - self._begun
        before, now = (int(n * STEP_SECONDS * rate + 1e-6) for n in (steps - 1, steps))
        return now > before

    def _replace_world(self) -> None:
        try:
            world, replaced = self._newcomers.get_nowait()
        except Empty:
            return
        for server in (self._arm, self._hand):
            server.abort('the scene was laid out anew', FollowJointTrajectory.Result.INVALID_GOAL)
        self._gripper.abort('the scene was laid out anew')
        self._camera.forget()
        world.data.time = self._now()
        self._world = world
        self._begun = self._steps
        replaced.set_result(self._now())

    def _publish_state(self, state: WorldState, now: float) -> None:
        stamp = stamp_from_seconds(now)
        self._time.publish(Clock(clock=stamp))
        message = JointState(header=Header(stamp=stamp), name=JOINTS)
        message.position = state.position.tolist()
        message.velocity = state.velocity.tolist()
        message.effort = state.effort.tolist()
        self._joints.publish(message)

    def _wait_for_perception(self) -> None:
        """Let perception finish the last picture first: what it has no time for, it would miss.

        One that has stopped is not waited for for long.
        """
        if self._settings.value.real_time_factor == 0 and self._searched:
            with self._looked:
                self._looked.wait_for(lambda: self._searched >= self._shown, PATIENCE_SECONDS)

    @guarded
    def _on_matches(self, message: Matches) -> None:
        with self._looked:
            self._searched = seconds_from_stamp(message.header.stamp)
            self._looked.notify_all()

    def _shoot(self, world: World, now: float) -> None:
        settings = self._settings.value
        frame = self._camera.take(world, settings.disturbances)
        self._wait_for_perception()
        self._shown = now - STEP_SECONDS / 2  # a stamp is whole nanoseconds
        self._camera.publish(frame, world, now, settings.camera_hz)

    @guarded
    def _on_push(self, shift: Vector3) -> None:
        self._pushes.put(np.array([shift.x, shift.y, shift.z]))

    def _push(self, shift: Array) -> None:
        try:
            self._world.push(shift)
        except ValueError as error:
            self.get_logger().error(f'nothing is pushed: {error}')

    @guarded_service
    def _on_reset(
        self, request: ResetScene.Request, response: ResetScene.Response
    ) -> ResetScene.Response:
        try:
            layout = _layout(request)
            world = World(layout, self._preset, self._settings.value.disturbances)
        except (ValueError, FloatingPointError) as error:
            response.message = f'the scene stays as it is: {error}'
            return response
        replaced: Future[float] = Future()
        self._newcomers.put((world, replaced))
        response.time = replaced.result()
        response.success = True
        response.message = f'seed {request.seed}, placement {request.placement}, ' + (
            'a board'
            if request.board
            else 'without the object'
            if request.without_object
            else f'{layout.kind} {request.instance}'
        )
        return response

    @guarded_service
    def _on_truth(
        self, request: GetSceneTruth.Request, response: GetSceneTruth.Response
    ) -> GetSceneTruth.Response:
        with self._looking:
            truth, response.time = self._world.truth(), self._now()
            response.camera = pose_from_matrix(self._world.T_hand_optical)
        response.has_object = truth is not None
        if truth is not None:
            response.object = pose_from_matrix(truth.T_world_object)
            response.centre = point_message(truth.centre)
            response.others = [point_message(other) for other in truth.others]
            response.point = point_message(truth.taught)
            response.point_u, response.point_v = (float(x) for x in truth.taught_uv)
            response.point_in_camera = point_message(truth.taught_in_camera)
        return response


def _layout(request: ResetScene.Request) -> Layout:
    """Draw what a request asks for; raises ValueError."""
    if request.others > MOST_OTHERS:
        raise ValueError(f'others is {request.others}; it must be at most {MOST_OTHERS}')
    if request.board:
        return Layout(request.seed, None, board=True)
    return Layout.draw(
        request.seed,
        request.instance,
        request.placement,
        with_subject=not request.without_object,
        distractors=None if request.others < 0 else request.others,
        kind=request.kind or 'cap',
    )


def _check_is_panda(preset: RobotPreset) -> None:
    """Raise StartupError where a robot's names are not those of the Panda that is simulated."""
    for key, panda in (
        ('base_frame', 'panda_link0'),
        ('hand_frame', 'panda_hand'),
        ('arm_joints', ARM_JOINTS),
        ('finger_joint', FINGER_JOINTS[0]),
    ):
        if getattr(preset, key) != panda:
            raise StartupError(
                f'the robot {preset.name} cannot be simulated: only a Panda can, '
                f'whose {key} is {panda}, not {getattr(preset, key)}; '
                'give robot: panda, or a file with base: panda'
            )


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted."""
    return run_node(Simulation, args, threads=4)
