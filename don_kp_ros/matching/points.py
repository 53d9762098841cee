"""Find stored points in one picture: pixel, similarity, position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from don_kp_ros.geometry.camera import Camera
from don_kp_ros.geometry.depth import median_depth
from don_kp_ros.matching.heatmap import match


@dataclass(frozen=True)
class FoundPoint:
    """Where a point is most similar, and whether that is enough; ``reason`` says why it isn't."""

    name: str
    found: bool
    reason: str
    uv: tuple[float, float]  # pixels
    score: float  # cosine similarity, -1..1
    position: NDArray[np.float64]  # (3,) metres in the optical frame; NaN without depth


@dataclass(frozen=True)
class View:
    """A picture without its pixels; what is missing is None, and ``lacks`` says why."""

    size: tuple[int, int]  # (H, W) pixels
    depth: NDArray[np.float32] | None = None  # (H, W) metres, NaN: none
    camera: Camera | None = None
    lacks: str = ''

    def __post_init__(self) -> None:
        if self.depth is not None and self.depth.shape != self.size:
            raise ValueError(
                f'the depth image is {_by(self.depth.shape)}, the picture {_by(self.size)}; align '
                'the depth to the colours (align_depth.enable:=true)'
            )
        if self.camera is not None and (self.camera.height, self.camera.width) != self.size:
            raise ValueError(
                f'the camera info says {self.camera.width}x{self.camera.height}, the picture is '
                f'{_by(self.size)}'
            )


def find_points(
    descriptor_map: Tensor,
    names: Sequence[str],
    queries: Tensor,
    view: View,
    threshold: float,
    depth_window: int = 5,
) -> list[FoundPoint]:
    """Find each query (N, D) in the picture that a map (D, h, w) describes.

    A point is found where its best similarity is at least ``threshold`` and there is depth: the
    median of the valid pixels in a window of ``depth_window`` pixels.
    """
    uv, scores = match(descriptor_map, queries, view.size)
    return [
        _judged(name, (u, v), score, view, threshold, depth_window)
        for name, (u, v), score in zip(names, uv.tolist(), scores.tolist(), strict=True)
    ]


def _judged(
    name: str, uv: tuple[float, float], score: float, view: View, threshold: float, window: int
) -> FoundPoint:
    position, reason = np.full(3, np.nan), view.lacks
    if view.depth is not None and view.camera is not None:
        depth = median_depth(view.depth, uv, window)
        position = view.camera.deproject(uv, depth)
        if np.isnan(depth):
            position = np.full(3, np.nan)
            reason = f'no depth within {window}x{window} pixels of ({uv[0]:.0f}, {uv[1]:.0f})'
    if score < threshold:
        reason = f'the best similarity, {score:.3f}, is below the threshold {threshold:.3f}'
    return FoundPoint(name, not reason, reason, uv, score, position)


def _by(size: tuple[int, ...]) -> str:
    return f'{size[1]}x{size[0]}'
