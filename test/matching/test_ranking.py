"""The ranking of stored descriptors, held against brute force in float64."""

import numpy as np
import pytest
import torch

from don_kp_ros.matching import ranking
from don_kp_ros.matching.maps import describe_at
from don_kp_ros.matching.ranking import Region, rank

SIZE = (48, 64)


def unit(*shape, axis=1, seed=0):
    vectors = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=axis, keepdims=True)


@pytest.fixture
def descriptor_map():
    return unit(8, 12, 16, axis=0)


def ranked(cells, queries, *rest):
    return rank(torch.from_numpy(cells), torch.from_numpy(queries), SIZE, *rest)


def centre(row, column):
    """The pixel that a cell describes, by docs/conventions.md: here a cell has 4 x 4 pixels."""
    return (4 * column + 1.5, 4 * row + 1.5)


def brute_force(descriptor_map, queries, allowed=lambda u, v: True):
    """Return index, score and pixel of every query's best allowed cell, best query first."""
    array, found = descriptor_map.astype(np.float64), []
    for index, query in enumerate(queries.astype(np.float64)):
        found.append(
            max(
                (float(array[:, i, j] @ query / np.linalg.norm(array[:, i, j])), centre(i, j))
                for i in range(array.shape[1])
                for j in range(array.shape[2])
                if allowed(*centre(i, j))
            )
            + (index,)
        )
    return sorted(((index, score, uv) for score, uv, index in found), key=lambda r: -r[1])


def check(found, expected):
    assert [r.index for r in found] == [index for index, _, _ in expected]
    assert [r.uv for r in found] == [uv for _, _, uv in expected]
    np.testing.assert_allclose([r.score for r in found], [score for _, score, _ in expected], 1e-5)


@pytest.mark.parametrize('at_once', [1, 12 * 16 * 7, 1 << 22])
def test_queries_are_ranked_by_their_best_cell(descriptor_map, monkeypatch, at_once):
    monkeypatch.setattr(ranking, '_PRODUCTS_AT_ONCE', at_once)
    queries = unit(40, 8, seed=1)
    expected = brute_force(3 * descriptor_map, queries)  # the length of a cell is nothing
    check(ranked(3 * descriptor_map, queries, 40), expected)
    check(ranked(descriptor_map, queries, 5), expected[:5])


def test_what_is_in_the_map_is_found_where_it_is(descriptor_map):
    queries = np.concatenate([unit(20, 8, seed=2), descriptor_map[None, :, 7, 3]])
    best = ranked(descriptor_map, queries, 1)[0]
    assert (best.index, best.uv) == (20, centre(7, 3))
    assert best.score == pytest.approx(1, abs=1e-6)


def test_a_region_asks_for_its_cells_alone(descriptor_map):
    queries = unit(30, 8, seed=3)
    u, v, radius = *centre(5, 6), 9.0  # the region's own centre is that of a cell

    def inside(x, y):
        return np.hypot(x - u, y - v) <= radius

    expected = brute_force(descriptor_map, queries, inside)
    assert expected != brute_force(descriptor_map, queries)
    check(ranked(descriptor_map, queries, 30, Region((u, v), radius)), expected)


def test_a_point_between_the_cells_is_asked_for_itself(descriptor_map):
    uv = (21.0, 30.0)
    here = describe_at(torch.from_numpy(descriptor_map), torch.tensor([uv]), SIZE)[0].numpy()
    queries = np.concatenate([unit(20, 8, seed=4), here[None]])
    found = ranked(descriptor_map, queries, 21, Region(uv, 0.5))
    assert {r.uv for r in found} == {uv}
    assert found[0].index == 20
    np.testing.assert_allclose(
        [r.score for r in found], (queries @ here)[[r.index for r in found]], atol=1e-6
    )


def test_equal_queries_keep_their_order(descriptor_map):
    queries = unit(1, 8, seed=5).repeat(6, axis=0)
    assert [r.index for r in ranked(descriptor_map, queries, 4)] == [0, 1, 2, 3]


def test_without_queries_nothing_is_ranked(descriptor_map):
    assert ranked(descriptor_map, np.zeros((0, 8), np.float32), 10) == []


def test_cells_that_are_not_finite_match_nothing(descriptor_map):
    queries = unit(10, 8, seed=6)
    broken = descriptor_map.copy()
    broken[0, 2, :] = np.nan
    broken[1, 3, :] = np.inf
    valid = brute_force(descriptor_map, queries, lambda u, v: v not in (9.5, 13.5))
    check(ranked(broken, queries, 10), valid)
    with pytest.raises(ValueError, match='no cell of the descriptor map there is finite'):
        ranked(np.full_like(descriptor_map, np.nan), queries, 10)


def test_queries_of_another_dimension_are_refused(descriptor_map):
    with pytest.raises(ValueError, match=r'shape \(2, 4\); this map takes \(N, 8\)'):
        ranked(descriptor_map, unit(2, 4), 10)
