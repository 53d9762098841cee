"""Which objects a map shows, and where: maps whose regions are known."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from don_kp_ros.matching import detection, heatmap
from don_kp_ros.matching.candidates import find_candidates
from don_kp_ros.matching.detection import FEWEST_CELLS, Detection, Nearest, detect, nearest
from don_kp_ros.matching.view import View

THRESHOLD = 0.8
SHAPE = (12, 16)


def region(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[rows, columns] = True
    return mask


LEFT, RIGHT = region(slice(2, 8), slice(1, 6)), region(slice(3, 9), slice(9, 14))


def map_of(*painted: tuple[np.ndarray, np.ndarray]) -> torch.Tensor:
    """A map (D, h, w) of the last unit vector, with descriptors in some of its cells."""
    cells = np.zeros((8, *SHAPE), dtype=np.float32)
    cells[-1] = 1
    for mask, descriptor in painted:
        cells[:, mask] = descriptor[:, None]
    return torch.from_numpy(cells)


def unit(*values: float) -> np.ndarray:
    vector = np.zeros(8, dtype=np.float32)
    vector[: len(values)] = values
    return vector / np.linalg.norm(vector)


CAP, MUG = unit(1), unit(0, 1)


def similar(cosine: float) -> np.ndarray:
    """A descriptor that is so similar to a cap's, and to no other."""
    return unit(cosine, 0, 0, 0, 0, (1 - cosine**2) ** 0.5)


def found_in(
    cells: torch.Tensor,
    queries: list[np.ndarray],
    owner: list[int],
    confidence: torch.Tensor | None = None,
) -> list[Detection]:
    stored, owners = torch.from_numpy(np.stack(queries)), np.array(owner)
    similarity = nearest(cells, stored, owners).similarity()
    return detect(cells, stored, owners, similarity, THRESHOLD, confidence)


def test_every_object_has_the_cells_that_show_it_and_no_others() -> None:
    found = found_in(map_of((LEFT, similar(0.9)), (RIGHT, MUG)), [CAP, MUG], [0, 1])
    assert [one.owner for one in found] == [1, 0]  # the surest first
    np.testing.assert_array_equal(found[0].mask, RIGHT)
    np.testing.assert_array_equal(found[1].mask, LEFT)
    assert [one.confidence for one in found] == [pytest.approx(1), pytest.approx(0.9)]


@pytest.mark.parametrize('at_once', [1, 4 * 35, 1 << 20])
def test_the_similarity_is_that_of_the_nearest_descriptor_of_each_object(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detection, '_PRODUCTS_AT_ONCE', at_once)
    rng = np.random.default_rng(0)
    cells = functional.normalize(torch.from_numpy(rng.normal(size=(8, 5, 7))).float(), dim=0)
    queries = functional.normalize(torch.from_numpy(rng.normal(size=(9, 8))).float(), dim=1)
    owner = np.array([2, 0, 1, 0, 2, 2, 1, 0, 2])  # as points before taught objects lie
    each = np.einsum('qd,dij->qij', queries.double(), cells.double())
    expected = np.stack([each[owner == g].max(axis=0) for g in range(3)])
    found = nearest(cells, queries, owner).similarity()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize('threshold', [0.6, None])
@pytest.mark.parametrize('at_once', [1, 100, 1 << 20])
def test_it_is_told_by_matching_as_well(
    at_once: int, threshold: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heatmap, '_PRODUCTS_AT_ONCE', at_once)
    cells = functional.normalize(torch.randn(8, 5, 7), dim=0)
    queries = functional.normalize(torch.randn(9, 8), dim=1)
    owner = np.array([2, 0, 1, 0, 2, 2, 1, 0, 2])
    found, view = Nearest(owner), View((20, 28), lacks='no depth')
    find_candidates(cells, queries, view, threshold, watch=found)
    expected = nearest(cells, queries, owner).similarity()
    np.testing.assert_allclose(found.similarity(), expected, atol=1e-6)


def test_a_cell_is_of_the_object_that_it_resembles_most() -> None:
    between = unit(1, 0.1)  # past the threshold of a cap and of something like it
    like_it = unit(1, 0.3)
    found = found_in(map_of((LEFT, between), (RIGHT, like_it)), [CAP, like_it], [0, 1])
    assert {one.owner: one.mask.tolist() for one in found} == {
        0: LEFT.tolist(),
        1: RIGHT.tolist(),
    }


def test_what_is_stored_under_two_names_is_seen_under_both() -> None:
    found = found_in(map_of((LEFT, CAP)), [CAP, CAP, MUG], [0, 1, 2])
    assert [one.owner for one in found] == [0, 1]
    for one in found:
        np.testing.assert_array_equal(one.mask, LEFT)


def test_two_of_a_kind_are_two_regions_the_more_similar_one_first() -> None:
    found = found_in(map_of((LEFT, similar(0.95)), (RIGHT, CAP)), [CAP], [0])
    assert [one.owner for one in found] == [0, 0]
    np.testing.assert_array_equal(found[0].mask, RIGHT)
    np.testing.assert_array_equal(found[1].mask, LEFT)


def test_cells_that_touch_by_a_corner_belong_together() -> None:
    steps = np.zeros(SHAPE, dtype=bool)
    steps[range(2, 8), range(4, 10)] = True
    (one,) = found_in(map_of((steps, CAP)), [CAP], [0])
    np.testing.assert_array_equal(one.mask, steps)


def test_an_object_that_is_not_there_is_not_seen() -> None:
    assert found_in(map_of((LEFT, CAP)), [MUG], [0]) == []
    assert found_in(map_of((LEFT, similar(0.79))), [CAP], [0]) == []


def test_a_region_goes_on_below_the_threshold_where_it_begins_above() -> None:
    apart = region(slice(2, 8), slice(15, 16))
    dim = map_of((LEFT, similar(0.61)), (apart, similar(0.61)))
    assert found_in(dim, [CAP], [0]) == []
    dim[:, 4, 3] = torch.from_numpy(similar(0.85))
    (one,) = found_in(dim, [CAP], [0])
    np.testing.assert_array_equal(one.mask, LEFT)
    assert one.confidence == pytest.approx(0.85)


def test_a_part_that_another_object_has_too_does_not_make_the_object() -> None:
    whole = [unit(*row) for row in np.eye(4)]
    alone = map_of((LEFT, whole[0]), (RIGHT, MUG))
    assert [one.owner for one in found_in(alone, whole[:1], [0])] == [0]
    assert found_in(alone, [whole[0], *whole[2:], unit(0, 0, 0, 0, 1)], [0] * 4) == []


@pytest.mark.parametrize(('cells', 'seen'), [(FEWEST_CELLS - 1, 0), (FEWEST_CELLS, 1)])
def test_a_few_cells_are_chance(cells: int, seen: int) -> None:
    few = region(slice(5, 6), slice(3, 3 + cells))
    assert len(found_in(map_of((few, CAP), (RIGHT, MUG)), [CAP], [0])) == seen


def test_cells_without_a_value_belong_to_nothing() -> None:
    cells = map_of((LEFT, CAP), (RIGHT, MUG))
    hole = region(slice(4, 6), slice(2, 4))
    cells[:, torch.from_numpy(hole)] = torch.nan
    found = found_in(cells, [CAP, MUG], [0, 1])
    masks = {one.owner: one.mask for one in found}
    np.testing.assert_array_equal(masks[0], LEFT & ~hole)
    np.testing.assert_array_equal(masks[1], RIGHT)
    assert [one.confidence for one in found] == [pytest.approx(1)] * 2


def test_where_nothing_is_stored_nothing_is_seen() -> None:
    none, nobody = torch.zeros(0, 8), np.zeros(0, dtype=np.intp)
    similarity = nearest(map_of(), none, nobody).similarity()
    assert detect(map_of(), none, nobody, similarity, THRESHOLD) == []


def test_descriptors_of_another_dimension_are_refused() -> None:
    with pytest.raises(ValueError, match=r'queries have shape \(1, 5\); this map takes \(N, 8\)'):
        nearest(map_of(), torch.zeros(1, 5), np.zeros(1, dtype=np.intp))


def test_the_confidence_is_the_mean_of_the_better_half_and_surer_cells_count_more() -> None:
    brim, button, *hidden = (unit(*row) for row in np.eye(7)[[0, 1, 2, 3]])
    nearly = unit(0, 0.9, 0, 0, 0, (1 - 0.9**2) ** 0.5)
    upper, lower = region(slice(2, 5), slice(1, 6)), region(slice(5, 8), slice(1, 6))
    cells = map_of((upper, brim), (lower, nearly))
    stored, owner = [hidden[0], button, brim, hidden[1]], [0] * 4
    (plain,) = found_in(cells, stored, owner)
    np.testing.assert_array_equal(plain.mask, upper | lower)
    assert plain.confidence == pytest.approx((1 + 0.9) / 2)
    sure = torch.full(SHAPE, 0.2)
    sure[torch.from_numpy(upper)] = 0.8
    (weighted,) = found_in(cells, stored, owner, sure)
    assert weighted.confidence == pytest.approx(0.8 * 1 + 0.2 * 0.9)
    np.testing.assert_array_equal(weighted.mask, plain.mask)


@pytest.mark.parametrize('size', [(96, 128), (97, 123), (12, 16), (10, 9)])
def test_a_pixel_is_of_the_region_where_its_nearest_cell_is(size: tuple[int, int]) -> None:
    mask = LEFT.copy()
    mask[2, 5] = mask[7, 3] = False
    (u, v), inside = Detection(0, 1.0, mask).pixels(size)
    whole = np.zeros(size, dtype=bool)
    for row in range(size[0]):
        for column in range(size[1]):
            # The pixel of cell (i, j) is ((j + .5) W / w - .5, (i + .5) H / h - .5).
            i = np.abs((np.arange(12) + 0.5) * size[0] / 12 - 0.5 - row).argmin()
            j = np.abs((np.arange(16) + 0.5) * size[1] / 16 - 0.5 - column).argmin()
            whole[row, column] = mask[i, j]
    rows, columns = np.flatnonzero(whole.any(axis=1)), np.flatnonzero(whole.any(axis=0))
    assert (u, v) == (columns[0], rows[0])
    np.testing.assert_array_equal(
        inside, whole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    )


def test_a_picture_without_a_pixel_of_a_region_has_an_empty_box() -> None:
    mask = region(slice(0, 1), slice(0, 1))
    assert Detection(0, 1.0, mask).pixels((3, 4))[1].size == 0
