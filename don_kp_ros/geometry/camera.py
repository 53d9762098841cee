"""The pinhole camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """A pinhole camera without distortion; z forward, x right, y down.

    Width and height in pixels; focal lengths and principal point in pixels, pixel centres at
    integers as in OpenCV and ``sensor_msgs/CameraInfo``.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    def __post_init__(self) -> None:
        for name in ('width', 'height', 'fx', 'fy'):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f'camera {name} is {value}; it must be positive')
        if not (np.isfinite(self.cx) and np.isfinite(self.cy)):
            raise ValueError(
                f'camera principal point is ({self.cx}, {self.cy}); it must be finite'
            )

    @classmethod
    def from_K(cls, K: ArrayLike, width: int, height: int) -> Camera:
        """Read the intrinsics from a 3x3 matrix, or from its nine numbers row by row."""
        matrix = np.asarray(K, dtype=np.float64).reshape(3, 3)
        fx, fy, cx, cy = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
        return cls(width, height, float(fx), float(fy), float(cx), float(cy))

    @property
    def K(self) -> Array:
        """The intrinsic matrix, (3, 3)."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def project(self, points: ArrayLike) -> Array:
        """Project points (..., 3) in the optical frame, metres, to pixels uv (..., 2).

        Points on or behind the camera's plane become NaN.
        """
        points = np.asarray(points, dtype=np.float64)
        z = np.where(points[..., 2] > 0, points[..., 2], np.nan)
        u = self.fx * points[..., 0] / z + self.cx
        v = self.fy * points[..., 1] / z + self.cy
        return np.stack([u, v], axis=-1)

    def deproject(self, uv: ArrayLike, depth: ArrayLike) -> Array:
        """Lift pixels uv (..., 2) at depths (...) in metres along the optical axis to (..., 3)."""
        uv = np.asarray(uv, dtype=np.float64)
        depth = np.asarray(depth, dtype=np.float64)
        x = (uv[..., 0] - self.cx) / self.fx * depth
        y = (uv[..., 1] - self.cy) / self.fy * depth
        return np.stack([x, y, depth], axis=-1)

    def deproject_image(self, depth: ArrayLike) -> Array:
        """Lift a depth image (H, W) in metres to points (H, W, 3) in the optical frame."""
        depth = np.asarray(depth)
        if depth.shape != (self.height, self.width):
            raise ValueError(
                f'depth image is {depth.shape[::-1]}; the camera is {self.width}x{self.height}'
            )
        v, u = np.indices(depth.shape)
        return self.deproject(np.stack([u, v], axis=-1), depth)

    def contains(self, uv: ArrayLike) -> NDArray[np.bool_]:
        """Tell which pixels uv (..., 2) lie in the picture."""
        uv = np.asarray(uv, dtype=np.float64)
        u, v = uv[..., 0], uv[..., 1]
        inside: NDArray[np.bool_] = (
            (u >= -0.5) & (u < self.width - 0.5) & (v >= -0.5) & (v < self.height - 0.5)
        )
        return inside
