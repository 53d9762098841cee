"""Teach an object by views of it: points that are distinctive, spread over what is seen."""

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
from don_kp_ros.pose.constellation import MOST, Constellation
from don_kp_ros.pose.estimate import Confidence, Noise, Pose
from don_kp_ros.pose.instances import SIMILAR, find_instances
from don_kp_ros.pose.registration import register
from don_kp_ros.pose.symmetry import form_of

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

NUMBER = 64
"""Points that a view teaches, if not said otherwise."""

TO_THE_CAMERA = np.diag([1.0, -1.0, -1.0])
"""Axes in the optical frame, x to the right and y up: z points to the side that is seen, as the
base's does of an object on a table."""

_LOOKED_AT = 500  # pixels of the object that points are chosen from
_MARGIN = 3  # pixels off the object's border, where descriptors and depths mix
_FEWEST = 8  # points that an object must have
_ELSEWHERE = 0.5  # similarity from which another place makes a point less distinctive
_DISTINCT = 0.95  # the second place's similarity over the first's, of a point that is chosen
_LEAST_WEIGHT = 0.05
_AS_KNOWN = 0.5  # similarity of a known point with its place in a view that changes it
_ON_SURFACE = 0.005  # metres from a known point to what is measured there, to be averaged
_LARGEST_RESIDUAL = 0.012  # metres, of a view that goes with those before
_SPACING = 1.0  # of the spacing of the known points, from these to a new one


@dataclass(frozen=True)
class Taught:
    """An object, and the pose (4, 4) that it has in the view that taught it."""

    constellation: Constellation
    T_camera_object: Array


def teach(
    cells: Tensor,
    view: View,
    mask: ArrayLike,
    fingerprint: str,
    axes: ArrayLike | None = None,
    T_camera_object: ArrayLike | None = None,
    number: int = NUMBER,
    places: ArrayLike | None = None,
) -> Taught:
    """Make a constellation of what one view shows of an object.

    cells (D, h, w): the picture's descriptor map, of the model with that fingerprint; mask (H, W):
    the object (`segmentation.object_mask` of a click). The object's frame is T_camera_object
    (4, 4), if that is given. Otherwise its origin is the points' centroid, and its axes are the
    columns of ``axes`` (3, 3), in the optical frame: those of the robot's base at that moment, or
    without them `TO_THE_CAMERA`.
    places (K, 2): the pixels to take points from, as a model's keypoints; those off the object are
    left out. Without them, points are taken from all over the object.

    Raises RefusedError, with what to do, where too little of the object can be measured.
    """
    seen = _Seen.of(cells, view, mask, places)
    chosen = spread(seen.points, number)
    points = seen.points[chosen]
    if T_camera_object is None:
        T = rigid.transform(TO_THE_CAMERA if axes is None else axes, points.mean(axis=0))
    else:
        T = np.array(T_camera_object, dtype=np.float64)
    placed = rigid.apply(rigid.inverse(T), points)
    return Taught(
        Constellation(placed, seen.descriptors[chosen], seen.weights[chosen], fingerprint), T
    )


def extend(
    known: Constellation,
    cells: Tensor,
    view: View,
    mask: ArrayLike,
    fingerprint: str,
    noise: Noise | None = None,
    confidence: Confidence | None = None,
    number: int = NUMBER,
) -> Taught:
    """Add what another view shows of a known object; arguments as of `teach`.

    Its pose is found by the points that are known. Those that are seen again are averaged, at most
    ``number`` others join, and the frame stays. Raises RefusedError, with the residual, for a view
    that does not go with those before, and for the map of another model.
    """
    if fingerprint != known.fingerprint:
        raise RefusedError(
            f'the object was taught with the model {known.fingerprint}, the view is described by '
            f'{fingerprint}; teach it anew, or load its model'
        )
    seen = _Seen.of(cells, view, mask)
    pose = _pose_in(known, cells, view, np.asarray(mask, dtype=np.bool_), noise, confidence)
    T = pose.T_camera_object
    fit = register(known, T, cells, view)
    again = fit.seen & (fit.similarity >= _AS_KNOWN)
    points, descriptors, weights = _averaged(known, T, cells, view, again)
    new = rigid.apply(rigid.inverse(T), seen.points)
    room = min(number, MOST - len(known.points))
    joining = spread(new, room, known.points, _SPACING * _spacing(known.points))
    return Taught(
        Constellation(
            np.concatenate([points, new[joining]]),
            np.concatenate([descriptors, seen.descriptors[joining]]),
            np.concatenate([weights, seen.weights[joining]]),
            known.fingerprint,
            known.views + 1,
        ),
        T,
    )


def spread(
    points: ArrayLike, number: int, taken: ArrayLike | None = None, apart: float = 0.0
) -> NDArray[np.int64]:
    """Choose at most ``number`` of points (N, 3), each as far as can be from those before.

    taken (K, 3): points from which they keep away, too; without them the first is the one in the
    middle. None is nearer than ``apart`` metres to another (farthest-point sampling: Gonzalez
    1985).
    """
    points = np.asarray(points, dtype=np.float64)
    if taken is None:
        away = np.full(len(points), np.inf)
        following = int(np.linalg.norm(points - points.mean(axis=0), axis=1).argmin())
    else:
        taken = np.asarray(taken, dtype=np.float64)
        away = np.linalg.norm(points[:, None] - taken, axis=2).min(axis=1)
        following = int(away.argmax())
    chosen: list[int] = []
    while len(chosen) < number and away[following] > apart:
        chosen.append(following)
        away = np.minimum(away, np.linalg.norm(points - points[following], axis=1))
        following = int(away.argmax())
    return np.array(chosen, dtype=np.int64)


@dataclass(frozen=True)
class _Seen:
    """Places on an object that are distinctive in a view.

    points (N, 3): metres in the optical frame; descriptors (N, D); weights (N,): 0..1.
    """

    points: Array
    descriptors: NDArray[np.float32]
    weights: Array

    @classmethod
    def of(
        cls, cells: Tensor, view: View, mask: ArrayLike, places: ArrayLike | None = None
    ) -> _Seen:
        mask = np.asarray(mask, dtype=np.bool_)
        if view.depth is None or view.camera is None:
            raise RefusedError(f'an object is taught with depth: {view.lacks}')
        if mask.shape != view.size:
            raise RefusedError(f'the mask is {mask.shape}, the picture {view.size} (H, W)')
        uv = _places_on(ndimage.binary_erosion(mask, iterations=_MARGIN), places)
        points, _ = lift(view, uv)
        measured = np.isfinite(points[:, 2])
        if measured.sum() < _FEWEST:
            raise RefusedError(
                f'{int(measured.sum())} of {len(uv)} places on the object have depth, which are '
                f'too few; look from nearer, or from another side ({int(mask.sum())} pixels show '
                'the object)'
            )
        uv, points = uv[measured], points[measured]
        descriptors = describe_at(cells, torch.from_numpy(uv), view.size)
        found = find_candidates(cells, descriptors, view, _ELSEWHERE)
        ambiguity = found.ambiguity[found.instance == 0]
        distinct = ambiguity <= max(_DISTINCT, float(np.median(ambiguity)))
        return cls(
            points[distinct],
            descriptors.cpu().numpy()[distinct],
            np.maximum(1 - ambiguity**2, _LEAST_WEIGHT)[distinct],
        )


def _places_on(mask: Mask, places: ArrayLike | None) -> Array:
    """Return those of some pixels that are in a mask, or pixels (K, 2) all over it."""
    if places is not None:
        uv = np.asarray(places, dtype=np.float64).reshape(-1, 2)
        u, v = np.rint(uv).astype(np.int64).T
        inside = (u >= 0) & (u < mask.shape[1]) & (v >= 0) & (v < mask.shape[0])
        return uv[inside][mask[v[inside], u[inside]]]
    v, u = np.nonzero(mask)
    step = max(1, int(np.ceil(np.sqrt(len(u) / _LOOKED_AT))))
    regular = (v % step == 0) & (u % step == 0)
    return np.stack([u[regular], v[regular]], axis=1).astype(np.float64)


def _pose_in(
    known: Constellation,
    cells: Tensor,
    view: View,
    mask: Mask,
    noise: Noise | None,
    confidence: Confidence | None,
) -> Pose:
    """Find a known object in the part of a view that shows it."""
    queries = torch.from_numpy(known.descriptors.copy())
    candidates = find_candidates(cells, queries, view, SIMILAR)
    u, v = np.rint(candidates.uv).astype(np.int64).T
    on = candidates.some(np.flatnonzero(mask[v, u]))
    pose, *others = find_instances(known, cells, on, view, noise, confidence, form_of(known))
    unsure = pose.ambiguous or bool(others)
    if pose.refused or unsure or pose.residual > _LARGEST_RESIDUAL:
        off = ''
        if np.isfinite(pose.residual):
            off = f'{pose.inliers.sum()} points are off by {1000 * pose.residual:.1f} mm (rms), '
        why = str(pose.refused or f'allowed are {1000 * _LARGEST_RESIDUAL:.0f} mm')
        remedy = 'show the same object, a side of which is known, and nothing else in the mask'
        if unsure and not pose.refused:
            why = 'another turn or place fits as well'
            remedy = 'show it from where more of what is known is seen'
        raise RefusedError(
            f'this view does not go with the {known.views} before: {off}{why}; {remedy}'
        )
    return pose


def _averaged(
    known: Constellation, T: Array, cells: Tensor, view: View, again: Mask
) -> tuple[Array, NDArray[np.float32], Array]:
    """Average points (N, 3), descriptors and weights with what a view shows of some of them."""
    assert view.camera is not None
    placed = rigid.apply(T, known.points[again])
    uv = view.camera.project(placed)
    measured, _ = lift(view, uv)
    usable = np.linalg.norm(measured - placed, axis=1) < _ON_SURFACE  # not where NaN
    index = np.flatnonzero(again)[usable]
    described = describe_at(cells, torch.from_numpy(uv[usable]), view.size).cpu().numpy()
    points, descriptors = known.points.copy(), known.descriptors.copy()
    weights = known.weights.copy()
    share = 1 / (known.views + 1)
    now = rigid.apply(rigid.inverse(T), measured[usable])
    points[index] += share * (now - points[index])
    mean = (1 - share) * descriptors[index] + share * described
    descriptors[index] = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    weights[index] += weights[index] / known.views
    return points, descriptors, weights


def _spacing(points: Array) -> float:
    """Return the usual distance from a point to the next one, metres."""
    apart = np.linalg.norm(points[:, None] - points, axis=2)
    np.fill_diagonal(apart, np.inf)
    return float(np.median(apart.min(axis=1)))
