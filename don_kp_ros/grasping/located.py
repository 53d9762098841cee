"""Where an object was seen, how sure that is, and how far two sights of it differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.symmetry import SymmetryAxis

Array = NDArray[np.float64]

_CHI_SQUARED = 13.8  # of two numbers, which 99.9 % do not exceed
_UPRIGHT = np.deg2rad(0.5)  # standard deviation of what stands
_ARM = 0.1  # metres: a turn counts as the way of what is so far from the axis


@dataclass(frozen=True, eq=False)
class Located:
    """A pose of an object in the base frame (4, 4), by a model; ambiguous: it may be turned.

    covariance (6, 6): as in geometry_msgs/PoseWithCovariance, about the axes of the base frame.
    symmetry: the axis about which the turn is not known; round_about: the one about which its
    shape is round, whatever its looks, so that the turn is of no matter to a hand.
    """

    T_base_object: Array
    covariance: Array
    model: str  # fingerprint
    symmetry: SymmetryAxis | None = None
    ambiguous: bool = False
    round_about: SymmetryAxis | None = None

    @classmethod
    def seen(
        cls,
        T_base_camera: Array,
        T_camera_object: Array,
        covariance: ArrayLike,
        model: str,
        symmetry: SymmetryAxis | None = None,
        ambiguous: bool = False,
        round_about: SymmetryAxis | None = None,
    ) -> Located:
        """Make one of a pose (4, 4) and its covariance (6, 6) in the frame of a camera."""
        turn = np.kron(np.eye(2), T_base_camera[:3, :3])
        sigma = turn @ np.asarray(covariance, dtype=np.float64) @ turn.T
        T = T_base_camera @ T_camera_object
        return cls(T, sigma, model, symmetry, ambiguous, round_about)

    @property
    def _axis(self) -> SymmetryAxis | None:
        """The axis about which a turn from sight to sight does not count."""
        of_looks, of_shape = self.symmetry, self.round_about
        if of_looks is None or (of_shape is not None and of_looks.is_parallel(of_shape)):
            return of_shape
        return of_looks

    @property
    def deviations(self) -> tuple[float, float]:
        """The largest standard deviations of the place, metres, and of the turn, radians.

        Infinite where they are not known. The motion about an axis of symmetry does not count.
        """
        sigma = self.covariance
        if not np.isfinite(sigma).all():
            return np.inf, np.inf
        for axis in (self.symmetry, self.round_about):
            if axis is not None:
                sigma = axis.left_out(self.T_base_object, sigma)
        place, angles = (np.linalg.eigvalsh(part)[-1] for part in (sigma[:3, :3], sigma[3:, 3:]))
        return float(np.sqrt(max(place, 0.0))), float(np.sqrt(max(angles, 0.0)))

    def upright(self) -> Located:
        """Return the sight of an object that stands as it stood when it was taught, if it may.

        Its z was vertical then. Where its covariance lets it be so now (chi-squared of two
        numbers, 99.9 %), that is taken for a measurement to half a degree, by a step of a Kalman
        filter: what goes with the tilt, such as a shift of a round surface, goes along.
        """
        T, sigma = self.T_base_object, self.covariance
        if not np.isfinite(sigma).all() or T[2, 2] <= 0:
            return self
        tilt = np.cross(T[:3, 2], [0.0, 0.0, 1.0])[:2]
        of_tilt = sigma[:, 3:5]
        measured = of_tilt[3:5] + _UPRIGHT**2 * np.eye(2)
        if tilt @ np.linalg.solve(measured, tilt) > _CHI_SQUARED:
            return self
        gain = of_tilt @ np.linalg.inv(measured)
        return self._stepped(gain @ tilt, sigma - gain @ of_tilt.T)

    def combined(self, other: Located) -> Located:
        """Return what this sight and another of the object tell together.

        Each counts by the inverse of its covariance, and their errors are taken to be independent:
        a step of a Kalman filter. What looks the same turned about its axis is not turned.
        """
        T, T_other = self.T_base_object, other.T_base_object
        if self._axis is not None:
            T_other = T_other @ self._axis.turn(self._turn_from(other, self._axis))
        turn = _rotation_vector(T_other[:3, :3] @ T[:3, :3].T)
        gain = self.covariance @ np.linalg.pinv(self.covariance + other.covariance, hermitian=True)
        step = gain @ np.concatenate([T_other[:3, 3] - T[:3, 3], turn])
        return self._stepped(step, self.covariance - gain @ self.covariance)

    def unturned(self) -> Located:
        """Return the sight of what looks the same turned about its axis, as nearly unturned.

        Of all such turns, that after which its axes are nearest to those of the base.
        """
        if self.symmetry is None:
            return self
        base = replace(self, T_base_object=np.eye(4))
        turn = self.symmetry.turn(base._turn_from(self, self.symmetry))
        return replace(self, T_base_object=self.T_base_object @ turn)

    def _turn_from(self, other: Located, symmetry: SymmetryAxis) -> float:
        """Return by what allowed angle about its axis another sight comes nearest to this one."""
        x, y, z, w = rigid.to_quaternion(
            other.T_base_object[:3, :3].T @ self.T_base_object[:3, :3]
        )
        angle = 2 * float(np.arctan2(symmetry.direction @ [x, y, z], w))  # the twist about it
        if not symmetry.order:
            return angle
        least = 2 * np.pi / symmetry.order
        return float(least * np.round(angle / least))

    def _stepped(self, step: Array, covariance: Array) -> Located:
        """Return the sight moved by a step (6,), metres and then a rotation vector."""
        T, angle = self.T_base_object, float(np.linalg.norm(step[3:]))
        R = rigid.rotation_about(step[3:], angle) if angle > 0 else np.eye(3)
        moved = rigid.transform(R @ T[:3, :3], T[:3, 3] + step[:3])
        return replace(self, T_base_object=moved, covariance=covariance)

    def apart(self, other: Located) -> tuple[float, float]:
        """Return how far, metres, and by how much, radians, another sight of it is off.

        The turn about an axis of symmetry does not count.
        """
        T, T_other, axis = self.T_base_object, other.T_base_object, self._axis
        point = np.zeros(3) if axis is None else axis.point
        metres = float(np.linalg.norm(rigid.apply(T, point) - rigid.apply(T_other, point)))
        if axis is None:
            cosine = (np.trace(T[:3, :3].T @ T_other[:3, :3]) - 1) / 2
        else:
            direction = axis.direction
            cosine = (T[:3, :3] @ direction) @ (T_other[:3, :3] @ direction)
        return metres, float(np.arccos(np.clip(cosine, -1.0, 1.0)))


def agreed(sights: Sequence[Located], metres: float, radians: float) -> list[Located]:
    """Return the sights, of one or more, that agree with the one in their middle, this one first.

    Others are off by more than so many metres or radians.
    """

    def off(one: Located, other: Located) -> float:
        shift, turn = one.apart(other)
        return shift + _ARM * turn

    def agrees(one: Located) -> bool:
        shift, turn = middle.apart(one)
        return shift <= metres and turn <= radians

    middle = min(sights, key=lambda one: sum(off(one, other) for other in sights))
    return [middle, *(one for one in sights if one is not middle and agrees(one))]


def _rotation_vector(R: Array) -> Array:
    """Return the axis of a rotation (3, 3) times its angle in radians, at most pi."""
    *axis, w = rigid.to_quaternion(R)
    sine = float(np.linalg.norm(axis))
    return np.asarray(axis) * (2 * np.arctan2(sine, w) / sine if sine > 0 else 2.0)
