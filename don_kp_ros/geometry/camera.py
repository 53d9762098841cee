"""The pinhole camera, and its lens."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

_COEFFICIENTS = (0, 4, 5, 8, 12, 14)  # of OpenCV's lenses; a fisheye's are 4
_RETURN_PX = 0.1  # a pixel that is lifted and projected comes back to within this
# Rounds and pixels. OpenCV's own 5 rounds find no ray for a fifth of EuRoC's pictures.
_UNDISTORT_TO = (3, 300, 1e-9)  # TERM_CRITERIA_COUNT + TERM_CRITERIA_EPS


@dataclass(frozen=True)
class Camera:
    """A pinhole camera, with a lens that may distort; z forward, x right, y down.

    Width and height in pixels; focal lengths and principal point in pixels, pixel centres at
    integers as in OpenCV and ``sensor_msgs/CameraInfo``. ``distortion`` holds OpenCV's
    coefficients, k1 k2 p1 p2 k3 k4 k5 k6 ..., or k1 to k4 of a ``fisheye`` (Kannala and Brandt
    2006); empty: the picture is as a pinhole makes it.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...] = ()
    fisheye: bool = False

    def __post_init__(self) -> None:
        for name in ('width', 'height', 'fx', 'fy'):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(
                    f'camera {name} is {value}; it must be positive: is the camera calibrated?'
                )
        if not (np.isfinite(self.cx) and np.isfinite(self.cy)):
            raise ValueError(
                f'camera principal point is ({self.cx}, {self.cy}); it must be finite'
            )
        allowed = (4,) if self.fisheye else _COEFFICIENTS
        if len(self.distortion) not in allowed or not np.isfinite(self.distortion).all():
            raise ValueError(
                f'camera distortion is {list(self.distortion)}; it must be '
                f'{" or ".join(map(str, allowed))} finite numbers'
            )

    @classmethod
    def from_K(
        cls,
        K: ArrayLike,
        width: int,
        height: int,
        distortion: tuple[float, ...] = (),
        fisheye: bool = False,
    ) -> Camera:
        """Read the intrinsics from a 3x3 matrix, or from its nine numbers row by row."""
        matrix = np.asarray(K, dtype=np.float64).reshape(3, 3)
        fx, fy, cx, cy = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
        return cls(width, height, float(fx), float(fy), float(cx), float(cy), distortion, fisheye)

    @property
    def K(self) -> Array:
        """The intrinsic matrix, (3, 3)."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def resized(self, width: int, height: int) -> Camera:
        """Return the camera of its picture when that is enlarged or reduced to a size, pixels."""
        x, y = width / self.width, height / self.height
        cx, cy = (self.cx + 0.5) * x - 0.5, (self.cy + 0.5) * y - 0.5
        return replace(
            self, width=width, height=height, fx=self.fx * x, fy=self.fy * y, cx=cx, cy=cy
        )

    def project(self, points: ArrayLike) -> Array:
        """Project points (..., 3) in the optical frame, metres, to pixels uv (..., 2).

        Points on or behind the camera's plane become NaN, and those farther off its axis than the
        lens sees: there, its polynomial falls and would fold them back into the picture.
        """
        points = np.asarray(points, dtype=np.float64)
        z = np.where(points[..., 2] > 0, points[..., 2], np.nan)
        if self.distortion:
            return self._distorted(points[..., :2] / z[..., None])
        u = self.fx * points[..., 0] / z + self.cx
        v = self.fy * points[..., 1] / z + self.cy
        return np.stack([u, v], axis=-1)

    def deproject(self, uv: ArrayLike, depth: ArrayLike) -> Array:
        """Lift pixels uv (..., 2) at depths (...) in metres along the optical axis to (..., 3).

        Where the lens sends no ray, far outside of what it was calibrated for, x and y are NaN.
        """
        uv = np.asarray(uv, dtype=np.float64)
        depth = np.asarray(depth, dtype=np.float64)
        if self.distortion:
            return _at_depth(self._undistorted(uv), depth)
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
        if self.distortion:
            return _at_depth(_rays(self), depth)
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

    @functools.cached_property
    def _seen_square(self) -> float:
        """The square of the radius on the plane z = 1 up to which the lens's radius rises."""
        if self.fisheye:
            theta = [1.0, *(k * (2 * i + 3) for i, k in enumerate(self.distortion))]
            widest = np.sqrt(_first_root(Polynomial(theta)))
            return float(np.tan(widest) ** 2) if widest < np.pi / 2 else np.inf
        k1, k2, _, _, k3, k4, k5, k6 = (*self.distortion, *[0.0] * 8)[:8]
        square, above, below = (Polynomial(c) for c in ([0, 1], [1, k1, k2, k3], [1, k4, k5, k6]))
        rise = (above + 2 * square * above.deriv()) * below - 2 * square * above * below.deriv()
        return min(_first_root(rise), _first_root(below))

    def _distorted(self, xy: Array) -> Array:
        """Project points (..., 2) of the plane z = 1 through the lens to pixels, NaN unseen."""
        import cv2  # slow to import, and few lenses need it

        seen = (xy * xy).sum(axis=-1, keepdims=True) < self._seen_square
        xy = np.where(seen, xy, np.nan)
        points = np.concatenate([xy, np.ones_like(xy[..., :1])], axis=-1).reshape(-1, 1, 3)
        if not points.size:
            return xy
        lens = cv2.fisheye if self.fisheye else cv2
        none = np.zeros(3)
        uv, _ = lens.projectPoints(points, none, none, self.K, np.array(self.distortion))
        return np.asarray(uv, dtype=np.float64).reshape(xy.shape)

    def _undistorted(self, uv: Array) -> Array:
        """Return where the rays of pixels (..., 2) cross the plane z = 1."""
        import cv2

        if not uv.size:
            return uv
        pixels, D = uv.reshape(-1, 1, 2), np.array(self.distortion)
        if self.fisheye:
            xy = cv2.fisheye.undistortPoints(pixels, self.K, D)
        elif hasattr(cv2, 'undistortPointsIter'):  # of OpenCV 4
            xy = cv2.undistortPointsIter(pixels, self.K, D, None, None, _UNDISTORT_TO)
        else:
            xy = cv2.undistortPoints(pixels, self.K, D, criteria=_UNDISTORT_TO)
        xy = np.asarray(xy, dtype=np.float64).reshape(uv.shape)
        # OpenCV iterates, and does not say where that fails.
        lost = ~(np.abs(self._distorted(xy) - uv).max(axis=-1) < _RETURN_PX)
        return np.where(lost[..., None], np.nan, xy)


def _first_root(of: Polynomial) -> float:
    """Return a polynomial's least positive root, or infinity."""
    roots = of.roots()
    real = roots[np.isreal(roots)].real
    return float(min(real[real > 0], default=np.inf))


def _at_depth(xy: Array, depth: Array) -> Array:
    return np.concatenate([xy * depth[..., None], depth[..., None]], axis=-1)


@functools.lru_cache(maxsize=2)  # of a whole picture they take a second
def _rays(camera: Camera) -> Array:
    """Return where the rays of all pixels cross the plane z = 1, (H, W, 2)."""
    v, u = np.indices((camera.height, camera.width), dtype=np.float64)
    return camera._undistorted(np.stack([u, v], axis=-1))
