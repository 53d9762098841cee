"""A refined pose that is held until the object moves, because refining takes longer than finding.

Whether the object has moved, what is found without refinement tells: it may be off, but it is off
alike as long as the object rests. All poses are told in a frame in which the object rests.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.pose.estimate import Pose

Array = NDArray[np.float64]

_SAME = 22.5  # squared distance over covariance: the 99.9 % quantile of chi squared, 6 degrees
_LEAST = np.repeat([0.003, np.deg2rad(2)], 3) ** 2  # of poses that are found twice: m, radians


@dataclass(frozen=True)
class Held:
    """A refined pose of an object in the image that it was refined in.

    T_fixed_camera (4, 4): of that image; found: the pose before its refinement, which leaves a
    turn about an axis of symmetry as unknown as it was; T_camera_object (4, 4) and covariance
    (6, 6): the refined one; stamp: of the image, seconds.
    """

    T_fixed_camera: Array
    found: Pose
    T_camera_object: Array
    covariance: Array
    stamp: float

    def moved_to(self, T_fixed_camera: Array) -> tuple[Array, Array]:
        """Return the refined pose (4, 4) and its covariance as another view has them."""
        T = rigid.inverse(T_fixed_camera) @ self.T_fixed_camera
        return T @ self.T_camera_object, _turned(self.covariance, T)

    def rests(self, pose: Pose, T_fixed_camera: Array) -> bool:
        """Tell whether an object that is found at a pose in another view has not moved since.

        Where only that view tells how it is turned, nobody knows.
        """
        if self.found.ambiguous and not pose.ambiguous:
            return False
        T = rigid.inverse(T_fixed_camera) @ self.T_fixed_camera
        before = T @ self.found.T_camera_object
        covariance = _turned(self.found.covariance, T) + pose.covariance + np.diag(_LEAST)
        step = _difference(before, pose.T_camera_object)
        return bool(step @ np.linalg.solve(covariance, step) <= _SAME)

    def replacing(self, pose: Pose, T_fixed_camera: Array) -> Pose:
        """Return a pose that was found with the refined one in its place."""
        T, covariance = self.moved_to(T_fixed_camera)
        axis, ambiguous = self.found.symmetry, self.found.ambiguous
        held = replace(
            pose,
            T_camera_object=T,
            covariance=covariance,
            symmetry=None,
            ambiguous=ambiguous,
            refined=True,
        )
        return held if axis is None else held.free_about(axis)


def _turned(covariance: Array, T: Array) -> Array:
    """Return the covariance (6, 6) of a pose after a motion (4, 4) of its axes."""
    both = np.zeros((6, 6))
    both[:3, :3] = both[3:, 3:] = T[:3, :3]
    return np.asarray(both @ covariance @ both.T)


def _difference(T: Array, other: Array) -> Array:
    """Return the step (6,) from a pose to another, as of `Pose.covariance`."""
    x, y, z, w = rigid.to_quaternion(other[:3, :3] @ T[:3, :3].T)
    axis = np.array([x, y, z])
    sine = float(np.linalg.norm(axis))
    turn = axis * (2 * np.arctan2(sine, w) / sine if sine > 0 else 0.0)
    return np.concatenate([other[:3, 3] - T[:3, 3], turn])
