"""A height map of the table and the things on it."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

LOWEST = 0.01
"""Lower things are the table's noise, metres."""

CLEAR_RADIUS = 0.10
"""Around a grasp the map is cleared for hand and fingers, metres.

The candidate was checked against the points there.
"""


@dataclass(frozen=True)
class Grid:
    """A grid of square cells in the base frame's xy plane, in metres."""

    x_min: float
    x_max: float
    y_min: float
    y_max: float
    cell: float = 0.01

    def __post_init__(self) -> None:
        """Check that the grid has cells."""
        if not (self.cell > 0 and self.x_max > self.x_min and self.y_max > self.y_min):
            raise ValueError(f'{self} has no cells; give x_min < x_max, y_min < y_max, cell > 0')

    @property
    def shape(self) -> tuple[int, int]:
        """Return the number of cells along x and along y."""
        return (
            round((self.x_max - self.x_min) / self.cell),
            round((self.y_max - self.y_min) / self.cell),
        )

    def centres(self) -> tuple[Array, Array]:
        """Return the cells' centres along x (nx,) and along y (ny,)."""
        nx, ny = self.shape
        xs = self.x_min + (np.arange(nx, dtype=np.float64) + 0.5) * self.cell
        ys = self.y_min + (np.arange(ny, dtype=np.float64) + 0.5) * self.cell
        return xs, ys

    def cells(self, points: Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the cell (N, 2) of each point (N, 2 or 3), and which are in the grid (N,)."""
        index = np.floor((points[:, :2] - [self.x_min, self.y_min]) / self.cell).astype(np.int64)
        inside = np.all((index >= 0) & (index < self.shape), axis=1)
        return index, np.asarray(inside, dtype=np.bool_)


@dataclass(frozen=True)
class HeightMap:
    """Heights (nx, ny) in metres above z = 0 of the base frame; NaN where nothing was seen."""

    grid: Grid
    heights: Array

    def __post_init__(self) -> None:
        """Check the shape."""
        if self.heights.shape != self.grid.shape:
            raise ValueError(
                f'heights have the shape {self.heights.shape}; the grid has {self.grid.shape}'
            )

    @classmethod
    def from_points(cls, points: ArrayLike, grid: Grid) -> 'HeightMap':
        """Make a map of points (..., 3) in the base frame; infinite and NaN points are left out.

        A cell's height is the 95th percentile of its points, so that a stray point makes no tower.
        """
        cloud = np.asarray(points, dtype=np.float64).reshape(-1, 3)
        nx, ny = grid.shape
        heights = np.full(nx * ny, np.nan)
        cloud = cloud[np.isfinite(cloud).all(axis=1)]
        index, inside = grid.cells(cloud)
        cells, z = (index @ [ny, 1])[inside], cloud[inside, 2]
        order = np.lexsort((z, cells))
        cells, z = cells[order], z[order]
        occupied, first, count = np.unique(cells, return_index=True, return_counts=True)
        heights[occupied] = z[first + np.floor(0.95 * (count - 1)).astype(int)]
        return cls(grid, heights.reshape(nx, ny))

    def cleared(self, centre: ArrayLike, radius: float) -> 'HeightMap':
        """Return the map with nothing seen within a radius of centre (2,) or (3,)."""
        x, y = np.asarray(centre, dtype=np.float64)[:2]
        xs, ys = self.grid.centres()
        near = np.hypot(xs[:, None] - x, ys[None, :] - y) <= radius
        return replace(self, heights=np.where(near, np.nan, self.heights))
