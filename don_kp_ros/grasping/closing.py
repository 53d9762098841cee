"""How parallel fingers move what they close on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.grasping.candidates import PinchParameters

Array = NDArray[np.float64]

_TURNS = np.deg2rad(0.5) * np.arange(-30, 31)
_SMOOTHED = 7  # turns, over which a width is averaged
_STRAY = 0.002  # of the points at each end of a width: the camera's, not the object's
_FEWEST = 50  # points that a width is measured of
# Friction keeps what a turn makes less narrow than this, metres for a radian.
_TURNED_BY = 0.002
_OFF = 0.002  # metres from the middle, which the camera can tell
_DOWN = np.cos(np.deg2rad(30.0))  # of the hand, at least: what it turns goes on standing


def settled(T_base_grasp: Array, points: Array, fingers: PinchParameters) -> Array:
    """Return the motion (4, 4), in the base frame, of an object that fingers close on.

    `points` (N, 3) is what was seen of it. Between parallel jaws, a part turns until the distance
    of the jaws is least (the squeeze function of Goldberg 1993, Orienting polygonal parts without
    sensors), and comes to lie in their middle. It turns about the tool centre point. What friction
    keeps, and what the camera cannot tell, is left out. The identity where too little was seen, or
    where the hand is inclined.
    """
    if -T_base_grasp[2, 2] < _DOWN:
        return np.eye(4)
    at = rigid.apply(rigid.inverse(T_base_grasp), points)
    at = at[(at[:, 2] <= fingers.tip_length) & (np.abs(at[:, :2]) <= fingers.opening).all(axis=1)]
    ends = np.array([_ends(at, turn, fingers) for turn in _TURNS])
    if not np.isfinite(ends).all():
        return np.eye(4)
    half = _SMOOTHED // 2
    widths = np.pad(ends[:, 1] - ends[:, 0], half, mode='edge')
    widths = np.convolve(widths, np.full(_SMOOTHED, 1 / _SMOOTHED), 'valid')
    as_is = len(_TURNS) // 2
    chosen = _downhill(widths, as_is)
    if widths[as_is] - widths[chosen] < _TURNED_BY * abs(_TURNS[chosen]):
        chosen = as_is
    middle = float(ends[chosen].mean())
    turned = rigid.rotation_about([0.0, 0.0, 1.0], float(_TURNS[chosen]))
    T_tcp = rigid.transform(turned, [0.0, -middle if abs(middle) > _OFF else 0.0, 0.0])
    return np.asarray(T_base_grasp @ T_tcp @ rigid.inverse(T_base_grasp))


def _ends(at: Array, turn: float, fingers: PinchParameters) -> Array:
    """Return the ends (2,) along the closing axis of what is between turned fingers; or NaN."""
    across = np.cos(turn) * at[:, 0] - np.sin(turn) * at[:, 1]
    along = np.sin(turn) * at[:, 0] + np.cos(turn) * at[:, 1]
    between = np.abs(across) <= fingers.finger_breadth / 2
    between &= np.abs(along) <= fingers.opening / 2
    if np.count_nonzero(between) < _FEWEST:
        return np.full(2, np.nan)
    return np.quantile(along[between], [_STRAY, 1 - _STRAY])


def _downhill(values: Array, start: int) -> int:
    """Return the place of the least value that a way downhill from a start comes to."""
    at = start
    while True:
        lower = min((i for i in (at - 1, at, at + 1) if 0 <= i < len(values)), key=values.item)
        if lower == at:
            return at
        at = lower
