"""What stands on the table: the plane under it, and the pixels of one object."""

from __future__ import annotations

from dataclasses import dataclass

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
_FARTHEST = 3.0  # metres; what is beyond is no object on the table
_ABOVE = 0.006  # metres; what is lower is taken for the table
_NOISE = 0.012  # 1/m, times z^2: three standard deviations of a stereo camera's depth
_SQUARE = 0.005  # metres, side of the squares in which footprints are connected
_HOLE = 5  # pixels, half the widest hole in the depth that an object reaches over
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


def standing(depth: ArrayLike, camera: Camera, plane: Plane) -> Mask:
    """Find the pixels (H, W) of all that stands above a plane.

    depth (H, W): metres, NaN where there is none.
    """
    return _standing(np.asarray(depth, dtype=np.float32), camera, plane)[1]


def object_mask(
    depth: ArrayLike,
    camera: Camera,
    plane: Plane,
    click: tuple[float, float],
    reach: float = _CLICK,
) -> Mask:
    """Find the pixels (H, W) of the object that a click (u, v) shows.

    depth (H, W): metres, NaN where there is none. reach: pixels from the click to the object, at
    most; of several within it the nearest counts. What stands above the plane is projected onto
    it, and divided into connected footprints: so the wall, the rim and the bottom of a mug are one
    object, and what stands behind it in the picture is another. Raises RefusedError where nothing
    stands at the click.
    """
    depth = np.asarray(depth, dtype=np.float32)
    points, above = _standing(depth, camera, plane)
    labels = np.zeros(depth.shape, dtype=np.int64)
    labels[above] = _footprints(points[above], plane)
    rows, columns = np.nonzero(labels)
    u, v = click
    away = np.hypot(rows - v, columns - u)
    order = np.argsort(away, kind='stable')
    numbers = labels[rows[order], columns[order]]
    _, first = np.unique(numbers, return_index=True)
    for nearest in np.sort(first):
        own = labels == numbers[nearest]
        bridges = ndimage.binary_closing(own, iterations=_HOLE) & np.isnan(depth)
        # What an object surrounds is its own: the bottom of a mug, and holes in the depth.
        mask: Mask = ndimage.binary_fill_holes(own | bridges)
        if away[order[nearest]] <= reach or mask[round(v), round(u)]:
            return mask
    raise RefusedError(
        f'nothing stands above the table at ({u:.0f}, {v:.0f}); click on the object, or give a '
        'mask'
    )


def _standing(depth: NDArray[np.float32], camera: Camera, plane: Plane) -> tuple[Array, Mask]:
    points = camera.deproject_image(depth)
    with np.errstate(invalid='ignore'):
        lowest = np.maximum(_ABOVE, _NOISE * depth.astype(np.float64) ** 2)
        return points, (plane.heights(points) > lowest) & (depth < _FARTHEST)


def _footprints(points: Array, plane: Plane) -> NDArray[np.int64]:
    """Number the connected parts of the plane that points (N, 3) stand on: (N,), 0 for stray ones.

    Places are told apart by squares of `_SQUARE`; those with a single point are noise, and gaps of
    one are closed.
    """
    if not len(points):
        return np.zeros(0, dtype=np.int64)
    across = np.linalg.svd(plane.normal[None])[2][1:]  # two directions in the plane
    squares = np.floor(points @ across.T / _SQUARE).astype(np.int64)
    squares -= squares.min(axis=0) - 1
    counts = np.zeros(squares.max(axis=0) + 2, dtype=np.int64)
    np.add.at(counts, (squares[:, 0], squares[:, 1]), 1)
    occupied = ndimage.binary_closing(counts > 1, structure=np.ones((3, 3)))
    labels, _ = ndimage.label(occupied, structure=np.ones((3, 3)))
    return np.asarray(labels[squares[:, 0], squares[:, 1]], dtype=np.int64)
