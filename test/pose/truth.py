"""Objects, cameras and matches with known truth."""

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.matching.candidates import Candidates
from don_kp_ros.pose.constellation import Constellation

Array = NDArray[np.float64]

CAMERA = Camera(640, 480, 615.0, 610.0, 319.5, 239.5)


def constellation_of(points: Array, seed: int = 0, dimension: int = 16) -> Constellation:
    """Give points descriptors at random."""
    rng = np.random.default_rng(seed)
    descriptors = rng.normal(size=(len(points), dimension))
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    return Constellation(points, descriptors, np.ones(len(points)), 'a model')


def blob(number: int = 64, seed: int = 0) -> Constellation:
    """Points of an object of 10 cm without symmetry."""
    rng = np.random.default_rng(seed)
    return constellation_of(rng.uniform(-1, 1, (number, 3)) * [0.05, 0.04, 0.03])


def pose(seed: int = 0) -> Array:
    """Draw `T_camera_object` (4, 4) of an object half a metre away, turned anyhow."""
    rng = np.random.default_rng(seed)
    turn = rigid.rotation_about(rng.normal(size=3), rng.uniform(-np.pi, np.pi))
    return rigid.transform(turn, [*rng.uniform(-0.05, 0.05, 2), rng.uniform(0.4, 0.7)])


def candidates_at(position: Array, query: NDArray[np.int64] | None = None) -> Candidates:
    """Make candidates at positions (K, 3), one of each point if not said otherwise."""
    number = len(position)
    query = np.arange(number) if query is None else query
    instance = np.arange(number) - np.searchsorted(query, query)
    every = np.ones(number)
    uv = CAMERA.project(position)
    return Candidates(query, instance, uv, 0.9 * every, 0 * every, position, ('',) * number)
