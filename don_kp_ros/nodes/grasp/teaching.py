"""The service that teaches how a taught object is held."""

from __future__ import annotations

import functools
import threading

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from std_msgs.msg import Header

from don_kp.msg import TaughtGrasp, TaughtObject
from don_kp.srv import Describe, StoreGrasp, TeachGrasp
from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry import rigid
from don_kp_ros.grasping.candidates import NoGraspError, PinchParameters
from don_kp_ros.grasping.taught import grasp_between
from don_kp_ros.motion.port import MotionError
from don_kp_ros.nodes.grasp.objects import RoundAxes, TaughtObjects, round_axes
from don_kp_ros.nodes.grasp.observer import LookParameters, Observer
from don_kp_ros.nodes.kit.client import ServiceClient
from don_kp_ros.nodes.kit.conversions import pose_from_matrix
from don_kp_ros.nodes.kit.guard import guarded_service
from don_kp_ros.nodes.motion.joint_monitor import JointMonitor
from don_kp_ros.robots.preset import RobotPreset

Array = NDArray[np.float64]

_ASKED = TeachGrasp.Request
_FARTHEST = 0.10  # metres from the tool centre point to what is known of the object
_REFUSALS = (RefusedError, MotionError, NoGraspError)


class TeachGraspService:
    """Serves `teach_grasp`: measures where the hand holds an object, and has it stored."""

    def __init__(
        self, node: Node, preset: RobotPreset, look: LookParameters, fingers: PinchParameters
    ) -> None:
        """Serve on a node that others spin with several threads: one waits for the answers."""
        self._node, self._preset, self._look, self._fingers = node, preset, look, fingers
        # Nothing cancels what is taught.
        self._observer = Observer(node, preset.base_frame, look, threading.Event())
        self._objects = TaughtObjects(node, self._observer, look)
        self._joints = JointMonitor(node, preset)
        remedy = 'is the descriptor database running?'
        self._store = ServiceClient(node, StoreGrasp, 'store_grasp', remedy)
        node.create_service(
            TeachGrasp,
            'teach_grasp',
            self._on_teach,
            callback_group=MutuallyExclusiveCallbackGroup(),
        )

    @functools.partial(guarded_service, refusals=_REFUSALS)
    def _on_teach(
        self, request: TeachGrasp.Request, response: TeachGrasp.Response
    ) -> TeachGrasp.Response:
        ways = (_ASKED.HAND, _ASKED.PIXELS, _ASKED.POSE, _ASKED.LOOK)
        if request.by not in ways:
            raise RefusedError(f"by is '{request.by}'; it must be one of {', '.join(ways)}")
        known, model = self._objects.known(request.object), ''
        if request.by == _ASKED.POSE and not request.pose.header.frame_id:
            grasp = TaughtGrasp(pose=request.pose.pose, width=request.width)
        else:
            T_base_object, model = self._where(request, round_axes(known))
            header = Header(stamp=self._now(), frame_id=self._preset.base_frame)
            response.object_pose = PoseStamped(header=header, pose=pose_from_matrix(T_base_object))
            if request.by == _ASKED.LOOK:
                response.success = True
                response.message = f'{request.object} is at {_told(T_base_object)}'
                return response
            T_base_tcp, width = self._hand(request)
            T_object_tcp = rigid.inverse(T_base_object) @ T_base_tcp
            grasp = TaughtGrasp(pose=pose_from_matrix(T_object_tcp), width=width)
        self._check_is_near(grasp, known, request.object)
        if grasp.width > self._fingers.opening:
            raise RefusedError(
                f'the width is {grasp.width:g} m; the hand opens {self._fingers.opening:g} m'
            )
        grasp.name = request.name
        stored = self._observer.answer(
            self._store,
            StoreGrasp.Request(
                object=request.object, model=model, grasp=grasp, replace=request.replace
            ),
        )
        response.grasp, response.message, response.success = stored.grasp, stored.message, True
        return response

    def _where(self, request: TeachGrasp.Request, round_about: RoundAxes) -> tuple[Array, str]:
        """Return where the object is (4, 4), and the model that sees it, if one does."""
        if request.object_pose.header.frame_id:
            return self._observer.to_base(request.object_pose), ''
        try:
            located = self._objects.look_for(request.object, round_about=round_about).located
        except RefusedError as error:
            if request.by != _ASKED.HAND:
                raise
            raise RefusedError(
                f'{error}. Where the hand hides the object, call with by: look before, and give '
                'the object_pose that this answers'
            ) from None
        return located.T_base_object, located.model

    def _hand(self, request: TeachGrasp.Request) -> tuple[Array, float]:
        """Return the pose of the tool centre point in the base frame (4, 4), and the width."""
        if request.by == _ASKED.POSE:
            return self._observer.to_base(request.pose), request.width
        if request.by == _ASKED.PIXELS:
            return grasp_between(*self._clicked(request), self._fingers)
        self._joints.start()
        try:
            width = self._joints.gripper_width()
        finally:
            self._joints.stop()
        T_base_hand = self._observer.pose_of(self._preset.hand_frame, self._now(), self._until())
        return T_base_hand @ self._preset.T_hand_tcp, width

    def _clicked(self, request: TeachGrasp.Request) -> tuple[Array, Array]:
        """Return the two clicked points (3,) in the base frame."""
        pixels = {'u': [float(u) for u in request.u], 'v': [float(v) for v in request.v]}
        asked = Describe.Request(max_age=self._look.max_age, **pixels)
        seen = self._observer.describe(asked)
        if reason := next(filter(None, seen.reasons), ''):
            raise RefusedError(f'a clicked point has no place: {reason}; click beside it')
        T = self._observer.pose_of(seen.header.frame_id, seen.header.stamp, self._until())
        first, second = (rigid.apply(T, [p.x, p.y, p.z]) for p in seen.positions)
        return first, second

    def _check_is_near(self, grasp: TaughtGrasp, known: list[TaughtObject], name: str) -> None:
        """Refuse a hand that is far from the object: it, or the object's pose, is another."""
        p = grasp.pose.position
        points = np.concatenate([np.reshape(one.points, (-1, 3)) for one in known])
        distance = float(np.linalg.norm(points - [p.x, p.y, p.z], axis=1).min())
        if distance > _FARTHEST:
            raise RefusedError(
                f'the tool centre point is {100 * distance:.0f} cm from what is known of {name}; '
                f'at most {100 * _FARTHEST:.0f} cm are a grasp: bring the hand to where it holds '
                'the object'
            )

    def _now(self) -> Time:
        return self._node.get_clock().now().to_msg()

    def _until(self) -> float:
        return 1e-9 * self._node.get_clock().now().nanoseconds + self._look.timeout


def _told(T: Array) -> str:
    return '({}) m'.format(', '.join(f'{x:.3f}' for x in T[:3, 3]))
