"""A pose held against the whole picture: made to fit, and judged by what is seen there.

Matches are single places; a constellation under a pose says where every point is. There the
descriptors must be similar (feature-metric alignment: Lindenberger et al., ICCV 2021), and the
measured surface must pass through the point (projective point-to-plane ICP: Chen and Medioni
1992). Both are minimised together over the six degrees of freedom. Afterwards each point is seen,
hidden behind something, or contradicted: the camera looks through where it should be, or at its
back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from don_kp_ros.geometry import rigid
from don_kp_ros.matching.maps import describe_at
from don_kp_ros.matching.view import View
from don_kp_ros.pose.constellation import Constellation
from don_kp_ros.pose.refinement import motion, stepped

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_STEPS = 3
_STILL = 1e-4  # metres and radians of a step that ends the iteration
_WINDOW = 3  # pixels, of the median depth
_H = 4.0  # pixels to the neighbours that give gradients and normals
_AROUND = np.array([[0, 0], [-_H, 0], [_H, 0], [0, -_H], [0, _H]])
_ON_SURFACE = 0.01  # metres between a point and the measured surface that shows it
_BEHIND = 0.015  # metres from a point to the measured surface behind it, for a contradiction
_AWAY = 0.25  # cosine between a line of sight and the way that a surface faces, seen from behind
_SURFACE = 0.002  # metres, standard deviation of the distance to the surface
_FEATURE = 0.9  # of a component of the difference of descriptors
_USUAL = 0.5  # squared difference of descriptors, beyond which it counts less and less
_USUAL_M = 0.004  # the same for the distance to the surface
_DAMPING = 1e-6
_EVEN = 0.6
"""The similarity of a point that speaks neither for a pose nor against it.

Of unseen objects, rendered, right poses have .06 of their points from .6 to .7 and .02 below;
poses on other objects have .09 and .77, wrong ones on the object itself .18 and .28.
"""


@dataclass(frozen=True)
class Fit:
    """How a constellation of N points fits a picture under a pose (4, 4).

    seen (N,): points on the measured surface; similarity (N,): cosines of their descriptors with
    those in the picture, 0 where not seen; contradicted (N,): points in front of a surface that
    the camera sees through them, and those whose back it would see; quality: what they say of the
    pose, the mean over the points, by weight, of -1 (contradicted, or unlike) to 1 (equal), 0 of
    those that are hidden or as similar as chance has it; looked_through: the share of the
    contradicted ones.
    """

    T_camera_object: Array
    seen: Mask
    similarity: Array
    contradicted: Mask
    quality: float
    looked_through: float


def register(
    constellation: Constellation,
    T: Array,
    cells: Tensor,
    view: View,
    least: float = -np.inf,
    facing: Array | None = None,
) -> Fit:
    """Fit a constellation to a picture, beginning with a pose (4, 4); cells (D, h, w): its map.

    Where the quality of the beginning is below the ``least``, the pose stays as it is. facing
    (N, 3): the way the surface faces at each point, 0 where that is not known.
    """
    assert view.camera is not None
    look = _Look.at(constellation, T, cells, view)
    begun = look.fit(constellation, T, facing)
    if begun.quality < least:
        return begun
    for _ in range(_STEPS):
        hessian, gradient = look.normal_equations(constellation, T)
        damping = _DAMPING * np.trace(hessian) + np.finfo(np.float64).tiny
        step = -np.linalg.solve(hessian + damping * np.eye(6), gradient)
        if np.abs(step).max() < _STILL:
            break
        T = stepped(T, step)
        look = _Look.at(constellation, T, cells, view)
    return look.fit(constellation, T, facing)


@dataclass(frozen=True)
class _Look:
    """What a picture shows where N points are, and at the four neighbours of each place."""

    placed: Array  # (N, 3) metres in the optical frame
    surface: Array  # (N, 5, 3) metres, NaN without depth
    descriptors: Array  # (N, 5, D)
    perspective: Array  # (N, 2, 3), how their pixels move

    @classmethod
    def at(cls, constellation: Constellation, T: Array, cells: Tensor, view: View) -> _Look:
        assert view.camera is not None
        assert view.depth is not None
        placed = rigid.apply(T, constellation.points)
        uv = view.camera.project(placed)
        inside = view.camera.contains(uv)
        around = np.where(inside[:, None, None], uv[:, None] + _AROUND, 0.0).reshape(-1, 2)
        depth = view.depth.medians(around, _WINDOW)
        surface = view.camera.deproject(around, depth).reshape(-1, 5, 3)
        surface[~inside] = np.nan
        found = describe_at(cells, torch.from_numpy(around), view.size).cpu().numpy()
        x, y, z = placed.T
        none = np.zeros_like(x)
        fx, fy = view.camera.fx, view.camera.fy
        rows = [[fx / z, none, -fx * x / z**2], [none, fy / z, -fy * y / z**2]]
        perspective = np.moveaxis(np.array(rows), 2, 0)
        return cls(placed, surface, found.reshape(len(uv), 5, -1).astype(np.float64), perspective)

    @property
    def seen(self) -> Mask:
        return np.abs(self.placed[:, 2] - self.surface[:, 0, 2]) < _ON_SURFACE

    @property
    def contradicted(self) -> Mask:
        nearest = np.min(self.surface[:, :, 2], axis=1)  # NaN where some depth is missing
        return nearest > self.placed[:, 2] + _BEHIND

    def fit(self, constellation: Constellation, T: Array, facing: Array | None) -> Fit:
        """Judge the pose (4, 4) that this was seen under."""
        seen, contradicted = self.seen, self.contradicted
        if facing is not None:
            away = np.vecdot(facing @ T[:3, :3].T, self.placed)
            behind = seen & (away > _AWAY * np.linalg.norm(self.placed, axis=1))
            seen, contradicted = seen & ~behind, contradicted | behind
        cosines = (self.descriptors[:, 0] * constellation.descriptors).sum(axis=1)
        weight = constellation.weights / constellation.weights.sum()
        through = float(weight @ contradicted)
        says = np.where(seen, (cosines - _EVEN) / (1 - _EVEN), 0.0)
        quality = float(weight @ says.clip(-1, 1)) - through
        return Fit(T, seen, np.where(seen, cosines, 0.0), contradicted, quality, through)

    def normal_equations(self, constellation: Constellation, T: Array) -> tuple[Array, Array]:
        """Return the Hessian (6, 6) and the gradient (6,) of surface and descriptors."""
        moves = motion(constellation.points, T)
        weight = constellation.weights / constellation.weights.max()
        normal = np.cross(
            self.surface[:, 2] - self.surface[:, 1], self.surface[:, 4] - self.surface[:, 3]
        )
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        flat = np.ptp(self.surface[:, :, 2], axis=1) < 2 * _ON_SURFACE
        off = np.einsum('ni,ni->n', normal, self.placed - self.surface[:, 0])
        usable = self.seen & flat & np.isfinite(off)
        off, normal = off[usable], normal[usable]
        along = np.einsum('ni,nij->nj', normal, moves[usable])
        counts = weight[usable] / (1 + (off / _USUAL_M) ** 2) / _SURFACE**2
        hessian = (along * counts[:, None]).T @ along
        gradient = along.T @ (counts * off)

        seen = self.seen
        d = self.descriptors[seen]
        across, down = (d[:, 2] - d[:, 1]) / (2 * _H), (d[:, 4] - d[:, 3]) / (2 * _H)
        differ = d[:, 0] - constellation.descriptors[seen]
        squares = np.vecdot(differ, differ)
        counts = weight[seen] / (1 + squares / _USUAL) ** 2 / _FEATURE**2
        # First over the D components, in pixels; then over the points.
        mixed = np.vecdot(across, down)
        both = np.array([[np.vecdot(across, across), mixed], [mixed, np.vecdot(down, down)]])
        slopes = np.array([np.vecdot(across, differ), np.vecdot(down, differ)])
        pixels = self.perspective[seen] @ moves[seen]  # (S, 2, 6)
        back = pixels.reshape(-1, 6).T
        hessian += back @ (np.moveaxis(counts * both, 2, 0) @ pixels).reshape(-1, 6)
        gradient += back @ (counts * slopes).T.ravel()
        return hessian, gradient
