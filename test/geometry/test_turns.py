"""Rotations from all sides."""

import numpy as np

from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.turns import even_turns


def test_no_rotation_is_far_from_all_of_them() -> None:
    turns = np.array(even_turns(96))
    np.testing.assert_allclose(
        turns @ turns.swapaxes(1, 2), np.tile(np.eye(3), (96, 1, 1)), atol=1e-9
    )
    np.testing.assert_allclose(np.linalg.det(turns), 1)
    rng = np.random.default_rng(0)
    others = np.array([rigid.from_quaternion(q)[:3, :3] for q in rng.normal(size=(2000, 4))])
    cosine = (np.einsum('aij,bij->ab', others, turns) - 1) / 2
    nearest = np.rad2deg(np.arccos(cosine.max(axis=1).clip(-1, 1)))
    assert np.median(nearest) < 31
    assert nearest.max() < 50
