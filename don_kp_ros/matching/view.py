"""A picture's size, camera and depth, and where its pixels lie in space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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


def lift(view: View, uv: tuple[float, float], window: int = 5) -> tuple[NDArray[np.float64], str]:
    """Lift a pixel of a view to (3,) metres in the optical frame, or return NaN and the reason."""
    if view.depth is None or view.camera is None:
        return np.full(3, np.nan), view.lacks
    depth = view.depth.median(uv, window)
    if np.isnan(depth):
        place = f'({uv[0]:.0f}, {uv[1]:.0f})'
        return np.full(3, np.nan), f'no depth within {window}x{window} pixels of {place}'
    return view.camera.deproject(uv, depth), view.lacks


def _by(size: tuple[int, ...]) -> str:
    return f'{size[1]}x{size[0]}'
