"""What is known of an object's pose: the transform, how certain it is, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.geometry.symmetry import SymmetryAxis

Array = NDArray[np.float64]

_ANY_ANGLE = np.pi**2 / 3  # square radians: the variance of an angle of which nothing is known
_UNKNOWN = 1e4  # square metres or radians: the variance of what is not determined at all


class Why(str, Enum):
    """Why a pose is refused."""

    TOO_FEW = 'too few points'
    DEGENERATE = 'degenerate points'
    NO_CONSENSUS = 'no consensus'
    UNCERTAIN = 'uncertain'
    AMBIGUOUS = 'ambiguous'
    CONTRADICTED = 'contradicted'
    UNLIKE = 'unlike'
    NO_BETTER = 'no better than the start'
    NOT_CONVERGED = 'not converged'
    SIZE = 'another size'


@dataclass(frozen=True)
class Refusal:
    """A pose that is not told; ``text`` says what is wrong, with its figures."""

    why: Why
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Pose:
    """An estimate of the pose of a constellation of N points.

    T_camera_object (4, 4): maps points in the object's frame to the optical frame, metres; NaN
    where nothing fits. inliers (N,): which points agree with it. share: the weight of these over
    that of all points, 0..1. residual: root mean square over the inliers, in ``unit``: 'm' with
    measured depth, 'px' without.

    covariance (6, 6): of x, y, z (metres), and of rotations about the x, y and z axes (radians),
    all of the optical frame: the true pose is a shift and a small rotation about these fixed axes
    away, as in geometry_msgs/PoseWithCovariance, where the shift moves the object's origin and
    the rotation turns the object about it.

    fit: what the picture says of this pose, -1 (against it) to 1 (looks as was taught, all of it);
    NaN where only matches were looked at. symmetry: the axis about which the rotation is
    undetermined, if there is one. ambiguous: the axis is not the object's; this picture alone fits
    another turn about it, too. refined: the transform and its covariance are of a refinement by a
    mesh, the rest is not.
    refused: why the pose must not be used, or None.
    """

    T_camera_object: Array
    inliers: NDArray[np.bool_]
    share: float
    residual: float
    covariance: Array
    unit: str = 'm'
    fit: float = float('nan')
    symmetry: SymmetryAxis | None = None
    ambiguous: bool = False
    refined: bool = False
    refused: Refusal | None = None

    @classmethod
    def none(cls, points: int, refused: Refusal, unit: str = 'm') -> Pose:
        """Make one of a constellation of that many points that fits nowhere."""
        return cls(
            np.full((4, 4), np.nan),
            np.zeros(points, dtype=np.bool_),
            0.0,
            np.inf,
            np.full((6, 6), np.inf),
            unit,
            refused=refused,
        )

    def free_about(self, axis: SymmetryAxis) -> Pose:
        """Say that the object's turn about an axis is unknown."""
        unknown = axis.motion(self.T_camera_object)
        covariance = self.covariance + _ANY_ANGLE * np.outer(unknown, unknown)
        return replace(self, covariance=covariance, symmetry=axis)


@dataclass(frozen=True)
class Noise:
    """How far matches are off: standard deviations.

    A match is off along the surface by ``pixels``, whatever the surface's slope, so its position
    by that many pixels' size at its depth, in every direction; and the measured depth z is off by
    ``depth`` z^2, as a stereo camera's is (Khoshelham and Elberink 2012), z in metres. Neighbours
    are off alike, because the descriptors of both change alike with the view: so many matches
    count as one in the covariance as ``alike`` says.
    """

    pixels: float = 4.0
    depth: float = 0.004  # 1/m
    alike: float = 8.0

    def __post_init__(self) -> None:
        for name in ('pixels', 'depth', 'alike'):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f'{name} is {getattr(self, name)}; it must be above 0')


@dataclass(frozen=True)
class Confidence:
    """What a pose must have to be told.

    inliers: points that agree, at least, or all of fewer; share: their weight over that of all
    points, at least; fit: of the picture, at least (`Pose.fit`); radians, metres: the largest
    standard deviations, but for the rotation about an axis of symmetry.
    """

    inliers: int = 8
    share: float = 0.2
    fit: float = 0.2
    radians: float = float(np.deg2rad(20))
    metres: float = 0.01

    def __post_init__(self) -> None:
        for name in ('inliers', 'share', 'fit', 'radians', 'metres'):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(f'{name} is {getattr(self, name)}; it must be 0 or more')


def covariance_of(hessian: Array, cost: float, measured: int, alike: float) -> Array:
    """Compute a pose's covariance (6, 6) from the information (6, 6) of its matches.

    cost: the weighted sum of squares of ``measured`` numbers. Where they are off by more than the
    noise that was assumed, the covariance grows by as much; and by ``alike`` (`Noise`).
    """
    information, directions = np.linalg.eigh(hessian)
    variances = 1 / np.maximum(information, 1 / _UNKNOWN)
    growth = alike * max(1.0, cost / max(measured - 6, 1))
    return np.asarray(growth * (directions * variances) @ directions.T)


def judged(
    T: Array,
    agreeing: NDArray[np.int64],
    weight: Array,
    covariance: Array,
    residual: float,
    confidence: Confidence,
    unit: str = 'm',
) -> Pose:
    """Make an estimate of a pose (4, 4) that points (L,) agree with, of weights (N,)."""
    inliers = np.zeros(len(weight), dtype=np.bool_)
    inliers[agreeing] = True
    share = float(weight[inliers].sum() / weight.sum())
    pose = Pose(T, inliers, share, residual, covariance, unit)
    return replace(pose, refused=_refusal(pose, confidence))


def _refusal(pose: Pose, confidence: Confidence) -> Refusal | None:
    number, agreeing = len(pose.inliers), int(pose.inliers.sum())
    if agreeing < min(confidence.inliers, number) or pose.share < confidence.share:
        return Refusal(
            Why.NO_CONSENSUS,
            f'{agreeing} of {number} points agree on a pose, {pose.share:.0%} of their weight; '
            f'needed are {min(confidence.inliers, number)} and {confidence.share:.0%}',
        )
    deviations = np.sqrt(np.diag(pose.covariance))
    metres, radians = float(deviations[:3].max()), float(deviations[3:].max())
    if metres > confidence.metres or radians > confidence.radians:
        return Refusal(
            Why.UNCERTAIN,
            f'the pose is certain to {1000 * metres:.1f} mm and {np.rad2deg(radians):.1f} degrees '
            f'(standard deviations); needed are {1000 * confidence.metres:.1f} mm and '
            f'{np.rad2deg(confidence.radians):.1f} degrees',
        )
    return None
