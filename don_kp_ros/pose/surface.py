"""A surface of triangles, as points are held against it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.pose.refinement import stepped

Array = NDArray[np.float64]

_NEAREST = 8  # triangles whose distance is computed
_DAMPING = 1e-6


@dataclass(frozen=True)
class Triangles:
    """M triangles of about one size: corners (M, 3, 3), their middles and unit normals (M, 3)."""

    corners: Array
    middles: Array
    normals: Array

    @classmethod
    def of(cls, vertices: Array, faces: NDArray[np.int64]) -> Triangles:
        """Take faces (M, 3) of vertices (N, 3), metres."""
        corners = vertices[faces]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        return cls(corners, corners.mean(axis=1), normals)

    def off(self, points: Array, T: Array) -> Array:
        """Return the distances (N,) of points (N, 3) from the surface at a pose (4, 4)."""
        import trimesh

        points = rigid.apply(rigid.inverse(T), points)
        number = min(_NEAREST, len(self.middles) - 1)
        near = np.argpartition(self._squared(points), number, axis=1)[:, : number + 1]
        among = self.corners[near.reshape(-1)]
        each = np.repeat(points, near.shape[1], axis=0)
        closest = trimesh.triangles.closest_point(among, each)
        return np.asarray(np.linalg.norm(closest - each, axis=1).reshape(near.shape).min(axis=1))

    def aligned(self, points: Array, T: Array, usual: float, steps: int) -> Array:
        """Move the surface from a pose (4, 4) towards points (N, 3): point to plane.

        usual: metres, beyond which a point counts less and less.
        """
        for _ in range(steps):
            placed = rigid.apply(rigid.inverse(T), points)
            near = self._squared(placed).argmin(axis=1)
            apart, normals = placed - self.middles[near], self.normals[near]
            off = (apart * normals).sum(axis=1)
            # The middle of a triangle is no more than a place to measure the distance at.
            weight = 1 / (1 + (np.linalg.norm(apart, axis=1) / usual) ** 2)
            jacobian = np.concatenate([normals, np.cross(placed, normals)], axis=1)
            weighted = jacobian * weight[:, None]
            hessian = weighted.T @ jacobian
            hessian += _DAMPING * np.trace(hessian) * np.eye(6)
            step = np.linalg.solve(hessian, weighted.T @ off)
            T = T @ stepped(np.eye(4), step)
        return T

    def _squared(self, points: Array) -> Array:
        """Return the squared distances (N, M) of points from the middles, less those from 0."""
        return np.asarray((self.middles**2).sum(axis=1) - 2 * points @ self.middles.T)
