"""Meshes with fewer faces keep their shape."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from don_kp_ros.meshes.mesh import Mesh, Part
from don_kp_ros.meshes.simplification import evened, reduced, simplified


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


@pytest.mark.parametrize(
    ('radius', 'height', 'sections'),
    [
        (0.034, 0.1, 48),
        (0.034, 0.1, 512),
        (0.004, 0.14, 32),
        (0.004, 0.14, 64),
        (0.035, 0.25, 128),
    ],
)
def test_thin_strips_do_not_become_very_many_faces(
    radius: float, height: float, sections: int
) -> None:
    can = trimesh.creation.cylinder(radius, height, sections=sections)
    vertices, faces = evened(np.asarray(can.vertices), np.asarray(can.faces), 3000)
    assert 1500 <= len(faces) <= 9000
    edges = np.linalg.norm(vertices[faces] - vertices[np.roll(faces, 1, axis=1)], axis=2)
    assert edges.max() < 1.5 * 2 * np.sqrt(4 / np.sqrt(3) * can.area / 3000)
    divided = trimesh.Trimesh(vertices, faces)
    assert divided.is_watertight
    assert divided.volume == pytest.approx(can.volume, rel=0.02)
    np.testing.assert_allclose(divided.bounds, can.bounds, atol=0.02 * radius)


def test_the_far_edge_of_a_texture_keeps_its_colour() -> None:
    side = np.linspace(0, 1, 60)
    places = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    vertices = np.concatenate([0.2 * places, np.zeros((len(places), 1))], axis=1)
    at = np.arange(len(places)).reshape(60, 60)
    a, b, c, d = (one.ravel() for one in (at[:-1, :-1], at[:-1, 1:], at[1:, 1:], at[1:, :-1]))
    faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, :32, 0] = picture[:, 32:, 2] = 255  # red, and blue on the right
    whole = Mesh(Path('a'), (Part(vertices, faces, (1, 1, 1, 1), places, faces, picture),), '')
    (part,) = reduced(whole, 500).parts
    assert part.texcoord is not None and part.corners is not None and part.picture is not None
    height, width = part.picture.shape[:2]
    u, v = (part.texcoord[part.corners[:, 0]] * [width, height]).astype(int).T
    right = part.vertices[part.faces][:, :, 0].min(axis=1) > 0.11
    assert right.any()
    assert (part.picture[v[right], u[right]] == [0, 0, 255]).all()
