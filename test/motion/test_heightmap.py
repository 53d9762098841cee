import numpy as np
import pytest

from don_kp_ros.motion.heightmap import Grid, HeightMap

GRID = Grid(x_min=0.0, x_max=0.1, y_min=-0.1, y_max=0.1, cell=0.02)


def test_points_fall_into_their_cells():
    points = [[0.01, -0.09, 0.05], [0.011, -0.091, 0.03], [0.09, 0.09, 0.2], [1.0, 0.0, 3.0]]
    heights = HeightMap.from_points([*points, [np.nan, 0.0, 0.0]], GRID).heights
    assert heights.shape == (5, 10)
    assert heights[0, 0] == pytest.approx(0.03)  # of two points the lower: no tower of one
    assert heights[4, 9] == pytest.approx(0.2)
    assert np.isnan(heights).sum() == 48


def test_a_stray_point_among_many_is_no_tower():
    many = np.tile([0.05, 0.0, 0.01], (100, 1))
    heights = HeightMap.from_points([*many, [0.05, 0.0, 0.5]], GRID).heights
    assert np.nanmax(heights) == pytest.approx(0.01)


def test_clearing_forgets_what_is_near():
    full = HeightMap(GRID, np.ones(GRID.shape))
    cleared = full.cleared([0.05, 0.0, 0.3], 0.03).heights
    xs, ys = GRID.centres()
    near = np.hypot(xs[:, None] - 0.05, ys[None, :]) <= 0.03
    assert (np.isnan(cleared) == near).all()
    assert not np.isnan(full.heights).any()


def test_the_shape_is_checked():
    with pytest.raises(ValueError, match=r'\(3, 3\)'):
        HeightMap(GRID, np.zeros((3, 3)))
    with pytest.raises(ValueError, match='cell > 0'):
        Grid(0.0, 0.1, 0.0, 0.1, cell=0.0)
