"""An object: descriptors with their places in the object's own frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FEWEST, MOST = 3, 512
_LENGTH = 1e-3  # of a unit vector, how far off
_LARGEST = 10.0  # metres; points farther from the origin are a mistake of the unit


@dataclass(frozen=True)
class Constellation:
    """N points of an object; raises ValueError for what cannot be one.

    points (N, 3): metres, in the object's frame; descriptors (N, D): unit length, float32;
    weights (N,): how much each counts, above 0: how distinctive it was (0..1), and more for each
    view that saw it again; fingerprint: of the model that made the descriptors; views: from how
    many the object was taught. The arrays are copied, and cannot be written to.
    """

    points: Array
    descriptors: NDArray[np.float32]
    weights: Array
    fingerprint: str
    views: int = 1

    def __post_init__(self) -> None:
        for name, kind in (
            ('points', np.float64),
            ('descriptors', np.float32),
            ('weights', np.float64),
        ):
            array = np.array(getattr(self, name), dtype=kind)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
            if not np.isfinite(array).all():
                raise ValueError(f'the {name} of a constellation must be finite')
        number = len(self.weights) if self.weights.ndim == 1 else 0
        if number > MOST:
            raise ValueError(f'a constellation has {number} points; at most {MOST} are allowed')
        if number < FEWEST:
            raise ValueError(
                f'a constellation of {number} points has no pose; it needs {FEWEST} or more'
            )
        if self.points.shape != (number, 3):
            raise ValueError(
                f'points are {self.points.shape}; with {number} weights ({number}, 3)'
            )
        if self.descriptors.shape[:1] != (number,) or self.descriptors.ndim != 2:
            raise ValueError(
                f'descriptors are {self.descriptors.shape}; with {number} weights ({number}, D)'
            )
        lengths = np.linalg.norm(self.descriptors, axis=1)
        if (np.abs(lengths - 1) > _LENGTH).any():
            raise ValueError(
                f'a descriptor has the length {lengths[np.abs(lengths - 1).argmax()]:.3g}; '
                'they must have unit length'
            )
        if not (self.weights > 0).all():
            raise ValueError(f'a weight is {self.weights.min():g}; they must be above 0')
        if np.abs(self.points).max() > _LARGEST:
            raise ValueError(
                f'a point lies {np.abs(self.points).max():g} m from the origin; points are in '
                'metres, in the frame of the object'
            )
        if not self.fingerprint:
            raise ValueError('the fingerprint is empty; name the model that made the descriptors')
        if self.views < 1:
            raise ValueError(f'views is {self.views}; at least one has shown the object')

    @property
    def radius(self) -> float:
        """The distance of the farthest point from the points' centroid, metres."""
        return float(np.linalg.norm(self.points - self.points.mean(axis=0), axis=1).max())
