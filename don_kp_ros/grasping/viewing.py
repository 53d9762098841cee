"""A second view of a target: from where, and what it and the first one tell together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.geometry import rigid

Array = NDArray[np.float64]

DISTANCE = 0.45
"""From the camera to the target, metres, where the first view is not nearer: about 0.8 of the way
from where most presets observe. Networks are trained for changes of scale down to 0.8; from 0.3 m
they take a point that was taught from 0.55 m for another, or do not find it."""

TURN = np.deg2rad(15.0)
"""Between the two lines of sight: what one view is wrong about along its own, the other sees."""

_SLANTED = np.deg2rad(40.0)  # at most, from straight down: objects are taught from above
_SIDES = 8
# Columns, in which both views see the same; the number of one, of its place in x and in y.
_CELL, _ROW = 0.01, np.array([1 << 20, 1])
_HIGHER = 0.02  # metres above the second view, that are no error between the views


def second_views(
    T_base_camera: Array, target: Array, distance: float = DISTANCE, turn: float = TURN
) -> list[Array]:
    """Return poses of a camera (4, 4), z forward, that look at a target (3,) anew, the best first.

    Each has the target in its middle, at a distance in metres or as near as now, along a line that
    is turned by an angle in radians from the present one. The camera turns no more than it must.
    The steeper are first, because they need the least tilt of the hand; of equals, those nearer to
    the base, which the arm reaches.
    """
    R, eye = T_base_camera[:3, :3], T_base_camera[:3, 3]
    distance = min(distance, float(np.linalg.norm(target - eye)))
    sight = _unit(target - eye)
    across = _unit(R[:, 0] - (R[:, 0] @ sight) * sight)
    views = []
    for angle in np.arange(_SIDES) * 2 * np.pi / _SIDES:
        side = np.cos(angle) * across + np.sin(angle) * np.cross(sight, across)
        z = np.cos(turn) * sight + np.sin(turn) * side
        if -z[2] >= np.cos(_SLANTED):
            views.append(rigid.transform(_turned_to(R, z), target - distance * z))
    return sorted(views, key=lambda T: (round(T[2, 2], 2), float(np.hypot(*T[:2, 3]))))


def confirmed(first: Array, second: Array, bound: float) -> tuple[Array, float]:
    """Return what two views agree on: the means (n, 3) of places that both show.

    To each of the second's (M, 3), in their order, belongs the nearest of the first's (K, 3), if
    it is within a bound; with the means comes the least distance between places of both, metres.
    Both views count alike: the nearer has more pixels, but looks less like the view that was
    taught, and its matches are no better for it.
    """
    apart = np.linalg.norm(second[:, None] - first[None], axis=-1)
    mean = (first[apart.argmin(axis=1)] + second) / 2
    return mean[apart.min(axis=1) <= bound], float(apart.min())


def merged(first: Array, second: Array, moved: bool = False) -> Array:
    """Return points (N, 3) of two views: the second's, and the first's where that saw nothing.

    The second is the nearer, and two surfaces that are off by an error between the views would
    make things thicker than they are. But where the first saw something higher, an overhang or
    what the second's picture cuts off, it remains: so does what was pushed away between the views,
    because an obstacle too many is safer than one that is missing. Only where the target itself
    has ``moved``, and would stand at both places, the second view counts wherever it saw.
    """
    if not len(first) or not len(second):
        return np.concatenate([second, first])
    (cells, tops), own = _tops(second), _cells(first)
    seen = np.isin(own, cells)
    if not moved:
        # An edge that is off by an error between the views has its like in the next cell.
        around = (np.arange(-1, 2)[:, None] * _ROW[0] + np.arange(-1, 2)).ravel()
        near = own[:, None] + around
        at = np.searchsorted(cells, near).clip(max=len(cells) - 1)
        highest = np.where(cells[at] == near, tops[at], -np.inf).max(axis=1)
        seen &= first[:, 2] <= highest + _HIGHER
    return np.concatenate([second, first[~seen]])


def _cells(points: Array) -> NDArray[np.int64]:
    """Return the numbers (N,) of the cells that points (N, 3) are in."""
    return np.asarray(np.floor(points[:, :2] / _CELL).astype(np.int64) @ _ROW)


def _tops(points: Array) -> tuple[NDArray[np.int64], Array]:
    """Return the numbers (n,) of the cells with points in them, in order, and their tops (n,)."""
    cells, index = np.unique(_cells(points), return_inverse=True)
    tops = np.full(len(cells), -np.inf)
    np.maximum.at(tops, index, points[:, 2])
    return cells, tops


def _turned_to(R: Array, z: Array) -> Array:
    """Return a rotation (3, 3), turned about the shortest way until its z is another (3,)."""
    axis = np.cross(R[:, 2], z)
    angle = float(np.arctan2(np.linalg.norm(axis), R[:, 2] @ z))
    return R if angle < 1e-9 else np.asarray(rigid.rotation_about(axis, angle) @ R)


def _unit(vector: Array) -> Array:
    return np.asarray(vector / np.linalg.norm(vector))
