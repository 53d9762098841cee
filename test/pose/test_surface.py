"""Points held against a ball and a box, whose distances are known."""

import numpy as np
import trimesh

from don_kp_ros.geometry import rigid
from don_kp_ros.meshes.simplification import evened
from don_kp_ros.pose.surface import Triangles


def test_distances_are_those_from_a_ball() -> None:
    ball = trimesh.creation.icosphere(4, 0.1)
    surface = Triangles.of(np.asarray(ball.vertices), np.asarray(ball.faces))
    rng = np.random.default_rng(0)
    points = rng.normal(size=(300, 3))
    points *= (rng.uniform(0.08, 0.15, 300) / np.linalg.norm(points, axis=1))[:, None]
    T = rigid.transform(rigid.rotation_about([1, 2, 3], 1.0), [0.4, 0.2, -0.1])
    off = surface.off(rigid.apply(T, points), T)
    np.testing.assert_allclose(off, np.abs(np.linalg.norm(points, axis=1) - 0.1), atol=3e-4)


def test_a_box_is_aligned_with_points_on_three_of_its_sides() -> None:
    size = np.array([0.12, 0.08, 0.05])
    box = trimesh.creation.box(size)
    surface = Triangles.of(*evened(np.asarray(box.vertices), np.asarray(box.faces), 2000))
    rng = np.random.default_rng(0)
    points = rng.uniform(-0.5, 0.5, (150, 3)) * size
    points[np.arange(150), np.arange(150) % 3] = (size / 2)[np.arange(150) % 3]
    true = rigid.transform(rigid.rotation_about([1, 2, 3], 1.0), [0.4, 0.2, -0.1])
    placed = rigid.apply(true, points)
    off = rigid.transform(rigid.rotation_about([2, -1, 1], 0.15), [0.008, -0.006, 0.01])
    found = surface.aligned(placed, true @ off, 0.005, 30)
    np.testing.assert_allclose(found, true, atol=2e-3)
    assert surface.off(placed, found).max() < 1e-3
