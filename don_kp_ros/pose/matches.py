"""Matches of a constellation's points with measured points, and how certain each is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.geometry.camera import Camera
from don_kp_ros.matching.candidates import Candidates
from don_kp_ros.pose.constellation import Constellation
from don_kp_ros.pose.estimate import Noise

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Matches:
    """M possible matches of N points; a point may have several, of which at most one is right.

    point (M,): which, ascending; of_object, measured (M, 3): metres, in the object's and in the
    optical frame; weight (N,): of the points, 0..1; across, along (M,): the variances of a
    measured point, in every direction, and in addition along its ray, m^2.
    """

    point: Index
    of_object: Array
    measured: Array
    weight: Array
    across: Array
    along: Array

    @classmethod
    def of(
        cls, constellation: Constellation, candidates: Candidates, camera: Camera, noise: Noise
    ) -> Matches:
        """Take the candidates that have a position."""
        candidates = candidates.some(np.flatnonzero(np.isfinite(candidates.position[:, 2])))
        measured = candidates.position
        z = measured[:, 2]
        ray = np.linalg.norm(measured, axis=1) / z
        return cls(
            candidates.query,
            constellation.points[candidates.query],
            measured,
            constellation.weights / constellation.weights.max(),
            (noise.pixels * z / np.sqrt(camera.fx * camera.fy)) ** 2,
            (noise.depth * z**2 * ray) ** 2,
        )

    def __len__(self) -> int:
        return len(self.point)

    @property
    def number(self) -> int:
        """How many points the constellation has, N."""
        return len(self.weight)

    @property
    def matched(self) -> int:
        """How many of them have a match."""
        return len(self.starts)

    def some(self, index: Index | NDArray[np.bool_]) -> Matches:
        """Return those with an index (L,) or a mask (M,)."""
        return Matches(
            self.point[index],
            self.of_object[index],
            self.measured[index],
            self.weight,
            self.across[index],
            self.along[index],
        )

    def off(self, T: Array) -> Array:
        """Return how far (..., M, 3) the matches are off under poses (..., 4, 4), metres."""
        turned = self.of_object @ np.swapaxes(T[..., :3, :3], -1, -2)
        return np.asarray(turned + T[..., None, :3, 3] - self.measured)

    def squared_distances(self, T: Array) -> Array:
        """Compute the squared Mahalanobis distances (..., M) under poses (..., 4, 4)."""
        off = self.off(T)
        along = np.vecdot(off, self._rays)
        return np.asarray((np.vecdot(off, off) - self._share * along**2) / self.across)

    @cached_property
    def whitening(self) -> Array:
        """W (M, 3, 3) with W^T W the inverse covariances of the measured points."""
        n, shrink = self._rays, 1 - np.sqrt(1 - self._share)
        whitening = np.eye(3) - shrink[:, None, None] * n[:, :, None] * n[:, None, :]
        return np.asarray(whitening / np.sqrt(self.across)[:, None, None])

    def best_of_each(self, gain: Array) -> Array:
        """Return the largest gain (..., M) of each point that has matches: (..., P)."""
        return np.maximum.reduceat(gain, self.starts, axis=-1)

    def best(self, gain: Array) -> Index:
        """Return the first match with the largest gain (M,) of each point that has matches: (P,).

        A point with a gain that is NaN is left out.
        """
        best = np.flatnonzero(gain == self.best_of_each(gain)[self._turn])
        turn = self._turn[best]
        return np.asarray(best[np.concatenate([[True], turn[1:] != turn[:-1]])[: len(best)]])

    @cached_property
    def starts(self) -> Index:
        """The first match of each point that has matches, (P,)."""
        return np.flatnonzero(np.diff(self.point, prepend=-1))

    @cached_property
    def _turn(self) -> Index:
        """Which of the points that have matches each match (M,) is of."""
        return np.cumsum(np.diff(self.point, prepend=-1) > 0) - 1

    @cached_property
    def _rays(self) -> Array:
        return self.measured / np.linalg.norm(self.measured, axis=1, keepdims=True)

    @cached_property
    def _share(self) -> Array:
        """The part of a square along the ray that counts less, (M,).

        The inverse of a covariance, across I + along n n^T, is (I - share n n^T) / across.
        """
        return self.along / (self.across + self.along)
