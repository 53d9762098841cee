"""Where an object should be grasped: near its stored points, where fingers fit (paper 2, G.2).

The preference of a place is h = sum_j exp(-dist(descriptor, d_j) / eta) / N over the N stored
points of an object. It is multiplied by how graspable the measured surface is there. Both are
computed at the cells of the descriptor map, whose descriptors are exact; pixels are between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from don_kp_ros.geometry.camera import Camera
from don_kp_ros.matching.maps import cell_centres, checked_map, checked_queries
from don_kp_ros.matching.view import View, lift

Array = NDArray[np.float64]
Distance = Literal['cosine', 'euclidean']

_CIRCLE = np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=1)
_DIRECTIONS = 8  # of closing fingers, over half a turn
_STEP = 0.004  # metres between two places that are looked at
_RINGS = 4  # about a place, where edges are looked for
_PLACES_AT_ONCE = 512
_TINY = 1e-9
_WORTH = 0.01  # of the largest preference; where it is less, the surface is not looked at


@dataclass(frozen=True)
class Grasp:
    """What fingers need, metres and radians; where it is just not there, the area is 0."""

    opening: float = 0.08  # between the open fingers
    thickness: float = 0.015  # of the room that a finger takes, along the closing direction
    breadth: float = 0.02  # of the same, across it
    reach: float = 0.012  # of the fingers below the place, on both sides of it
    patch: float = 0.008  # radius of the surface about a place that is to be flat
    roughness: float = 0.004  # of the patch: root mean square distance from a plane
    slope: float = float(np.deg2rad(60))  # of the patch, against the approach
    edge: float = 0.006  # from a place to a hole in the depth, or to a step, for full marks

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 0 < value < np.inf:
                raise ValueError(f'{name} is {value}; it must be above 0')


def preference(
    descriptor_map: Tensor, queries: Tensor, eta: float = 0.1, distance: Distance = 'cosine'
) -> Tensor:
    """Compute the preference (h, w), 0..1, of the cells of a map (D, h, w) for queries (N, D).

    distance: 'cosine', 1 minus the similarity, 0..2; or 'euclidean', between vectors of unit
    length, 0..2. eta: the distance at which the preference has fallen to 1/e.
    """
    descriptor_map = checked_map(descriptor_map)
    queries = checked_queries(queries, descriptor_map)
    if not 0 < eta < np.inf:
        raise ValueError(f'eta is {eta}; it must be above 0')
    if len(queries) == 0:
        raise ValueError('an object without stored points has no preferred places; store some')
    away = 1 - (queries @ descriptor_map.flatten(1)).clamp_(-1, 1)
    if distance == 'euclidean':
        away = away.mul_(2).sqrt_()
    return away.div_(-eta).exp_().mean(dim=0).view(descriptor_map.shape[1:])


def grasp_preference(
    descriptor_map: Tensor,
    queries: Tensor,
    view: View,
    eta: float = 0.1,
    distance: Distance = 'cosine',
    grasp: Grasp | None = None,
    up: ArrayLike = (0.0, 0.0, -1.0),
) -> NDArray[np.float32]:
    """Compute the preference (h, w) of the cells times their graspable area, 0..1.

    up (3,): opposite to the approach, in the optical frame; by default towards the camera. Cells
    without depth are 0; a view without depth or camera is a ValueError.
    """
    wanted = preference(descriptor_map, queries, eta, distance).cpu().numpy()
    rows, columns = np.nonzero(wanted >= _WORTH * wanted.max())
    us, vs = cell_centres((wanted.shape[0], wanted.shape[1]), view.size)
    uv = np.stack([us[columns], vs[rows]], axis=1)
    found = np.zeros(wanted.shape, dtype=np.float32)
    found[rows, columns] = wanted[rows, columns] * graspable(view, uv, grasp, up)
    return found


def graspable(
    view: View, uv: ArrayLike, grasp: Grasp | None = None, up: ArrayLike = (0.0, 0.0, -1.0)
) -> Array:
    """Tell how well fingers can grasp the surface at pixels (K, 2): (K,), 0..1.

    The product of four: how flat the patch about a pixel is, how square to the approach, how far
    from holes and steps in the depth, and whether there is a direction in which the open fingers
    straddle what is there and have room. A pixel without depth is 0.
    """
    if view.depth is None or view.camera is None:
        raise ValueError(f'where fingers fit is seen by depth: {view.lacks}')
    grasp, camera = grasp or Grasp(), view.camera
    places, _ = lift(view, uv)
    result, metres, frame = np.zeros(len(places)), view.depth.metres(), _frame(up)
    index = np.flatnonzero(np.isfinite(places[:, 2]))
    for some in np.array_split(index, 1 + len(index) // _PLACES_AT_ONCE):
        look = _Around(metres, camera, places[some], frame)
        result[some] = look.patch(grasp) * look.has_room(grasp)
    return result


def _frame(up: ArrayLike) -> Array:
    """Make two directions across ``up`` and itself, the rows of (3, 3)."""
    up = np.asarray(up, dtype=np.float64)
    length = float(np.linalg.norm(up))
    if up.shape != (3,) or not 0 < length < np.inf:
        raise ValueError(f'up is {up.tolist()}; three finite numbers, not all 0, are a direction')
    up = up / length
    across = np.cross(up, np.eye(3)[np.abs(up).argmin()])
    across /= np.linalg.norm(across)
    return np.stack([across, np.cross(up, across), up])


@dataclass(frozen=True)
class _Around:
    """The measured surface around places (K, 3)."""

    depth: NDArray[np.float32]  # (H, W) metres
    camera: Camera
    places: Array
    frame: Array  # rows: two directions across the approach, and up

    def heights(self, across: Array) -> Array:
        """Return how high (K, S) the surface is over the places, at offsets (S, 2) from them."""
        at = self.places[:, None] + across @ self.frame[:2]
        uv = self.camera.project(at)
        inside = self.camera.contains(uv)
        u, v = np.rint(np.where(inside[..., None], uv, 0)).astype(np.int64).reshape(-1, 2).T
        depth = self.depth[v, u].reshape(inside.shape)
        seen = self.camera.deproject(uv, np.where(inside, depth, np.nan))
        return np.asarray((seen - self.places[:, None]) @ self.frame[2])

    def patch(self, grasp: Grasp) -> Array:
        """Tell how flat, square to the approach and far from edges the places are: (K,), 0..1."""
        steepest = np.tan(grasp.slope)
        circles = [radius * grasp.patch * _CIRCLE for radius in (0.0, 0.5, 1.0)]
        across = np.concatenate(circles)
        heights = self.heights(across)
        # What is beyond a step is another surface.
        same = np.abs(heights) < np.linalg.norm(across, axis=1) * steepest + grasp.roughness
        heights = np.where(same, heights, 0)
        design = np.concatenate([across / grasp.patch, np.ones((len(across), 1))], axis=1)
        normal = np.einsum('ks,si,sj->kij', same, design, design) + _TINY * np.eye(3)
        plane = np.linalg.solve(normal, (heights @ design)[..., None])[..., 0]
        off = np.where(same, heights - plane @ design.T, 0)
        rough = np.sqrt((off * off).sum(axis=1) / np.maximum(same.sum(axis=1), 1))
        slope = np.arctan(np.linalg.norm(plane[:, :2], axis=1) / grasp.patch)
        rings = grasp.edge * np.arange(1, _RINGS + 1) / _RINGS
        beside = self.heights((rings[:, None, None] * _CIRCLE).reshape(-1, 2))
        beside = np.abs(beside.reshape(-1, _RINGS, len(_CIRCLE))).max(axis=2)
        clear = np.cumprod(beside < rings * steepest + grasp.roughness, axis=1)
        flat = np.clip(1 - rough / grasp.roughness, 0, 1)
        square = np.clip(1 - (slope / grasp.slope) ** 2, 0, 1)
        return np.asarray(flat * square * clear.mean(axis=1))

    def has_room(self, grasp: Grasp) -> NDArray[np.bool_]:
        """Tell where (K,) two fingers straddle what is there, and are free on both sides."""
        out = np.arange(_STEP, grasp.opening / 2 + grasp.thickness + _STEP / 2, _STEP)
        sideways = np.array([-0.5, 0.0, 0.5]) * grasp.breadth
        angle = np.arange(2 * _DIRECTIONS) * (np.pi / _DIRECTIONS)
        closing = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        beside = closing[:, ::-1] * [-1, 1]
        across = closing[:, None, None] * out[:, None, None] + (
            beside[:, None, None] * sideways[:, None]
        )
        heights = self.heights(across.reshape(-1, 2)).reshape(-1, *across.shape[:3])
        free: NDArray[np.bool_] = np.all(heights < -grasp.reach, axis=3)  # (K, angles, steps)
        # A finger is where so many steps in a row are free, from within half the opening on.
        room = max(1, round(grasp.thickness / _STEP))
        starts = free.shape[2] - room + 1
        fits = np.stack([free[:, :, k : k + room].all(axis=2) for k in range(starts)], axis=2)
        side = np.any(fits[:, :, : max(1, int(grasp.opening / 2 / _STEP))], axis=2)
        return np.asarray(np.any(side[:, :_DIRECTIONS] & side[:, _DIRECTIONS:], axis=1))
