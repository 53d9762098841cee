"""A picture's size, camera and depth, and where its pixels lie in space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from don_kp_ros.geometry.camera import Camera
from don_kp_ros.geometry.depth import DepthImage


@dataclass(frozen=True)
class View:
    """A picture without its colours; missing parts are None, and ``lacks`` says why."""

    size: tuple[int, int]  # (H, W) pixels
    depth: DepthImage | None = None
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

    def points(self) -> NDArray[np.float64]:
        """Lift all pixels that have depth: (N, 3) metres in the optical frame.

        There must be depth and camera.
        """
        assert self.depth is not None and self.camera is not None
        points = self.camera.deproject_image(self.depth.metres()).reshape(-1, 3)
        return points[np.isfinite(points).all(axis=1)]


def lift(view: View, uv: ArrayLike, window: int = 5) -> tuple[NDArray[np.float64], list[str]]:
    """Lift pixels (K, 2) of a view to points (K, 3), metres in the optical frame.

    The depth of a pixel is the median in a window of so many pixels about it. Points without
    depth are NaN. The second result says why each is, and is empty for the others.
    """
    uv = np.asarray(uv, dtype=np.float64).reshape(-1, 2)
    if view.depth is None or view.camera is None:
        return np.full((len(uv), 3), np.nan), [view.lacks] * len(uv)
    depth = view.depth.medians(uv, window)
    points = view.camera.deproject(uv, depth)
    points[~np.isfinite(points).all(axis=1)] = np.nan
    reasons = [view.lacks] * len(uv)
    for index in np.flatnonzero(np.isnan(points[:, 2])):
        place = f'({uv[index, 0]:.0f}, {uv[index, 1]:.0f})'
        reasons[index] = (
            f'no depth within {window}x{window} pixels of {place}'
            if np.isnan(depth[index])
            else f'the lens has no ray for {place}, so far from its centre'
        )
    return points, reasons


def _by(size: tuple[int, ...]) -> str:
    return f'{size[1]}x{size[0]}'
