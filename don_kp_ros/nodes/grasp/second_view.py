"""Brings the camera on the hand to a second view of a target, and the arm back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from don_kp.action import Grasp
from don_kp_ros.geometry import rigid
from don_kp_ros.grasping.pick import NEXT_MAY_DO
from don_kp_ros.grasping.viewing import second_views
from don_kp_ros.motion.heightmap import HeightMap
from don_kp_ros.motion.port import Motion, MotionError
from don_kp_ros.nodes.grasp.observer import GoalRefusedError, Observer
from don_kp_ros.robots.preset import RobotPreset

Array = NDArray[np.float64]

# Of the camera from where the preset has it on the hand: what is farther is on a stand.
_OFF_M, _OFF_COSINE = 0.05, np.cos(np.deg2rad(15.0))
_ANEW_M = 0.05  # from where the camera was before
_MOST = 4  # views that are tried: a hopeless one may be planned for seconds
_PATIENCE_S = 1.0  # for a transform
_HOLDS = (Grasp.Result.STALE_DATA, Grasp.Result.FAULT)  # nothing moves on bad data


@dataclass(frozen=True)
class View:
    """Where the camera and the hand were when a picture was taken (4, 4)."""

    T_base_camera: Array
    T_base_hand: Array


class NoSecondViewError(Exception):
    """The camera cannot go to a second view; the message says why. Nothing has moved."""


class SecondView:
    """Moves the camera on the hand; remembers where the arm first looked from.

    Its calls block, and raise what those of the observer and of a motion adapter do.
    """

    def __init__(self, preset: RobotPreset, observer: Observer, motion: Motion) -> None:
        """Move by a motion adapter."""
        self._preset, self._observer, self._motion = preset, observer, motion
        self._first: Array | None = None  # joint positions (7,)
        self._been: list[Array] = []  # where (3,) the camera was
        self.obstacles: HeightMap | None = None  # all that was seen, to be set as it is
        self.doubt = ''

    def begin(self) -> None:
        """Remember nothing: the arm has not moved."""
        self._first, self._been, self.obstacles = None, [], None

    def here(self) -> View | None:
        """Return from where the newest image that was heard was taken, or tell in `doubt`.

        A camera that is not on the hand has no second view.
        """
        image, hand = self._observer.newest, self._preset.hand_frame
        if image is None:
            self.doubt = 'no image was heard'
            return None
        until = self._observer.now() + _PATIENCE_S
        try:
            T_base_camera, T_base_hand = (
                self._observer.pose_of(frame, image.stamp, until)
                for frame in (image.frame_id, hand)
            )
        except GoalRefusedError as error:
            self.doubt = f'it is not known where {hand} is: {error}'
            return None
        T_hand_camera = rigid.inverse(T_base_hand) @ T_base_camera
        off = rigid.inverse(self._preset.camera.T_hand_optical) @ T_hand_camera
        if np.linalg.norm(off[:3, 3]) > _OFF_M or off[2, 2] < _OFF_COSINE:
            self.doubt = f'{image.frame_id} is not where the robot {self._preset.name} has it'
            return None
        return View(T_base_camera, T_base_hand)

    def go(self, view: View | None, target: Array) -> None:
        """Go from a view to another one of a target (3,), around the obstacles.

        Raises NoSecondViewError where the arm reaches none; other failures as a motion's.
        """
        if view is None:
            raise NoSecondViewError(self.doubt)
        T_camera_tcp = rigid.inverse(view.T_base_camera) @ view.T_base_hand
        T_camera_tcp = T_camera_tcp @ self._preset.T_hand_tcp
        self._been.append(view.T_base_camera[:3, 3])
        start = self._motion.joint_positions()
        self._motion.set_obstacles(self.obstacles)
        reason = 'the target is seen too slantingly'
        views = [T for T in second_views(view.T_base_camera, target) if self._is_new(T[:3, 3])]
        for T_base_camera in views[:_MOST]:
            try:
                self._motion.move_to_pose(T_base_camera @ T_camera_tcp)
            except MotionError as error:
                if error.code in NEXT_MAY_DO:  # nothing has moved
                    reason = str(error)
                    continue
                self._leave(start)
                raise
            self._leave(start)
            return
        raise NoSecondViewError(reason)

    def _leave(self, start: Array) -> None:
        """Remember where the arm was before it first moved."""
        if self._first is None:
            self._first = start

    def _is_new(self, eye: Array) -> bool:
        return all(np.linalg.norm(eye - other) > _ANEW_M for other in self._been)

    def end(self) -> None:
        """Bring the arm back to where it first looked from."""
        if self._first is not None:
            self._motion.set_obstacles(self.obstacles)
            self._motion.move_to_joints(self._first)

    def back(self, error: GoalRefusedError | MotionError) -> GoalRefusedError | MotionError:
        """Bring the arm back to where it first looked from; return an error that says so.

        It holds where it is after a failed motion, and where nothing is known of the world. Where
        the way back itself fails so, its code is the error's.
        """
        if self._first is None:
            return error
        if isinstance(error, MotionError):
            may = error.code in NEXT_MAY_DO
        else:
            may = error.code not in _HOLDS
        told = 'the arm holds where it is'
        if may:
            try:
                self.end()
                told = 'the arm is back where it first looked from'
            except MotionError as failure:
                told = f'{told}: {failure}'
                if failure.code not in NEXT_MAY_DO:
                    error = MotionError(failure.code, str(error))
        return type(error)(error.code, f'{error}; {told}')  # type: ignore[arg-type]
