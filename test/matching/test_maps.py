"""What a descriptor map says at a pixel, held against a loop over the four cells about it."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from don_kp_ros.matching.maps import cell_centres, describe_at, sample_descriptors


def blended(cells, uv, size):
    """Read a pixel by hand, in float64: its border's where it lies outside."""
    (rows, columns), (height, width) = cells.shape[1:], size
    v, u = (
        min(max((place + 0.5) * number / length - 0.5, 0), number - 1)
        for place, number, length in ((uv[1], rows, height), (uv[0], columns, width))
    )
    total = np.zeros(len(cells))
    for i in range(rows):
        for j in range(columns):
            weight = max(0.0, 1 - abs(v - i)) * max(0.0, 1 - abs(u - j))
            total += weight * cells[:, i, j].astype(np.float64)
    return total / np.linalg.norm(total)


@pytest.mark.parametrize(
    ('shape', 'size'),
    [((12, 16), (48, 64)), ((7, 5), (33, 41)), ((1, 1), (4, 4)), ((3, 9), (3, 9))],
)
def test_a_pixel_reads_the_blend_of_the_cells_about_it(shape, size):
    generator = torch.Generator().manual_seed(0)
    cells = functional.normalize(torch.randn(8, *shape, generator=generator), dim=0)
    height, width = size
    corners = [(u, v) for u in (0, width - 1, -3, width + 5) for v in (0, height - 1)]
    inside = torch.rand(200, 2, generator=generator) * torch.tensor([width, height]) - 0.5
    places = [*corners, *inside.tolist()]
    read = describe_at(cells, torch.tensor(places), size)
    assert read.dtype == torch.float32
    expected = np.stack([blended(cells.numpy(), uv, size) for uv in places])
    np.testing.assert_allclose(read.numpy(), expected, atol=2e-6)
    coarse = describe_at(cells.half(), torch.tensor(places), size)
    np.testing.assert_allclose(coarse, expected, atol=2e-2)


def test_a_cell_is_read_exactly_where_its_centre_is():
    rng = np.random.default_rng(0)
    cells = rng.standard_normal((8, 6, 10)).astype(np.float32)
    cells /= np.linalg.norm(cells, axis=0)
    u, v = cell_centres((6, 10), (60, 40))
    assert (len(u), len(v)) == (10, 6)
    places = torch.from_numpy(np.stack(np.meshgrid(u, v), axis=-1).reshape(-1, 2))
    read = describe_at(torch.from_numpy(cells), places, (60, 40)).numpy()
    np.testing.assert_allclose(read, cells.reshape(8, -1).T, atol=1e-6)


def test_maps_are_sampled_each_at_its_own_pixels():
    maps = functional.normalize(torch.randn(2, 4, 8, 8, dtype=torch.float64), dim=1)
    uv = torch.tensor([[[13.5, 5.5]], [[1.5, 29.5]]], dtype=torch.float64)
    found = sample_descriptors(maps, uv, (32, 32))
    torch.testing.assert_close(found[0, 0], maps[0, :, 1, 3])
    torch.testing.assert_close(found[1, 0], maps[1, :, 7, 0])


def test_what_has_no_direction_is_zero_and_no_error():
    assert not describe_at(torch.zeros(4, 3, 3), torch.tensor([[1.0, 1.0]]), (9, 9)).any()
