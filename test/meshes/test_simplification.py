"""Meshes with fewer faces keep their shape."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.meshes.mesh import Mesh, Part
from don_kp_ros.meshes.picture import drawn_over
from don_kp_ros.meshes.reading import read
from don_kp_ros.meshes.simplification import MOST_DRAWN, evened, reduced, simplified
from don_kp_ros.pose.mesh_descriptors import FACES, Subject

CAMERA = Camera(160, 120, 200.0, 200.0, 79.5, 59.5)


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


@pytest.mark.parametrize('divisions', [4, 6])  # 5120 and 81 920 faces: the latter are reduced
def test_a_mesh_with_holes_and_mixed_winding_becomes_a_subject(
    tmp_path: Path, divisions: int
) -> None:
    ball = trimesh.creation.icosphere(divisions, 0.05)
    x, _, z = ball.triangles_center.T
    faces = ball.faces[(z < 0.03) & (np.abs(x) > 0.01)]
    turned = np.random.default_rng(0).random(len(faces)) < 0.5
    faces[turned] = faces[turned, ::-1]
    bad = trimesh.Trimesh(ball.vertices, faces, process=False)
    assert not bad.is_watertight and not bad.is_winding_consistent
    bad.export(tmp_path / 'bad.ply')
    subject = Subject.of(read(tmp_path / 'bad.ply'))
    assert len(subject.mesh.faces) == min(len(faces), MOST_DRAWN)
    for vertices, kept in (
        (subject.mesh.vertices, subject.mesh.faces),
        (subject.vertices, subject.faces),
    ):
        centre = vertices[kept].mean(axis=1)
        np.testing.assert_allclose(np.linalg.norm(centre, axis=1), 0.05, atol=0.002)
        assert np.abs(centre[:, 0]).min() > 0.009 and centre[:, 2].max() < 0.031
    T = rigid.transform(translation=[0, 0, 0.4])
    black = np.zeros((120, 160, 3), np.uint8)
    _, found = drawn_over(black, subject.mesh, T, CAMERA)
    _, expected = drawn_over(
        black, Mesh(Path('a'), (Part(ball.vertices, faces, (1, 1, 1, 1)),), ''), T, CAMERA
    )
    assert (found.mask == expected.mask).mean() > 0.99
    both = found.mask & expected.mask
    assert np.quantile(np.abs(found.depth - expected.depth)[both], 0.99) < 0.001


def test_a_mesh_of_half_a_million_faces_becomes_a_subject(tmp_path: Path) -> None:
    ring = trimesh.creation.torus(0.04, 0.015, major_sections=512, minor_sections=512)
    assert len(ring.faces) > 500_000
    ring.export(tmp_path / 'fine.ply')
    subject = Subject.of(read(tmp_path / 'fine.ply'))
    assert MOST_DRAWN / 2 < len(subject.mesh.faces) <= MOST_DRAWN
    assert FACES / 2 < len(subject.faces) <= 3 * FACES
    for (x, y, z), most in ((subject.mesh.vertices.T, 0.0005), (subject.vertices.T, 0.004)):
        off = np.abs(np.hypot(np.hypot(x, y) - 0.04, z) - 0.015)
        assert off.max() < most and off.mean() < most / 5
