"""Meshes of files: units, sizes and looks."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from don_kp_ros.errors import RefusedError
from don_kp_ros.meshes.reading import read


@pytest.mark.parametrize('suffix', ['.ply', '.obj', '.glb'])
def test_vertices_and_faces_are_the_files_own(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f'box{suffix}'
    trimesh.creation.box([0.1, 0.2, 0.3]).export(path)
    mesh = read(path)
    np.testing.assert_allclose(mesh.size, [0.1, 0.2, 0.3], rtol=1e-6)
    corners = mesh.vertices[mesh.faces]
    area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert np.linalg.norm(area, axis=1).sum() / 2 == pytest.approx(0.22, rel=1e-5)
    assert mesh.diameter == pytest.approx(0.14**0.5, rel=1e-4)


def test_millimetres_are_named_and_read_as_such(tmp_path: Path) -> None:
    path = tmp_path / 'ball.ply'
    trimesh.creation.icosphere(3, 60.0).export(path)
    mesh = read(path)
    with pytest.raises(RefusedError, match=r'120 m large.*millimetres.*unit'):
        mesh.in_metres()
    assert mesh.in_metres(0.001, diameter=0.12).diameter == pytest.approx(0.12, rel=1e-3)
    with pytest.raises(RefusedError, match=r'diameter of 0.12 m, but 0.2 m is said'):
        mesh.in_metres(0.001, diameter=0.2)
    for diameter in (0.0, -1.0, float('nan'), float('inf')):
        with pytest.raises(RefusedError, match=f'diameter of {diameter} m is said; it must be'):
            mesh.in_metres(0.001, diameter=diameter)


def test_parts_of_a_scene_are_one_object(tmp_path: Path) -> None:
    scene = trimesh.Scene()
    scene.add_geometry(trimesh.creation.box([0.1, 0.1, 0.1]))
    scene.add_geometry(
        trimesh.creation.box([0.1, 0.1, 0.1]),
        transform=trimesh.transformations.translation_matrix([0.2, 0, 0]),
    )
    scene.export(tmp_path / 'two.glb')
    mesh = read(tmp_path / 'two.glb')
    assert len(mesh.parts) == 2 and len(mesh.faces) == 24
    np.testing.assert_allclose(mesh.size, [0.3, 0.1, 0.1], rtol=1e-6)
    assert mesh.faces.max() == len(mesh.vertices) - 1
