"""What a trial may aim at besides the stored point, and where its object may be pushed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.robots.preset import load_preset
from don_kp_ros.simulation.camera import D435
from don_kp_ros.simulation.renderer import Renderer
from don_kp_ros.simulation.scene import SUBJECT, Layout
from don_kp_ros.simulation.world import World

Array = NDArray[np.float64]

AIMS = ('point', 'centroid', 'random', 'preferred')
"""The stored point; the middle, or any point, of the surface in view; where it is preferred."""

_DIRECTIONS, _ROOM = 16, 0.12  # of a push; metres to the middle of the nearest other object
_TABLE = np.array([[0.36, -0.2], [0.6, 0.2]])  # metres, where a pushed object may end


def surface_in_view(layout: Layout) -> Array:
    """Return what the camera sees of the object from where it looks for it: (N, 3), base frame.

    It is the simulation's own word, of exact depth and an exact mask.
    """
    world = World(layout, load_preset('panda'))
    T_base_optical = world.camera_pose()
    renderer = Renderer(world.model)
    try:
        depth = renderer.render(world.data, T_base_optical).depth
        mask = renderer.mask(world.data, T_base_optical, SUBJECT)
    finally:
        renderer.close()
    points = D435.deproject_image(depth)[mask]
    return rigid.apply(T_base_optical, points[np.isfinite(points).all(axis=1)])


def aimed_at(aim: str, surface: Array, rng: np.random.Generator) -> Array:
    """Return the middle of a surface (N, 3), or for the aim ``random`` one of its points, (3,)."""
    if not len(surface):
        raise ValueError('nothing of the object is in view, so there is nothing to aim at')
    chosen = surface[rng.integers(len(surface))] if aim == 'random' else surface.mean(axis=0)
    return np.asarray(chosen, np.float64)


def push_to_free_table(
    centre: Sequence[float], others: Array, metres: float, rng: np.random.Generator
) -> Array:
    """Draw a shift (3,) along the table of an object at a centre (3,), so many metres long.

    It ends on the table before the robot and clear of the others (K, 3) where it can; else where
    most room is.
    """
    turns = rng.uniform(0, 2 * np.pi) + rng.permutation(_DIRECTIONS) * (2 * np.pi / _DIRECTIONS)
    shifts = metres * np.stack([np.cos(turns), np.sin(turns), np.zeros(_DIRECTIONS)], axis=1)
    ends = (np.asarray(centre, np.float64) + shifts)[:, :2]
    room = np.full(_DIRECTIONS, np.inf)
    for other in np.asarray(others, np.float64).reshape(-1, 3):
        room = np.minimum(room, np.linalg.norm(ends - other[:2], axis=1))
    outside = ((ends < _TABLE[0]) | (ends > _TABLE[1])).any(axis=1)
    # The first of the free ones, which come in any order.
    return shifts[int(np.argmax(np.where(outside, -1.0, np.minimum(room, _ROOM))))]
