"""A mesh as the bytes of one file is the mesh it was, with its looks."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh
from PIL import Image

from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.meshes.mesh import Mesh
from don_kp_ros.meshes.packing import FORMAT, packed
from don_kp_ros.meshes.picture import drawn_over
from don_kp_ros.meshes.reading import decoded, read
from don_kp_ros.meshes.simplification import MOST_DRAWN, reduced

CAMERA = Camera(160, 120, 300.0, 300.0, 79.5, 59.5)
T = rigid.transform(rigid.rotation_about([1, 2, 0.5], 2.0), [0.0, 0.0, 0.5])
GREY = np.full((120, 160, 3), 90, np.uint8)


def picture(mesh: Mesh) -> np.ndarray:
    return drawn_over(GREY, mesh, T, CAMERA)[0].astype(float)


def textured(path: Path, side: int) -> Mesh:
    """Write a ball, with one square of colour to each eighth of its texture, and read it."""
    ball = trimesh.creation.uv_sphere(0.08, [side, side])
    squares = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    texture = cv2.resize(squares, (256, 256), interpolation=cv2.INTER_NEAREST)
    places = np.asarray(ball.vertices) / 0.16 + 0.5
    ball.visual = trimesh.visual.TextureVisuals(
        places[:, :2], trimesh.visual.material.SimpleMaterial(image=Image.fromarray(texture))
    )
    ball.export(path)
    return read(path)


def test_a_textured_mesh_comes_back_as_it_was(tmp_path: Path) -> None:
    mesh = textured(tmp_path / 'ball.obj', 20)
    back = decoded(packed(mesh), FORMAT, 'ball')
    assert (back.look, len(back.faces)) == ('textured', len(mesh.faces))
    np.testing.assert_allclose(np.sort(back.vertices), np.sort(mesh.vertices), atol=1e-7)
    np.testing.assert_allclose(picture(back), picture(mesh), atol=2)


def test_colours_of_faces_come_back(tmp_path: Path) -> None:
    box = trimesh.creation.box([0.1, 0.08, 0.06])
    box.visual.face_colors = np.random.default_rng(0).integers(0, 255, (12, 4), dtype=np.uint8)
    box.export(tmp_path / 'box.ply')
    mesh = read(tmp_path / 'box.ply')
    assert mesh.look == 'coloured'
    np.testing.assert_allclose(picture(decoded(packed(mesh), FORMAT, '')), picture(mesh), atol=2)


def test_a_plain_mesh_stays_plain(tmp_path: Path) -> None:
    trimesh.creation.box([0.1, 0.08, 0.06]).export(tmp_path / 'box.ply')
    mesh = read(tmp_path / 'box.ply')
    back = decoded(packed(mesh), FORMAT, '')
    assert back.look == 'of plain colour'
    np.testing.assert_allclose(picture(back), picture(mesh), atol=2)


def test_very_many_faces_become_fewer_and_look_the_same(tmp_path: Path) -> None:
    mesh = textured(tmp_path / 'ball.glb', 360)
    assert len(mesh.faces) > 250_000
    fewer = reduced(mesh)
    assert 0.9 * MOST_DRAWN < len(fewer.faces) <= MOST_DRAWN
    np.testing.assert_allclose(np.linalg.norm(fewer.vertices, axis=1), 0.08, atol=5e-4)
    # Colours run into each other by a face's width, which is less than a cell of a network.
    few, many = (cv2.GaussianBlur(picture(one), (0, 0), 2.0) for one in (fewer, mesh))
    assert np.abs(few - many).mean() < 0.1 * np.abs(many - GREY).mean()
    assert len(packed(mesh)) < 4_000_000


def test_few_faces_are_left_as_they_are(tmp_path: Path) -> None:
    mesh = textured(tmp_path / 'ball.obj', 20)
    assert reduced(mesh) is mesh


@pytest.mark.parametrize(
    ('data', 'kind', 'message'),
    [
        (b'no mesh', 'glb', 'cap.glb: cannot be read as a mesh'),
        (b'', 'ply', 'cap.glb: cannot be read as a mesh'),
        (b'', 'stl', "cap.glb: the format is 'stl'; meshes are read from ply, obj, glb"),
        (b'v 0 0 0\n', 'obj', 'cap.glb: has no faces'),
    ],
)
def test_bytes_that_are_no_mesh_are_named(data: bytes, kind: str, message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        decoded(data, kind, 'cap.glb')


def test_bytes_do_not_reach_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    textured(tmp_path / 'ball.obj', 20)
    (part,) = decoded((tmp_path / 'ball.obj').read_bytes(), 'obj', '').parts
    assert part.picture is None or np.ptp(part.picture) == 0
