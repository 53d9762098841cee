"""The pose of an object from pixels alone: perspective from n points (PnP)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.matching.candidates import Candidates
from don_kp_ros.pose.constellation import Constellation
from don_kp_ros.pose.estimate import Confidence, Noise, Pose, Refusal, Why, covariance_of, judged
from don_kp_ros.pose.refinement import motion

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_FEWEST = 4  # three leave up to four poses
_GATE = 13.82  # squared deviations of an inlier: chi-square of 2 degrees, 99.9 %
_ITERATIONS, _SURE = 2000, 0.999  # of RANSAC
_ROUNDS = 3  # of choosing the inliers and refining
_FLAT = 0.1  # thickness over extent, below which points may be seen in two ways
_AS_GOOD = 1.5  # cost of another pose over that of the best, below which both are possible
_APART = float(np.deg2rad(10))


def solve_pixels(
    constellation: Constellation,
    candidates: Candidates,
    camera: Camera,
    noise: Noise,
    confidence: Confidence,
) -> Pose:
    """Find the pose of a constellation from the pixels of its points, otherwise as `solve`.

    RANSAC over minimal sets (AP3P: Ke and Roumeliotis 2017); of the points that agree SQPNP
    (Terzakis and Lourakis 2020), or both poses of IPPE where they are flat (Collins and Bartoli
    2014); refined by Levenberg-Marquardt. What may as well be seen in another pose is refused.
    The residual is in pixels.
    """
    number, weight = len(constellation.points), constellation.weights / constellation.weights.max()
    focal = float(np.sqrt(camera.fx * camera.fy))
    rays = camera.deproject(candidates.uv, np.ones(len(candidates.uv)))[:, :2]
    seen = np.isfinite(rays).all(axis=1)
    point = candidates.query[seen]
    matches = _Matches(point, constellation.points[point], rays[seen], noise.pixels / focal)
    agreeing, matched = matches.consensus(), len(np.unique(point))
    poses = matches.poses(agreeing) if len(agreeing) >= _FEWEST else []
    if not poses:
        why = Why.TOO_FEW if matched < _FEWEST else Why.NO_CONSENSUS
        text = f'{matched} of {number} points have a match without depth, and no {_FEWEST} of them'
        return Pose.none(number, Refusal(why, f'{text} lie as on the object'), 'px')
    poses = sorted(map(matches.refined, poses), key=matches.cost)
    T, agreeing = poses[0], matches.inliers(poses[0])
    cost = float(matches.squares(T)[agreeing].sum())
    covariance = covariance_of(matches.hessian(agreeing, T), cost, 2 * len(agreeing), noise.alike)
    residual = focal * matches.deviation * float(np.sqrt(cost / max(len(agreeing), 1)))
    pose = judged(T, point[agreeing], weight, covariance, residual, confidence, 'px')
    for other in poses[1:]:
        angle = _angle(T, other)
        if angle > _APART and matches.cost(other) < _AS_GOOD * matches.cost(T):
            text = f'a pose turned by {np.rad2deg(angle):.0f} degrees fits the pixels as well'
            ambiguous = Refusal(Why.AMBIGUOUS, f'{text}; use depth, or look from nearer')
            return replace(pose, refused=pose.refused or ambiguous)
    return pose


@dataclass(frozen=True)
class _Matches:
    """Points (M, 3) of the object and the places (M, 2) of their rays in the plane z = 1."""

    point: Index
    points: Array
    rays: Array
    deviation: float  # standard deviation of rays

    def consensus(self) -> Index:
        """Return the matches (L,) that agree with the best pose of a minimal set."""
        if len(self.points) < _FEWEST:
            return np.zeros(0, dtype=np.int64)
        found, _, _, agreeing = cv2.solvePnPRansac(
            self.points,
            self.rays,
            np.eye(3),
            None,
            iterationsCount=_ITERATIONS,
            reprojectionError=float(np.sqrt(_GATE)) * self.deviation,
            confidence=_SURE,
            flags=cv2.SOLVEPNP_AP3P,
        )
        # Its pose is that of a minimal set once more.
        return np.asarray(agreeing if found else (), dtype=np.int64).reshape(-1)

    def poses(self, index: Index) -> list[Array]:
        """Solve for some matches; flat objects have two poses, degenerate places none."""
        points = self.points[index]
        centred = points - points.mean(axis=0)
        _, extent, axes = np.linalg.svd(centred, full_matrices=False)
        flat = extent[2] < _FLAT * extent[0]
        if flat:  # IPPE finds nothing where they are nearly so
            points = points - np.outer(centred @ axes[2], axes[2])
        try:
            _, turns, shifts, _ = cv2.solvePnPGeneric(
                points,
                self.rays[index],
                np.eye(3),
                None,
                flags=cv2.SOLVEPNP_IPPE if flat else cv2.SOLVEPNP_SQPNP,
            )
        except cv2.error:  # places that are one, to its precision
            return []
        return [_transform(turn, shift) for turn, shift in zip(turns, shifts, strict=True)]

    def refined(self, T: Array) -> Array:
        """Refine a pose (4, 4) over the matches that agree with it."""
        for _ in range(_ROUNDS):
            index = self.inliers(T)
            if len(index) < _FEWEST:
                break
            turn, shift = cv2.solvePnPRefineLM(
                self.points[index],
                self.rays[index],
                np.eye(3),
                None,
                cv2.Rodrigues(T[:3, :3])[0],
                T[:3, 3:].copy(),
            )
            T = _transform(turn, shift)
        return T

    def squares(self, T: Array) -> Array:
        """Compute the squared deviations (M,) of the matches under a pose, infinite behind it."""
        placed = rigid.apply(T, self.points)
        front = placed[:, 2] > 0
        off = placed[:, :2] / np.where(front, placed[:, 2], 1.0)[:, None] - self.rays
        return np.where(front, (off * off).sum(axis=1) / self.deviation**2, np.inf)

    def inliers(self, T: Array) -> Index:
        """Return the matches (L,) that are the nearest of their points, and near."""
        squares = self.squares(T)
        order = np.lexsort((squares, self.point))
        nearest = order[np.diff(self.point[order], prepend=-1) > 0]
        return np.asarray(nearest[squares[nearest] <= _GATE])

    def cost(self, T: Array) -> float:
        """Judge a pose: the truncated squares of each point's nearest match."""
        squares = self.squares(T)
        order = np.lexsort((squares, self.point))
        nearest = squares[order[np.diff(self.point[order], prepend=-1) > 0]]
        return float(np.minimum(nearest, _GATE).sum())

    def hessian(self, index: Index, T: Array) -> Array:
        """Compute the information (6, 6) on a pose of some matches."""
        x, y, z = rigid.apply(T, self.points[index]).T
        none = np.zeros_like(x)
        rows = [[1 / z, none, -x / z**2], [none, 1 / z, -y / z**2]]
        perspective = np.moveaxis(np.array(rows), 2, 0)
        jacobian = (perspective @ motion(self.points[index], T)).reshape(-1, 6) / self.deviation
        return np.asarray(jacobian.T @ jacobian)


def _transform(turn: ArrayLike, shift: ArrayLike) -> Array:
    turn, shift = np.asarray(turn, dtype=np.float64), np.asarray(shift, dtype=np.float64)
    return rigid.transform(cv2.Rodrigues(turn)[0], shift.reshape(3))


def _angle(T: Array, other: Array) -> float:
    return float(np.linalg.norm(cv2.Rodrigues(T[:3, :3].T @ other[:3, :3])[0]))
