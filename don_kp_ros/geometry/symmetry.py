"""An axis about which an object looks the same when it is turned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.geometry import rigid

Array = NDArray[np.float64]

_PARALLEL = np.cos(np.deg2rad(5.0))


@dataclass(frozen=True, eq=False)
class SymmetryAxis:
    """An axis in an object's frame: a unit direction (3,), and a point (3,) on it, metres.

    order: n where the object looks the same after 1/n of a full turn, 0 where it does after any.
    """

    direction: Array
    point: Array
    order: int = 0

    def turn(self, angle: float) -> Array:
        """Return the motion (4, 4) of the object by an angle in radians about the axis."""
        R = rigid.rotation_about(self.direction, angle)
        return rigid.transform(R, self.point - R @ self.point)

    def is_parallel(self, other: SymmetryAxis) -> bool:
        """Tell whether another axis has the same direction to 5 degrees, either way round."""
        return bool(abs(self.direction @ other.direction) > _PARALLEL)

    def motion(self, T: Array) -> Array:
        """Return how a pose T (4, 4) moves as the object turns about the axis: (6,).

        As in the covariance of a pose: metres of the object's origin, then a rotation about the
        fixed axes, both for each radian.
        """
        R = T[:3, :3]
        turn = R @ self.direction
        return np.concatenate([np.cross(turn, R @ -self.point), turn])

    def left_out(self, T: Array, covariance: Array) -> Array:
        """Return the covariance (6, 6) of a pose T (4, 4) without the turn about the axis."""
        unknown = self.motion(T)
        unknown /= np.linalg.norm(unknown)
        rest = np.eye(6) - np.outer(unknown, unknown)
        return np.asarray(rest @ covariance @ rest)
