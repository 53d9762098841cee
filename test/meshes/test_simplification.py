"""A simplified mesh keeps its shape."""

import numpy as np
import pytest
import trimesh

from don_kp_ros.meshes.simplification import evened, simplified


def test_a_ball_keeps_its_radius_and_a_box_its_corners() -> None:
    ball = trimesh.creation.icosphere(subdivisions=5, radius=0.1)
    vertices, faces = simplified(ball.vertices, ball.faces, 2000)
    assert 1500 <= len(faces) <= 2000
    assert np.abs(np.linalg.norm(vertices[faces.ravel()], axis=1) - 0.1).max() < 0.001
    box = trimesh.creation.box((0.2, 0.1, 0.3)).subdivide().subdivide().subdivide()
    vertices, faces = simplified(box.vertices, box.faces, 100)
    assert len(faces) <= 100
    assert np.allclose(np.ptp(vertices[faces.ravel()], axis=0), (0.2, 0.1, 0.3), atol=1e-6)


def test_a_mesh_of_few_faces_stays_as_it_is() -> None:
    box = trimesh.creation.box((0.2, 0.1, 0.3))
    vertices, faces = simplified(box.vertices, box.faces, 12)
    assert np.array_equal(vertices, box.vertices)
    assert np.array_equal(faces, box.faces)


def test_flat_sides_get_vertices_of_their_own() -> None:
    box = trimesh.creation.box((0.2, 0.1, 0.3))
    vertices, faces = evened(box.vertices, box.faces, 2000)
    assert 1000 <= len(faces) <= 5000
    edges = np.linalg.norm(vertices[faces] - vertices[np.roll(faces, 1, axis=1)], axis=2)
    assert edges.max() < 0.03
    assert trimesh.Trimesh(vertices, faces).volume == pytest.approx(0.006, rel=1e-6)
