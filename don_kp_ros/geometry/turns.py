"""Rotations from all sides."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.geometry import rigid

Array = NDArray[np.float64]


def even_turns(number: int) -> list[Array]:
    """Return rotations (3, 3), spread evenly over all (Alexa 2022, super-Fibonacci spirals)."""
    t = (np.arange(number) + 0.5) / number
    around = 2 * np.pi * (np.arange(number) + 0.5)
    a, b = around / np.sqrt(2), around / 1.533751168755204288
    inner, outer = np.sqrt(t), np.sqrt(1 - t)
    xyzw = [inner * np.sin(a), inner * np.cos(a), outer * np.sin(b), outer * np.cos(b)]
    return [rigid.from_quaternion(q)[:3, :3] for q in np.stack(xyzw, axis=1)]
