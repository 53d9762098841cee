"""Find the points of one picture in another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from don_kp_ros.matching.heatmap import match
from don_kp_ros.matching.maps import describe_at


@dataclass(frozen=True)
class Transfer:
    """Where each query was found: uv (Q, 2) pixels and cosine similarity score (Q,)."""

    uv: NDArray[np.float32]
    score: NDArray[np.float32]


def transfer(
    map_a: Tensor,
    map_b: Tensor,
    uv_a: ArrayLike,
    size_a: tuple[int, int],
    size_b: tuple[int, int],
) -> Transfer:
    """Match the points uv_a (Q, 2) of picture A in picture B.

    map_a, map_b (D, h, w): descriptor maps; size_a, size_b: (H, W) of the pictures.
    """
    with torch.inference_mode():
        uv = torch.as_tensor(np.asarray(uv_a, np.float32), device=map_a.device)
        found, score = match(map_b, describe_at(map_a, uv, size_a).to(map_b.device), size_b)
    return Transfer(found.cpu().numpy().astype(np.float32), score.cpu().numpy().astype(np.float32))
