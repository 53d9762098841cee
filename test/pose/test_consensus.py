"""What is left out to be fast, against what does it all."""

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.alignment import kabsch
from don_kp_ros.pose.consensus import _aligned, may_agree
from don_kp_ros.pose.estimate import Confidence
from don_kp_ros.pose.matches import Matches
from don_kp_ros.pose.refinement import inliers

Array = np.ndarray


def test_triangles_are_aligned_as_by_kabsch() -> None:
    rng = np.random.default_rng(0)
    triangles = rng.normal(scale=0.1, size=(500, 3, 3))
    turns = Rotation.random(500, rng=rng).as_matrix()
    others = triangles @ np.swapaxes(turns, 1, 2) + rng.normal(size=(500, 1, 3))
    others[250:] += rng.normal(scale=0.02, size=(250, 3, 3))
    found = _aligned(triangles, others)
    expected = kabsch(torch.from_numpy(triangles), torch.from_numpy(others)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-9)
    np.testing.assert_allclose(found[:250, :3, :3], turns[:250], atol=1e-9)


def some_matches(right: int, wrong: int, rng: np.random.Generator, T: Array) -> Matches:
    """Right ones at the edge of the gate, and others anywhere; some points have two."""
    points = rng.uniform(-0.1, 0.1, (right + wrong, 3))
    measured = rigid.apply(T, points)
    variance = np.full(right + wrong, 0.003**2)
    off = rng.normal(size=measured.shape)
    measured += 4.0 * 0.003 * off / np.linalg.norm(off, axis=1, keepdims=True)
    measured[right:] = rng.uniform(-0.1, 0.1, (wrong, 3)) + [0, 0, 0.5]
    point = np.sort(rng.integers(0, max(wrong, 1), wrong))
    own = np.concatenate([np.arange(right), right + point])
    weight = rng.uniform(0.2, 1, right + wrong)
    return Matches(own, points, measured, weight, variance, 0 * variance)


def test_points_that_agree_on_a_pose_are_never_left_out() -> None:
    rng = np.random.default_rng(1)
    for _ in range(300):
        T = rigid.transform(Rotation.random(rng=rng).as_matrix(), [0.05, -0.02, 0.5])
        matches = some_matches(int(rng.integers(3, 12)), int(rng.integers(0, 12)), rng, T)
        agreeing = inliers(matches, T)
        share = matches.weight[matches.point[agreeing]].sum() / matches.weight.sum()
        just = Confidence(inliers=len(agreeing), share=float(share))
        assert may_agree(matches, just)


def test_points_that_lie_otherwise_cannot_agree() -> None:
    rng = np.random.default_rng(2)
    T = rigid.transform(None, [0, 0, 0.5])
    wrong = some_matches(0, 20, rng, T)
    assert not may_agree(wrong, Confidence(inliers=15))
    assert not may_agree(wrong, Confidence(inliers=3, share=0.9))
    assert not may_agree(wrong.some(np.zeros(0, np.int64)), Confidence())
    right = some_matches(12, 0, rng, T)
    assert may_agree(right, Confidence(inliers=12))
    assert not may_agree(right.some(np.arange(5)), Confidence(inliers=6))
