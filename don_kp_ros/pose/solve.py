"""The pose of an object from the places where its points may be, with measured depth or without.

With depth the matches are 3D to 3D: consensus, then the most likely pose of those that agree. A
camera without depth leaves the pixels (`don_kp_ros.pose.perspective`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.geometry.camera import Camera
from don_kp_ros.matching.candidates import Candidates
from don_kp_ros.pose.consensus import GATE, poses_by_consensus, scores
from don_kp_ros.pose.constellation import FEWEST, Constellation
from don_kp_ros.pose.estimate import Confidence, Noise, Pose, Refusal, Why, covariance_of, judged
from don_kp_ros.pose.matches import Matches
from don_kp_ros.pose.perspective import solve_pixels
from don_kp_ros.pose.refinement import inliers, normal_equations, refined

Array = NDArray[np.float64]

_STARTS = 5  # different poses
_TRIES, _ROUGHLY = 6, 3  # at finding them, and iterations of each
_WORTH_A_LOOK = 0.5  # of the score of the best
_LINE = 1e-3  # metres that points must extend to both sides of a line


def solve(
    constellation: Constellation,
    candidates: Candidates,
    camera: Camera,
    noise: Noise | None = None,
    confidence: Confidence | None = None,
    seed: int = 0,
) -> Pose:
    """Find the pose of a constellation that most of its points agree with.

    candidates: where each of its N descriptors was found (`find_candidates`), numbered as they
    are. Equal arguments give equal poses. A pose that is not certain enough comes with a refusal.
    """
    noise, confidence = noise or Noise(), confidence or Confidence()
    if not candidates.have_depth:
        return solve_pixels(constellation, candidates, camera, noise, confidence)
    matches = Matches.of(constellation, candidates, camera, noise)
    likely = likely_poses(matches, confidence, seed)
    if isinstance(likely, Refusal):
        return Pose.none(len(constellation.points), likely)
    return pose_of(matches, likely[0], noise, confidence)


def likely_poses(matches: Matches, confidence: Confidence, seed: int = 0) -> list[Array] | Refusal:
    """Find different poses (4, 4) that many matches agree with, or why there is none.

    There is at least one; the one that most agree with comes first. Where fewer agree with that
    than are needed, it is the only one.
    """
    fewest = max(FEWEST, min(confidence.inliers, matches.number))
    if matches.matched < fewest:
        return Refusal(
            Why.TOO_FEW,
            f'{matches.matched} of {matches.number} points have a match with depth; a pose needs '
            f'{fewest} or more',
        )
    points = matches.of_object - matches.of_object.mean(axis=0)
    if np.linalg.svd(points, compute_uv=False)[1] < _LINE:
        return Refusal(Why.DEGENERATE, 'the points that have a match lie in a line; teach others')
    T, score = poses_by_consensus(matches, fewest, np.random.default_rng(seed))
    if not len(T):
        return Refusal(
            Why.NO_CONSENSUS,
            f'no {fewest} of the {matches.matched} points with a match lie as on the object',
        )
    best = refined(matches, T[0])
    if len(inliers(matches, best)) < fewest:
        return [best]
    return _different(matches, best, T[score >= _WORTH_A_LOOK * score[0]])


def _different(matches: Matches, best: Array, T: Array) -> list[Array]:
    """Refine a few of poses (B, 4, 4) that differ from the best; sort them by their consensus."""
    near = float(np.sqrt(GATE * np.median(matches.across + matches.along)))
    found, start = [best], T[0]
    for _ in range(_TRIES):
        for one in (start, found[-1]):
            T = T[_displacements(matches.of_object, T, one) > near]
        if not len(T) or len(found) == _STARTS:
            break
        start, better = T[0], refined(matches, T[0], _ROUGHLY)
        if all(_displacements(matches.of_object, better[None], one)[0] > near for one in found):
            found.append(better)
    return sorted(found, key=lambda T: -float(scores(matches, T)))


def _displacements(points: Array, T: Array, other: Array) -> Array:
    """Return by how much points (N, 3) move from a pose to poses (B, 4, 4): (B,) metres, rms."""
    change = T - other
    moved = points @ np.swapaxes(change[:, :3, :3], 1, 2) + change[:, None, :3, 3]
    return np.sqrt(np.einsum('bni,bni->b', moved, moved) / len(points))


def pose_of(matches: Matches, T: Array, noise: Noise, confidence: Confidence) -> Pose:
    """Tell how certain a pose (4, 4) is."""
    own = inliers(matches, T)
    hessian, _, cost = normal_equations(matches, own, T)
    off = matches.off(T)[own]
    residual = float(np.sqrt((off * off).sum() / max(len(own), 1)))
    covariance = covariance_of(hessian, cost, 3 * len(own), noise.alike)
    return judged(T, matches.point[own], matches.weight, covariance, residual, confidence)
