"""All places of a query: apart from each other, best first, with positions."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from don_kp_ros.geometry.camera import Camera
from don_kp_ros.geometry.depth import DepthImage
from don_kp_ros.matching.candidates import MOST, find_candidates
from don_kp_ros.matching.heatmap import match
from don_kp_ros.matching.points import find_points, named_points
from don_kp_ros.matching.view import View

SIZE = (96, 640)
CAMERA = Camera(640, 96, 600.0, 600.0, 319.5, 47.5)
QUERY = torch.tensor([[1.0, 0.0, 0.0]])


def map_of(peaks: dict[tuple[int, int], float]) -> torch.Tensor:
    """A map (3, 12, 80) of cells at a right angle to the query but for some (column, row)."""
    cells = torch.tensor([0.0, 0.0, 1.0])[:, None, None].repeat(1, 12, 80)
    for (column, row), score in peaks.items():
        cells[:, row, column] = torch.tensor([score, (1 - score**2) ** 0.5, 0.0])
    return cells


def at(depth: float | None) -> View:
    metres = np.full(SIZE, np.nan if depth is None else depth, dtype=np.float32)
    return View(SIZE, DepthImage(metres), CAMERA)


def pixel(column: int) -> float:
    return 8 * column + 3.5


def test_every_place_has_its_score_its_ambiguity_and_its_position() -> None:
    found = find_candidates(
        map_of({(10, 5): 0.9, (40, 6): 0.95, (70, 5): 0.8}), QUERY, at(0.6), 0.7
    )
    assert found.query.tolist() == [0, 0, 0]
    assert found.instance.tolist() == [0, 1, 2]
    np.testing.assert_allclose(found.uv[:, 0], [pixel(40), pixel(10), pixel(70)], atol=1)
    ratios = found.score[[1, 0, 0]] / found.score
    np.testing.assert_allclose(found.ambiguity, ratios)
    np.testing.assert_allclose(found.position, CAMERA.deproject(found.uv, np.full(3, 0.6)))
    assert found.reason == ('', '', '')


def test_a_lone_place_is_not_ambiguous_and_one_below_the_threshold_is_told() -> None:
    queries = torch.cat([QUERY, -QUERY])
    found = find_candidates(map_of({(10, 5): 0.9}), queries, at(0.6), 0.5)
    assert found.query.tolist() == [0, 1]
    assert found.ambiguity.tolist() == [0, 0]
    assert found.score[1] == pytest.approx(0)


@pytest.mark.parametrize(('depth', 'columns'), [(0.3, [10]), (0.9, [10, 12]), (None, [10])])
def test_places_are_apart_in_metres_or_without_depth_in_pixels(
    depth: float | None, columns: list[int]
) -> None:
    """16 pixels are 8 mm at 0.3 m, and 24 mm at 0.9 m."""
    found = find_candidates(map_of({(10, 5): 0.9, (12, 5): 0.85}), QUERY, at(depth), 0.7)
    np.testing.assert_allclose(found.uv[:, 0], [pixel(column) for column in columns], atol=1)


def test_what_a_removed_place_would_have_removed_remains() -> None:
    """In a row with 16 mm from one to the next, the second goes and the third stays."""
    scores = {(10, 5): 0.9, (14, 5): 0.85, (18, 5): 0.8}
    found = find_candidates(map_of(scores), QUERY, at(0.3), 0.7)
    np.testing.assert_allclose(found.uv[:, 0], [pixel(10), pixel(18)], atol=1)


def test_places_are_as_many_as_are_allowed() -> None:
    scores = {(6 * number + 2, 5): 0.8 + 0.01 * number for number in range(12)}
    found = find_candidates(map_of(scores), QUERY, at(0.9), 0.7)
    assert len(found.query) == MOST
    assert (np.diff(found.score) < 0).all()
    assert found.uv[0, 0] == pytest.approx(pixel(68), abs=1)


def test_the_best_place_is_the_match_whatever_else_is_found() -> None:
    torch.manual_seed(0)
    descriptor_map = functional.normalize(torch.randn(6, 12, 80), dim=0)
    queries = functional.normalize(torch.randn(40, 6), dim=1)
    uv, score = match(descriptor_map, queries, SIZE)
    for threshold in (None, 0.5):
        found = find_candidates(descriptor_map, queries, at(0.5), threshold)
        best = found.instance == 0
        assert found.query[best].tolist() == list(range(40))
        np.testing.assert_array_equal(found.uv[best], uv)
        np.testing.assert_array_equal(found.score[best], score)
        assert best.all() == (threshold is None)


def test_some_queries_of_all() -> None:
    torch.manual_seed(1)
    descriptor_map = functional.normalize(torch.randn(6, 12, 80), dim=0)
    queries = functional.normalize(torch.randn(9, 6), dim=1)
    every = find_candidates(descriptor_map, queries, at(0.5), 0.6)
    some = every.of(3, 4)
    alone = find_candidates(descriptor_map, queries[3:7], at(0.5), 0.6)
    assert some.query.tolist() == alone.query.tolist()
    np.testing.assert_array_equal(some.uv, alone.uv)
    assert len(every.of(9, 0).query) == 0


def test_names_have_all_their_places_and_the_first_is_that_of_old() -> None:
    cells = map_of({(10, 5): 0.9, (40, 6): 0.95})
    found = find_candidates(cells, QUERY, at(None), 0.7)
    points = named_points(['brim'], found, 0.7)
    assert [(point.name, point.instance) for point in points] == [('brim', 0), ('brim', 1)]
    assert points[1].reason.startswith('no depth within 5x5 pixels of')
    assert points[0].ambiguity == pytest.approx(points[1].score / points[0].score)
    (alone,) = find_points(cells, ['brim'], QUERY, at(None), 0.7)
    assert (alone.uv, alone.score, alone.found) == (points[0].uv, points[0].score, False)
