"""The extent of what the hand holds, for planning."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.geometry import rigid

Array = NDArray[np.float64]

# What is put down ends in contact: the box begins this much above the object's bottom, metres.
_OPEN_BELOW = 0.008
_THINNEST = 0.002


@dataclass(frozen=True, eq=False)
class HeldBox:
    """A box about a held object: its middle in the tool's frame (4, 4), half its sides (3,)."""

    T_tcp_box: Array
    half_size: Array

    @classmethod
    def about(cls, T_base_tcp: Array, columns: Array) -> HeldBox:
        """Return the upright box about columns: tops (n, 3) in the base frame, from z = 0 up.

        T_base_tcp (4, 4) is where the tool holds them; the box is turned with its fingers.
        """
        closing = T_base_tcp[:2, 1]
        yaw = float(np.arctan2(closing[1], closing[0]))
        T_base_box = rigid.transform(rigid.rotation_about([0.0, 0.0, 1.0], yaw))
        at = rigid.apply(rigid.inverse(T_base_box), columns)
        low, high = at.min(axis=0), at.max(axis=0)
        low[2] = min(_OPEN_BELOW, high[2] - _THINNEST)
        middle = T_base_box @ rigid.transform(translation=(low + high) / 2)
        return cls(rigid.inverse(T_base_tcp) @ middle, (high - low) / 2)

    def contains(self, T_base_tcp: Array, points: Array, margin: float) -> NDArray[np.bool_]:
        """Tell which points (n, 3) in the base frame are inside, or within a margin, metres."""
        inside = np.abs(rigid.apply(rigid.inverse(T_base_tcp @ self.T_tcp_box), points))
        return np.asarray((inside <= self.half_size + margin).all(axis=-1))

    def footprint(self, T_base_tcp: Array, spacing: float) -> Array:
        """Return points (n, 3) all over what the box covers, at most a spacing apart, metres."""
        rows = [np.linspace(-h, h, 1 + int(np.ceil(2 * h / spacing))) for h in self.half_size[:2]]
        x, y = (grid.ravel() for grid in np.meshgrid(*rows))
        at = np.column_stack([x, y, np.zeros_like(x)])
        return rigid.apply(T_base_tcp @ self.T_tcp_box, at)
