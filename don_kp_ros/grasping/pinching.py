"""Pinches found in a point cloud: where fingers close about a target, from above or inclined."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.grasping.candidates import (
    GraspCandidate,
    NoGraspError,
    PinchParameters,
    clearance,
    column_tops,
    untried,
)
from don_kp_ros.robots import hand

Array = NDArray[np.float64]

# Of approaches that are inclined: by how much, radians; to how many sides; and between two turns
# of the hand about each. Solid columns are made of points so far apart, metres.
_INCLINED = (np.deg2rad(25.0), np.deg2rad(45.0))
_SIDES, _YAW_STEP, _FINE = 8, np.deg2rad(9.0), 0.004
_BEYOND = 0.01  # metres by which an edge may be lower than the target
_BEFORE = 0.02  # metres above the target, along the approach: another thing, which hides it
_PATCH = 0.012  # metres about the target, where its surface is measured
_SCORES_OF_NORMAL = 2.0  # what an approach across the surface costs over one along its normal


def pinch_candidates(
    points_base: ArrayLike,
    target: ArrayLike,
    parameters: PinchParameters | None = None,
    count: int = 8,
) -> list[GraspCandidate]:
    """Find pinches from above at a target (3,) on an object, the best first.

    `points_base` (N, 3) is what a camera sees of the scene, in the base frame, metres. The table
    is z = 0, and unseen space counts as free. For closing directions all around, the points within
    the fingers' breadth are followed from the target along the closing axis as far as they are
    connected. That extent must fit between the open fingers, the places of the fingers beside it
    must be free, and the palm must stay above everything it covers. The tool centre point goes to
    the middle of the extent. The fingers' ends go below the edges of the extent, but not onto the
    table. Narrow extents that are centred on the target and have both edges square to the closing
    axis are preferred (antipodal contacts; Nguyen 1988, Constructing force-closure grasps). The
    hand may also be turned by 180 degrees about its axis. Raises NoGraspError with the most
    frequent reason.
    """
    p, centre, tops = _read(points_base, target, parameters)
    side = _Side(np.eye(3), centre, tops, p)
    found = side.pinches(p.yaw_step, p.offsets)
    best = _distinct(sorted(found, key=_score), count)
    return sorted((side.squared(one) for one in best), key=_score)


def inclined_candidates(
    points_base: ArrayLike,
    target: ArrayLike,
    parameters: PinchParameters | None = None,
    count: int = 6,
) -> list[GraspCandidate]:
    """Find pinches by a hand that is inclined by up to 45 degrees, the best first.

    As pinch_candidates, seen along each approach; what was seen is taken as solid down to the
    table. Approaches along the normal of the surface at the target are preferred. Raises
    NoGraspError with the most frequent reason.
    """
    p, centre, tops = _read(points_base, target, parameters)
    solid, normal = _solid(tops), _normal(tops, centre)
    if np.linalg.norm(solid - centre, axis=1).min(initial=np.inf) > _PATCH:
        raise NoGraspError('nothing was seen above the table at the point')
    found: list[GraspCandidate] = []
    reasons: list[NoGraspError] = []
    for R in _approaches():
        cells = _highest(solid, R)
        u, v, height = (cells - centre @ R).T
        if np.any((np.hypot(u, v) <= _PATCH) & (height > _BEFORE)):
            reasons.append(NoGraspError('something stands before the point'))
            continue
        # What stands beyond the fingers' ends does not belong to what they hold.
        cells = cells[height > -p.depth - _BEYOND]
        side = _Side(R, centre, cells, p)
        off = float(np.arccos(np.clip(R[:, 2] @ normal, -1, 1)))
        try:
            pinches = side.pinches(_YAW_STEP, (0.0,))
        except NoGraspError as reason:
            reasons.append(reason)
            continue
        for one in pinches:
            T, turn = one.T_base_tcp, one.turn
            if abs((T[:3, 3] - centre) @ R[:, 2]) > p.depth + _BEYOND:
                reasons.append(NoGraspError('something stands before the point'))
                continue
            score = one.score + _SCORES_OF_NORMAL * off / (np.pi / 2)
            found.append(GraspCandidate(T, one.width, score, 'inclined', turn))
    free: list[GraspCandidate] = []
    for one in _distinct(sorted(found, key=_score), 4 * count):
        try:
            clearance(one.T_base_tcp, points_base, p)
        except NoGraspError as reason:
            reasons.append(reason)
        else:
            free.append(one)
    if not free:
        raise _summary(reasons)
    return free[:count]


@dataclass(frozen=True)
class _Side:
    """A scene as a hand sees it that comes along one direction.

    R (3, 3): the side's axes in the base frame, its z against the approach. The target (3,) is in
    the base frame, what is highest in each cell, (n, 3), in the side's.
    """

    R: Array
    centre: Array
    cells: Array
    p: PinchParameters

    @property
    def target(self) -> Array:
        """The target (3,) in the side's frame."""
        return np.asarray(self.centre @ self.R)

    def pinches(self, yaw_step: float, offsets: tuple[float, ...]) -> list[GraspCandidate]:
        """Find pinches of all turns of the hand; raises NoGraspError with the chief reason."""
        found: list[GraspCandidate] = []
        reasons: list[NoGraspError] = []
        if not len(self.cells):
            raise NoGraspError('nothing was seen above the table around the point')
        for yaw in np.arange(0.0, np.pi, yaw_step):
            for offset in offsets:
                try:
                    found.append(self.pinch(float(yaw), offset))
                except NoGraspError as reason:
                    reasons.append(reason)
        if not found:
            raise _summary(reasons)
        return found

    def squared(self, candidate: GraspCandidate) -> GraspCandidate:
        """Turn a pinch so that closing it turns the object less, if it then still is one."""
        T = candidate.T_base_tcp
        across, closing = T[:3, 0] @ self.R, T[:3, 1] @ self.R
        yaw = float(np.arctan2(closing[1], closing[0])) + candidate.turn
        offset = float((T[:3, 3] @ self.R - self.target)[:2] @ across[:2])
        try:
            turned = self.pinch(yaw, offset)
        except NoGraspError:
            return candidate
        return turned if abs(turned.turn) < abs(candidate.turn) else candidate

    def pinch(self, yaw: float, offset: float) -> GraspCandidate:
        """Place the fingers; raises NoGraspError that says what is in their way."""
        p, cells, target = self.p, self.cells, self.target
        closing = np.array([np.cos(yaw), np.sin(yaw)])
        across = np.array([-np.sin(yaw), np.cos(yaw)])
        relative = cells[:, :2] - target[:2]
        u, v, z = relative @ closing, relative @ across - offset, cells[:, 2]

        slab = np.abs(v) <= p.finger_breadth / 2
        low, high = _extent(u[slab], p)
        width = high - low
        if width > p.opening - 2 * p.clearance:
            raise _TooWideError(width, p.opening)
        middle = (low + high) / 2
        held = slab & (u >= low) & (u <= high)
        slants = _slants(u[held], v[held], p)
        steepness = np.abs(slants)
        if max(steepness) > p.steepest:
            raise NoGraspError("the object's sides are too slanted for the fingers here")

        # The fingers' ends: below the lower of the two edges, above the table.
        strip = max(0.006, 2 * p.cell)
        edges = [z[held & (u <= low + strip)], z[held & (u >= high - strip)]]
        edge = min(float(np.median(side)) for side in edges)
        # The palm stays above everything it covers.
        sideways, along = np.abs(v), np.abs(u - middle)
        lowest_tcp = max(
            (
                float(z[(sideways <= half_breadth) & (along <= half_length)].max(initial=-np.inf))
                + p.clearance
                - underside
                for half_breadth, half_length, underside in hand.BODY
            ),
        )
        xy = target[:2] + middle * closing + offset * across
        table = self._above_table(xy, closing, across)
        tip = max(edge - p.depth, table, lowest_tcp - p.tip_length)
        if tip > edge - p.overlap:
            if tip == table:
                height = float(self.R[2] @ [*xy, edge])
                raise NoGraspError(
                    f'the object is too low here: its edges are {1000 * height:.0f} mm above the '
                    'table'
                )
            raise NoGraspError('the hand would touch what stands next to the point')

        inner, outer = p.opening / 2, p.opening / 2 + p.finger_thickness
        beside = slab & (along >= inner) & (along <= outer + p.clearance)
        if np.count_nonzero(beside & (z > tip - 0.002)) > 1:
            raise NoGraspError('there is no room for the fingers beside the object')

        T = np.eye(4)
        T[:2, 0], T[:2, 1], T[2, 2] = across, closing, -1.0
        T[:3, 3] = *xy, tip + p.tip_length
        score = (
            width / p.opening
            + float(steepness.sum()) / p.steepest
            + float(np.hypot(middle, offset)) / 0.02
        )
        turn = float(np.mean(slants))
        return GraspCandidate(rigid.transform(self.R) @ T, width, score, turn=turn)

    def _above_table(self, xy: Array, closing: Array, across: Array) -> float:
        """Return how low the fingers' ends may be along the side's z: the hand's corners are kept.

        `xy` (2,) is the place of the tool centre point, the others are directions (2,).
        """
        p, up = self.p, self.R[2]
        parts = [
            (p.finger_breadth / 2, p.opening / 2 + p.finger_thickness, 0.0, p.table_clearance),
            *(
                (breadth, length, underside + p.tip_length, p.clearance)
                for breadth, length, underside in hand.BODY
            ),
        ]
        lowest = []
        for breadth, length, over_ends, free in parts:
            spread = abs(up[:2] @ across) * breadth + abs(up[:2] @ closing) * length
            lowest.append((free + spread - up[:2] @ xy) / up[2] - over_ends)
        return float(max(lowest))


def _read(
    points_base: ArrayLike, target: ArrayLike, parameters: PinchParameters | None
) -> tuple[PinchParameters, Array, Array]:
    """Check a target; return what it is judged by, itself, and the tops of what is about it."""
    p = parameters or PinchParameters()
    centre = np.asarray(target, dtype=np.float64)
    if centre.shape != (3,) or not np.isfinite(centre).all():
        raise ValueError(f'the target is {centre.tolist()}; it needs three finite coordinates')
    points = np.asarray(points_base, dtype=np.float64).reshape(-1, 3)
    return p, centre, column_tops(points, centre, p)


def _approaches() -> list[Array]:
    """Return the axes (3, 3) of inclined sides, their z against the approach."""
    return [
        rigid.rotation_about([-np.sin(azimuth), np.cos(azimuth), 0.0], tilt)
        for tilt in _INCLINED
        for azimuth in np.arange(_SIDES) * 2 * np.pi / _SIDES
    ]


def _solid(tops: Array) -> Array:
    """Fill the columns under tops (n, 3) down to the table, with points (m, 3)."""
    if not len(tops):
        return tops
    counts = np.maximum(1, np.ceil(tops[:, 2] / _FINE).astype(int))
    column = np.repeat(tops, counts, axis=0)
    down = np.arange(len(column)) - np.repeat(np.cumsum(counts) - counts, counts)
    column[:, 2] -= _FINE * down
    return column


def _highest(points: Array, R: Array) -> Array:
    """Return what is highest of points (m, 3) in each cell of a side with axes R, in its frame."""
    if not len(points):
        return points
    turned = points @ R
    index = np.floor(turned[:, :2] / _FINE).astype(np.int64)
    order = np.lexsort((-turned[:, 2], index[:, 1], index[:, 0]))
    index, z = index[order], turned[order, 2]
    first = np.r_[True, (np.diff(index, axis=0) != 0).any(axis=1)]
    return np.column_stack(((index[first] + 0.5) * _FINE, z[first]))


def _normal(tops: Array, target: Array) -> Array:
    """Measure the upward normal (3,) of the surface about a target; straight up if unknown."""
    near = tops[np.linalg.norm(tops - target, axis=1) <= _PATCH]
    if len(near) < 6:
        return np.array([0.0, 0.0, 1.0])
    _, _, axes = np.linalg.svd(near - near.mean(axis=0), full_matrices=False)
    normal = axes[2] * np.sign(axes[2, 2] or 1.0)
    return np.asarray(normal)


def _score(candidate: GraspCandidate) -> float:
    return candidate.score


class _TooWideError(NoGraspError):
    def __init__(self, width: float, opening: float) -> None:
        super().__init__(
            f'the object is {100 * width:.1f} cm wide here; '
            f'the gripper opens {100 * opening:.1f} cm'
        )
        self.width = width


def _summary(reasons: list[NoGraspError]) -> NoGraspError:
    too_wide = [reason for reason in reasons if isinstance(reason, _TooWideError)]
    others = [str(reason) for reason in reasons if not isinstance(reason, _TooWideError)]
    if others:
        return NoGraspError(max(sorted(set(others)), key=others.count))
    return min(too_wide, key=lambda reason: reason.width)


def _extent(u: Array, p: PinchParameters) -> tuple[float, float]:
    """Return the ends along the closing axis of the connected points around the target."""
    filled = np.sort(u)
    # Single cells are noise: an end needs neighbours.
    filled = filled[1:-1]
    if not len(filled) or np.abs(filled).min() > 0.01:
        raise NoGraspError('nothing was seen above the table at the point')
    parts = np.split(filled, np.flatnonzero(np.diff(filled) > p.gap) + 1)
    part = min(parts, key=lambda part: float(np.abs(part).min()))
    half = p.cell / 2
    return float(part[0] - half), float(part[-1] + half)


def _slants(u: Array, v: Array, p: PinchParameters) -> Array:
    """Return the angles from the closing axis to the two edges' normals, (2,) radians."""
    lane = np.floor(v / (2 * p.cell)).astype(int)
    lanes = np.unique(lane)
    if len(lanes) < 3:
        return np.zeros(2)
    middle = (lanes + 0.5) * 2 * p.cell
    angles = []
    for end in (np.min, np.max):
        slope = np.polyfit(middle, [end(u[lane == k]) for k in lanes], 1)[0]
        angles.append(-np.arctan(slope))
    return np.array(angles)


def _distinct(candidates: list[GraspCandidate], count: int) -> list[GraspCandidate]:
    """Keep candidates that differ by 15 degrees or a centimetre from all better ones."""
    kept: list[GraspCandidate] = []
    for candidate in candidates:
        if untried([candidate], [other.T_base_tcp for other in kept]):
            kept.append(candidate)
        if len(kept) == count:
            break
    return kept
