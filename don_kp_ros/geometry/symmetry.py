"""An axis about which an object looks the same when it is turned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.geometry import rigid

Array = NDArray[np.float64]


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
