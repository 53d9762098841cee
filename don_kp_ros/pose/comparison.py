"""How the rendered descriptors of objects differ from those that the camera sees.

The objects are drawn at their poses, in front of nothing: cells that show none have the descriptor
0, or that which the network was trained to give the background. A cell then costs
rho(|rendered - live|^2) with Cauchy's robust norm rho, and moving an object changes what its cells
show by the gradient of the rendered map times the motion of the surface in the image (Periyasamy,
Schwarz and Behnke 2019, "Refining 6D object pose predictions using abstract render-and-compare",
whose two rules for the borders of objects are kept).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.meshes.raster import Raster, rasterise
from don_kp_ros.pose.refinement import motion

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

LEVELS = (4, 2, 1)  # cells of the map to a side of a cell that is compared
NETWORK_BLUR = 0.8  # cells: descriptors of networks change no faster than this
ROBUST = 0.6  # distance of descriptors, beyond which Cauchy's norm flattens
DEPTH = 50.0  # 1/m: a centimetre of depth counts as half a unit of descriptors
BEYOND = 0.5  # weight of a cell beyond the silhouette: what is there is not known
_FAR = 1e3  # metres
_SOME, _SURROUNDED = 1e-3, 8.5  # of a cell; cells of the nine about one
_ADVANCE = 1e-3  # metres by which something else must be nearer to hide an object


@dataclass(frozen=True)
class Surface:
    """A mesh with descriptors: vertices (N, 3) metres, faces (M, 3), descriptors (N, D)."""

    vertices: Array
    faces: NDArray[np.int64]
    descriptors: Floats


@dataclass(frozen=True)
class Live:
    """What the camera shows: descriptors (h, w, D), its camera resized to (w, h), and depth.

    depth (h, w): metres at the cells' centres, NaN where there is none; None: not known. nothing
    (D,): the descriptor of what shows no object; None: 0.
    """

    cells: Floats
    camera: Camera
    depth: Floats | None = None
    nothing: Floats | None = None

    @classmethod
    def of(
        cls,
        descriptor_map: Any,
        camera: Camera,
        depth: Floats | None = None,
        nothing: Floats | None = None,
    ) -> Live:
        """Take a map (D, h, w), the picture's camera and its depth (H, W) in metres."""
        cells = np.moveaxis(np.asarray(descriptor_map, np.float32), 0, 2)
        resized = camera.resized(cells.shape[1], cells.shape[0])
        if depth is not None:
            v, u = (
                np.rint((np.arange(n) + 0.5) * (size / n) - 0.5).astype(int)
                for n, size in zip(cells.shape, depth.shape, strict=False)
            )
            depth = np.asarray(depth[np.ix_(v, u)])
        # Whole cells of all levels: what is left of them at the right and below is not looked at.
        rows, columns = (n // LEVELS[0] * LEVELS[0] for n in cells.shape[:2])
        return cls(np.ascontiguousarray(cells[:rows, :columns]), resized, depth, nothing)


@dataclass(frozen=True)
class Comparison:
    """One object at one pose.

    hessian (6, 6) and gradient (6,) of half the cost by steps of its pose (`Pose.covariance`) that
    turn it about its pose's origin. cost: less than 0 where the object explains what is seen
    better than nothing does. squares: the weighted sum of squares, of ``cells`` that it shows.
    like: the share of these that are nearer to it than to nothing.
    """

    hessian: Array
    gradient: Array
    cost: float
    squares: float
    cells: int
    like: float


NOTHING = Comparison(np.zeros((6, 6)), np.zeros(6), 0.0, 0.0, 0, 0.0)


class Comparer:
    """Compares objects with what the camera shows; ``ring`` and ``blur`` are for experiments."""

    def __init__(
        self,
        surfaces: Sequence[Surface],
        live: Live,
        ring: bool = True,
        blur: float = NETWORK_BLUR,
    ) -> None:
        nothing = np.float32(0) if live.nothing is None else live.nothing
        self._live = replace(live, cells=live.cells - nothing, nothing=None)
        self._surfaces, self._ring, self._blur = surfaces, ring, blur
        first = np.cumsum([0, *(len(surface.vertices) for surface in surfaces)])
        self._faces = np.concatenate(
            [surface.faces + n for surface, n in zip(surfaces, first, strict=False)]
        )
        self._descriptors = np.concatenate([s.descriptors - nothing for s in surfaces])
        self._owner = np.repeat(np.arange(len(surfaces)), [len(s.faces) for s in surfaces])

    def compare(self, T: Sequence[Array], level: int = 1, inner: bool = False) -> list[Comparison]:
        """Compare all objects at poses (4, 4) in cells of so many of the map's to a side.

        inner: only in cells whose neighbours show the object, too. Silhouettes lead from far, but
        what is beside an object draws them this way or that by a fraction of a cell.
        """
        vertices = np.concatenate(
            [rigid.apply(one, s.vertices) for one, s in zip(T, self._surfaces, strict=True)]
        )
        drawn = rasterise(vertices, self._faces, self._live.camera)
        owner = np.where(drawn.mask, self._owner[drawn.face], -1)
        rendered = drawn.values(self._descriptors, self._faces)
        found = []
        for number, pose in enumerate(T):
            window = self._window(owner == number, level)
            if window is None:
                found.append(NOTHING)
            else:
                found.append(
                    self._one(pose, number, window, level, inner, owner, drawn, rendered, vertices)
                )
        return found

    def _window(self, own: Mask, level: int) -> tuple[slice, slice] | None:
        """Return the rows and columns about an object, whole cells of a level."""
        own = own[: self._live.cells.shape[0], : self._live.cells.shape[1]]
        slices = []
        for axis in (0, 1):
            hit = np.flatnonzero(own.any(axis=1 - axis))
            if not len(hit):
                return None
            low = max(hit[0] - 2 * level, 0) // level * level
            high = -(-(hit[-1] + 1 + 2 * level) // level) * level
            slices.append(slice(low, min(high, own.shape[axis])))
        return slices[0], slices[1]

    def _one(
        self,
        T: Array,
        number: int,
        window: tuple[slice, slice],
        level: int,
        inner: bool,
        owner: NDArray[np.int64],
        drawn: Raster,
        rendered: Floats,
        vertices: Array,
    ) -> Comparison:
        own, depth = owner[window] == number, np.nan_to_num(drawn.depth[window]).astype(np.float64)
        live = _pooled(self._live.cells[window], level)
        shown = self._blurred(_pooled(rendered[window] * (own[..., None] if inner else 1), level))
        cover = _pooled(own.astype(np.float32), level)
        mask = cover > 0
        z = _pooled(own * depth, level) / np.where(mask, cover, 1)
        # One cell beyond the silhouette shows where the object would grow to. Without it, only
        # leaving cells that show something else would pay, and the object shrinks.
        count = _around(mask.astype(np.float32))
        z = np.where(mask, z, _around(z * mask) / np.maximum(count, 1))
        cells = (count > 0) if self._ring else mask
        if inner:
            covered = np.maximum(self._blurred(cover), _SOME).astype(np.float32)
            shown = shown / covered[..., None]
            cells = count > _SURROUNDED
        other = (owner[window] >= 0) & ~own
        if other.any() and not inner:
            nearest = -_pooled_max(-np.where(other, depth, _FAR).astype(np.float32), level)
            # Next to a nearer object the map changes because that one ends, not because this does.
            cells = cells & (cv2.erode(nearest, np.ones((3, 3), np.uint8)) > z - _ADVANCE)
        v, u = np.nonzero(cells)
        slopes = _gradient(shown)[v, u]
        off = shown[v, u] - live[v, u]
        apart = (off * off).sum(axis=1)
        own_cells = mask[v, u]
        weight = np.where(own_cells, 1, BEYOND) / (1 + apart / ROBUST**2)
        uv = np.stack([u, v], axis=1) * level + (level - 1) / 2.0
        uv += [window[1].start, window[0].start]
        points = self._live.camera.deproject(uv, z[v, u])
        jacobian = image_motion(points, T, self._live.camera) / level
        hessian = np.swapaxes(slopes, 1, 2) @ slopes * weight[:, None, None]  # of image motion
        pull = (slopes * off[:, :, None]).sum(axis=1) * weight[:, None]
        H = (np.swapaxes(jacobian, 1, 2) @ hessian @ jacobian).sum(axis=0)
        g = -np.einsum('nai,na->i', jacobian, pull)
        alone = (live[v, u] ** 2).sum(axis=1)
        cost = float((robust(apart) - robust(alone)).sum())
        squares = float((weight * apart)[own_cells].sum())
        like = float((apart < alone)[own_cells].mean()) if own_cells.any() else 0.0
        if self._live.depth is not None:
            of_depth = self._depth_terms(T, own, window, drawn, vertices, level)
            H, g, cost = H + of_depth[0], g + of_depth[1], cost + of_depth[2]
        return Comparison(H, g, cost, squares, int(own_cells.sum()), like)

    def _blurred(self, values: NDArray[Any]) -> NDArray[Any]:
        return cv2.GaussianBlur(values, (0, 0), self._blur) if self._blur else values

    def _depth_terms(
        self,
        T: Array,
        own: Mask,
        window: tuple[slice, slice],
        drawn: Raster,
        vertices: Array,
        level: int,
    ) -> tuple[Array, Array, float]:
        """Compare with the measured depth, along the normals of the faces (point to plane)."""
        assert self._live.depth is not None
        measured = self._live.depth[window]
        v, u = np.nonzero(own & np.isfinite(measured))
        uv = np.stack([u + window[1].start, v + window[0].start], axis=1)
        seen = self._live.camera.deproject(uv, measured[v, u])
        points = self._live.camera.deproject(uv, drawn.depth[window][v, u])
        corners = vertices[self._faces[drawn.face[window][v, u]]]
        normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
        scale = DEPTH / level
        off = scale * ((points - seen) * normal).sum(axis=1)
        jacobian = (
            scale * (normal[:, None] @ motion(rigid.apply(rigid.inverse(T), points), T))[:, 0]
        )
        weight = 1 / (1 + off * off / ROBUST**2) / level**2  # as many terms as cells
        H = (jacobian * weight[:, None]).T @ jacobian
        return H, jacobian.T @ (weight * off), float(robust(off * off).sum()) / level**2


def image_motion(points: Array, T: Array, camera: Camera) -> Array:
    """Return how points (N, 3) in the optical frame move in the image: (N, 2, 6) pixels.

    The six are the steps of the pose (4, 4) of the object that they lie on. A lens that distorts
    is taken as if it did not.
    """
    x, y, z = points.T
    projection = np.zeros((len(points), 2, 3))
    projection[:, 0, 0], projection[:, 0, 2] = camera.fx / z, -camera.fx * x / z**2
    projection[:, 1, 1], projection[:, 1, 2] = camera.fy / z, -camera.fy * y / z**2
    return projection @ motion(rigid.apply(rigid.inverse(T), points), T)


def robust(squared: Any) -> Any:
    """Compute Cauchy's robust norm of squared distances."""
    return ROBUST**2 * np.log1p(squared / ROBUST**2)


def _pooled(values: NDArray[Any], level: int) -> NDArray[Any]:
    """Return the means (h / level, w / level, ...) of cells (h, w, ...)."""
    return values if level == 1 else np.asarray(_blocks(values, level).mean(axis=(1, 3)))


def _pooled_max(values: NDArray[Any], level: int) -> NDArray[Any]:
    return values if level == 1 else np.asarray(_blocks(values, level).max(axis=(1, 3)))


def _blocks(values: NDArray[Any], level: int) -> NDArray[Any]:
    rows, columns = values.shape[0] // level, values.shape[1] // level
    return values.reshape(rows, level, columns, level, *values.shape[2:])


def _around(values: NDArray[Any]) -> NDArray[Any]:
    """Sum over each cell and its eight neighbours."""
    constant = cv2.BORDER_CONSTANT
    return np.asarray(cv2.boxFilter(values, -1, (3, 3), normalize=False, borderType=constant))


def _gradient(values: Floats) -> Floats:
    """Return the central differences of (h, w, D) to the right and down: (h, w, D, 2)."""
    found = np.zeros((*values.shape, 2), np.float32)
    found[:, 1:-1, :, 0] = (values[:, 2:] - values[:, :-2]) / 2
    found[1:-1, :, :, 1] = (values[2:] - values[:-2]) / 2
    return found
