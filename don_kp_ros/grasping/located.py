"""Where an object was seen, how sure that is, and how far two sights of it differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.symmetry import SymmetryAxis

Array = NDArray[np.float64]

_ARM = 0.1  # metres: a turn counts as the way of what is so far from the axis


@dataclass(frozen=True, eq=False)
class Located:
    """A pose of an object in the base frame (4, 4), by a model; ambiguous: it may be turned."""

    T_base_object: Array
    model: str  # fingerprint
    deviations: tuple[float, float]  # largest standard deviations, metres and radians
    symmetry: SymmetryAxis | None = None
    ambiguous: bool = False

    def apart(self, other: Located) -> tuple[float, float]:
        """Return how far, metres, and by how much, radians, another sight of it is off.

        The turn about an axis of symmetry does not count.
        """
        T, T_other = self.T_base_object, other.T_base_object
        point = np.zeros(3) if self.symmetry is None else self.symmetry.point
        metres = float(np.linalg.norm(rigid.apply(T, point) - rigid.apply(T_other, point)))
        if self.symmetry is None:
            cosine = (np.trace(T[:3, :3].T @ T_other[:3, :3]) - 1) / 2
        else:
            axis = self.symmetry.direction
            cosine = (T[:3, :3] @ axis) @ (T_other[:3, :3] @ axis)
        return metres, float(np.arccos(np.clip(cosine, -1.0, 1.0)))


def agreed(sights: Sequence[Located], metres: float, radians: float) -> list[Located]:
    """Return the sights, of one or more, that agree with the one in their middle, this one first.

    Others are off by more than so many metres or radians.
    """

    def off(one: Located, other: Located) -> float:
        shift, turn = one.apart(other)
        return shift + _ARM * turn

    middle = min(sights, key=lambda one: sum(off(one, other) for other in sights))
    others = [one for one in sights if one is not middle]
    near = [one for one in others if _within(middle.apart(one), metres, radians)]
    return [middle, *near]


def deviations(
    covariance: ArrayLike, T_camera_object: Array, symmetry: SymmetryAxis | None
) -> tuple[float, float]:
    """Return the largest standard deviations of a pose's place, metres, and turn, radians.

    covariance (6, 6): as in geometry_msgs/PoseWithCovariance, in the camera's frame; the motion
    about an axis of symmetry does not count.
    """
    sigma = np.asarray(covariance, dtype=np.float64)
    if not np.isfinite(sigma).all():
        return np.inf, np.inf
    if symmetry is not None:
        R = T_camera_object[:3, :3]
        turn = R @ symmetry.direction
        unknown = np.concatenate([np.cross(turn, -R @ symmetry.point), turn])
        unknown /= np.linalg.norm(unknown)
        rest = np.eye(6) - np.outer(unknown, unknown)
        sigma = rest @ sigma @ rest
    place, angles = (np.linalg.eigvalsh(part)[-1] for part in (sigma[:3, :3], sigma[3:, 3:]))
    return float(np.sqrt(max(place, 0.0))), float(np.sqrt(max(angles, 0.0)))


def _within(apart: tuple[float, float], metres: float, radians: float) -> bool:
    return apart[0] <= metres and apart[1] <= radians
