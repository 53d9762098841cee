"""The simulation node: stands where realsense2_camera, the controllers and the robot would."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import numpy as np
from control_msgs.action import FollowJointTrajectory
from numpy.typing import NDArray
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from don_kp.msg import Matches
from don_kp.srv import GetSceneTruth, ResetScene
from don_kp_ros.nodes.kit import camera_topics, qos
from don_kp_ros.nodes.kit.conversions import (
    image_message,
    info_from_camera,
    point_message,
    pose_from_matrix,
    seconds_from_stamp,
    stamp_from_seconds,
)
from don_kp_ros.nodes.kit.guard import guarded, guarded_service
from don_kp_ros.nodes.kit.parameters import Parameters, parameter
from don_kp_ros.nodes.kit.robot import robot_preset
from don_kp_ros.nodes.kit.runner import StartupError, run_node
from don_kp_ros.nodes.simulation.controllers import TrajectoryServer
from don_kp_ros.nodes.simulation.frames import OPTICAL_FRAME, link_frames, static_frames
from don_kp_ros.nodes.simulation.gripper import GripperServer
from don_kp_ros.nodes.simulation.neighbours import Neighbours
from don_kp_ros.robots.panda import ARM_JOINTS, FINGER_JOINTS
from don_kp_ros.robots.preset import RobotPreset
from don_kp_ros.simulation.camera import D435, Faults, look_at
from don_kp_ros.simulation.instances import UNSEEN
from don_kp_ros.simulation.renderer import Renderer
from don_kp_ros.simulation.scene import Layout
from don_kp_ros.simulation.world import JOINTS, World
from don_kp_ros.simulation.world import JointState as WorldState

Array = NDArray[np.float64]

STEP_SECONDS = 0.01
PATIENCE_SECONDS = 1.0  # with perception, on this machine's clock
MAX_LAG_SECONDS = 0.02  # farther behind this machine's clock, simulated time slows down
HAND_CONTROLLER, FRANKA_GRIPPER = 'panda_hand_controller', 'franka_gripper'
SPECTATOR = look_at(np.array([1.15, -0.80, 0.60]), np.array([0.30, 0.03, 0.27]))
SPECTATOR_SECONDS = 0.6  # between two of its pictures
SPECTATOR_SHARE = 0.75  # of the camera's width and height, of its pictures
FAULTS = 8
MOST_OTHERS = 8  # for more there is no room


@dataclass(frozen=True)
class SimulationParameters:
    """The node's parameters; times and rates are of simulated time."""

    robot: str = parameter('panda', 'name of a preset in config/robots, or file; a Panda')
    seed: int = parameter(0, "of the first scene and of the camera's noise")
    board: bool = parameter(
        False, 'a board to calibrate the camera by, which is mounted a bit off, and no objects'
    )
    camera_hz: float = parameter(5.0, 'pictures a second')
    state_hz: float = parameter(50.0, 'messages of clock and joint states a second')
    frames_hz: float = parameter(25.0, 'messages of transforms a second')
    real_time_factor: float = parameter(
        1.0,
        'seconds simulated in a second, at most; 0: as many as perception can follow',
        changeable=True,
    )

    def __post_init__(self) -> None:
        """Check the values."""
        if self.seed < 0:
            raise ValueError(f'seed is {self.seed}; it must be at least 0')
        for name in ('camera_hz', 'state_hz', 'frames_hz'):
            if not 0 < getattr(self, name) <= 1 / STEP_SECONDS:
                raise ValueError(
                    f'{name} is {getattr(self, name)}; it must be in (0, {1 / STEP_SECONDS:g}]'
                )
        if not 0 <= self.real_time_factor < np.inf:
            raise ValueError(f'real_time_factor is {self.real_time_factor}; it must be at least 0')


class Simulation(Node):
    """A Panda with a wrist-mounted D435 before a table, in simulated time.

    Publishes /clock and what realsense2_camera, joint_state_broadcaster and robot_state_publisher
    publish; serves what the trajectory controllers of arm and hand, a gripper controller and
    franka_gripper serve. ``~/reset`` lays out the table anew, ``~/truth`` tells a judge where the
    objects are. One thread owns the world: a picture is taken between two steps and bears that
    moment.
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
        self._world = World(first, self._preset)
        self._world.data.time = 0.0
        self._renderer: Renderer | None = None
        # To draw them costs as much as to draw a picture: a few serve in turn.
        self._faults = [
            Faults.draw(np.random.default_rng([seed, i]), (D435.height, D435.width))
            for i in range(FAULTS)
        ]
        self._pictures = 0  # taken of this world
        self._shown = self._searched = 0.0  # stamps of the last picture and of the last matches
        self._looked = threading.Condition()
        self._steps = self._begun = 0  # of all; at which this world began
        self._newcomers: SimpleQueue[tuple[World, Future[float]]] = SimpleQueue()

        default = QoSProfile(depth=10)
        self._time = self.create_publisher(Clock, '/clock', 1)
        self._joints = self.create_publisher(JointState, 'joint_states', default)
        self._tf = self.create_publisher(TFMessage, 'tf', qos.TF)
        self._tf_static = self.create_publisher(TFMessage, 'tf_static', qos.TF_STATIC)
        self._colour = self.create_publisher(Image, camera_topics.COLOUR, default)
        self._colour_info = self.create_publisher(CameraInfo, camera_topics.COLOUR_INFO, default)
        self._depth = self.create_publisher(Image, camera_topics.DEPTH, default)
        self._depth_info = self.create_publisher(CameraInfo, camera_topics.DEPTH_INFO, default)
        self._spectator = self.create_publisher(Image, '~/spectator', qos.RESULT)
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
        if self._renderer is not None:
            self._renderer.close()

    @guarded
    def _advance(self) -> None:
        """Simulate one step, and publish what is due after it."""
        settings = self._settings.value
        self._replace_world()
        world = self._world
        with self._looking:
            world.step(STEP_SECONDS)
        self._steps += 1
        now = self._now()
        state = world.joint_state()
        if self._is_due(settings.state_hz):
            self._publish_state(state, now)
        if self._is_due(settings.frames_hz):
            self._tf.publish(link_frames(world, stamp_from_seconds(now)))
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
        if self._renderer is not None:
            self._renderer.close()
        world.data.time = self._now()
        self._world, self._renderer, self._pictures = world, None, 0
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
        if self._renderer is None:
            self._renderer = Renderer(world.model)
        # By the picture's number in this world: a scene looks the same each time.
        faults = self._faults[self._pictures % len(self._faults)]
        self._pictures += 1
        frame = faults.applied(self._renderer.render(world.data, world.camera_pose()))
        self._wait_for_perception()
        self._shown = now - STEP_SECONDS / 2  # a stamp is whole nanoseconds
        header = Header(stamp=stamp_from_seconds(now), frame_id=OPTICAL_FRAME)
        millimetres = np.round(np.nan_to_num(frame.depth) * 1000).astype(np.uint16)
        info = info_from_camera(D435, header)
        self._colour_info.publish(info)
        self._depth_info.publish(info)
        self._colour.publish(image_message(frame.colour, 'rgb8', header))
        self._depth.publish(image_message(millimetres, '16UC1', header))
        every = max(1, round(SPECTATOR_SECONDS * self._settings.value.camera_hz))
        if self._spectator.get_subscription_count() and self._pictures % every == 0:
            view = self._renderer.render_colour(world.data, SPECTATOR, SPECTATOR_SHARE)
            header = Header(stamp=header.stamp, frame_id='world')
            self._spectator.publish(image_message(view, 'rgb8', header))

    @guarded_service
    def _on_reset(
        self, request: ResetScene.Request, response: ResetScene.Response
    ) -> ResetScene.Response:
        try:
            layout = _layout(request)
            world = World(layout, self._preset)
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
