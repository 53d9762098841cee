"""Teach an object from a view: points that are distinctive, spread over what is seen of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from torch import Tensor

from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry import rigid
from don_kp_ros.matching.candidates import find_candidates
from don_kp_ros.matching.maps import describe_at
from don_kp_ros.matching.view import View, lift
from don_kp_ros.pose.constellation import FEWEST, Constellation

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_SEEN = 500  # pixels of the object that are looked at
_MARGIN = 3  # pixels off the object's border, where descriptors and depths mix
_LEAST_SIMILAR = 0.5  # of a second place
_DISTINCT = 0.95  # the second place's similarity over the first's, at most
_LEAST_WEIGHT = 0.05


def teach(cells, view, mask, fingerprint, R_camera_object, number=64):
    points, descriptors, weights = _points_of(cells, view, mask)
    chosen = spread(points, number)
    points, descriptors, weights = points[chosen], descriptors[chosen], weights[chosen]
    T = rigid.transform(R_camera_object, points.mean(axis=0))
    return Constellation(
        rigid.apply(rigid.inverse(T), points), descriptors, weights, fingerprint
    ), T


def _points_of(cells: Tensor, view: View, mask: Mask):
    inner = ndimage.binary_erosion(mask, iterations=_MARGIN)
    v, u = np.nonzero(inner)
    step = max(1, int(np.ceil(np.sqrt(len(u) / _SEEN))))
    on = (v % step == 0) & (u % step == 0)
    uv = np.stack([u[on], v[on]], axis=1).astype(np.float64)
    points, _ = lift(view, uv)
    ok = np.isfinite(points[:, 2])
    uv, points = uv[ok], points[ok]
    descriptors = describe_at(cells, torch.from_numpy(uv), view.size)
    found = find_candidates(cells, descriptors, view, _LEAST_SIMILAR)
    best = found.instance == 0
    amb = found.ambiguity[best]
    w = np.maximum(1 - amb**2, _LEAST_WEIGHT)
    keep = amb <= max(_DISTINCT, np.median(amb))
    return points[keep], descriptors.numpy()[keep], w[keep]


def spread(points: ArrayLike, number: int, taken=None) -> NDArray[np.int64]:
    """Choose points (N, 3) far from each other, and from others: farthest-point sampling."""
    points = np.asarray(points)
    first = int(np.linalg.norm(points - points.mean(axis=0), axis=1).argmin())
    chosen = [first]
    away = np.linalg.norm(points - points[first], axis=1)
    while len(chosen) < min(number, len(points)):
        nxt = int(away.argmax())
        chosen.append(nxt)
        away = np.minimum(away, np.linalg.norm(points - points[nxt], axis=1))
    return np.array(chosen)
