"""Ways to hold what is seen, and how far the hand stays from the rest."""

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
    cells = column_tops(
        np.asarray(points_base, dtype=np.float64).reshape(-1, 3), T_base_tcp[:3, 3], p
    )
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


def untried(candidates: list[GraspCandidate], tried: list[Array]) -> list[GraspCandidate]:
    """Return the candidates that differ by 15 degrees or a centimetre from all tried poses."""
    turned = np.cos(np.deg2rad(14.9))

    def same(T: Array, other: Array) -> bool:
        closing, along = (float(T[:3, axis] @ other[:3, axis]) for axis in (1, 2))
        return (
            abs(closing) > turned
            and along > turned
            and bool(np.linalg.norm(T[:3, 3] - other[:3, 3]) < 0.0099)
        )

    return [one for one in candidates if not any(same(one.T_base_tcp, T) for T in tried)]


def column_tops(points: Array, centre: Array, p: PinchParameters) -> Array:
    """Return points (n, 3) about a centre, one for each cell with something above the table.

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
