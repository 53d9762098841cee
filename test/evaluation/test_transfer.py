import numpy as np
import torch
from torch.nn import functional

from don_kp_ros.evaluation.transfer import transfer


def test_points_are_found_where_the_map_was_moved_to() -> None:
    torch.manual_seed(0)
    map_a = functional.normalize(torch.randn(16, 15, 20), dim=0)
    map_b = map_a.roll((2, 3), dims=(1, 2))
    cells = np.array([[4, 5], [10, 3], [1, 11]])
    uv = cells * 8 + 3.5
    found = transfer(map_a, map_b, uv, (120, 160), (120, 160))
    np.testing.assert_allclose(found.uv, uv + [24, 16], atol=0.51)
    np.testing.assert_allclose(found.score, 1, atol=1e-2)
