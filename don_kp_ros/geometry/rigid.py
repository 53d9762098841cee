"""Rigid transforms as 4x4 matrices; ``T_a_b`` maps points in frame b to frame a."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def transform(rotation: ArrayLike | None = None, translation: ArrayLike | None = None) -> Array:
    """Make a transform (4, 4) of a rotation (3, 3) and a translation (3,) in metres."""
    T = np.eye(4)
    if rotation is not None:
        T[:3, :3] = rotation
    if translation is not None:
        T[:3, 3] = translation
    return T


def inverse(T: ArrayLike) -> Array:
    """Invert a rigid transform (4, 4)."""
    T = np.asarray(T, dtype=np.float64)
    R, t = T[:3, :3], T[:3, 3]
    return transform(R.T, -R.T @ t)


def apply(T: ArrayLike, points: ArrayLike) -> Array:
    """Transform points (..., 3)."""
    T = np.asarray(T, dtype=np.float64)
    moved: Array = np.asarray(points, dtype=np.float64) @ T[:3, :3].T + T[:3, 3]
    return moved


def rotation_about(axis: ArrayLike, angle: float) -> Array:
    """Rotate about an axis (3,) by an angle in radians (Rodrigues' formula): (3, 3)."""
    axis = np.asarray(axis, dtype=np.float64)
    norm = np.linalg.norm(axis)
    if not norm > 0:
        raise ValueError(f'rotation axis is {axis.tolist()}; it must not be zero')
    x, y, z = (axis / norm).tolist()
    c, s = math.cos(angle), math.sin(angle)
    u, v, w = (1.0 - c) * x, (1.0 - c) * y, (1.0 - c) * z
    return np.array(
        [
            [c + u * x, u * y - s * z, u * z + s * y],
            [v * x + s * z, c + v * y, v * z - s * x],
            [w * x - s * y, w * y + s * x, c + w * z],
        ]
    )


def from_quaternion(xyzw: ArrayLike, translation: ArrayLike | None = None) -> Array:
    """Make a transform (4, 4) of a quaternion xyzw, which is normalised, and a translation."""
    q = np.asarray(xyzw, dtype=np.float64)
    norm = np.linalg.norm(q)
    if not (np.isfinite(norm) and norm > 1e-9):
        raise ValueError(f'quaternion xyzw is {q.tolist()}; it must be finite and not zero')
    x, y, z, w = q / norm
    R = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    return transform(R, translation)


def to_quaternion(T: ArrayLike) -> Array:
    """Read the rotation of a transform (4, 4) or (3, 3) as a quaternion xyzw with w >= 0."""
    R = np.asarray(T, dtype=np.float64)[:3, :3]
    # The largest of the four components comes from a root, and the others are divided by it, so no
    # division is by a number near zero (Shepperd's method).
    four_squares = np.array(
        [
            1 + R[0, 0] - R[1, 1] - R[2, 2],
            1 - R[0, 0] + R[1, 1] - R[2, 2],
            1 - R[0, 0] - R[1, 1] + R[2, 2],
            1 + R[0, 0] + R[1, 1] + R[2, 2],
        ]
    )
    i = int(np.argmax(four_squares))
    products = np.array(
        [
            [four_squares[0], R[0, 1] + R[1, 0], R[0, 2] + R[2, 0], R[2, 1] - R[1, 2]],
            [R[0, 1] + R[1, 0], four_squares[1], R[1, 2] + R[2, 1], R[0, 2] - R[2, 0]],
            [R[0, 2] + R[2, 0], R[1, 2] + R[2, 1], four_squares[2], R[1, 0] - R[0, 1]],
            [R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1], four_squares[3]],
        ]
    )
    q: Array = products[i] / (2.0 * np.sqrt(four_squares[i]))
    q /= np.linalg.norm(q)
    return -q if q[3] < 0 else q


def interpolate(T0: ArrayLike, T1: ArrayLike, s: float) -> Array:
    """Interpolate from T0 (s = 0) to T1 (s = 1): spherical in rotation, linear in translation."""
    T0, T1 = np.asarray(T0, dtype=np.float64), np.asarray(T1, dtype=np.float64)
    q0, q1 = to_quaternion(T0), to_quaternion(T1)
    cosine = float(q0 @ q1)
    if cosine < 0:
        q1, cosine = -q1, -cosine
    angle = np.arccos(min(cosine, 1.0))
    if angle < 1e-6:
        q = (1 - s) * q0 + s * q1
    else:
        q = (np.sin((1 - s) * angle) * q0 + np.sin(s * angle) * q1) / np.sin(angle)
    return from_quaternion(q, (1 - s) * T0[:3, 3] + s * T1[:3, 3])
