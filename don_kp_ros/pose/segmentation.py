"""What stands on the table: the plane under it, and the pixels of one object."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry.camera import Camera

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_TRIPLES = 256
_SAMPLE = 4000  # points that a plane is sought in
_ON_PLANE = 0.005  # metres
_LEAST_SHARE = 0.2  # of all points on the table
_ABOVE = 0.006  # metres; what is lower is taken for the table
_NOISE = 0.012  # 1/m, times z^2: three standard deviations of a stereo camera's depth
_STEP = 0.012  # metres of depth between two pixels that do not belong together
_HOLE = 7  # pixels, the widest hole in the depth within an object
_CLICK = 8  # pixels from a click to the object, at most


@dataclass(frozen=True)
class Plane:
    """Points x with normal . x + offset = 0; the normal (3,) is a unit vector to the free side."""

    normal: Array
    offset: float

    def __post_init__(self) -> None:
        normal = np.asarray(self.normal, dtype=np.float64)
        length = np.linalg.norm(normal)
        if normal.shape != (3,) or not (np.isfinite(length) and length > 0):
            raise ValueError(f'the normal of a plane is {normal.tolist()}; it must not be zero')
        object.__setattr__(self, 'normal', normal / length)
        object.__setattr__(self, 'offset', float(self.offset / length))

    def heights(self, points: ArrayLike) -> Array:
        """Return the signed distances (...) of points (..., 3), metres."""
        return np.asarray(np.asarray(points) @ self.normal + self.offset)


def table_plane(points: ArrayLike, seed: int = 0) -> Plane:
    """Find the plane with the most of some points (N, 3) in the optical frame (RANSAC).

    Its normal points to the camera. Raises RefusedError where no plane holds a fifth of them.
    """
    points = np.asarray(points, dtype=np.float64).reshape(-1, 3)
    points = points[np.isfinite(points).all(axis=1)]
    rng = np.random.default_rng(seed)
    if len(points) > _SAMPLE:
        points = points[rng.choice(len(points), _SAMPLE, replace=False)]
    if len(points) < 3:
        raise RefusedError('there is no depth to see the table by; check the depth topic')
    a, b, c = points[rng.integers(len(points), size=(3, _TRIPLES))]
    normal = np.cross(b - a, c - a)
    length = np.linalg.norm(normal, axis=1)
    usable = length > 0
    normal, a = normal[usable] / length[usable, None], a[usable]
    tolerance = np.maximum(_ON_PLANE, _NOISE * points[:, 2] ** 2)
    off = np.abs(points @ normal.T - (normal * a).sum(axis=1))
    near = off < tolerance[:, None]
    share = near.mean(axis=0)
    if not len(share) or share.max() < _LEAST_SHARE:
        raise RefusedError(
            'no plane is in view that could be the table; show more of it, or give the plane'
        )
    on = points[near[:, int(share.argmax())]]
    for _ in range(3):
        centre = on.mean(axis=0)
        normal = np.linalg.svd(on - centre, full_matrices=False)[2][2]
        on = points[np.abs((points - centre) @ normal) < tolerance]
    normal = normal if normal @ centre < 0 else -normal
    return Plane(normal, -float(normal @ centre))


def object_mask(
    depth: ArrayLike, camera: Camera, plane: Plane, click: tuple[float, float]
) -> Mask:
    """Find the pixels (H, W) of the object that a click (u, v) shows.

    depth (H, W): metres, NaN where there is none. They are the click's connected component of
    what stands above the plane. Neighbours are connected whose depths differ little, and small
    holes in the depth are bridged. Raises RefusedError where nothing stands there.
    """
    depth = np.asarray(depth, dtype=np.float32)
    points = camera.deproject_image(depth)
    with np.errstate(invalid='ignore'):
        lowest = np.maximum(_ABOVE, _NOISE * depth.astype(np.float64) ** 2)
        above = plane.heights(points) > lowest
    hole = np.isnan(depth)
    closed = cv2.morphologyEx(
        above.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((_HOLE, _HOLE), np.uint8)
    )
    connected = (above | (hole & (closed > 0))) & ~_edges(depth)
    labels, _ = ndimage.label(connected)
    u, v = click
    rows, columns = np.nonzero(connected)
    if len(rows):
        away = np.hypot(rows - v, columns - u)
        nearest = int(away.argmin())
        if away[nearest] <= _CLICK:
            own = labels == labels[rows[nearest], columns[nearest]]
            # The edges were taken away from both sides of a step.
            grown = ndimage.binary_dilation(own, iterations=2)
            return np.asarray(own | (grown & above & (labels == 0)))
    raise RefusedError(
        f'nothing stands above the table at ({u:.0f}, {v:.0f}); click on the object, or give a '
        'mask'
    )


def _edges(depth: NDArray[np.float32]) -> Mask:
    """Tell which pixels lie at a step of the depth, on its farther side."""
    edges = np.zeros(depth.shape, dtype=np.bool_)
    with np.errstate(invalid='ignore'):
        for axis in (0, 1):
            step = np.diff(depth, axis=axis)
            later = [slice(None), slice(None)]
            earlier = [slice(None), slice(None)]
            later[axis], earlier[axis] = slice(1, None), slice(None, -1)
            edges[tuple(later)] |= step > _STEP
            edges[tuple(earlier)] |= step < -_STEP
    return edges
