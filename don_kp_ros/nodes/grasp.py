"""The grasp node: from a stored point seen by the camera to an object in the hand."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import PointStamped, PoseStamped
from numpy.typing import NDArray
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from don_kp.action import Grasp
from don_kp.msg import Matches
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.geometry.frames import TransformError
from don_kp_ros.grasping.candidates import (
    NoGraspError,
    PinchParameters,
    aligned_candidate,
    pinch_candidates,
)
from don_kp_ros.grasping.heightmap import HeightMap
from don_kp_ros.grasping.motion import Motion, MotionCode, MotionError
from don_kp_ros.grasping.pick import EmptyGripperError, Phase, Picker, PickParameters
from don_kp_ros.nodes import qos
from don_kp_ros.nodes.buffers import Latest
from don_kp_ros.nodes.conversions import (
    camera_from_info,
    depth_image,
    matrix_from_pose,
    point_message,
    pose_from_matrix,
    seconds_from_stamp,
)
from don_kp_ros.nodes.guard import guarded
from don_kp_ros.nodes.parameters import Parameters, parameter
from don_kp_ros.nodes.runner import run_node
from don_kp_ros.nodes.transforms import TransformListener
from don_kp_ros.robots.preset import RobotPreset, load_preset

Array = NDArray[np.float64]

CODES = {
    MotionCode.UNREACHABLE: Grasp.Result.UNREACHABLE,
    MotionCode.COLLISION: Grasp.Result.UNREACHABLE,
    MotionCode.STALE_STATE: Grasp.Result.STALE_DATA,
    MotionCode.CANCELLED: Grasp.Result.CANCELLED,
}
"""The action's code for each reason of a failed motion; any other is MOTION_FAILED."""


def _embedded(node: Node, preset: RobotPreset) -> Motion:
    from don_kp_ros.nodes.motion_embedded import EmbeddedMotion

    return EmbeddedMotion(node, preset)


def _moveit(node: Node, preset: RobotPreset) -> Motion:
    from don_kp_ros.nodes.motion_moveit import MoveItMotion

    return MoveItMotion(node, preset)


DEPTH_TOLERANCE = 0.015  # seconds; half of the period of a camera of 30 Hz

MOTIONS: dict[str, Callable[[Node, RobotPreset], Motion]] = {
    'embedded': _embedded,
    'moveit': _moveit,
}
"""The adapters by name; only the chosen one is imported."""


class RefusedError(Exception):
    """A goal that fails before anything moves; carries the action's code."""

    def __init__(self, code: int, message: str) -> None:
        """Keep the code and the message."""
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class GraspParameters:
    """The node's parameters."""

    robot: str = parameter('panda', 'preset in config/robots')
    motion: str = parameter('embedded', 'embedded: the built-in planner; moveit: moveit_py')
    max_age: float = parameter(1.0, 'seconds; older images are refused')
    look_timeout: float = parameter(3.0, 'seconds to wait for images and for their transforms')
    looks: int = parameter(3, 'images in which the point is looked for')
    max_spread: float = parameter(0.015, 'metres; a point that moves more is not found')
    approach_distance: float = parameter(0.10, 'metres, straight, down to the grasp')
    lift_height: float = parameter(0.20, 'metres, straight, up from it')
    closing_force: float = parameter(30.0, 'newtons of each finger')
    empty_width: float = parameter(0.005, 'metres; fingers this close hold nothing')
    hold_seconds: float = parameter(2.0, 'after the lift before the grasp counts')

    def __post_init__(self) -> None:
        """Check the values."""
        if self.motion not in MOTIONS:
            raise ValueError(f"motion is '{self.motion}'; it must be {' or '.join(MOTIONS)}")
        for name, value in vars(self).items():
            if not isinstance(value, str) and not value > 0:
                raise ValueError(f'{name} is {value}; it must be positive')

    @property
    def pick(self) -> PickParameters:
        """The part that the picker takes."""
        return PickParameters(
            self.approach_distance,
            self.lift_height,
            self.closing_force,
            self.empty_width,
            self.hold_seconds,
        )


class GraspNode(Node):
    """Serves the action /grasp."""

    def __init__(self) -> None:
        """Declare parameters, connect the motion adapter and the camera."""
        super().__init__('grasp', automatically_declare_parameters_from_overrides=True)
        self._settings = Parameters(self, GraspParameters).value
        self._preset = load_preset(self._settings.robot)
        self._motion = MOTIONS[self._settings.motion](self, self._preset)
        self._picker = Picker(
            self._motion,
            self._preset.position('observe'),
            self._preset.open_width,
            self._settings.pick,
        )
        self._fingers = PinchParameters(opening=self._preset.open_width)
        self._frames = TransformListener(self)
        self._matches: deque[Matches] = deque(maxlen=self._settings.looks)
        self._depths: Latest[Image] = Latest(kept=30)
        self._camera: Camera | None = None
        self._camera_fault = 'there is no camera info yet'
        self._busy = threading.Lock()
        self._cancelled = threading.Event()

        aligned = '/camera/camera/aligned_depth_to_color'
        info = '/camera/camera/color/camera_info'
        self.create_subscription(Matches, '/don_kp/matches', self._on_matches, 10)
        self.create_subscription(Image, f'{aligned}/image_raw', self._on_depth, qos.SENSOR)
        self.create_subscription(CameraInfo, info, self._on_info, qos.SENSOR)
        self._pose = self.create_publisher(PoseStamped, '/don_kp/grasp_pose', 1)
        self._server = ActionServer(
            self,
            Grasp,
            '/grasp',
            self._execute,
            goal_callback=self._on_goal,
            cancel_callback=self._on_cancel,
            callback_group=ReentrantCallbackGroup(),
        )
        self.get_logger().info('ready for goals on /grasp')

    def end(self) -> None:
        """Stop the arm while messages still flow, and let the running goal end.

        Kept busy from then on: no goal is accepted any more.
        """
        self._cancelled.set()
        self._motion.stop()
        self._busy.acquire(timeout=1.0)

    def destroy_node(self) -> None:
        """Leave."""
        self._server.destroy()
        super().destroy_node()

    @guarded
    def _on_matches(self, message: Matches) -> None:
        self._matches.append(message)

    @guarded
    def _on_depth(self, message: Image) -> None:
        self._depths.put(message, seconds_from_stamp(message.header.stamp))

    @guarded
    def _on_info(self, message: CameraInfo) -> None:
        try:
            self._camera, self._camera_fault = camera_from_info(message), ''
        except ValueError as error:
            self._camera, self._camera_fault = None, str(error)

    def _on_goal(self, _: Grasp.Goal) -> GoalResponse:
        # Taken here and given back when the goal has ended: what is accepted is executed alone,
        # and a cancellation from now on is for it.
        if not self._busy.acquire(blocking=False):
            self.get_logger().warning('goal rejected: another grasp is running; cancel it first')
            return GoalResponse.REJECT
        self._cancelled.clear()
        self._motion.resume()
        return GoalResponse.ACCEPT

    def _on_cancel(self, _: ServerGoalHandle) -> CancelResponse:
        self._cancelled.set()
        self._motion.stop()
        return CancelResponse.ACCEPT

    def _execute(self, handle: ServerGoalHandle) -> Grasp.Result:
        result = Grasp.Result(code=Grasp.Result.FAULT)
        result.point = self._point_stamped(np.full(3, np.nan))
        try:
            self._serve(handle, result)
        except RefusedError as refusal:
            result.code, result.message = refusal.code, str(refusal)
        except MotionError as error:
            result.code = CODES.get(error.code, Grasp.Result.MOTION_FAILED)
            result.message = str(error)
        except EmptyGripperError as error:
            result.code, result.message = Grasp.Result.EMPTY_GRIPPER, str(error)
        except Exception as error:
            # A bug must end this goal, not the node: the arm holds, the next goal is served.
            self._motion.stop()
            result.message = f'internal error: {error!r}; the log has the details'
            self.get_logger().exception('the grasp failed by an internal error')
        finally:
            self._busy.release()
        result.success = result.code == Grasp.Result.SUCCEEDED
        if result.success:
            handle.succeed()
        elif handle.is_cancel_requested:
            result.code = Grasp.Result.CANCELLED
            handle.canceled()
        else:
            handle.abort()
        if result.success:
            self.get_logger().info(result.message)
        else:
            self.get_logger().warning(result.message)
        return result

    def _serve(self, handle: ServerGoalHandle, result: Grasp.Result) -> None:
        goal: Grasp.Goal = handle.request

        def report(phase: Phase, detail: str) -> None:
            self.get_logger().info(f'{phase.value} {detail}'.rstrip())
            handle.publish_feedback(Grasp.Feedback(phase=phase.value, detail=detail))

        mode = goal.mode or Grasp.Goal.PINCH
        self._check(goal, mode)
        self._motion.joint_positions()  # stale joint states: nothing further is of use
        if mode == Grasp.Goal.RELEASE:
            report(Phase.RELEASE, '')
            self._picker.release()
            self._picker.go_home()
            result.code, result.message = Grasp.Result.SUCCEEDED, 'released; back to observe'
            return
        if self._picker.holds_something():
            raise RefusedError(
                Grasp.Result.INVALID_GOAL,
                f'the fingers hold something {1000 * self._motion.gripper_width():.0f} mm wide; '
                'send a goal of mode release first',
            )
        report(Phase.LOOK, goal.target)
        if goal.target:
            target, points = self._look_for(goal.target)
            where = f'{goal.target} at {_millimetres(target)} mm'
        else:
            T_base_pose = self._to_base(goal.pose)
            points = self._newest_points()
            target = T_base_pose[:3, 3]
            where = f'pose at {_millimetres(target)} mm'
        result.point = self._point_stamped(target)
        report(Phase.PLAN, where)
        try:
            if mode == Grasp.Goal.ALIGNED:
                candidates = [aligned_candidate(T_base_pose, points, self._fingers)]
            else:
                candidates = pinch_candidates(points, target, self._fingers)
        except NoGraspError as error:
            raise RefusedError(Grasp.Result.NO_GRASP, f'{where}: {error}') from None
        plan = self._picker.plan(candidates, HeightMap.from_points(points))
        result.grasp_pose = self._pose_stamped(plan.T_base_grasp)
        self._pose.publish(result.grasp_pose)
        picked = self._picker.execute(plan, report, self._cancelled)
        result.code = Grasp.Result.SUCCEEDED
        result.width = picked.width
        what = goal.target or 'the object'
        result.message = f'holding {what}, {1000 * picked.width:.0f} mm wide'

    def _check(self, goal: Grasp.Goal, mode: str) -> None:
        """Refuse what is no goal."""
        modes = (Grasp.Goal.PINCH, Grasp.Goal.ALIGNED, Grasp.Goal.RELEASE)
        if mode not in modes:
            reason = f"mode is '{mode}'; it must be one of {', '.join(modes)}"
        elif mode == Grasp.Goal.ALIGNED and goal.target:
            reason = 'aligned needs a pose, and a target has none; leave target empty, or pinch'
        elif mode != Grasp.Goal.RELEASE and not goal.target and not goal.pose.header.frame_id:
            reason = 'there is neither a target nor a pose; give one, a pose with its frame_id'
        else:
            return
        raise RefusedError(Grasp.Result.INVALID_GOAL, reason)

    def _look_for(self, name: str) -> tuple[Array, Array]:
        """Find a stored point in several images; return it and the last one's points.

        The images are taken from now on, with the arm at rest: what was seen before may be gone.
        """
        self._matches.clear()
        since = self._now()
        deadline = time.monotonic() + self._settings.look_timeout

        def enough() -> bool:
            return sum(_stamp(m) >= since for m in list(self._matches)) >= self._settings.looks

        self._wait(enough, deadline)
        seen = [m for m in list(self._matches) if _stamp(m) >= since]
        age = self._now() - (_stamp(seen[-1]) if seen else since)
        if len(seen) < self._settings.looks or age > self._settings.max_age:
            raise RefusedError(
                Grasp.Result.STALE_DATA,
                f'{len(seen)} of {self._settings.looks} images were searched within '
                f'{self._settings.look_timeout:g} s, the newest {age:.1f} s ago '
                f'({self._settings.max_age:g} s are allowed); '
                'is the camera running, and the perception node?',
            )
        positions, reason = [], ''
        for matches in seen:
            found = [match for match in matches.matches if match.name == name]
            if not found:
                known = ', '.join(match.name for match in matches.matches) or 'none'
                raise RefusedError(
                    Grasp.Result.UNKNOWN_TARGET,
                    f"no descriptor '{name}' of the running model is stored; stored are: {known}",
                )
            if not found[0].found:
                reason = found[0].reason
                continue
            p = found[0].position
            T = self._pose_of(matches.header.frame_id, _stamp(matches), deadline)
            positions.append(rigid.apply(T, [p.x, p.y, p.z]))
        if 2 * len(positions) <= len(seen):
            missed = len(seen) - len(positions)
            raise RefusedError(
                Grasp.Result.NOT_FOUND,
                f'{name} not found in {missed} of {len(seen)} images: {reason}',
            )
        target = np.median(positions, axis=0)
        spread = np.linalg.norm(positions - target, axis=1).max()
        if spread > self._settings.max_spread:
            raise RefusedError(
                Grasp.Result.NOT_FOUND,
                f'{name} is not seen at one place: it moves by {1000 * spread:.0f} mm from image '
                f'to image; {1000 * self._settings.max_spread:.0f} mm are allowed (max_spread)',
            )
        return target, self._points(_stamp(seen[-1]), deadline)

    def _newest_points(self) -> Array:
        newest = self._depths.get()
        if newest is None:
            raise RefusedError(
                Grasp.Result.STALE_DATA, 'no depth image yet; is the camera running?'
            )
        age = newest.age(self._now())
        if age > self._settings.max_age:
            raise RefusedError(
                Grasp.Result.STALE_DATA,
                f'the newest depth image is {age:.1f} s old; '
                f'{self._settings.max_age:g} s are allowed (max_age)',
            )
        return self._points(newest.stamp, time.monotonic() + self._settings.look_timeout)

    def _points(self, stamp: float, deadline: float) -> Array:
        """Return the points (N, 3) in the base frame of the depth image of a time."""
        image = self._depths.nearest(stamp, tolerance=DEPTH_TOLERANCE)
        if self._camera is None or image is None:
            raise RefusedError(
                Grasp.Result.STALE_DATA,
                self._camera_fault
                or 'no depth image of that moment; '
                'start the camera with align_depth.enable:=true enable_sync:=true',
            )
        try:
            points = self._camera.deproject_image(depth_image(image.value)).reshape(-1, 3)
        except ValueError as error:
            raise RefusedError(Grasp.Result.STALE_DATA, str(error)) from None
        T_base_camera = self._pose_of(image.value.header.frame_id, image.stamp, deadline)
        return rigid.apply(T_base_camera, points[np.isfinite(points[:, 2])])

    def _pose_of(self, frame: str, stamp: float, deadline: float) -> Array:
        """Return ``T_base_frame`` at a time, waiting for the transform until a deadline."""
        while True:
            try:
                return self._frames.lookup(self._preset.base_frame, frame, stamp)
            except TransformError as error:
                if time.monotonic() > deadline:
                    raise RefusedError(Grasp.Result.STALE_DATA, str(error)) from None
            self._wait(lambda: False, time.monotonic() + 0.02)

    def _to_base(self, pose: PoseStamped) -> Array:
        """Return a pose (4, 4) in the base frame.

        The frame may move: the transform is that of the pose's time, or of now if it has none.
        """
        base, frame = self._preset.base_frame, pose.header.frame_id
        try:
            T = matrix_from_pose(pose.pose)
            if not np.isfinite(T).all():
                raise ValueError('its position is not finite')
            if frame == base:
                return T
            self._frames.lookup(base, frame)
        except (ValueError, TransformError) as error:
            raise RefusedError(
                Grasp.Result.INVALID_GOAL, f'the pose is of no use: {error}'
            ) from None
        stamp = seconds_from_stamp(pose.header.stamp) or self._now()
        deadline = time.monotonic() + self._settings.look_timeout
        return self._pose_of(frame, stamp, deadline) @ T

    def _now(self) -> float:
        return float(self.get_clock().now().nanoseconds) * 1e-9

    def _header(self) -> Header:
        return Header(stamp=self.get_clock().now().to_msg(), frame_id=self._preset.base_frame)

    def _point_stamped(self, point: Array) -> PointStamped:
        return PointStamped(header=self._header(), point=point_message(point))

    def _pose_stamped(self, T: Array) -> PoseStamped:
        return PoseStamped(header=self._header(), pose=pose_from_matrix(T))

    def _wait(self, done: Callable[[], bool], deadline: float) -> None:
        while not done() and time.monotonic() < deadline:
            if self._cancelled.wait(0.02):
                raise MotionError(MotionCode.CANCELLED, 'cancelled')


def _stamp(message: Matches) -> float:
    return seconds_from_stamp(message.header.stamp)


def _millimetres(point: Array) -> str:
    return '({})'.format(', '.join(f'{1000 * x:.0f}' for x in point))


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted."""
    return run_node(GraspNode, args, threads=4)


if __name__ == '__main__':
    raise SystemExit(main())
