"""Puts down what the hand holds: where a goal says, or where it stood."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rclpy.node import Node

from don_kp.action import Grasp
from don_kp_ros.geometry import rigid
from don_kp_ros.grasping.candidates import PinchParameters
from don_kp_ros.grasping.pick import EmptyGripperError, Phase, Picker, Report
from don_kp_ros.grasping.placing import Held, PlaceError, place_at, unseen_since
from don_kp_ros.grasping.viewing import merged
from don_kp_ros.motion.port import Motion
from don_kp_ros.motion.safety import Workspace
from don_kp_ros.nodes.grasp.observer import GoalRefusedError, Observer
from don_kp_ros.nodes.kit.clock import RosTime
from don_kp_ros.robots.preset import RobotPreset

Array = NDArray[np.float64]

_UPRIGHT = np.cos(np.deg2rad(2.0))
_LEVEL = np.cos(np.deg2rad(10.0))  # of what is seen, which is less exact
# What the camera sees of a held object may be so far off its box, metres.
_MARGIN = 0.03
# For so long what it hides from the camera counts as it was seen before it was picked.
_REMEMBERED_S = 120.0
_PATIENCE_S = 3.0  # for the transform of an image's time


class Placer:
    """Remembers what a pick has lifted, and puts it down.

    Its calls block, and raise GoalRefusedError, MotionError and EmptyGripperError.
    """

    def __init__(
        self,
        node: Node,
        preset: RobotPreset,
        observer: Observer,
        motion: Motion,
        picker: Picker,
        workspace: Workspace,
        fingers: PinchParameters,
    ) -> None:
        """Move by a motion adapter; see by an observer."""
        self._node, self._preset, self._observer = node, preset, observer
        self._time = RosTime(node)
        self._motion, self._picker = motion, picker
        self._workspace, self._fingers = workspace, fingers
        self._held: Held | None = None
        observer.beside_hand = self._beside_hand
        self._lifted_at = 0.0  # seconds of ROS time

    def goal(self, place: PoseStamped) -> Array:
        """Return a goal's place (4, 4) in the base frame, which is meant where none is named."""
        place.header.frame_id = place.header.frame_id or self._preset.base_frame
        T = self._observer.to_base(place)
        if T[2, 2] < _UPRIGHT:
            raise GoalRefusedError(
                Grasp.Result.INVALID_GOAL,
                'the place is tilted; turn it about the vertical alone, in the base frame',
            )
        if T[2, 3] < 0:
            raise GoalRefusedError(
                Grasp.Result.OUTSIDE,
                f'the place lies {-1000 * T[2, 3]:.0f} mm under the table, which is z = 0; its z '
                'is the height of what it is put on',
            )
        return self._inside(T)

    def goal_at(self, T_base_seen: Array, points: Array) -> Array:
        """Return the place (4, 4) at what was seen at a pose (4, 4), among points (N, 3).

        Where something is held, they stand about it, with what was seen of it before.
        """
        if self._held is not None:
            self._keep(replace(self._held, others=merged(self._held.others, points)))
        if T_base_seen[2, 2] < _LEVEL:
            degrees = np.rad2deg(np.arccos(np.clip(T_base_seen[2, 2], -1.0, 1.0)))
            raise GoalRefusedError(
                Grasp.Result.INVALID_GOAL,
                f'the place is tilted by {degrees:.0f} degrees from how it was taught; put it '
                'upright, or give the place as a pose',
            )
        try:
            return self._inside(place_at(T_base_seen, points))
        except PlaceError as error:
            raise GoalRefusedError(Grasp.Result.OCCUPIED, str(error)) from None

    def _inside(self, T: Array) -> Array:
        # Its height is that of the ground; the workspace has the tool's.
        if outside := self._workspace.outside(T[:2, 3]):
            raise GoalRefusedError(Grasp.Result.OUTSIDE, f'the place is {outside}')
        return T

    def foresee(
        self, T_base_grasp: Array, T_base_reference: Array, points: Array, goal: Array | None
    ) -> Held:
        """Tell what a planned grasp will hold, of points (N, 3); refuses a goal without room."""
        try:
            held = Held.grasped(T_base_grasp, T_base_reference, points, self._fingers)
            if goal is not None:
                self._check(held, goal, held.others)
        except PlaceError as error:
            raise GoalRefusedError(Grasp.Result.OCCUPIED, str(error)) from None
        return held

    def lifted(self, held: Held | None) -> None:
        """Remember what is in the hand; None: nothing, or nobody knows what."""
        self._lifted_at = self._time.now()
        self._keep(held)

    def _keep(self, held: Held | None) -> None:
        self._held = held
        self._motion.hold(held.box if held else None)
        if held is not None:
            self._motion.set_obstacles(self._workspace.mapped(held.others))

    def look(self) -> Array:
        """Look anew at what stands about, from where the arm looks from, with what is held.

        Return its points (N, 3).
        """
        held = self._held
        if held is None or not self._picker.holds_something():
            raise GoalRefusedError(
                Grasp.Result.NOTHING_HELD,
                'nothing is held that could be placed: pick something first; what was put between '
                'the fingers by hand can only be released',
            )
        self._keep(held)
        self._picker.go_home(let_go=False)
        others = self._observer.newest_points()
        if 0 <= self._time.now() - self._lifted_at < _REMEMBERED_S:  # else time was set back
            hidden = unseen_since(held.others, others, self._workspace.surroundings)
            others = np.concatenate([others, hidden])
        self._keep(replace(held, others=others))
        return others

    def _beside_hand(self, points: Array, stamp: Time) -> Array:
        """Leave out of points (N, 3) seen at a time those of what is held."""
        held = self._held
        if held is None:
            return points
        deadline = self._time.now() + _PATIENCE_S
        T_base_hand = self._observer.pose_of(self._preset.hand_frame, stamp, deadline)
        T_base_tcp = T_base_hand @ self._preset.T_hand_tcp
        return points[~held.box.contains(T_base_tcp, points, _MARGIN)]

    def put(self, goal: Array | None, report: Report) -> None:
        """Put down what is held at a goal (4, 4), or where it stood; then look at it from home.

        What is refused leaves the arm as it is, holding.
        """
        held = self._held
        assert held is not None
        if goal is None:
            motion = np.eye(4)
        else:
            try:
                motion = self._check(held, goal, held.others)
            except PlaceError as error:
                raise GoalRefusedError(Grasp.Result.OCCUPIED, f'{error}; the arm holds') from None
        x, y, z = rigid.apply(motion, held.T_base_reference[:3, 3])
        report(Phase.PLACE, f'what is held at ({1000 * x:.0f}, {1000 * y:.0f}, {1000 * z:.0f}) mm')
        try:
            self._picker.place(motion @ held.T_base_grasp, self._forget)
        except EmptyGripperError:
            self.lifted(None)
            raise
        self.lifted(None)
        report(Phase.RETREAT, 'to where the arm looks from')
        self._motion.set_obstacles(self._workspace.mapped(self._observer.newest_points()))
        self._picker.go_home(let_go=True)

    def _forget(self) -> None:
        self._held = None

    def _check(self, held: Held, goal: Array, points: Array) -> Array:
        motion = held.motion_to(goal)
        held.check_free(motion, points, self._workspace.grid, self._fingers)
        return motion
