"""Grasps that were taught in an object's own frame, and where they put the hand now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.symmetry import SymmetryAxis
from don_kp_ros.grasping.candidates import (
    GraspCandidate,
    NoGraspError,
    PinchParameters,
    clearance,
)
from don_kp_ros.robots import hand

Array = NDArray[np.float64]

_TURNS = 12  # about an axis of symmetry, where any is as good
_ENOUGH = 0.02  # metres: more clearance is not better
_STEEPEST = np.deg2rad(45.0)  # of the line between two fingers, against the table
# A pose is off by some millimetres: a hand that would touch the table is raised by as much.
_RAISED = 0.008


@dataclass(frozen=True, eq=False)
class TaughtGrasp:
    """The pose of the tool centre point in an object's frame (4, 4), and the fingers' width."""

    name: str
    T_object_tcp: Array
    width: float  # metres between the fingers while they hold the object


def taught_candidates(
    T_base_object: Array,
    grasps: Sequence[TaughtGrasp],
    symmetry: SymmetryAxis | None,
    points_base: ArrayLike,
    parameters: PinchParameters | None = None,
    count: int = 8,
) -> tuple[list[GraspCandidate], list[str]]:
    """Return the taught grasps that are free now, the best first, and why the others are not.

    T_base_object (4, 4) is where the object is; where it has an axis of symmetry, every grasp is
    also turned about it, with the object. A steep reach and much clearance are better: steep ones
    are reached most often. Each grasp comes in its best turn before any comes in another one. That
    the hand may be turned by half a turn is the planner's concern (`pick_poses`). `points_base`
    (N, 3) is what a camera sees of the scene.
    """
    p = parameters or PinchParameters()
    found: list[tuple[int, GraspCandidate]] = []
    reasons: list[str] = []
    for grasp in grasps:
        own: list[GraspCandidate] = []
        for angle, turn in _turns(symmetry):
            told = f' turned by {np.rad2deg(angle):.0f} degrees' if angle else ''
            name = f'grasp {grasp.name}{told}'
            try:
                T = _above_table(T_base_object @ turn @ grasp.T_object_tcp, p)
                free = clearance(T, points_base, p)
            except NoGraspError as error:
                reasons.append(f'{name}: {error}')
                continue
            tilt = float(np.arccos(np.clip(-T[2, 2], -1.0, 1.0)))
            # The axis is known by some degrees: small turns are the surest.
            unsure = min(angle, 2 * np.pi - angle) / np.pi
            score = tilt / (np.pi / 2) - min(free, _ENOUGH) / _ENOUGH + 0.2 * unsure
            own.append(GraspCandidate(T, grasp.width, score, name))
        found += enumerate(sorted(own, key=lambda candidate: candidate.score))
    found.sort(key=lambda ranked: (ranked[0], ranked[1].score))
    ordered = [candidate for _, candidate in found]
    reasons += [f'{candidate.name}: not tried' for candidate in ordered[count:]]
    return ordered[:count], reasons


def grasp_between(
    first: ArrayLike, second: ArrayLike, parameters: PinchParameters | None = None
) -> tuple[Array, float]:
    """Return the pose of the tool centre point (4, 4) that closes on two points (3,), and a width.

    Points and pose are in the base frame, metres. The hand comes from above, as far as the line
    between the points lets it, and the fingers reach as far below the points as they do in a
    pinch. Raises NoGraspError where the hand does not open so far, or the line is too steep.
    """
    p = parameters or PinchParameters()
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    width = float(np.linalg.norm(b - a))
    if not 0.001 < width <= p.opening - 2 * p.clearance:
        raise NoGraspError(
            f'the points are {1000 * width:.0f} mm apart; the fingers hold 1 to '
            f'{1000 * (p.opening - 2 * p.clearance):.0f} mm: choose points on both sides of a '
            'narrower part'
        )
    closing = (b - a) / width
    slope = float(np.arcsin(min(1.0, abs(closing[2]))))
    if slope > _STEEPEST:
        raise NoGraspError(
            f'the line between the points is {np.rad2deg(slope):.0f} degrees steep, at most '
            f'{np.rad2deg(_STEEPEST):.0f} can be held from above: choose points at one height, '
            'or teach with the hand'
        )
    reach = np.array([0.0, 0.0, -1.0]) + closing[2] * closing
    reach /= np.linalg.norm(reach)
    rotation = np.column_stack([np.cross(closing, reach), closing, reach])
    deep = rigid.transform(rotation, (a + b) / 2 + (p.depth - p.tip_length) * reach)
    return _above_table(deep, p, p.depth), width


def _turns(symmetry: SymmetryAxis | None) -> Iterator[tuple[float, Array]]:
    """Yield angles in radians, and motions (4, 4) of an object that leave it looking the same."""
    if symmetry is None:
        yield 0.0, np.eye(4)
        return
    for angle in np.arange(symmetry.order or _TURNS) * 2 * np.pi / (symmetry.order or _TURNS):
        yield float(angle), symmetry.turn(float(angle))


def _above_table(T_base_tcp: Array, p: PinchParameters, most: float = _RAISED) -> Array:
    """Return a pose (4, 4) at which no finger's end is too near the table z = 0.

    Raises NoGraspError where it would have to be raised by more than the most, in metres.
    """
    lacks = p.table_clearance - hand.lowest_of_fingers(T_base_tcp, p.opening)
    if lacks <= 0:
        return T_base_tcp
    if lacks > most:
        raise NoGraspError(
            f'the fingers would be {1000 * (p.table_clearance - lacks):.0f} mm over the table, '
            f'{1000 * p.table_clearance:.0f} mm are needed'
        )
    return rigid.transform(translation=[0.0, 0.0, lacks]) @ T_base_tcp
