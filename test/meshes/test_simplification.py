"""Meshes with fewer faces keep their shape."""

import numpy as np
import pytest
import trimesh

from don_kp_ros.meshes.simplification import evened, simplified


def test_a_sphere_stays_one() -> None:
    sphere = trimesh.creation.icosphere(5, 0.1)
    vertices, faces = simplified(np.asarray(sphere.vertices), np.asarray(sphere.faces), 3000)
    assert 1500 < len(faces) <= 3000
    np.testing.assert_allclose(np.linalg.norm(vertices, axis=1), 0.1, atol=0.001)
    again = trimesh.Trimesh(vertices, faces, process=False)
    assert abs(again.volume) > 0.97 * sphere.volume


def test_a_box_keeps_its_edges_and_corners() -> None:
    box = trimesh.creation.box([0.2, 0.1, 0.05]).subdivide_to_size(0.004)
    vertices, faces = simplified(np.asarray(box.vertices), np.asarray(box.faces), 2000)
    assert len(faces) <= 2000
    np.testing.assert_allclose(np.abs(vertices).max(axis=0), [0.1, 0.05, 0.025], atol=2e-4)
    corners = np.array(np.meshgrid([-0.1, 0.1], [-0.05, 0.05], [-0.025, 0.025])).reshape(3, -1).T
    nearest = np.linalg.norm(vertices[:, None] - corners, axis=2).min(axis=0)
    assert nearest.max() < 5e-4


def test_few_faces_are_left_alone() -> None:
    box = trimesh.creation.box([1, 1, 1])
    vertices, faces = simplified(np.asarray(box.vertices), np.asarray(box.faces), 12)
    np.testing.assert_array_equal(vertices, box.vertices)
    np.testing.assert_array_equal(faces, box.faces)


def test_flat_sides_get_vertices_of_their_own() -> None:
    box = trimesh.creation.box((0.2, 0.1, 0.3))
    vertices, faces = evened(box.vertices, box.faces, 2000)
    assert 1000 <= len(faces) <= 5000
    edges = np.linalg.norm(vertices[faces] - vertices[np.roll(faces, 1, axis=1)], axis=2)
    assert edges.max() < 0.03
    assert trimesh.Trimesh(vertices, faces).volume == pytest.approx(0.006, rel=1e-6)
