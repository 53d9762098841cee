"""Whether heatmaps have one peak: the second peak over the first.

A query is ambiguous if its heatmap has peaks in two places far from each other: which of them is
found is then chance (paper 1, 4.3, looks for such heatmaps by eye).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from don_kp_ros.evaluation.pck import REFERENCE_WIDTH
from don_kp_ros.matching.heatmap import first_peak, heatmaps

APART = 20.0  # pixels of a 640-pixel-wide picture


@dataclass(frozen=True)
class Peaks:
    """The two highest peaks of the heatmap of each query.

    uv_first, uv_second (Q, 2): pixels; first, second (Q,): cosine similarity there. Without a
    second peak, uv_second is NaN and second is -1.
    """

    uv_first: NDArray[np.float32]
    first: NDArray[np.float32]
    uv_second: NDArray[np.float32]
    second: NDArray[np.float32]

    @property
    def ratio(self) -> NDArray[np.float32]:
        """The second peak over the first (Q,), 0 to 1; 1 where nothing is similar at all.

        Similarities below 0 count as 0: descriptors at a right angle have nothing in common.
        """
        similar = self.first > 0
        ratio = np.clip(self.second, 0, None) / np.where(similar, self.first, 1)
        return np.where(similar, ratio, 1).astype(np.float32)


def peaks(
    descriptor_map: Tensor, queries: Tensor, size: tuple[int, int], apart: float = APART
) -> Peaks:
    """Find the highest peak of each query, and the highest other one away from it.

    descriptor_map (D, h, w); queries (Q, D) of unit length, a few: all heatmaps are in memory;
    size (H, W) of the picture; apart: least distance of the second peak from the first, pixels of
    a 640-pixel-wide picture. A peak is a pixel that none of its 8 neighbours exceeds. The slope of
    the first peak, cut off at the distance, is not a peak.
    """
    if queries.ndim != 2 or len(queries) == 0:
        shape = tuple(queries.shape)
        raise ValueError(f'queries have shape {shape}; they must be (Q, D), one or more')
    if not apart > 0:
        raise ValueError(f'apart is {apart}; it must be positive')
    height, width = size
    with torch.inference_mode():
        heat = heatmaps(descriptor_map, queries, size)
        first, at_first = first_peak(heat.flatten(1))
        u, v = at_first % width, at_first // width
        du = torch.arange(width, device=heat.device) - u[:, None]
        dv = torch.arange(height, device=heat.device) - v[:, None]
        away = dv.square()[:, :, None] + du.square()[:, None, :]
        near = away < (apart * width / REFERENCE_WIDTH) ** 2
        below = heat < functional.max_pool2d(heat[:, None], 3, stride=1, padding=1)[:, 0]
        others = heat.masked_fill(near | below, -torch.inf)
        second, at_second = others.flatten(1).max(dim=1)
        none = torch.isinf(second)
        uv_first = torch.stack([u, v], dim=1).float()
        uv_second = torch.stack([at_second % width, at_second // width], dim=1).float()
        uv_second = uv_second.masked_fill(none[:, None], torch.nan)
        second = second.masked_fill(none, -1.0)
    return Peaks(*(t.float().cpu().numpy() for t in (uv_first, first, uv_second, second)))
