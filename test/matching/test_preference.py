"""Preferred places against the formula, and graspable ones on surfaces of known shape."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn import functional

from don_kp_ros.geometry.camera import Camera
from don_kp_ros.geometry.depth import DepthImage
from don_kp_ros.matching.preference import Grasp, grasp_preference, graspable, preference
from don_kp_ros.matching.view import View

CAMERA = Camera(320, 240, 300.0, 300.0, 159.5, 119.5)
SIZE = (240, 320)
TABLE = 0.5
Height = Callable[[np.ndarray, np.ndarray], np.ndarray]


def seen_from_above(height: Height) -> View:
    """A surface over the table, metres, as a camera that looks straight down sees it."""
    v, u = np.indices(SIZE)
    x, y = ((c - centre) / 300 * TABLE for c, centre in ((u, 159.5), (v, 119.5)))
    depth = np.full(SIZE, TABLE)
    for _ in range(30):  # what is higher is nearer, and so beside
        depth = TABLE - height(x * depth / TABLE, y * depth / TABLE)
    return View(SIZE, DepthImage(depth.astype(np.float32)), CAMERA)


def box(half_x: float, half_y: float, high: float = 0.05) -> Height:
    return lambda x, y: high * ((np.abs(x) < half_x) & (np.abs(y) < half_y))


def at(x: float, y: float, depth: float = TABLE - 0.05) -> np.ndarray:
    return CAMERA.project([[x, y, depth]])


def test_preference_is_the_sum_of_the_paper() -> None:
    torch.manual_seed(0)
    cells = functional.normalize(torch.randn(8, 5, 6, dtype=torch.float64), dim=0)
    queries = functional.normalize(torch.randn(4, 8, dtype=torch.float64), dim=1)
    for distance in ('cosine', 'euclidean'):
        found = preference(cells, queries, 0.3, distance)
        expected = np.zeros((5, 6))
        for query in queries:
            for row in range(5):
                for column in range(6):
                    cell = cells[:, row, column]
                    away = 1 - query @ cell if distance == 'cosine' else (query - cell).norm()
                    expected[row, column] += np.exp(-float(away) / 0.3) / 4
        np.testing.assert_allclose(found, expected, atol=1e-7)


def test_a_place_that_is_a_stored_point_is_preferred_most() -> None:
    torch.manual_seed(1)
    cells = functional.normalize(torch.randn(8, 5, 6), dim=0)
    found = preference(cells, cells[:, 2, 3][None])
    assert int(found.argmax()) == 2 * 6 + 3
    assert float(found.max()) == pytest.approx(1, abs=1e-4)
    sharper = preference(cells, cells[:, 2, 3][None], eta=0.01)
    assert float(sharper.sum()) < float(found.sum())


def test_nonsense_is_refused() -> None:
    cells = functional.normalize(torch.randn(8, 5, 6), dim=0)
    with pytest.raises(ValueError, match='eta is 0'):
        preference(cells, cells[:, 0, 0][None], eta=0)
    with pytest.raises(ValueError, match='without stored points'):
        preference(cells, torch.zeros(0, 8))
    with pytest.raises(ValueError, match='is seen by depth: no depth image'):
        graspable(View(SIZE, lacks='no depth image'), [[1, 1]])
    with pytest.raises(ValueError, match='up is'):
        graspable(seen_from_above(box(0.02, 0.02)), [[1, 1]], up=[0, 0, 0])
    with pytest.raises(ValueError, match='opening is 0'):
        Grasp(opening=0)


@pytest.mark.parametrize(
    ('half_x', 'half_y', 'fits'),
    [(0.02, 0.02, True), (0.02, 0.07, True), (0.03, 0.07, True), (0.05, 0.05, False)],
)
def test_what_is_narrower_than_the_opening_can_be_grasped(
    half_x: float, half_y: float, fits: bool
) -> None:
    found = graspable(seen_from_above(box(half_x, half_y)), at(0, 0))
    assert (found > 0.9).all() == fits
    assert (found == 0).all() != fits


def test_a_flat_table_and_what_is_lower_than_the_fingers_reach_cannot() -> None:
    assert graspable(seen_from_above(box(0, 0)), at(0, 0, TABLE)) == 0
    low = seen_from_above(box(0.02, 0.02, 0.008))
    assert graspable(low, at(0, 0, TABLE - 0.008)) == 0
    assert graspable(low, at(0, 0, TABLE - 0.008), Grasp(reach=0.005)) > 0.9


def test_a_neighbour_that_leaves_no_room_for_a_finger_is_in_the_way() -> None:
    def between(gap: float) -> View:
        def height(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            beside = (np.abs(np.abs(x) - 0.02 - gap - 0.03) < 0.03) & (np.abs(y) < 0.2)
            long_one = (np.abs(x) < 0.02) & (np.abs(y) < 0.2)
            return 0.05 * (beside | long_one)

        return seen_from_above(height)

    assert graspable(between(0.03), at(0, 0)) > 0.9
    assert graspable(between(0.008), at(0, 0)) == 0


def test_slopes_count_less_until_they_do_not_count() -> None:
    def ridge(degrees: float) -> float:
        slope = np.tan(np.deg2rad(degrees))
        view = seen_from_above(
            lambda x, y: np.where(np.abs(y) < 0.02, np.clip(0.06 + slope * x, 0, 0.1), 0)
        )
        return float(graspable(view, at(0, 0, TABLE - 0.06))[0])

    found = [ridge(degrees) for degrees in (0, 20, 40)]
    expected = [1 - (degrees / 60) ** 2 for degrees in (0, 20, 40)]
    np.testing.assert_allclose(found, expected, atol=0.06)


def test_rough_places_count_less() -> None:
    def bump(radius: float) -> float:
        view = seen_from_above(
            lambda x, y: np.where(np.hypot(x, y) < 0.02, 0.05 - (x**2 + y**2) / (2 * radius), 0)
        )
        return float(graspable(view, at(0, 0))[0])

    assert bump(1.0) > 0.95
    assert bump(0.02) < bump(0.05) < bump(1.0)


def test_edges_and_holes_count_less() -> None:
    view = seen_from_above(box(0.02, 0.07))
    middle, near, nearest = (graspable(view, at(x, 0))[0] for x in (0.0, 0.0155, 0.0185))
    assert middle > 0.9
    assert nearest < near < middle
    assert view.depth is not None
    depth = view.depth.metres()
    ((u, v),) = np.rint(at(0, 0)).astype(int)
    depth[v - 1 : v + 2, u + 2 : u + 6] = np.nan
    holed = View(SIZE, DepthImage(depth), CAMERA)
    assert graspable(holed, at(0, 0))[0] < 0.6
    depth[v - 4 : v + 5, u - 4 : u + 6] = np.nan
    assert graspable(View(SIZE, DepthImage(depth), CAMERA), at(0, 0)) == 0


def test_the_map_is_the_product_at_the_cells() -> None:
    torch.manual_seed(2)
    cells = functional.normalize(torch.randn(8, 30, 40), dim=0)
    view = seen_from_above(box(0.02, 0.03))
    queries = cells[:, 15, 19:21].T
    found = grasp_preference(cells, queries, view, eta=0.2)
    wanted = preference(cells, queries, 0.2).numpy()
    assert found.shape == (30, 40)
    assert np.unravel_index(found.argmax(), found.shape) in ((15, 19), (15, 20))
    for row, column in ((15, 19), (15, 20), (2, 3), (14, 21)):
        uv = [[8 * column + 3.5, 8 * row + 3.5]]
        expected = wanted[row, column] * graspable(view, uv)[0]
        assert found[row, column] == pytest.approx(expected, abs=0.01)
    assert not found[0].any()  # the table
