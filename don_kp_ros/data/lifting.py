"""Correspondences of two views lifted to space, and the motion between them (paper 1, 3.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from don_kp_ros.configuration import within
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.alignment import kabsch

Array = NDArray[np.float64]

CORRESPONDENCES = 24
"""As many as paper 1 found to give a stable motion."""


@dataclass(frozen=True)
class LiftConfiguration:
    """The camera that synthetic views are assumed to come from."""

    field_of_view: float = 69.0  # degrees across a picture's longer side; a D435's
    distance: float = 0.5  # metres, of a picture without depth: a plane that faces the camera

    def __post_init__(self) -> None:
        within('field_of_view', self.field_of_view, 1, 170)
        within('distance', self.distance, 0.01, 100)


@dataclass(frozen=True)
class PairGeometry:
    """The geometry of a pair's two cameras.

    K_a, K_b (3, 3): intrinsics of the two views, pixels; T_b_a (4, 4): maps points from view a's
    camera frame to view b's, metres; T_world_a, T_world_b (4, 4): from each to a common frame.
    """

    K_a: Array
    K_b: Array
    T_b_a: Array
    T_world_a: Array
    T_world_b: Array


def intrinsics(configuration: LiftConfiguration, input_size: float, side: int) -> Array:
    """Make the camera matrix (3, 3) of a square view.

    input_size: longer side of a whole picture, in pixels of the view; side: of the view.
    """
    focal = input_size / 2 / np.tan(np.deg2rad(configuration.field_of_view) / 2)
    middle = (side - 1) / 2
    return np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1]])


def pair_geometry(uv: tuple[Array, Array], depths: tuple[Array, Array], K: Array) -> PairGeometry:
    """Find the rigid motion that fits two views' lifted correspondences best (Kabsch).

    uv: pixels (Q, 2) in view a and b; depths: (Q,) metres in each; NaN is left out. View a's
    camera frame serves as the world's. Raises ValueError for fewer than three finite points.
    """
    known = np.flatnonzero(np.isfinite(depths[0]) & np.isfinite(depths[1]))
    if len(known) > CORRESPONDENCES:
        known = known[np.linspace(0, len(known) - 1, CORRESPONDENCES).astype(int)]
    if len(known) < 3:
        raise ValueError(f'{len(known)} correspondences have a depth; a motion needs at least 3')
    rays = np.linalg.inv(K).T
    a, b = (
        (np.column_stack([pixels[known], np.ones(len(known))]) @ rays) * depth[known, None]
        for pixels, depth in zip(uv, depths, strict=True)
    )
    T_b_a = kabsch(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    return PairGeometry(K, K, T_b_a, np.eye(4), rigid.inverse(T_b_a))
