"""The exact low-resolution heatmaps against explicit upsampling in float64."""

import pytest
import torch
from torch.nn import functional

from don_kp_ros.matching import heatmap
from don_kp_ros.matching.blocks import Blocks
from don_kp_ros.matching.heatmap import heatmaps, match, peaks
from don_kp_ros.matching.maps import describe_at

SHAPES = [
    # D, h, w, H, W
    (3, 6, 8, 48, 64),
    (16, 5, 9, 41, 50),
    (64, 12, 7, 96, 56),
    (8, 1, 4, 16, 33),
    (5, 2, 2, 7, 2),
    (4, 9, 9, 5, 6),
]


def random_map(dimension: int, rows: int, columns: int, smooth: bool = False) -> torch.Tensor:
    noise = torch.randn(dimension, rows, columns, dtype=torch.float64)
    if smooth:
        noise = functional.interpolate(noise[None, :, :3, :3], (rows, columns), mode='bicubic')[0]
    return functional.normalize(noise, dim=0)


def explicit(descriptor_map: torch.Tensor, queries: torch.Tensor, size: tuple[int, int]):
    upsampled = functional.interpolate(descriptor_map.double()[None], size, mode='bilinear')[0]
    return torch.einsum('qd,dvu->qvu', queries.double(), functional.normalize(upsampled, dim=0))


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_heatmaps_equal_explicit_upsampling(shape, dtype):
    torch.manual_seed(0)
    dimension, rows, columns, *size = shape
    descriptor_map = random_map(dimension, rows, columns).to(dtype)
    queries = functional.normalize(torch.randn(5, dimension, dtype=dtype), dim=1)
    expected = explicit(descriptor_map, queries, tuple(size))
    result = heatmaps(descriptor_map, queries, tuple(size))
    assert result.dtype == dtype
    tolerance = 1e-9 if dtype == torch.float64 else 2e-4
    torch.testing.assert_close(result.double(), expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('smooth', [False, True])
def test_match_is_the_maximum_of_the_upsampled_map(shape, smooth):
    torch.manual_seed(1)
    dimension, rows, columns, *size = shape
    descriptor_map = random_map(dimension, rows, columns, smooth and min(rows, columns) > 2)
    queries = torch.cat(
        [
            functional.normalize(torch.randn(20, dimension, dtype=torch.float64), dim=1),
            describe_at(
                descriptor_map, torch.rand(20, 2) * torch.tensor([size[1], size[0]]), size
            ),
            -descriptor_map.mean((1, 2))[None],
        ]
    )
    queries = functional.normalize(queries, dim=1)
    expected = explicit(descriptor_map, queries, tuple(size))
    uv, score = match(descriptor_map, queries, tuple(size))
    assert uv.dtype == torch.float32
    torch.testing.assert_close(score, expected.flatten(1).amax(1), atol=1e-9, rtol=0)
    u, v = uv.long().T
    torch.testing.assert_close(expected[range(len(queries)), v, u], score, atol=1e-9, rtol=0)


def test_products_that_round_copies_differently_lose_no_peak(monkeypatch):
    """As those of some processors do, for rows at the end of a matrix."""
    size, rounded = (96, 56), torch.mm

    def by_place(queries, cells, out):
        rounded(queries, cells, out=out)
        return out.mul_(1 + 1e-15 * torch.linspace(-1, 1, out.shape[1], dtype=out.dtype))

    torch.manual_seed(1)
    descriptor_map = random_map(64, 12, 7)
    corners = torch.tensor([[0.0, 0.0], [55.0, 0.0], [0.0, 95.0], [55.0, 95.0], [20.0, 95.0]])
    queries = functional.normalize(describe_at(descriptor_map, corners, size), dim=1)
    expected = explicit(descriptor_map, queries, size).flatten(1).amax(1)
    monkeypatch.setattr(torch, 'mm', by_place)
    found = peaks(descriptor_map, queries, size, 0.9)
    best = torch.stack([found.score[found.query == one].amax() for one in range(len(queries))])
    torch.testing.assert_close(best, expected, atol=1e-9, rtol=0)
    _, score = match(descriptor_map, queries, size)
    torch.testing.assert_close(score, expected, atol=1e-9, rtol=0)
    assert (found.query.bincount() == 2).all()  # the best, and the cell that it is about


def test_match_in_single_precision_is_within_rounding_of_the_maximum():
    torch.manual_seed(2)
    descriptor_map = random_map(64, 30, 40).float()
    uv_true = torch.rand(50, 2) * torch.tensor([319.0, 239.0])
    queries = describe_at(descriptor_map, uv_true.round(), (240, 320))
    uv, score = match(descriptor_map, queries, (240, 320))
    torch.testing.assert_close(uv, uv_true.round())
    torch.testing.assert_close(score, torch.ones(50), atol=1e-5, rtol=0)


def test_a_match_in_a_picture_of_many_pixels_is_exact():
    """Single precision counts pixels up to 2^24, and no further."""
    torch.manual_seed(8)
    size, descriptor_map = (4200, 4201), random_map(8, 100, 100)
    uv_true = torch.tensor([[2001.0, 4101.0], [1502.0, 4103.0], [3001.0, 4110.0]])
    uv, _ = match(descriptor_map, describe_at(descriptor_map, uv_true, size), size)
    torch.testing.assert_close(uv, uv_true, atol=0, rtol=0)


def test_all_similarities_negative():
    descriptor_map = torch.tensor([[[1.0, 0.8]], [[0.0, 0.6]]])
    uv, score = match(descriptor_map, torch.tensor([[-1.0, 0.0]]), (4, 8))
    assert uv[0, 0] >= 6
    assert score.item() == pytest.approx(-0.8)


def test_descriptor_at_a_cell_centre_is_that_cell():
    torch.manual_seed(3)
    descriptor_map = random_map(6, 4, 5)
    i, j = torch.meshgrid(torch.arange(4), torch.arange(5), indexing='ij')
    uv = torch.stack([(j + 0.5) * 40 / 5 - 0.5, (i + 0.5) * 24 / 4 - 0.5], -1).reshape(-1, 2)
    torch.testing.assert_close(
        describe_at(descriptor_map, uv, (24, 40)), descriptor_map.flatten(1).T
    )


def test_descriptors_at_whole_pixels_equal_explicit_upsampling():
    torch.manual_seed(4)
    descriptor_map = random_map(7, 4, 5)
    upsampled = functional.interpolate(descriptor_map[None], (13, 22), mode='bilinear')[0]
    v, u = torch.meshgrid(torch.arange(13), torch.arange(22), indexing='ij')
    result = describe_at(descriptor_map, torch.stack([u, v], -1).reshape(-1, 2), (13, 22))
    torch.testing.assert_close(result, functional.normalize(upsampled, dim=0).flatten(1).T)


def test_half_precision_maps_are_computed_in_single_precision():
    descriptor_map = random_map(8, 6, 6).half()
    assert heatmaps(descriptor_map, torch.ones(1, 8) / 8**0.5, (12, 12)).dtype == torch.float32


def test_no_queries_give_no_matches():
    uv, score = match(random_map(8, 6, 6), torch.zeros(0, 8), (12, 12))
    assert uv.shape == (0, 2)
    assert score.shape == (0,)
    assert heatmaps(random_map(8, 6, 6), torch.zeros(0, 8), (12, 12)).shape == (0, 12, 12)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r'\(N, 8\)'):
        heatmaps(random_map(8, 6, 6), torch.zeros(1, 9), (12, 12))
    with pytest.raises(ValueError, match=r'\(D, h, w\)'):
        match(torch.zeros(6, 6), torch.zeros(1, 6), (12, 12))


def test_what_is_found_does_not_depend_on_what_else_is_asked() -> None:
    """Beyond the outermost cells the similarity is constant, and only rounding differs."""
    torch.manual_seed(0)
    size = (96, 128)
    for dtype in (torch.float32, torch.float64):
        descriptor_map = functional.normalize(torch.randn(16, 12, 16, dtype=dtype), dim=0)
        edges = torch.tensor([[0.0, 0.0], [2, 90], [126, 3], [127, 95], [64, 1], [1, 40]])
        inner = torch.rand(200, 2) * torch.tensor([127.0, 95.0])
        queries = describe_at(descriptor_map, torch.cat([edges, inner]), size)
        together, _ = match(descriptor_map, queries, size)
        alone = torch.cat([match(descriptor_map, query[None], size)[0] for query in queries])
        assert together.equal(alone)
        some = torch.cat([match(descriptor_map, part, size)[0] for part in queries.split(7)])
        assert together.equal(some)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('size', [(96, 128), (101, 131), (30, 70)])
def test_bounds_leave_out_no_block_that_holds_the_maximum(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, size: tuple[int, int]
) -> None:
    """A map that changes as slowly as a network's: few blocks are looked at."""
    torch.manual_seed(5)
    coarse = torch.randn(1, 16, 7, 9, dtype=torch.float64)
    smooth = functional.interpolate(coarse, (24, 32), mode='bicubic')[0]
    descriptor_map = functional.normalize(smooth, dim=0).to(dtype)
    mixed = functional.normalize(torch.randn(60, 16, dtype=dtype), dim=1)
    uv = torch.rand(60, 2) * torch.tensor([size[1] - 1, size[0] - 1])
    exact = describe_at(descriptor_map, uv, size)
    queries = functional.normalize(torch.cat([exact, exact + 0.5 * mixed]), dim=1)
    expected = explicit(descriptor_map, queries, size)
    monkeypatch.setattr(heatmap, '_CROWDED', 1.0)
    monkeypatch.setattr(heatmap, 'heatmaps', None)  # nothing but the bounds finds them
    found, score = match(descriptor_map, queries, size)
    tolerance = 1e-9 if dtype == torch.float64 else 2e-6
    torch.testing.assert_close(score.double(), expected.flatten(1).amax(1), atol=tolerance, rtol=0)
    u, v = found.long().T
    torch.testing.assert_close(
        expected[range(len(queries)), v, u], score.double(), atol=2 * tolerance, rtol=0
    )


def test_no_pixel_of_a_block_exceeds_its_bound() -> None:
    """The bound is never below the largest score of a block, for any corners."""
    torch.manual_seed(6)
    for spread in (0.1, 0.5, 2.0):
        middle = torch.randn(6, 1, 1, dtype=torch.float64)
        cells = functional.normalize(middle + spread * torch.randn(6, 8, 8).double(), dim=0)
        queries = functional.normalize(torch.randn(40, 6).double() + middle[:, 0, 0], dim=1)
        blocks = Blocks.of(cells, (64, 64))
        products = queries @ blocks.cells.T
        places = torch.arange(81).repeat(40)
        corners = blocks.corners(products, torch.arange(40).repeat_interleave(81), places)
        score = blocks.cosines(corners, places).amax(dim=1)
        some = score > 0.01
        assert some.sum() > 500
        bound = corners.amax(dim=0) * blocks.steepest[places]
        assert (bound >= score - 1e-12)[some].all()
        assert spread > 0.1 or (bound < score + 0.02)[some].all()  # and is not far above


def brute_force_peaks(
    descriptor_map: torch.Tensor, query: torch.Tensor, size: tuple[int, int], threshold: float
) -> set[tuple[int, int]]:
    """The best pixels about the cells that are local maxima, from the explicit heatmap."""
    _, rows, columns = descriptor_map.shape
    products = torch.einsum('d,dhw->hw', query, descriptor_map)
    around = functional.max_pool2d(products[None, None], 3, 1, 1)[0, 0]
    heat = explicit(descriptor_map, query[None], size)[0]
    v, u = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing='ij')
    row, column = (v + 0.5) * rows / size[0] - 0.5, (u + 0.5) * columns / size[1] - 0.5
    found = set()
    for i, j in torch.nonzero((products == around) & (products >= threshold)).tolist():
        # A pixel is in one of the four blocks that meet in a cell; a block has its first border.
        about = (row >= i - 1) & (row < i + 1) & (column >= j - 1) & (column < j + 1)
        near = heat.masked_fill(~about, -2)
        place = int(near.flatten().argmax())
        found.add((place % size[1], place // size[1]))
    return found


@pytest.mark.parametrize('size', [(96, 128), (101, 131), (30, 70)])
@pytest.mark.parametrize('threshold', [0.3, 0.6, 0.9])
def test_peaks_are_those_of_the_whole_heatmap(size: tuple[int, int], threshold: float) -> None:
    torch.manual_seed(7)
    coarse = torch.randn(1, 8, 7, 9, dtype=torch.float64)
    smooth = functional.interpolate(coarse, (24, 32), mode='bicubic')[0]
    descriptor_map = functional.normalize(smooth, dim=0)
    uv = torch.rand(30, 2) * torch.tensor([size[1] - 1, size[0] - 1])
    noise = functional.normalize(torch.randn(30, 8, dtype=torch.float64), dim=1)
    queries = functional.normalize(describe_at(descriptor_map, uv, size) + 0.3 * noise, dim=1)
    found = peaks(descriptor_map, queries, size, threshold)
    heat = explicit(descriptor_map, queries, size)
    best, best_score = match(descriptor_map, queries, size)
    several = 0
    for number, query in enumerate(queries):
        own = found.query == number
        u, v = found.uv[own].long().T
        torch.testing.assert_close(heat[number, v, u], found.score[own], atol=1e-9, rtol=0)
        assert (found.score[own].diff() <= 0).all()
        assert found.uv[own][0].equal(best[number])
        assert found.score[own][0] == best_score[number]
        expected = brute_force_peaks(descriptor_map, query, size, threshold)
        assert {(int(a), int(b)) for a, b in found.uv[own][1:]} == expected
        several += len(expected) > 1
    assert several > (10 if threshold < 0.9 else 0)


def test_every_query_has_its_own_threshold_and_at_least_one_peak() -> None:
    torch.manual_seed(8)
    descriptor_map = random_map(4, 12, 16)
    query = describe_at(descriptor_map, torch.tensor([[20.0, 30.0]]), (48, 64))
    found = peaks(descriptor_map, query.expand(3, -1), (48, 64), torch.tensor([0.3, 0.8, 1.0]))
    low, high, none = (int((found.query == number).sum()) for number in range(3))
    assert low > high > none == 1
    with pytest.raises(ValueError, match='threshold is 0; it must be above 0'):
        peaks(descriptor_map, query, (48, 64), 0.0)
    assert len(peaks(descriptor_map, query[:0], (48, 64), 0.5).query) == 0


@pytest.mark.parametrize('shape', SHAPES)
def test_heatmaps_in_single_precision_are_right_but_for_rounding(shape) -> None:
    """OpenCV enlarges as torch does, also where a picture is smaller than its map."""
    torch.manual_seed(9)
    dimension, rows, columns, *size = shape
    descriptor_map = random_map(dimension, rows, columns, min(rows, columns) > 2).float()
    descriptor_map = functional.normalize(descriptor_map + 1, dim=0)  # no norms near zero
    queries = functional.normalize(torch.randn(4, dimension), dim=1)
    expected = explicit(descriptor_map, queries, tuple(size))
    found = heatmaps(descriptor_map, queries, tuple(size))
    torch.testing.assert_close(found.double(), expected, atol=2e-6, rtol=0)
