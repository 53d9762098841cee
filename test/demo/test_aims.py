"""What pinches aim at beside the stored point, and where objects are pushed."""

import numpy as np
import pytest

from don_kp_ros.demo.aims import aimed_at, push_to_free_table, surface_in_view
from don_kp_ros.geometry import rigid
from don_kp_ros.simulation.kinds import shape_of
from don_kp_ros.simulation.scene import Layout
from don_kp_ros.simulation.shapes import BoxShape


def test_the_surface_in_view_is_that_of_the_object() -> None:
    layout = Layout.draw(4, 200_003, kind='box')
    box = shape_of('box', 200_003)
    assert layout.subject is not None and isinstance(box, BoxShape)
    points = rigid.apply(rigid.inverse(layout.subject.pose), surface_in_view(layout))
    off = np.abs(points - [0, 0, box.z]) - [box.x, box.y, box.z]
    # On one of its sides, and within the others: but for the border, whose depth may be a mix.
    assert len(points) > 500
    assert np.percentile(np.abs(off.max(axis=1)), 98) < 3e-3
    assert np.median(points[:, 2]) == pytest.approx(2 * box.z, abs=3e-3)  # from above, the top
    middle = aimed_at('centroid', points, np.random.default_rng(0))
    assert middle[:2] == pytest.approx([0, 0], abs=8e-3)


def test_a_random_point_is_one_of_the_surface_and_another_each_time() -> None:
    surface = np.random.default_rng(1).normal(size=(200, 3))
    drawn = [aimed_at('random', surface, np.random.default_rng(seed)) for seed in range(8)]
    assert all((surface == point).all(axis=1).any() for point in drawn)
    assert len({tuple(point) for point in drawn}) > 4
    with pytest.raises(ValueError, match='nothing of the object is in view'):
        aimed_at('centroid', np.empty((0, 3)), np.random.default_rng(0))


def test_a_push_is_as_long_as_it_is_to_be_and_ends_where_there_is_room() -> None:
    centre = [0.48, 0.0, 0.03]
    others = np.array([[0.48, 0.14, 0.04], [0.58, 0.0, 0.04]])
    ends = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        shift = push_to_free_table(centre, others, 0.06, rng)
        assert np.linalg.norm(shift) == pytest.approx(0.06) and shift[2] == 0
        ends.append(centre + shift)
        assert np.linalg.norm(others[:, :2] - ends[-1][:2], axis=1).min() >= 0.12
    assert len({tuple(end) for end in ends}) > 5
    # At the table's border, back onto it.
    corner = [0.59, 0.19, 0.03]
    for seed in range(20):
        rng = np.random.default_rng(seed)
        shift = push_to_free_table(corner, np.empty((0, 3)), 0.05, rng)
        assert (corner + shift)[0] <= 0.6 and (corner + shift)[1] <= 0.2
