"""Where a held object is put down, and whether there is room for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, label

from don_kp_ros.geometry import rigid
from don_kp_ros.grasping.candidates import NoGraspError, PinchParameters, clearance
from don_kp_ros.grasping.closing import settled
from don_kp_ros.motion.heightmap import LOWEST, Grid, HeightMap
from don_kp_ros.motion.held import HeldBox

Array = NDArray[np.float64]

# About a grasp, in which an object is looked for, and of its cells; metres.
_REACH, _CELL = 0.25, 0.005
# What is put down may be this much off the ground it was seen on, metres: as for the planner.
_UNEVEN = LOWEST
_SEEN = 0.5  # of a place, at least
_ABOUT = 0.01  # metres from the middle of a place, within which its height is measured


class PlaceError(Exception):
    """An object cannot be put down there; the message says why."""


@dataclass(frozen=True, eq=False)
class Held:
    """What the fingers hold, as it stood on the table once they had closed; base frame, metres."""

    T_base_grasp: Array  # of the tool centre point (4, 4)
    T_base_reference: Array  # (4, 4) of its point, or of its own frame, turned with it by them
    columns: Array  # (n, 3) what was seen of it: one top for each cell
    others: Array  # (m, 3) the points of what stood about it, and of the table under it
    box: HeldBox

    @classmethod
    def grasped(
        cls,
        T_base_grasp: Array,
        T_base_reference: Array,
        points: Array,
        fingers: PinchParameters,
    ) -> Held:
        """Tell what is held from the points (N, 3) that were seen before: what is connected.

        The reference is where it was seen then; the fingers may turn it as they close. Raises
        PlaceError where nothing was seen between them.
        """
        points = points[np.isfinite(points).all(axis=1)]
        x, y = T_base_grasp[:2, 3]
        grid = Grid(x - _REACH, x + _REACH, y - _REACH, y + _REACH, _CELL)
        heights = HeightMap.from_points(points, grid).heights
        parts, _ = label(heights > fingers.lowest, np.ones((3, 3)))
        cells = np.argwhere(parts)
        xs, ys = grid.centres()
        away = np.hypot(xs[cells[:, 0]] - x, ys[cells[:, 1]] - y)
        if not len(cells) or away.min() > fingers.opening / 2 + _CELL:
            raise PlaceError(
                'what is to be put down is not seen where it is grasped: pick it to hold it alone '
                '(next: hold)'
            )
        part = parts == parts[tuple(cells[np.argmin(away)])]
        i, j = np.nonzero(part)
        columns = np.column_stack([xs[i], ys[j], heights[i, j]])
        near = binary_dilation(part, np.ones((3, 3)), iterations=2)
        index, inside = grid.cells(points)
        index[~inside] = 0
        under = np.argwhere(near)
        table = np.column_stack([xs[under[:, 0]], ys[under[:, 1]], np.zeros(len(under))])
        others = np.concatenate([points[~(inside & near[index[:, 0], index[:, 1]])], table])
        own = inside & part[index[:, 0], index[:, 1]] & (points[:, 2] > fingers.lowest)
        motion = settled(T_base_grasp, points[own], fingers)
        columns = rigid.apply(motion, columns)
        box = HeldBox.about(T_base_grasp, columns)
        return cls(T_base_grasp, motion @ T_base_reference, columns, others, box)

    def motion_to(self, T_base_goal: Array) -> Array:
        """Return the motion (4, 4) from where it stood to where its reference is at a goal.

        The goal's z is the height of what it is put on; it is turned about the vertical only.
        """
        turn = rigid.rotation_about(
            [0.0, 0.0, 1.0], _heading(T_base_goal) - _heading(self.T_base_reference)
        )
        x, y = self.T_base_reference[:2, 3]
        return rigid.transform(turn, T_base_goal[:3, 3] - turn @ [x, y, 0.0])

    def check_free(
        self, motion: Array, points: Array, grid: Grid, fingers: PinchParameters
    ) -> None:
        """Refuse a motion (4, 4) to where something stands, there is no ground, or no room.

        `points` (N, 3) is what is seen without the object; the grid says how finely it is judged.
        """
        ground = float(motion[2, 3])
        heights = HeightMap.from_points(points, grid).heights
        # Its box, which the planner moves, is larger than what was seen of it.
        at = self.box.footprint(motion @ self.T_base_grasp, grid.cell / 2)
        index, inside = grid.cells(at)
        if not inside.all():
            raise PlaceError('a part of the object would be outside of the workspace')
        below = np.zeros(grid.shape, dtype=bool)
        below[index[:, 0], index[:, 1]] = True
        seen = heights[below & np.isfinite(heights)]
        if len(seen) < _SEEN * below.sum():
            raise PlaceError('the place is not seen; choose one that the camera sees')
        # The planner keeps a cell away from what stands there, too.
        about = heights[binary_dilation(below, np.ones((3, 3))) & np.isfinite(heights)]
        if (highest := float(about.max())) > ground + _UNEVEN:
            raise PlaceError(
                f'the place is occupied: something stands there, {1000 * highest:.0f} mm high; '
                'clear it, or choose another'
            )
        if (typical := float(np.median(seen))) < ground - _UNEVEN:
            raise PlaceError(
                f'there is nothing to stand on: the place is {1000 * typical:.0f} mm high, and '
                f'{1000 * ground:.0f} mm was asked for'
            )
        try:
            clearance(motion @ self.T_base_grasp, points, fingers)
        except NoGraspError as error:
            raise PlaceError(f'the hand cannot let go there: {error}') from None


def place_at(T_base_seen: Array, points: Array) -> Array:
    """Return the place (4, 4) where something was seen at a pose (4, 4), among points (N, 3).

    It is turned about the vertical alone, as what was seen, and as high as most of the points
    within a centimetre; not below the table. Raises PlaceError where there are none.
    """
    x, y = T_base_seen[:2, 3]
    heights = points[np.hypot(points[:, 0] - x, points[:, 1] - y) <= _ABOUT, 2]
    if not len(heights):
        raise PlaceError('how high the place is was not seen; choose one that the camera sees')
    turn = rigid.rotation_about([0.0, 0.0, 1.0], _heading(T_base_seen))
    return rigid.transform(turn, [x, y, max(0.0, float(np.median(heights)))])


def unseen_since(before: Array, now: Array, grid: Grid) -> Array:
    """Return the points (N, 3) seen before, of the cells of which nothing (M, 3) is seen now."""
    hidden = np.isnan(HeightMap.from_points(now, grid).heights)
    index, inside = grid.cells(before)
    index[~inside] = 0
    return before[inside & hidden[index[:, 0], index[:, 1]]]


def _heading(T: Array) -> float:
    return float(np.arctan2(T[1, 0], T[0, 0]))
