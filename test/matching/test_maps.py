"""Maps as arrays, held against torch's own interpolation."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from don_kp_ros.matching.heatmap import describe_at
from don_kp_ros.matching.maps import cell_centres, describe_pixel


@pytest.mark.parametrize(
    ('shape', 'size'),
    [((12, 16), (48, 64)), ((7, 5), (33, 41)), ((1, 1), (4, 4)), ((3, 9), (3, 9))],
)
def test_a_pixel_reads_what_torch_interpolates(shape, size):
    generator = torch.Generator().manual_seed(0)
    cells = functional.normalize(torch.randn(8, *shape, generator=generator), dim=0)
    height, width = size
    corners = [(u, v) for u in (0, width - 1, -3, width + 5) for v in (0, height - 1)]
    inside = torch.rand(200, 2, generator=generator) * torch.tensor([width, height]) - 0.5
    for uv in [*corners, *inside.tolist()]:
        expected = describe_at(cells, torch.tensor([uv]), size)[0].numpy()
        read = describe_pixel(cells.numpy(), uv, size)
        assert read.dtype == np.float32
        np.testing.assert_allclose(read, expected, atol=2e-6)


def test_a_cell_is_read_exactly_where_its_centre_is():
    rng = np.random.default_rng(0)
    cells = rng.standard_normal((8, 6, 10)).astype(np.float32)
    cells /= np.linalg.norm(cells, axis=0)
    u, v = cell_centres((6, 10), (60, 40))
    assert (len(u), len(v)) == (10, 6)
    for i in range(6):
        for j in range(10):
            read = describe_pixel(cells, (u[j], v[i]), (60, 40))
            np.testing.assert_allclose(read, cells[:, i, j], atol=1e-6)


def test_what_has_no_direction_is_zero_and_no_error():
    assert not describe_pixel(np.zeros((4, 3, 3), np.float32), (1, 1), (9, 9)).any()
