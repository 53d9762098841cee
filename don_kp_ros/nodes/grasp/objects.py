"""Taught objects as the grasp node knows them: how they are held, and where they are now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import Point, Vector3
from numpy.typing import NDArray
from rclpy.node import Node

from don_kp.action import Grasp
from don_kp.msg import ObjectPose, ObjectPoses, TaughtObject
from don_kp.msg import TaughtGrasp as TaughtGraspMessage
from don_kp.srv import ListObjects
from don_kp_ros.errors import RefusedError, did_you_mean
from don_kp_ros.geometry.symmetry import SymmetryAxis
from don_kp_ros.grasping.located import Located, agreed
from don_kp_ros.grasping.taught import TaughtGrasp
from don_kp_ros.nodes.grasp.observer import GoalRefusedError, LookParameters, Observer
from don_kp_ros.nodes.kit.client import ServiceClient
from don_kp_ros.nodes.kit.conversions import matrix_from_pose
from don_kp_ros.pose.revolution import round_axis_of

Array = NDArray[np.float64]
RoundAxes = Mapping[str, SymmetryAxis | None]

_POSES = 'don_kp/object_poses'


@dataclass(frozen=True)
class Seen:
    """An object that was looked for: where it is, and what is about it, points (N, 3)."""

    located: Located
    points: Array


class TaughtObjects:
    """Asks the database how objects are held, and perception where they are.

    Its calls block, and raise what those of the observer do.
    """

    def __init__(self, node: Node, observer: Observer, parameters: LookParameters) -> None:
        """Look for the database's services on a node that others spin."""
        self._observer, self._parameters = observer, parameters
        self._list = ServiceClient(
            node, ListObjects, 'list_objects', 'is the descriptor database running?'
        )
        self._teach_object = node.resolve_service_name('teach_object')
        self._teach_grasp = node.resolve_service_name('teach_grasp')

    def known(self, name: str) -> list[TaughtObject]:
        """Return what is taught under a name, by any model; refuses what is not."""
        taught = self._listed(name)
        if not taught:
            names = self.names()
            raise GoalRefusedError(
                Grasp.Result.UNKNOWN_TARGET,
                f"no object '{name}' is taught; taught are: {', '.join(names) or 'none'}"
                f'{did_you_mean(name, names)}; {self._teach_object} teaches one',
            )
        return taught

    def names(self) -> list[str]:
        """Return the names of all that is taught, by any model."""
        return sorted({str(one.name) for one in self._listed('')})

    def _listed(self, name: str) -> list[TaughtObject]:
        try:
            found = self._observer.answer(self._list, ListObjects.Request(name=name)).objects
        except GoalRefusedError:
            raise
        except RefusedError as error:
            raise GoalRefusedError(Grasp.Result.STALE_DATA, str(error)) from None
        return list(found)

    def grasps(self, name: str, known: Sequence[TaughtObject]) -> dict[str, list[TaughtGrasp]]:
        """Return the grasps of a known object, by the model that sees it; refuses none at all."""
        taught = {one.model: list(map(_grasp, one.grasps)) for one in known}
        if not any(taught.values()):
            raise GoalRefusedError(
                Grasp.Result.NOT_TAUGHT,
                f'no grasp of {name} is taught; teach one with {self._teach_grasp}, or with '
                f'`don_kp teach grasp {name}`',
            )
        return taught

    def look_for(
        self,
        name: str,
        images: int = 0,
        round_about: RoundAxes | None = None,
        last: Located | None = None,
    ) -> Seen:
        """Find an object in several images, sure enough to grasp it.

        round_about: the axis by model, a turn about which is of no matter. last: of several such
        objects, the one nearest to this sight is meant; without it, the surest.
        """
        p, axes = self._parameters, round_about or {}
        messages, deadline = self._observer.hear(ObjectPoses, _POSES, name, images)
        sights: list[Located] = []
        reason = 'perception has not been told of it yet'
        for message in messages:
            poses = [pose for pose in message.objects if pose.name == name]
            if not poses:
                told = dict(zip(message.missing, message.reasons, strict=False))
                reason = told.get(name, reason)
                continue
            stamp, frame = message.header.stamp, message.header.frame_id
            T_base_camera = self._observer.pose_of(frame, stamp, deadline)
            axis = axes.get(message.model)
            here = [_located(pose, message.model, T_base_camera, axis) for pose in poses]
            # Of several, always the same one.
            known = sights[0] if sights else last
            sights.append(min(here, key=known.apart) if known else here[0])
        if 2 * len(sights) <= len(messages):
            missed = len(messages) - len(sights)
            raise GoalRefusedError(
                Grasp.Result.NOT_FOUND,
                f'{name} not found in {missed} of {len(messages)} images: {reason}',
            )
        same = agreed(sights, p.max_spread, p.max_turn)
        located = same[0]
        allowed = (
            f'{1000 * p.max_spread:.0f} mm (max_spread) and {_degrees(p.max_turn)} (max_turn)'
        )
        if 2 * len(same) <= len(messages):
            metres, radians = np.max([located.apart(one) for one in sights], axis=0)
            raise GoalRefusedError(
                Grasp.Result.UNCERTAIN,
                f'{name} is off by {1000 * metres:.0f} mm and {_degrees(radians)} from image to '
                f'image; allowed are {allowed}: let it rest, or show perception more of it',
            )
        if 2 * sum(one.ambiguous for one in same) > len(same):
            raise GoalRefusedError(
                Grasp.Result.UNCERTAIN,
                f'{name} is ambiguous: the images fit it turned otherwise nearly as well; look '
                f'from another side, or add views of it with {self._teach_object}',
            )
        metres, radians = located.deviations
        if not (metres <= p.max_spread and radians <= p.max_turn):
            raise GoalRefusedError(
                Grasp.Result.UNCERTAIN,
                f'the pose of {name} is certain to {1000 * metres:.0f} mm and '
                f'{_degrees(radians)} (standard deviations); allowed are {allowed}: look from '
                f'nearer, or add views of it with {self._teach_object}',
            )
        return Seen(located, self._observer.points_of(messages, deadline))


def round_axes(taught: Sequence[TaughtObject]) -> RoundAxes:
    """Return the axis about which an object's shape is round, if it is, by the model that sees it.

    A hand may hold it at any turn about that, whatever its print. Where it is put down, it counts.
    """
    return {
        one.model: round_axis_of(np.reshape(one.points, (-1, 3)).astype(np.float64))
        for one in taught
    }


def _located(
    pose: ObjectPose, model: str, T_base_camera: Array, round_about: SymmetryAxis | None
) -> Located:
    T_camera_object = matrix_from_pose(pose.pose.pose)
    if not np.isfinite(T_camera_object).all():
        reason = f'perception tells a pose of {pose.name} that is not finite; restart it'
        raise GoalRefusedError(Grasp.Result.STALE_DATA, reason)
    direction, point = _xyz(pose.symmetry), _xyz(pose.symmetry_point)
    symmetry = SymmetryAxis(direction, point, pose.symmetry_order) if direction.any() else None
    ambiguous = pose.ambiguous and not (
        symmetry and round_about and symmetry.is_parallel(round_about)
    )
    covariance = np.reshape(pose.pose.covariance, (6, 6))
    seen = Located.seen(
        T_base_camera, T_camera_object, covariance, model, symmetry, ambiguous, round_about
    )
    return seen.upright()


def _grasp(message: TaughtGraspMessage) -> TaughtGrasp:
    return TaughtGrasp(message.name, matrix_from_pose(message.pose), message.width)


def _degrees(radians: float) -> str:
    return f'{np.rad2deg(radians):.0f} degrees'


def _xyz(vector: Vector3 | Point) -> Array:
    return np.array([vector.x, vector.y, vector.z])
