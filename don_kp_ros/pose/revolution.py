"""The axis about which a surface can turn without leaving its place, by the places of its points.

A surface of revolution slides along itself when it turns: its normals have no part in the motion
(slippage: Gelfand and Guibas 2004; all normals meet the axis: Pottmann and Randrup 1998). That
gives the axis from local normals in closed form, roughly. Then it is moved until the points, by
their height along it and their distance from it, lie on a thin line, the profile of the surface.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.geometry.symmetry import SymmetryAxis

Array = NDArray[np.float64]

FEWEST = 10  # points; fewer lie on some surface of revolution anyhow
_NEIGHBOURS = 8  # points that give a normal, with the point itself
_ACROSS = 0.15  # of the size: motion along a normal, beyond which it counts less and less
_PASSES = 5
_PROFILE = 0.006  # metres of the profile, along which it is taken to be straight
_ALONE = 1e-6  # of a near point's weight, of all far ones
_USUAL = 0.002  # metres off the profile, beyond which a point counts less and less
_BEGUN, _STEPS = 6, 20  # of the search, with each of three axes and with the best of them
_STILL = 1e-4  # radians and metres of a step that ends the search
_LONGEST = np.array([0.2, 0.2, 0.01, 0.01])  # radians and metres of a step
_DAMPING = np.array([1e-4, 1e-4, 1e-2, 1e-2])  # of these, so that a ball's axis stays

_ROUND, _ON_SURFACE = 0.9, 0.0025  # share of the points that lie so near to the surface, metres
# Height over breadth: of what is flatter, all lies on a surface of revolution about its normal.
_FLAT = 0.25
_STANDS_OUT = 0.008  # metres off, as a handle is: of mugs it is 10 to 27, of cans all are within 6
# Radians about the axis without points. What is seen from one side may be round about an axis that
# lies in it: of 40 caps 26 are, with gaps of 180 degrees and more. Cans have 20 to 140.
_GAP = float(np.deg2rad(150))


@dataclass(frozen=True, eq=False)
class Revolution:
    """The axis that fits N points best: a unit direction (3,), a point (3,) on it, metres.

    height, radius (N,): of the points along the axis and from it; angle (N,): about it, radians;
    off (N,): their distance from the profile, metres.
    """

    direction: Array
    point: Array
    height: Array
    radius: Array
    angle: Array
    off: Array


def revolution_of(points: Array) -> Revolution | None:
    """Find the axis of points (N, 3), metres; None for too few. ``off`` says how well it fits."""
    if len(points) < FEWEST:
        return None
    middle = points.mean(axis=0)
    points = points - middle
    begun = [_fitted(points, *start, _BEGUN) for start in _starts(points)]
    best = min(begun, key=lambda one: float(_loss(one.off).sum()))
    best = _fitted(points, best.direction, best.point, _STEPS)
    along = best.direction @ middle
    point = best.point + middle - along * best.direction
    return replace(best, point=point, height=best.height + along)


def round_shape_of(points: Array) -> Revolution | None:
    """Find the surface of revolution that points (N, 3), metres, lie on, if most of them do.

    What is as good as flat has none.
    """
    shape = revolution_of(points)
    if shape is None or (np.abs(shape.off) < _ON_SURFACE).mean() < _ROUND:
        return None
    return None if np.ptp(shape.height) < _FLAT * 2 * shape.radius.max() else shape


def round_axis_of(points: Array) -> SymmetryAxis | None:
    """Find the axis about which an object of points (N, 3), metres, is round, whatever its looks.

    There is none where something stands out, such as a handle, or where points lie on one side of
    it alone.
    """
    return axis_of(round_shape_of(points))


def axis_of(shape: Revolution | None) -> SymmetryAxis | None:
    """Return the axis of a `round_shape_of` points as `round_axis_of` does."""
    if shape is None or np.abs(shape.off).max() > _STANDS_OUT or _gap(shape) > _GAP:
        return None
    return SymmetryAxis(shape.direction, shape.point)


def _gap(shape: Revolution) -> float:
    """Return the largest angle about an axis without points, but for those near the axis."""
    angles = np.sort(shape.angle[2 * shape.radius > shape.radius.max()])
    if not len(angles):  # all points lie on the axis
        return 2 * np.pi
    return float(np.diff(angles, append=angles[0] + 2 * np.pi).max())


def normals_of(points: Array) -> Array:
    """Return unit normals (N, 3), of either sign, of the planes through neighbouring points."""
    apart = np.linalg.norm(points[:, None] - points, axis=2)
    near = points[np.argsort(apart, axis=1)[:, :_NEIGHBOURS]]
    near = near - near.mean(axis=1, keepdims=True)
    return np.asarray(np.linalg.eigh(np.swapaxes(near, 1, 2) @ near)[1][:, :, 0])


def _starts(points: Array) -> list[tuple[Array, Array]]:
    """Return axes (direction, point) about which points around the origin slide, best first."""
    size = float(np.sqrt((points * points).sum(axis=1).mean())) or 1.0
    places, normals = points / size, normals_of(points)
    motion = np.concatenate([np.cross(places, normals), normals], axis=1)  # along the normals
    weight, turns = np.ones(len(points)), np.zeros((6, 3))
    for _ in range(_PASSES):
        hessian = (motion * weight[:, None]).T @ motion
        turning, both, moving = hessian[:3, :3], hessian[:3, 3:], hessian[3:, 3:]
        # The shift that goes best with each turn; of a cylinder it is free along the axis.
        shift = -np.linalg.pinv(moving, rcond=1e-3, hermitian=True) @ both.T
        _, direction = np.linalg.eigh(turning + both @ shift)
        turns = np.concatenate([direction, shift @ direction])
        weight = 1 / (1 + (motion @ turns[:, 0] / _ACROSS) ** 2)
    return [(turn[:3], size * np.cross(turn[:3], turn[3:])) for turn in turns.T]


def _fitted(points: Array, direction: Array, point: Array, steps: int) -> Revolution:
    """Move an axis until the points' profile is thin (Gauss-Newton, Geman and McClure's loss)."""
    profile = _Profile.of(points, direction, point)
    for _ in range(steps):
        slope = profile.slope()
        weighted = slope * (1 / (1 + (profile.off / _USUAL) ** 2) ** 2)[:, None]
        hessian = weighted.T @ slope + np.diag(_DAMPING)
        step = -np.linalg.solve(hessian, weighted.T @ profile.off)
        step /= max(1.0, float(np.abs(step / _LONGEST).max()))
        direction = profile.direction + step[:2] @ profile.across
        direction /= np.linalg.norm(direction)
        profile = _Profile.of(points, direction, profile.point + step[2:] @ profile.across)
        if np.abs(step).max() < _STILL:
            break
    angle = np.arctan2(*(profile.arm @ profile.across.T).T[::-1])
    return Revolution(
        profile.direction, profile.point, profile.height, profile.radius, angle, profile.off
    )


def _loss(off: Array) -> Array:
    squares = (off / _USUAL) ** 2
    return np.asarray(squares / (1 + squares))


@dataclass(frozen=True)
class _Profile:
    """Heights along an axis and distances from it (N,), the line they lie on, and how far off."""

    direction: Array
    point: Array
    across: Array  # (2, 3), unit vectors across the axis
    arm: Array  # (N, 3) metres, from the axis to the points
    height: Array
    radius: Array
    share: Array  # (N, N) of the others in the line at a point
    normal: Array  # (N, 2) of the line
    off: Array

    @classmethod
    def of(cls, points: Array, direction: Array, point: Array) -> _Profile:
        point = point - direction * (direction @ point)
        across = np.linalg.svd(direction[None])[2][1:]
        height = points @ direction
        arm = points - point - height[:, None] * direction
        radius = np.linalg.norm(arm, axis=1)
        place = np.stack([height, radius], axis=1)
        apart = place[:, None] - place
        share = np.exp(-(apart * apart).sum(axis=2) / (2 * _PROFILE**2)) + _ALONE
        np.fill_diagonal(share, 0)  # a point alone lies on no line
        share /= share.sum(axis=1, keepdims=True)
        middle = share @ place
        a, b = np.moveaxis(place - middle[:, None], 2, 0)
        spread_a, spread_b, both = ((share * x).sum(axis=1) for x in (a * a, b * b, a * b))
        along = np.arctan2(2 * both, spread_a - spread_b) / 2
        normal = np.stack([-np.sin(along), np.cos(along)], axis=1)
        off = ((place - middle) * normal).sum(axis=1)
        return cls(direction, point, across, arm, height, radius, share, normal, off)

    def slope(self) -> Array:
        """Return how ``off`` changes (N, 4) as the direction and the point move ``across``."""
        out = self.arm @ self.across.T / np.maximum(self.radius, 1e-6)[:, None]
        leaning = (self.arm + self.height[:, None] * self.direction) @ self.across.T
        height = np.concatenate([leaning, np.zeros_like(out)], axis=1)
        radius = np.concatenate([-self.height[:, None] * out, -out], axis=1)
        one, other = self.normal.T[:, :, None]
        return np.asarray(
            one * (height - self.share @ height) + other * (radius - self.share @ radius)
        )
