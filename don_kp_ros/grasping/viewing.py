"""A second view of a target: from where, and what it and the first one tell together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.geometry import rigid

Array = NDArray[np.float64]

DISTANCE = 0.35
"""From the camera to the target, metres: nearer than the first view, and yet what stands 15 cm
above the target is beyond the least distance at which a D435 measures (0.17 m)."""

TURN = np.deg2rad(25.0)
"""Between the two lines of sight: what one view is wrong about along its own, the other sees."""

_SLANTED = np.deg2rad(40.0)  # at most, from straight down: objects are taught from above
_SIDES = 8
# Columns, in which both views see the same; the number of one, of its place in x and in y.
_CELL, _ROW = 0.01, np.array([1 << 20, 1])


def second_views(
    T_base_camera: Array, target: Array, distance: float = DISTANCE, turn: float = TURN
) -> list[Array]:
    """Return poses of a camera (4, 4), z forward, that look at a target (3,) anew, the best first.

    Each has the target in its middle, at a distance in metres, along a line that is turned by an
    angle in radians from the present one. The camera turns no more than it must. The steeper are
    first, because they need the least tilt of the hand; of equals, those nearer to the base, which
    the arm reaches.
    """
    R, eye = T_base_camera[:3, :3], T_base_camera[:3, 3]
    sight = _unit(target - eye)
    across = _unit(R[:, 0] - (R[:, 0] @ sight) * sight)
    views = []
    for angle in np.arange(_SIDES) * 2 * np.pi / _SIDES:
        side = np.cos(angle) * across + np.sin(angle) * np.cross(sight, across)
        z = np.cos(turn) * sight + np.sin(turn) * side
        if -z[2] >= np.cos(_SLANTED):
            views.append(rigid.transform(_turned_to(R, z), target - distance * z))
    return sorted(views, key=lambda T: (round(T[2, 2], 2), float(np.hypot(*T[:2, 3]))))


def confirmed(
    first: Array, second: Array, distances: tuple[float, float], bound: float
) -> tuple[Array, float]:
    """Return what two views agree on: places (n, 3) of the second (M, 3), combined with the first.

    Each is combined with the nearest of the first view's (K, 3), if that is within a bound; with
    it comes the least distance between the two views' places, metres. A match is off by so many
    pixels, that is in proportion to the distance (5 px at half a metre are 4 mm, where depth is
    off by 1 mm), so each counts by the inverse square of its distance from the camera.
    """
    apart = np.linalg.norm(second[:, None] - first[None], axis=-1)
    weights = 1 / np.square(distances)
    both = np.stack([first[apart.argmin(axis=1)], second])
    mean = np.einsum('v,vmi->mi', weights / weights.sum(), both)
    return mean[apart.min(axis=1) <= bound], float(apart.min())


def merged(first: Array, second: Array) -> Array:
    """Return points (N, 3) of two views: the second's, and the first's where that saw nothing.

    The second is the nearer, and two surfaces that are off by an error between the views would
    make things thicker than they are.
    """
    cells = [np.floor(points[:, :2] / _CELL).astype(np.int64) @ _ROW for points in (first, second)]
    return np.concatenate([second, first[~np.isin(cells[0], cells[1])]])


def _turned_to(R: Array, z: Array) -> Array:
    """Return a rotation (3, 3), turned about the shortest way until its z is another (3,)."""
    axis = np.cross(R[:, 2], z)
    angle = float(np.arctan2(np.linalg.norm(axis), R[:, 2] @ z))
    return R if angle < 1e-9 else np.asarray(rigid.rotation_about(axis, angle) @ R)


def _unit(vector: Array) -> Array:
    return np.asarray(vector / np.linalg.norm(vector))
