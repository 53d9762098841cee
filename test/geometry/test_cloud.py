import numpy as np
import pytest

from don_kp_ros.geometry.cloud import cropped, voxelised


def test_a_crop_is_the_points_in_the_box_and_on_its_border():
    points = np.random.default_rng(0).uniform(-1, 1, (500, 3))
    points[0] = [0.5, -0.2, 0.0]
    kept = cropped(points, [0, -0.2, -1], [0.5, 0.3, 0])
    inside = [p for p in points if 0 <= p[0] <= 0.5 and -0.2 <= p[1] <= 0.3 and -1 <= p[2] <= 0]
    np.testing.assert_array_equal(kept, inside)
    assert len(kept) > 10


@pytest.mark.parametrize('lowest', [[0, 0, 2], [np.nan, 0, 0], [-np.inf, 0, 0]])
def test_a_box_that_is_none_is_refused(lowest):
    with pytest.raises(ValueError, match='finite and at most the highest'):
        cropped(np.zeros((1, 3)), lowest, [1, 1, 1])


def test_of_each_cube_the_mean_stays():
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.1, 0.1, (2000, 3))
    expected: dict = {}
    for point in points:
        expected.setdefault(tuple(np.floor(point / 0.03)), []).append(point)
    found = voxelised(points, 0.03)
    wanted = np.array([np.mean(cube, axis=0) for _, cube in sorted(expected.items())])
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    np.testing.assert_array_equal(voxelised(points[:0], 0.03), np.zeros((0, 3)))


@pytest.mark.parametrize('side', [0.0, -1.0, np.nan, np.inf])
def test_a_side_that_is_none_is_refused(side):
    with pytest.raises(ValueError, match=r'at least 0\.0001 m'):
        voxelised(np.zeros((1, 3)), side)
