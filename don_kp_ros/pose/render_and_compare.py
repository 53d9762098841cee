"""Refine the poses of objects with meshes until they look like what the camera sees.

Levenberg-Marquardt on the difference of rendered and live descriptors (`comparison`), from coarse
to fine, of one object or of several together, of which one may hide another. It does no harm: a
pose that isn't better than the start by its own measure, or that can't be trusted, is refused, and
the start stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.pose.comparison import NETWORK_BLUR, Comparer, Comparison, Live, Surface
from don_kp_ros.pose.estimate import Refusal, Why, covariance_of
from don_kp_ros.pose.refinement import stepped

Array = NDArray[np.float64]

OUTLINES = ((4, False, 6), (2, False, 5), (1, False, 3))  # level, inner, steps (`descend`)
INSIDE = ((1, True, 4),)

_DAMPING = 1e-3  # of the Hessian's diagonal
_LARGEST_STEP = np.deg2rad(20), 0.05  # radians, metres
_STILL = np.deg2rad(4), 0.01  # of the last step: more is not converged
_NOISE = 0.05  # of a descriptor's number, at least
_ALIKE = 3.0  # neighbouring cells are off alike: so many count as one
_SURE = 25.0  # twice the 95 % quantile of chi squared with six degrees of freedom


@dataclass(frozen=True)
class Gate:
    """What a refined pose must have to be told.

    cells: of the map that the object shows, at least; like: their share that is more like it than
    like nothing.
    """

    cells: int = 24
    like: float = 0.6


@dataclass(frozen=True)
class Refined:
    """A pose after its refinement.

    T_camera_object (4, 4): the refined pose, or the start where it is refused. covariance (6, 6):
    see `Pose`; infinite where it is refused. cost: as of `Comparison`, before and after. cells,
    like: see `Gate`. refused: why the start stays, or None.
    """

    T_camera_object: Array
    covariance: Array
    cost: tuple[float, float]
    cells: int
    like: float
    refused: Refusal | None = None

    @classmethod
    def none(cls, start: Array, refused: Refusal) -> Refined:
        """Make that of an object that could not be compared at all."""
        return cls(start, np.full((6, 6), np.inf), (0.0, 0.0), 0, 0.0, refused)

    def unless(self, refused: Refusal | None, start: Array) -> Refined:
        """Return it, or the start where it is refused."""
        if refused is None:
            return self
        uncertain = np.full((6, 6), np.inf)
        return replace(self, T_camera_object=start, covariance=uncertain, refused=refused)


def refine(
    surfaces: Sequence[Surface],
    starts: Sequence[Array],
    live: Live,
    gate: Gate | None = None,
    blur: float = NETWORK_BLUR,
) -> list[Refined]:
    """Refine poses (4, 4) of objects, all at once; raises ValueError for what cannot be one.

    blur: cells, see `Comparer`; 0 where the descriptors were taken from a map, which has blurred
    them already.
    """
    for start in starts:
        if start.shape != (4, 4) or not np.isfinite(start).all():
            raise ValueError(f'a start is {start.tolist()}; it must be a finite transform (4, 4)')
    middles = [middle(surface.vertices) for surface in surfaces]
    shifts = [rigid.transform(translation=one) for one in middles]
    comparer = _about_middles(surfaces, live, blur)
    T = [start @ shift for start, shift in zip(starts, shifts, strict=True)]
    before = comparer.compare(T)
    T, _ = descend(comparer, T, OUTLINES)
    outlines = comparer.compare(T)
    settled, steps = descend(comparer, T, INSIDE)
    found = comparer.compare(settled)
    dimension = live.cells.shape[2]
    results = []
    for number, start in enumerate(starts):
        one, pose = found[number], settled[number]
        if one.cost > outlines[number].cost + _least(one, dimension):
            one, pose = outlines[number], T[number]
        refused = _refusal(one, before[number], steps[number], gate or Gate(), dimension)
        if not refused:
            start = pose @ rigid.inverse(shifts[number])
        covariance = _covariance(one, pose[:3, :3] @ middles[number], dimension)
        results.append(
            Refined(
                start,
                np.full((6, 6), np.inf) if refused else covariance,
                (before[number].cost, one.cost),
                one.cells,
                one.like,
                refused,
            )
        )
    return results


def judge(
    surface: Surface, T: Array, live: Live, gate: Gate | None = None, blur: float = NETWORK_BLUR
) -> Refined:
    """Tell how well an object fits at a pose (4, 4) as it is.

    It is refused where it does not pass the gate. blur: as of `refine`.
    """
    centre = middle(surface.vertices)
    (one,) = _about_middles([surface], live, blur).compare(
        [T @ rigid.transform(translation=centre)]
    )
    refused, dimension = _unlike(one, gate or Gate()), live.cells.shape[2]
    covariance = _covariance(one, T[:3, :3] @ centre, dimension)
    uncertain = np.full((6, 6), np.inf) if refused else covariance
    return Refined(T, uncertain, (one.cost, one.cost), one.cells, one.like, refused)


def _about_middles(surfaces: Sequence[Surface], live: Live, blur: float) -> Comparer:
    """Compare surfaces in frames at their middles, wherever their own lie.

    Turns and shifts are nearly independent there.
    """
    moved = [replace(one, vertices=one.vertices - middle(one.vertices)) for one in surfaces]
    return Comparer(moved, live, blur=blur)


def descend(
    comparer: Comparer, T: Sequence[Array], plan: Sequence[tuple[int, bool, int]]
) -> tuple[list[Array], list[Array]]:
    """Take steps from poses (4, 4) by a plan: level, inner, and how many.

    Return the poses, and the last step (6,) of each.
    """
    T, steps = list(T), [np.zeros(6)] * len(T)
    for level, inner, number in plan:
        for _ in range(number):
            steps = [_step(one) for one in comparer.compare(T, level, inner)]
            T = [stepped(one, step) for one, step in zip(T, steps, strict=True)]
    return T, steps


def middle(vertices: Array) -> Array:
    """Return the middle (3,) of the extent of vertices (N, 3)."""
    return np.asarray((vertices.max(axis=0) + vertices.min(axis=0)) / 2)


def _step(one: Comparison) -> Array:
    """Solve the damped normal equations; a long step is shortened."""
    diagonal = np.diag(one.hessian)
    damped = one.hessian + np.diag(_DAMPING * diagonal + 1e-6 * (1 + diagonal.max()))
    step = -np.linalg.solve(damped, one.gradient)
    turn, shift = np.linalg.norm(step[3:]), np.linalg.norm(step[:3])
    return np.asarray(step / max(turn / _LARGEST_STEP[0], shift / _LARGEST_STEP[1], 1.0))


def _covariance(one: Comparison, arm: Array, dimension: int) -> Array:
    """Compute the covariance of a pose whose origin is ``arm`` (3,) from that it was turned about.

    arm: from the object's origin to the point that steps turn it about, in the optical frame.
    """
    x, y, z = arm
    carried = np.eye(6)
    carried[:3, 3:] = [[0, -z, y], [z, 0, -x], [-y, x, 0]]  # the origin moves by -turn x arm
    found = covariance_of(
        one.hessian / _NOISE**2, one.squares / _NOISE**2, one.cells * dimension, _ALIKE
    )
    return np.asarray(carried @ found @ carried.T)


def _least(one: Comparison, dimension: int) -> float:
    """Return by how much the costs of two poses must differ to tell which is nearer."""
    return _ALIKE * _SURE * one.squares / max(one.cells * dimension, 1)


def _unlike(one: Comparison, gate: Gate) -> Refusal | None:
    """Say why an object does not pass the gate."""
    if one.cells < gate.cells:
        return Refusal(
            Why.TOO_FEW,
            f'the object shows {one.cells} cells at this pose; {gate.cells} are needed: come '
            'nearer, or give a start where it is in view',
        )
    if one.like < gate.like:
        return Refusal(
            Why.UNLIKE,
            f'{one.like:.0%} of what the object would show is more like it than like nothing; '
            f'needed are {gate.like:.0%}: it is not there, or the start is too far off',
        )
    return None


def _refusal(
    one: Comparison, before: Comparison, step: Array, gate: Gate, dimension: int
) -> Refusal | None:
    if unlike := _unlike(one, gate):
        return unlike
    if before.cost - one.cost < _least(one, dimension):
        return Refusal(
            Why.NO_BETTER, 'no pose fits so much better than the start that it is surely nearer'
        )
    turn, shift = float(np.linalg.norm(step[3:])), float(np.linalg.norm(step[:3]))
    if turn > _STILL[0] or shift > _STILL[1]:
        return Refusal(
            Why.NOT_CONVERGED,
            f'the last step was {np.rad2deg(turn):.1f} degrees and {1000 * shift:.1f} mm: not '
            'converged; give a nearer start',
        )
    return None
