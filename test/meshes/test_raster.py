"""The rasteriser against OpenGL (MuJoCo's renderer) and against analytic surfaces."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import pytest
import torch
import trimesh
from numpy.typing import NDArray

from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.meshes import raster, raster_torch
from don_kp_ros.meshes.raster import rasterise
from don_kp_ros.simulation.camera import D435, look_at
from don_kp_ros.simulation.renderer import Renderer

Array = NDArray[np.float64]
CAMERA = Camera(160, 120, 154.0, 150.0, 79.0, 61.0)
OTHER = torch.device('cpu', 0)  # stands for a GPU


def shape() -> tuple[Array, NDArray[np.int64]]:
    mesh = trimesh.util.concatenate(
        [trimesh.creation.torus(0.05, 0.02), trimesh.creation.box([0.03, 0.2, 0.05])]
    )
    return np.asarray(mesh.vertices), np.asarray(mesh.faces)


@pytest.mark.parametrize('seed', range(3))
def test_it_shows_the_same_pixels_at_the_same_depth_as_opengl(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vertices, faces = shape()
    spec = mujoco.MjSpec()
    spec.add_mesh(name='x', uservert=vertices.ravel(), userface=faces.ravel(),
                  inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL)  # fmt: skip
    spec.worldbody.add_geom(
        name='x', type=mujoco.mjtGeom.mjGEOM_MESH, meshname='x', contype=0, conaffinity=0
    )
    model = spec.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    # The compiler moves a mesh to its principal axes; the geom's pose takes it back.
    moved = model.mesh_vert.reshape(-1, 3)
    there = rigid.transform(data.geom_xmat[0].reshape(3, 3), data.geom_xpos[0])
    drawn_faces = model.mesh_face.reshape(-1, 3).astype(np.int64)
    towards = rng.normal(size=3)
    T = look_at(0.4 * towards / np.linalg.norm(towards), rng.uniform(-0.03, 0.03, 3))
    renderer = Renderer(model)
    depth = renderer.render(data, T).depth
    renderer.close()
    found = rasterise(rigid.apply(rigid.inverse(T) @ there, moved), drawn_faces, D435)
    seen = np.isfinite(depth)
    assert found.mask.sum() > 5000
    assert (found.mask ^ seen).sum() <= 0.001 * seen.sum()
    both = found.mask & seen
    assert np.quantile(np.abs(found.depth - depth)[both], 0.999) < 5e-4


@pytest.mark.parametrize('at_once', [500, raster_torch._AT_ONCE])
@pytest.mark.parametrize('distance', [0.3, 0.12])
def test_torch_draws_the_same_pixels(
    monkeypatch: pytest.MonkeyPatch, distance: float, at_once: int
) -> None:
    monkeypatch.setattr(raster_torch, '_AT_ONCE', at_once)
    vertices, faces = shape()
    faces = np.concatenate(
        [faces, faces[::-3], [[0, 0, 1]]]
    )  # twice as near, and seen from its edge
    T = rigid.transform(rigid.rotation_about([1, 2, 0.5], 1.0), [0.01, 0.02, distance])
    placed = rigid.apply(T, vertices)
    expected, found = (rasterise(placed, faces, CAMERA, on) for on in (raster.CPU, OTHER))
    assert expected.mask.sum() > 3000
    for name in ('face', 'share', 'depth'):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
    nothing = rasterise(vertices, np.zeros((0, 3), np.int64), CAMERA, OTHER)
    assert not nothing.mask.any() and np.isnan(nothing.depth).all()


def test_places_are_those_of_the_rays() -> None:
    """Coordinates as values: in perspective they are not linear in the image."""
    vertices, faces = shape()
    T = rigid.transform(rigid.rotation_about([1, 2, 0.5], 1.0), [0.01, 0.02, 0.3])
    placed = rigid.apply(T, vertices)
    found = rasterise(placed, faces, CAMERA)
    places = found.values(vertices, faces)
    lifted = CAMERA.deproject_image(found.depth)
    expected = rigid.apply(rigid.inverse(T), lifted[found.mask])
    np.testing.assert_allclose(places[found.mask], expected, atol=2e-6)
    assert (places[~found.mask] == 0).all() and np.isnan(found.depth[~found.mask]).all()
    np.testing.assert_allclose(found.share[found.mask].sum(axis=1), 1, atol=1e-5)


def test_the_nearer_face_is_shown_whatever_its_winding_and_order() -> None:
    square = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    vertices = np.concatenate([square + [0, 0, 2], 0.4 * square + [0, 0, 1]])
    faces = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    for some in (faces, faces[::-1], faces[:, ::-1]):
        found = rasterise(vertices, np.ascontiguousarray(some), CAMERA)
        assert found.depth[61, 79] == 1
        assert found.depth[61, 79 + 70] == 2


def test_faces_behind_or_through_the_camera_are_left_out() -> None:
    vertices = np.array(
        [[0.0, 0, -1], [1, 0, -1], [0, 1, -1], [0, 0, 1], [0.3, 0, 1], [0, 0.3, 1]]
    )
    found = rasterise(vertices, np.array([[0, 1, 2], [0, 3, 4], [3, 4, 5]]), CAMERA)
    assert set(np.unique(found.face)) == {-1, 2}
    assert not rasterise(vertices, np.zeros((0, 3), np.int64), CAMERA).mask.any()


def test_faces_beyond_what_the_lens_sees_are_left_out() -> None:
    # r (1 - r^2 / 2) rises up to r = .816: at 1.3, it is .2 again, in the middle of the picture.
    lens = replace(CAMERA, distortion=(-0.5, 0.0, 0.0, 0.0))
    vertices = np.array([[1.3, -0.1, 1], [1.3, 0.1, 1], [1.2, 0.0, 1], [0.3, -0.1, 1]])
    assert not rasterise(vertices, np.array([[0, 1, 2]]), lens).mask.any()
    assert not rasterise(vertices, np.array([[0, 1, 3]]), lens).mask.any()


def test_it_works_where_nothing_can_be_written(tmp_path: Path) -> None:
    """Neither beside the code nor in the user's cache; or what is there is broken."""
    script = (
        'from don_kp_ros.meshes.raster import rasterise; import numpy as np\n'
        'from don_kp_ros.geometry.camera import Camera\n'
        'square = np.array([[-1., -1, 2], [1, -1, 2], [0, 1, 2]])\n'
        'print(rasterise(square, np.array([[0, 1, 2]]), Camera(9, 9, 9, 9, 4, 4)).mask.sum())'
    )
    root = Path(raster.__file__).parents[2]
    nowhere = tmp_path / 'file'
    nowhere.write_text('')
    environment = {**os.environ, 'PYTHONPATH': str(root), 'NUMBA_CACHE_DIR': str(nowhere / 'x')}
    done = subprocess.run(
        [sys.executable, '-c', script], env=environment, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) > 20
