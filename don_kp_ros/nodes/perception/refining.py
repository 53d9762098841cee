"""Refines the poses of objects that have a mesh: beside the search, never in its way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from std_msgs.msg import Header

from don_kp_ros.errors import RefusedError
from don_kp_ros.matching.view import View
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.nodes.kit.conversions import seconds_from_stamp
from don_kp_ros.nodes.kit.guard import guarded
from don_kp_ros.nodes.kit.transforms import TransformListener
from don_kp_ros.nodes.perception.frames import Frame
from don_kp_ros.nodes.perception.meshes import Meshes
from don_kp_ros.nodes.perception.objects import SeenObject
from don_kp_ros.nodes.perception.pace import rest
from don_kp_ros.nodes.perception.parameters import PerceptionParameters
from don_kp_ros.pose.estimate import Pose, Why
from don_kp_ros.pose.held import Held
from don_kp_ros.robots.preset import load_preset

if TYPE_CHECKING:
    from don_kp_ros.pose.mesh_descriptors import Subject

_LASTS_S, _LASTS_PERIODS = 10.0, 3  # how long a pose is held, at least
_TELL_S = 60.0  # between two warnings


@dataclass(frozen=True)
class _Sight:
    """An image with the poses that were found in it."""

    frame: Frame
    view: View
    model: DescriptorModel
    objects: Sequence[SeenObject]
    fixed: str  # frame in which objects rest
    T_fixed_camera: NDArray[np.float64]

    @property
    def stamp(self) -> float:
        return seconds_from_stamp(self.frame.header.stamp)


@dataclass(frozen=True)
class _Refined:
    """A pose that is held, of an object as it was taught then, and the frame in which it rests."""

    held: Held
    seen: SeenObject
    fixed: str

    def of(self, seen: SeenObject) -> bool:
        return self.seen.query.taught == seen.query.taught


class Refining:
    """Refines what was found in the newest image, ``refine_rate_hz`` times a second at most.

    A refined pose takes the place of what is found until the object moves, or its mesh no longer
    agrees with the camera. The thread ends with `close`.
    """

    def __init__(
        self,
        node: Node,
        settings: Callable[[], PerceptionParameters],
        transforms: TransformListener,
        meshes: Meshes,
    ) -> None:
        """Begin, on a node that others spin; ``settings`` tells the present parameters."""
        self._node, self._settings = node, settings
        self._transforms, self._meshes = transforms, meshes
        self._base = load_preset(settings().robot).base_frame
        self._held: tuple[_Refined, ...] = ()  # replaced by its thread alone
        self._newest: _Sight | None = None
        self._changed = threading.Condition()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name='refining')
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._ending.set()
        with self._changed:
            self._changed.notify()
        self._thread.join()

    def applied(
        self, frame: Frame, view: View, model: DescriptorModel, objects: Sequence[SeenObject]
    ) -> list[SeenObject]:
        """Replace what was found in an image by what is held of it; refine it soon.

        Takes no time to speak of.
        """
        if not self._settings().refine_rate_hz:
            return list(objects)
        if not any(one.query.taught.mesh.fingerprint for one in objects):
            return list(objects)
        sight = _Sight(frame, view, model, objects, *self._place(frame.header))
        with self._changed:
            self._newest = sight
            self._changed.notify()
        return [self._better(sight, one) for one in objects]

    def _better(self, sight: _Sight, seen: SeenObject) -> SeenObject:
        poses = []
        for pose in seen.poses:
            known = self._known(sight, seen, pose)
            poses.append(known.held.replacing(pose, sight.T_fixed_camera) if known else pose)
        return replace(seen, poses=poses)

    def _known(self, sight: _Sight, seen: SeenObject, pose: Pose) -> _Refined | None:
        """Return what is held of an object that was found at a pose."""
        rate = self._settings().refine_rate_hz
        lasts = max(_LASTS_S, _LASTS_PERIODS / rate) if rate else 0.0
        for one in self._held:
            lasting = 0 <= sight.stamp - one.held.stamp < lasts
            same = one.fixed == sight.fixed and one.of(seen)
            if lasting and same and one.held.rests(pose, sight.T_fixed_camera):
                return one
        return None

    def _place(self, header: Header) -> tuple[str, NDArray[np.float64]]:
        """Return a frame in which objects rest, and the camera's pose in it.

        Where the robot does not tell, that is the camera's own: what is seen to move is let go.
        """
        stamp = seconds_from_stamp(header.stamp)
        try:
            return self._base, self._transforms.lookup(self._base, header.frame_id, stamp)
        except RefusedError:
            return header.frame_id, np.eye(4)

    def _work(self) -> None:
        while not self._ending.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._newest or self._ending.is_set())
                sight, self._newest = self._newest, None
            began = time.monotonic()
            if sight is not None:
                self._refine(sight)
            rest(began, lambda: self._settings().refine_rate_hz, self._ending)

    @guarded
    def _refine(self, sight: _Sight) -> None:
        """Refine all objects of an image; hold what is better, let go what is not there."""
        self._meshes.keep([one.query.taught for one in sight.objects])
        if sight.view.camera is None:
            return
        depth = None if sight.view.depth is None else sight.view.depth.metres()
        held: list[_Refined] = []
        for seen in sight.objects:
            subject = self._meshes.load(seen.query.taught, self._ending)
            for pose in seen.poses if subject is not None else ():
                if self._ending.is_set():
                    return
                assert subject is not None
                if (one := self._refined(sight, depth, seen, subject, pose)) is not None:
                    held.append(one)
        self._held = tuple(held)

    def _refined(
        self,
        sight: _Sight,
        depth: NDArray[np.float32] | None,
        seen: SeenObject,
        subject: Subject,
        pose: Pose,
    ) -> _Refined | None:
        """Refine a pose, from what is held of it if something is; None where it is refused."""
        # Only now: what draws meshes takes seconds to import, and many robots have none.
        from don_kp_ros.pose.close_up import refine_close_up

        known = self._known(sight, seen, pose)
        start, covariance = pose.T_camera_object, pose.covariance
        if known is not None:
            start, covariance = known.held.moved_to(sight.T_fixed_camera)
        assert sight.view.camera is not None
        found = refine_close_up(
            subject, start, sight.frame.picture, sight.view.camera, depth, sight.model
        )
        if found.refused is None:
            start, covariance = found.T_camera_object, found.covariance
        elif known is None or found.refused.why is not Why.NO_BETTER:
            reason = f'{seen.query.name} is not refined: {found.refused}'
            if found.refused.why is Why.SIZE:
                self._node.get_logger().warning(reason, throttle_duration_sec=_TELL_S)
            else:
                self._node.get_logger().debug(reason)
            return None
        held = Held(sight.T_fixed_camera, pose, start, covariance, sight.stamp)
        return _Refined(held, seen, sight.fixed)
