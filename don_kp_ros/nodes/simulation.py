"""The simulation node: stands where realsense2_camera, the controllers and the robot would."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import TransformStamped
from numpy.typing import NDArray
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.time import Time
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from trajectory_msgs.msg import JointTrajectory

from don_kp.srv import GetSceneTruth, ResetScene
from don_kp_ros.geometry import rigid
from don_kp_ros.nodes.kit import camera_topics, qos
from don_kp_ros.nodes.kit.conversions import (
    image_message,
    info_from_camera,
    point_message,
    pose_from_matrix,
    transform_from_matrix,
)
from don_kp_ros.nodes.kit.guard import guarded, guarded_service
from don_kp_ros.nodes.kit.parameters import Parameters, parameter
from don_kp_ros.nodes.kit.robot import robot_preset
from don_kp_ros.nodes.kit.runner import StartupError, run_node
from don_kp_ros.robots.panda import ARM_JOINTS, FINGER_JOINTS
from don_kp_ros.robots.preset import RobotPreset
from don_kp_ros.simulation.camera import D435, Renderer, look_at, mujoco, with_faults
from don_kp_ros.simulation.controllers import Trajectory, TrajectoryError
from don_kp_ros.simulation.instances import UNSEEN_CAPS
from don_kp_ros.simulation.scene import Layout
from don_kp_ros.simulation.world import JOINTS, T_COLOUR_OPTICAL, T_LINK_COLOUR, World

Array = NDArray[np.float64]

STEP_SECONDS = 0.01
MAX_LAG_SECONDS = 0.1  # farther behind the clock, simulated time slows down instead of rushing
SPECTATOR = look_at(np.array([1.15, -0.80, 0.60]), np.array([0.30, 0.03, 0.27]))
SPECTATOR_SECONDS = 0.2  # between two of its pictures
OPTICAL_FRAME = 'camera_color_optical_frame'


@dataclass(frozen=True)
class SimulationParameters:
    """The node's parameters."""

    robot: str = parameter('panda', 'name of a preset in config/robots, or file; a Panda')
    seed: int = parameter(0, "of the first scene and of the camera's noise")
    camera_hz: float = parameter(10.0, 'pictures a second')
    state_hz: float = parameter(50.0, 'joint states and transforms a second')

    def __post_init__(self) -> None:
        """Check the values."""
        if self.seed < 0:
            raise ValueError(f'seed is {self.seed}; it must be at least 0')
        for name in ('camera_hz', 'state_hz'):
            if not 0 < getattr(self, name) <= 1000:
                raise ValueError(f'{name} is {getattr(self, name)}; it must be in (0, 1000]')


@dataclass(frozen=True)
class _Stage:
    """A world, what draws it, and a copy of its state to be drawn from."""

    world: World
    renderer: Renderer
    data: mujoco.MjData


class Simulation(Node):
    """A Panda with a wrist-mounted D435 before a table, in real time.

    Publishes what realsense2_camera, joint_state_broadcaster and robot_state_publisher publish;
    takes what the joint trajectory controllers of arm and hand take. ``~/reset`` lays out the
    table anew, ``~/truth`` tells a judge where the cap is.
    """

    def __init__(self) -> None:
        """Build the first scene and start physics and camera in threads of their own."""
        super().__init__('simulation', automatically_declare_parameters_from_overrides=True)
        self._settings = Parameters(self, SimulationParameters).value
        seed = self._settings.seed
        self._preset = robot_preset(self, self._settings.robot)
        _check_is_panda(self._preset)
        self._noise = np.random.default_rng(seed)
        self._spectator_due = 0.0
        self._lock = threading.Lock()
        self._world = World(Layout.draw(seed, UNSEEN_CAPS[seed % len(UNSEEN_CAPS)]), self._preset)

        default = QoSProfile(depth=10)
        self._joints = self.create_publisher(JointState, 'joint_states', default)
        self._tf = self.create_publisher(TFMessage, 'tf', qos.TF)
        self._tf_static = self.create_publisher(TFMessage, 'tf_static', qos.TF_STATIC)
        self._colour = self.create_publisher(Image, camera_topics.COLOUR, default)
        self._colour_info = self.create_publisher(CameraInfo, camera_topics.COLOUR_INFO, default)
        self._depth = self.create_publisher(Image, camera_topics.DEPTH, default)
        self._depth_info = self.create_publisher(CameraInfo, camera_topics.DEPTH_INFO, default)
        self._spectator = self.create_publisher(Image, '~/spectator', qos.RESULT)
        self._publish_static_frames()

        arm, hand = self._preset.arm_topic, self._preset.hand_topic
        self.create_subscription(JointTrajectory, arm, self._on_arm, default)
        self.create_subscription(JointTrajectory, hand, self._on_hand, default)
        group = ReentrantCallbackGroup()
        self.create_service(ResetScene, '~/reset', self._on_reset, callback_group=group)
        self.create_service(GetSceneTruth, '~/truth', self._on_truth, callback_group=group)

        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run_physics, name='physics', daemon=True),
            threading.Thread(target=self._run_camera, name='camera', daemon=True),
        ]
        for thread in self._threads:
            thread.start()
        self.get_logger().info(f'simulating a {self._preset.name}; press Ctrl-C to end')

    def destroy_node(self) -> None:
        """Stop the threads first: they publish."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=2.0)
        super().destroy_node()

    def _run_physics(self) -> None:
        behind = time.monotonic()
        published, period = 0.0, 1.0 / self._settings.state_hz
        while not self._stopping.is_set():
            now = time.monotonic()
            if now - behind > MAX_LAG_SECONDS:
                behind = now - MAX_LAG_SECONDS
            if now < behind + STEP_SECONDS:
                time.sleep(behind + STEP_SECONDS - now)
                continue
            behind += STEP_SECONDS
            due = now - published >= period
            self._step(publish=due)
            if due:
                published = now

    @guarded
    def _step(self, publish: bool) -> None:
        with self._lock:
            self._world.step(STEP_SECONDS)
            if not publish:
                return
            stamp = self.get_clock().now()
            state, poses = self._world.joint_state(), self._world.link_poses()
        message = JointState(header=_header(stamp), name=JOINTS)
        message.position = state.position.tolist()
        message.velocity = state.velocity.tolist()
        message.effort = state.effort.tolist()
        self._joints.publish(message)
        chain = [f'panda_link{i}' for i in range(9)]
        tree = [*zip(chain[:-1], chain[1:], strict=True), ('panda_link8', 'panda_hand')]
        tree += [('panda_hand', f'panda_{side}finger') for side in ('left', 'right')]
        self._tf.publish(
            TFMessage(
                transforms=[
                    _transform(stamp, parent, child, rigid.inverse(poses[parent]) @ poses[child])
                    for parent, child in tree
                ]
            )
        )

    def _run_camera(self) -> None:
        stage: _Stage | None = None
        due = time.monotonic()
        while not self._stopping.is_set():
            time.sleep(max(0.0, due - time.monotonic()))
            due = max(due + 1.0 / self._settings.camera_hz, time.monotonic())
            stage = self._prepare(stage) or stage
            if stage is not None and stage.world is self._world:
                self._shoot(stage.world, stage.renderer, stage.data)
        if stage is not None:
            stage.renderer.close()

    @guarded
    def _prepare(self, stage: _Stage | None) -> _Stage:
        """Return what draws the present world; the camera's thread owns its graphics context."""
        world = self._world
        if stage is not None and stage.world is world:
            return stage
        if stage is not None:
            stage.renderer.close()
        return _Stage(world, Renderer(world.model), mujoco.MjData(world.model))

    @guarded
    def _shoot(self, world: World, renderer: Renderer, data: mujoco.MjData) -> None:
        with self._lock:
            stamp = self.get_clock().now()
            data.qpos[:] = world.data.qpos
        mujoco.mj_kinematics(world.model, data)
        mujoco.mj_camlight(world.model, data)
        frame = with_faults(renderer.render(data, world.camera_pose(data)), self._noise)
        if world is not self._world:
            return  # the scene was reset meanwhile: this picture shows what is no more
        header = _header(stamp, OPTICAL_FRAME)
        millimetres = np.round(np.nan_to_num(frame.depth) * 1000).astype(np.uint16)
        info = info_from_camera(D435, header)
        self._colour_info.publish(info)
        self._depth_info.publish(info)
        self._colour.publish(image_message(frame.colour, 'rgb8', header))
        self._depth.publish(image_message(millimetres, '16UC1', header))
        now = time.monotonic()
        if self._spectator.get_subscription_count() and now >= self._spectator_due:
            self._spectator_due = now + SPECTATOR_SECONDS
            view = renderer.render_colour(data, SPECTATOR)
            self._spectator.publish(image_message(view, 'rgb8', _header(stamp, 'world')))

    @guarded
    def _on_arm(self, message: JointTrajectory) -> None:
        self._accept(message, self._preset.arm_joints, 'arm')

    @guarded
    def _on_hand(self, message: JointTrajectory) -> None:
        self._accept(message, (self._preset.finger_joint,), 'hand')

    def _accept(self, message: JointTrajectory, joints: tuple[str, ...], part: str) -> None:
        try:
            trajectory = _read_trajectory(message, joints)
            with self._lock:
                if part == 'arm':
                    self._world.move_arm(trajectory)
                else:
                    effort = list(message.points[-1].effort) if message.points else []
                    self._world.move_hand(trajectory, effort[0] if effort else None)
        except TrajectoryError as error:
            self.get_logger().error(f'trajectory of the {part} refused: {error}')

    @guarded_service
    def _on_reset(
        self, request: ResetScene.Request, response: ResetScene.Response
    ) -> ResetScene.Response:
        try:
            layout = Layout.draw(
                request.seed, request.instance, request.placement, not request.without_cap
            )
            world = World(layout, self._preset)
        except (ValueError, FloatingPointError) as error:
            response.message = f'the scene stays as it is: {error}'
            return response
        with self._lock:
            self._world = world
        response.success = True
        response.message = f'seed {request.seed}, placement {request.placement}, ' + (
            'no cap' if request.without_cap else f'cap {request.instance}'
        )
        return response

    @guarded_service
    def _on_truth(
        self, request: GetSceneTruth.Request, response: GetSceneTruth.Response
    ) -> GetSceneTruth.Response:
        with self._lock:
            truth, response.time = self._world.truth(), self._world.time
        response.has_cap = truth is not None
        if truth is not None:
            response.cap = pose_from_matrix(truth.T_world_cap)
            response.cap_height = truth.height
            response.brim = point_message(truth.taught)
            response.brim_u, response.brim_v = (float(x) for x in truth.taught_uv)
            response.brim_in_camera = point_message(truth.taught_in_camera)
        return response

    def _publish_static_frames(self) -> None:
        now = self.get_clock().now()
        frames = (
            ('world', 'panda_link0', np.eye(4)),
            (self._preset.hand_frame, 'camera_link', self._preset.T_hand_camera_link),
            ('camera_link', 'camera_color_frame', T_LINK_COLOUR),
            ('camera_color_frame', OPTICAL_FRAME, T_COLOUR_OPTICAL),
            ('camera_link', 'camera_depth_frame', np.eye(4)),
            ('camera_depth_frame', 'camera_depth_optical_frame', T_COLOUR_OPTICAL),
            ('camera_link', 'camera_aligned_depth_to_color_frame', T_LINK_COLOUR),
        )
        self._tf_static.publish(
            TFMessage(
                transforms=[_transform(now, parent, child, T) for parent, child, T in frames]
            )
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


def _read_trajectory(message: JointTrajectory, joints: tuple[str, ...]) -> Trajectory | None:
    """Read a trajectory of exactly these joints, in any order; None for an empty one: stop."""
    if not message.points:
        return None
    if sorted(message.joint_names) != sorted(joints):
        raise TrajectoryError(
            f'it is for {", ".join(message.joint_names) or "no joints"}; '
            f'this controller moves {", ".join(joints)}'
        )
    order = [list(message.joint_names).index(name) for name in joints]
    for i, point in enumerate(message.points):
        if len(point.positions) != len(joints) or len(point.velocities) not in (0, len(joints)):
            raise TrajectoryError(
                f'point {i} has {len(point.positions)} positions and {len(point.velocities)} '
                f'velocities for {len(joints)} joints'
            )
    times = [p.time_from_start.sec + 1e-9 * p.time_from_start.nanosec for p in message.points]
    velocities = [p.velocities for p in message.points]
    return Trajectory(
        np.array(times),
        np.array([p.positions for p in message.points])[:, order],
        np.array(velocities)[:, order] if all(len(v) for v in velocities) else None,
    )


def _header(stamp: Time, frame: str = '') -> Header:
    return Header(stamp=stamp.to_msg(), frame_id=frame)


def _transform(stamp: Time, parent: str, child: str, T: Array) -> TransformStamped:
    return TransformStamped(
        header=_header(stamp, parent), child_frame_id=child, transform=transform_from_matrix(T)
    )


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted."""
    return run_node(Simulation, args, threads=4)


if __name__ == '__main__':
    raise SystemExit(main())
