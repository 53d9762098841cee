"""Where to put the fingers: pinches found in a point cloud, and the pose of an aligned grasp."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.robots import hand

Array = NDArray[np.float64]

# Number of points in the column from the table up to each seen point.
_COLUMN_POINTS = 16


class NoGraspError(Exception):
    """The fingers cannot be placed; the message says what is in the way."""


@dataclass(frozen=True)
class PinchParameters:
    """The gripper's measures and how a pinch is judged; metres, radians."""

    opening: float = 0.08  # between the open fingers
    clearance: float = 0.004  # between an open finger and the object, on each side
    finger_breadth: float = hand.FINGER_BREADTH  # across the closing axis
    finger_thickness: float = hand.FINGER_THICKNESS  # along the closing axis
    tip_length: float = hand.TIP_LENGTH  # from the tool centre point to the fingers' ends
    depth: float = 0.015  # how far the fingers' ends reach below the grasped edges
    overlap: float = 0.003  # the least of it
    table_clearance: float = 0.005  # between the fingers' ends and the table z = 0
    lowest: float = 0.005  # points below it are the table's
    cell: float = 0.0025  # side of the cells whose points are taken together
    gap: float = 0.008  # holes in the object narrower than this are the camera's
    reach: float = 0.15  # radius around the target that is looked at
    yaw_step: float = np.deg2rad(3.0)
    offsets: tuple[float, ...] = (0.0, 0.005, -0.005, 0.01, -0.01)  # across the closing axis
    steepest: float = np.deg2rad(35.0)  # of an edge against the finger that presses on it

    def __post_init__(self) -> None:
        """Check what would leave no grasp at all."""
        if not self.opening > 2 * self.clearance >= 0:
            raise ValueError(
                f'opening is {self.opening}; it must exceed twice the clearance {self.clearance}'
            )
        for name in ('finger_breadth', 'finger_thickness', 'cell', 'reach', 'yaw_step'):
            if not getattr(self, name) > 0:
                raise ValueError(f'{name} is {getattr(self, name)}; it must be > 0')


@dataclass(frozen=True)
class GraspCandidate:
    """A grasp: the pose of the tool centre point in the base frame (4, 4).

    `width` is the object's between the fingers in metres, NaN where it is unknown; a lower `score`
    is better; `name` is for messages; `turn` is by how much the closing fingers would turn the
    object about the vertical, in radians, until its sides lie flat on them.
    """

    T_base_tcp: Array
    width: float
    score: float
    name: str = ''
    turn: float = 0.0


def aligned_candidate(
    T_base_pose: ArrayLike, points_base: ArrayLike, parameters: PinchParameters | None = None
) -> GraspCandidate:
    """Return the grasp at a pose (4, 4): hand z along the pose's -z, closing along its y.

    `points_base` and the errors are those of `clearance`.
    """
    T = np.asarray(T_base_pose, dtype=np.float64)
    if T.shape != (4, 4) or not np.isfinite(T).all():
        raise ValueError(f'a pose must be (4, 4) and finite; got {T.tolist()}')
    T_base_tcp = T @ np.diag([-1.0, 1.0, -1.0, 1.0])
    free = clearance(T_base_tcp, points_base, parameters)
    return GraspCandidate(T_base_tcp, float('nan'), -free)


def clearance(
    T_base_tcp: Array, points_base: ArrayLike, parameters: PinchParameters | None = None
) -> float:
    """Return how far the open hand stays from what is seen, on its way along its z: metres.

    `points_base` (N, 3) is what a camera sees of the scene, as for pinch_candidates; what was seen
    is taken as solid down to the table. Raises NoGraspError where the fingers or the palm of the
    tool at a pose (4, 4) would touch it.
    """
    p = parameters or PinchParameters()
    cells = _cells(np.asarray(points_base, dtype=np.float64).reshape(-1, 3), T_base_tcp[:3, 3], p)
    columns = np.repeat(cells[:, None], _COLUMN_POINTS, axis=1)
    columns[..., 2] *= np.linspace(0.0, 1.0, _COLUMN_POINTS)
    at = rigid.apply(rigid.inverse(T_base_tcp), columns)
    at[columns[..., 2] <= p.lowest] = np.inf
    at = np.abs(at, where=[True, True, False], out=at)

    def distance(*highest: float, inner: float = -np.inf) -> float:
        """Return the distance of a part from all but the nearest cell: a single one is noise.

        The part is a box with an upper end in |x|, |y| and z, and an inner side in |y|.
        """
        beyond = np.maximum(at - np.array(highest), 0.0)
        beyond[..., 1] += np.maximum(inner - at[..., 1], 0.0)
        apart = np.linalg.norm(beyond, axis=-1)
        nearest = np.sort(apart.min(axis=1, initial=np.inf))
        return float(nearest[1]) if len(nearest) > 1 else np.inf

    inner, outer = p.opening / 2, p.opening / 2 + p.finger_thickness + p.clearance
    end = p.tip_length + 0.002
    fingers = distance(p.finger_breadth / 2, outer, end, inner=inner)
    if not fingers:
        raise NoGraspError('there is no room for the fingers at this pose')
    palm = min(
        distance(half_breadth, half_length, p.clearance - underside)
        for half_breadth, half_length, underside in hand.BODY
    )
    if not palm:
        raise NoGraspError('the hand would touch what stands at this pose')
    return min(fingers, palm)


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
    p = parameters or PinchParameters()
    centre = np.asarray(target, dtype=np.float64)
    if centre.shape != (3,) or not np.isfinite(centre).all():
        raise ValueError(f'the target is {centre.tolist()}; it needs three finite coordinates')
    cells = _cells(np.asarray(points_base, dtype=np.float64).reshape(-1, 3), centre, p)
    if not len(cells):
        raise NoGraspError('nothing was seen above the table around the point')
    found: list[GraspCandidate] = []
    reasons: list[NoGraspError] = []
    for yaw in np.arange(0.0, np.pi, p.yaw_step):
        for offset in p.offsets:
            try:
                found.append(_pinch(cells, centre, float(yaw), offset, p))
            except NoGraspError as reason:
                reasons.append(reason)
    if not found:
        raise _summary(reasons)
    best = _distinct(sorted(found, key=lambda candidate: candidate.score), count)
    squared = [_square(candidate, cells, centre, p) for candidate in best]
    return sorted(squared, key=lambda candidate: candidate.score)


def _square(
    candidate: GraspCandidate, cells: Array, target: Array, p: PinchParameters
) -> GraspCandidate:
    """Turn a pinch so that closing it turns the object less, if it then still is one."""
    T = candidate.T_base_tcp
    yaw = float(np.arctan2(T[1, 1], T[0, 1])) + candidate.turn
    offset = float((T[:2, 3] - target[:2]) @ T[:2, 0])
    try:
        turned = _pinch(cells, target, yaw, offset, p)
    except NoGraspError:
        return candidate
    return turned if abs(turned.turn) < abs(candidate.turn) else candidate


def untried(candidates: list[GraspCandidate], tried: list[Array]) -> list[GraspCandidate]:
    """Return the candidates that differ by 15 degrees or a centimetre from all tried poses."""

    def same(T: Array, other: Array) -> bool:
        aligned = abs(float(T[:3, 1] @ other[:3, 1])) > np.cos(np.deg2rad(14.9))
        return aligned and bool(np.linalg.norm(T[:3, 3] - other[:3, 3]) < 0.0099)

    return [one for one in candidates if not any(same(one.T_base_tcp, T) for T in tried)]


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


def _cells(points: Array, centre: Array, p: PinchParameters) -> Array:
    """Return points (n, 3), one for each cell with something above the table.

    A cell's height is the upper quartile of its points: noise averages out, and walls keep their
    top.
    """
    points = points[np.isfinite(points).all(axis=1)]
    points = points[np.hypot(*(points[:, :2] - centre[:2]).T) <= p.reach]
    index = np.floor(points[:, :2] / p.cell).astype(np.int64)
    order = np.lexsort((points[:, 2], index[:, 1], index[:, 0]))
    index, z = index[order], points[order, 2]
    if not len(z):
        return np.empty((0, 3))
    start = np.flatnonzero(np.r_[True, (np.diff(index, axis=0) != 0).any(axis=1)])
    size = np.diff(np.r_[start, len(z)])
    heights = z[start + (0.75 * (size - 1)).astype(int)]
    cells = np.column_stack(((index[start] + 0.5) * p.cell, heights))
    return cells[heights > p.lowest]


def _pinch(
    cells: Array, target: Array, yaw: float, offset: float, p: PinchParameters
) -> GraspCandidate:
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
    tip = max(edge - p.depth, p.table_clearance, lowest_tcp - p.tip_length)
    if tip > edge - p.overlap:
        if tip == p.table_clearance:
            raise NoGraspError(
                f'the object is too low here: its edges are {1000 * edge:.0f} mm above the table'
            )
        raise NoGraspError('the hand would touch what stands next to the point')

    inner, outer = p.opening / 2, p.opening / 2 + p.finger_thickness
    in_slots = slab & (along >= inner) & (along <= outer + p.clearance) & (z > tip - 0.002)
    if np.count_nonzero(in_slots) > 1:
        raise NoGraspError('there is no room for the fingers beside the object')

    xy = target[:2] + middle * closing + offset * across
    T = np.eye(4)
    T[:2, 0], T[:2, 1], T[2, 2] = across, closing, -1.0
    T[:3, 3] = *xy, tip + p.tip_length
    score = (
        width / p.opening
        + float(steepness.sum()) / p.steepest
        + float(np.hypot(middle, offset)) / 0.02
    )
    return GraspCandidate(T, width, score, turn=float(np.mean(slants)))


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
