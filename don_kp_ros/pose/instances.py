"""All instances of an object in a picture: each is found once, with its pose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from don_kp_ros.geometry import rigid
from don_kp_ros.matching.candidates import Candidates
from don_kp_ros.matching.view import View
from don_kp_ros.pose.consensus import may_agree, scores
from don_kp_ros.pose.constellation import Constellation
from don_kp_ros.pose.estimate import Confidence, Noise, Pose, Refusal, Why
from don_kp_ros.pose.matches import Matches
from don_kp_ros.pose.perspective import solve_pixels
from don_kp_ros.pose.registration import Fit, register
from don_kp_ros.pose.solve import likely_poses, pose_of
from don_kp_ros.pose.symmetry import SMALLEST_TURN, Form, Symmetry

Array = NDArray[np.float64]

SIMILAR = 0.6
"""The similarity from which places are worth to be candidates (`find_candidates`)."""

_MOST = 8  # instances
_WORTH_A_LOOK = 0.5  # of the consensus of the best pose
_HOPELESS = 0.5  # less, before it is registered: it cannot be
_DOUBT = 0.15  # less of fit than the best pose: either may be right
_CONTRADICTED = 0.15  # of the points' weight, at most
_EXPLAINED_M, _EXPLAINED_PX = 0.015, 20.0  # from a place to a point of an instance that was found
_SAME = 0.5  # of the object's radius, between the middles of what is one instance
_BESIDE = 1.0  # the same, of what cannot be another one: points of one side move as it turns


def find_instances(
    constellation: Constellation,
    cells: Tensor,
    candidates: Candidates,
    view: View,
    noise: Noise | None = None,
    confidence: Confidence | None = None,
    form: Form | None = None,
    seed: int = 0,
) -> list[Pose]:
    """Find the poses of all instances of an object in a picture, the one that fits best first.

    cells (D, h, w): the picture's descriptor map; candidates: where each of the N descriptors was
    found in it from `SIMILAR` on (`find_candidates`); form: of the object (`form_of`), unknown if
    it is left out. Instances are found one after the other, each without the candidates that those
    before explain. If there is none, the single pose that is returned says in ``refused`` why.
    Equal arguments give equal poses.
    """
    noise, confidence = noise or Noise(), confidence or Confidence()
    form = form or Form.unknown(len(constellation.points))
    by_depth = candidates.have_depth
    if by_depth:  # what is left without it in the end must not be another instance
        candidates = candidates.some(np.flatnonzero(np.isfinite(candidates.position[:, 2])))
    found: list[Pose] = []
    for _ in range(_MOST):
        pose = _locate(
            constellation, cells, candidates, view, by_depth, noise, confidence, form, seed
        )
        if pose.refused:
            return sorted(found, key=lambda one: -_quality(one)) or [pose]
        T = pose.T_camera_object
        if all(_apart(constellation, T, one.T_camera_object) > _SAME for one in found):
            found.append(pose)
        candidates = _unexplained(constellation, candidates, view, pose)
        if by_depth and view.camera is not None:
            left = Matches.of(constellation, candidates, view.camera, noise)
            if not may_agree(left, confidence):
                break
    return sorted(found, key=lambda one: -_quality(one))


def _quality(pose: Pose) -> float:
    return pose.share if np.isnan(pose.fit) else pose.fit


def _locate(
    constellation: Constellation,
    cells: Tensor,
    candidates: Candidates,
    view: View,
    by_depth: bool,
    noise: Noise,
    confidence: Confidence,
    form: Form,
    seed: int,
) -> Pose:
    """Find the instance that fits best."""
    symmetry = form.symmetry
    if view.camera is None:
        return Pose.none(len(constellation.points), Refusal(Why.TOO_FEW, view.lacks))
    if not by_depth:
        pose = solve_pixels(constellation, candidates, view.camera, noise, confidence)
        if pose.refused and view.lacks:  # with depth it may well be found
            text = f'{pose.refused}; {view.lacks}'
            pose = replace(pose, refused=replace(pose.refused, text=text))
        return pose if symmetry is None or pose.refused else pose.free_about(symmetry)
    matches = Matches.of(constellation, candidates, view.camera, noise)
    likely = likely_poses(matches, confidence, seed)
    if isinstance(likely, Refusal):
        return Pose.none(len(constellation.points), likely)
    first = pose_of(matches, likely[0], noise, confidence)
    if first.refused and first.refused.why is Why.NO_CONSENSUS:
        return first
    least = _WORTH_A_LOOK * float(scores(matches, likely[0]))
    likely = [T for T in likely if float(scores(matches, T)) >= least]
    fits: list[Fit] = []
    for T in likely:
        best = max((fit.quality for fit in fits), default=-np.inf)
        fits.append(register(constellation, T, cells, view, best - _HOPELESS, form.facing))
    fits.sort(key=lambda fit: -fit.quality)
    pose = pose_of(matches, fits[0].T_camera_object, noise, confidence)
    refused = pose.refused or _refusal(fits[0], confidence)
    pose = replace(pose, fit=fits[0].quality, refused=refused)
    if pose.refused:
        return pose
    pose = against_rivals(constellation, pose, fits[1:], form)
    if symmetry is None or pose.refused or pose.ambiguous:
        return pose
    return pose.free_about(symmetry)


def _refusal(fit: Fit, confidence: Confidence) -> Refusal | None:
    if fit.looked_through > _CONTRADICTED:
        return Refusal(
            Why.CONTRADICTED,
            f'the camera looks through {fit.looked_through:.0%} of the object, or at its back, if '
            f'it is there; allowed are {_CONTRADICTED:.0%}',
        )
    if fit.quality < confidence.fit:
        return Refusal(
            Why.UNLIKE,
            f'the picture speaks for the object there by {fit.quality:.2f}, of 1 if it were as '
            f'taught; needed are {confidence.fit:.2f}',
        )
    return None


def against_rivals(
    constellation: Constellation, pose: Pose, rivals: Sequence[Fit], form: Form
) -> Pose:
    """Say that another turn of the object, at the same place, fits about as well.

    rivals: other poses, the one that fits best first. Those that are turned about the axis of its
    shape leave no more than that turn unknown.
    """
    told, symmetry = pose, form.symmetry
    for other in rivals:
        if other.quality < pose.fit - _DOUBT:
            break
        motion = rigid.inverse(pose.T_camera_object) @ other.T_camera_object
        apart = _apart(constellation, pose.T_camera_object, other.T_camera_object)
        if apart > _BESIDE or not _is_turn(motion, symmetry):
            continue
        if form.axis is not None and not _is_turn(motion, form.axis):
            told = replace(pose.free_about(form.axis), ambiguous=True)
            continue
        axis = Symmetry.of_turn(motion, constellation.radius)
        if axis is None or symmetry is not None or told is not pose:
            text = (
                f'another turn fits the picture by {other.quality:.2f}, this one by '
                f'{pose.fit:.2f}, which must be {_DOUBT:g} more; look from nearer, or from '
                'another side'
            )
            return replace(pose, refused=Refusal(Why.AMBIGUOUS, text))
        return replace(pose.free_about(axis), ambiguous=True)
    return told


def _is_turn(motion: Array, symmetry: Symmetry | None) -> bool:
    """Tell whether a motion (4, 4) turns the object, otherwise than to where it looks the same."""
    R = motion[:3, :3]
    if symmetry is not None and not symmetry.order:
        return bool(symmetry.direction @ R @ symmetry.direction < np.cos(SMALLEST_TURN))
    order = 1 if symmetry is None else symmetry.order
    alike = [np.eye(3)]
    if symmetry is not None:
        alike += [symmetry.turn(2 * np.pi * k / order)[:3, :3] for k in range(1, order)]
    return all(np.trace(R @ T.T) < 1 + 2 * np.cos(SMALLEST_TURN) for T in alike)


def _apart(constellation: Constellation, T: Array, other: Array) -> float:
    """Return how far the points' middles are apart under two poses, in radii of the object."""
    centre = constellation.points.mean(axis=0)
    away = np.linalg.norm(rigid.apply(T, centre) - rigid.apply(other, centre))
    return float(away / constellation.radius)


def _unexplained(
    constellation: Constellation, candidates: Candidates, view: View, pose: Pose
) -> Candidates:
    """Leave out the candidates on an instance that was found."""
    assert view.camera is not None
    points = rigid.apply(pose.T_camera_object, constellation.points)
    if pose.unit == 'px':
        places, points, near = candidates.uv, view.camera.project(points), _EXPLAINED_PX
    else:
        places, near = candidates.position, _EXPLAINED_M
    off = np.linalg.norm(places[:, None] - points, axis=2)
    away = np.fmin.reduce(off, axis=1)  # of a point that is not seen, it is NaN
    return candidates.some(np.flatnonzero(~(away < near)))
