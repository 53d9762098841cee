"""Pairs of a scene's picture and a drawing, against the geometry of plates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray

from don_kp_ros.data.drawn_pairs import DrawnSampler
from don_kp_ros.data.folder import DataError
from don_kp_ros.data.loader import collate
from don_kp_ros.data.pairs import DrawnConfiguration, ViewConfiguration
from don_kp_ros.data.posed import write_depth
from don_kp_ros.data.scene_pairs import prepare_scene
from don_kp_ros.data.scenes import Entry, SceneFolder, write_scenes
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.meshes.picture import drawn_together
from don_kp_ros.meshes.reading import read
from don_kp_ros.training.drawing import drawing

Array = NDArray[np.float64]

CAMERA = Camera(160, 120, 150.0, 150.0, 79.5, 59.5)
SIDE = 96
NAMES = ('left', 'right')
PLACED = (
    rigid.transform(rigid.rotation_about([0.3, 1, 0], 0.4), [-0.08, 0.0, 0.5]),
    rigid.transform(rigid.rotation_about([1, 0.2, 0.5], -0.5), [0.09, 0.02, 0.55]),
)
CAMERAS = (
    np.eye(4),
    rigid.transform(rigid.rotation_about([0.2, 1, 0.1], 0.12), [-0.06, 0, 0.02]),
)
RESIZE = np.array([[0.75, 0, -0.125], [0, 0.75, -0.125], [0, 0, 1]])  # of prepared pictures


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a scene of two thin plates in the plane z = 0 of their frames, and their meshes."""
    folder = tmp_path_factory.mktemp('drawn') / 'scenes'
    for name in ('rgbs', 'masks', 'depths', 'meshes'):
        (folder / name).mkdir(parents=True)
    for name, sides, colour in zip(NAMES, ((0.14, 0.1), (0.1, 0.16)), (200, 120), strict=True):
        corners = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * [*sides, 0] / 2
        plate = trimesh.Trimesh(corners, [[0, 1, 2], [0, 2, 3]], process=False)
        plate.visual.vertex_colors = (colour, 40, 255 - colour, 255)
        plate.export(folder / 'meshes' / f'{name}.ply')
    meshes = [read(folder / 'meshes' / f'{name}.ply') for name in NAMES]
    ground = np.full((CAMERA.height, CAMERA.width, 3), 90, np.uint8)
    for view, T in zip(('s_a', 's_b'), CAMERAS, strict=True):
        poses = [rigid.inverse(T) @ placed for placed in PLACED]
        image, owner, depth = drawn_together(ground, meshes, poses, CAMERA)
        cv2.imwrite(str(folder / 'rgbs' / f'{view}.png'), image[..., ::-1])
        cv2.imwrite(str(folder / 'masks' / f'{view}.png'), (owner + 1).astype(np.uint8))
        write_depth(folder / 'depths' / f'{view}.png', depth)
    write_scenes(folder, CAMERA, [Entry('s', NAMES, PLACED, ('s_a', 's_b'), CAMERAS)])
    return folder


class Recorder:
    """Draws as the folder's meshes say, and keeps what was asked for."""

    def __init__(self, folder: Path) -> None:
        self._draw = drawing(SceneFolder.open(folder))
        self.asked: list[tuple[Sequence[str], Sequence[Array], Camera]] = []

    def __call__(self, names: Sequence[str], T: Sequence[Array], camera: Camera) -> Any:
        self.asked.append((names, T, camera))
        return self._draw(names, T, camera)


def sampler(root: Path, draw: Any, tolerance: float = 0.003, **drawn: Any) -> DrawnSampler:
    folder = SceneFolder.open(root)
    sources = [prepare_scene(scene, SIDE, folder.objects) for scene in folder.scenes()]
    how = DrawnConfiguration(**drawn)
    configuration = ViewConfiguration(
        size=SIDE, queries=64, occlusion=0.0, tolerance=tolerance, drawn=how
    )
    return DrawnSampler(configuration, sources, [], draw)


def homogeneous(homography: Array, uv: NDArray[Any]) -> Array:
    mapped = np.column_stack([uv, np.ones(len(uv))]) @ homography.T
    return np.asarray(mapped[:, :2] / mapped[:, 2:])


def test_points_of_the_picture_are_where_the_drawing_shows_them(root: Path) -> None:
    recorder, seen = Recorder(root), set()
    draws = sampler(root, recorder)
    for seed in range(12):
        pair = draws.draw(np.random.default_rng(seed))
        assert pair.scene is not None
        names, placed, camera = recorder.asked[-1]
        u, v = np.rint(pair.uv_a).astype(int).T
        u_b, v_b = np.rint(pair.uv_b).astype(int).T
        numbers = pair.scene.labels[0][v, u]
        np.testing.assert_array_equal(pair.scene.labels[1][v_b, u_b], numbers)
        in_picture = homogeneous(np.linalg.inv(pair.a.homography @ RESIZE), pair.uv_a)
        rays = np.column_stack([in_picture, np.ones(64)]) @ np.linalg.inv(CAMERA.K).T
        for number in set(numbers.tolist()):
            own = numbers == number
            expected = []
            for T in CAMERAS:  # view a is one of the two pictures
                T_camera_object = rigid.inverse(T) @ PLACED[number - 1]
                normal, middle = T_camera_object[:3, 2], T_camera_object[:3, 3]
                points = rays[own] * (normal @ middle / (rays[own] @ normal))[:, None]
                points = rigid.apply(rigid.inverse(T_camera_object), points)
                there = rigid.apply(placed[names.index(NAMES[number - 1])], points)
                expected.append((camera.project(there) + 0.5) / 2 - 0.5)
            off = [np.linalg.norm(uv - pair.uv_b[own], axis=1).max() for uv in expected]
            assert min(off) < 0.1
            seen.add((number, int(np.argmin(off))))
    assert seen == {(1, 0), (1, 1), (2, 0), (2, 1)}  # both objects, and both pictures


@pytest.mark.parametrize(('same', 'low', 'high'), [(0.0, 0, 0), (0.5, 0.2, 0.8), (1.0, 1, 1)])
def test_objects_are_turned_as_in_the_picture_as_often_as_asked(
    root: Path, same: float, low: float, high: float
) -> None:
    recorder = Recorder(root)
    draws = sampler(root, recorder, same=same, distance=(0.5, 0.6))
    alike, depths = [], []
    for seed in range(12):
        pair = draws.draw(np.random.default_rng(seed))
        for names, placed, camera in recorder.asked:
            for name, T in zip(names, placed, strict=True):
                number = NAMES.index(name)
                # The canvas is the camera turned about its axis: the plate leans as much.
                leans = [(rigid.inverse(C) @ PLACED[number])[2, :3] for C in CAMERAS]
                alike.append(min(np.abs(T[2, :3] - lean).max() for lean in leans) < 1e-6)
                depth = [(rigid.inverse(C) @ PLACED[number])[2, 3] for C in CAMERAS]
                depths.append(min(T[2, 3] / np.array(depth) - 0.5, key=abs))
                uv = camera.project(T[:3, 3])
                assert (uv >= -0.5).all() and (uv <= 2 * SIDE - 0.5).all()
        recorder.asked.clear()
        assert pair.b.image.shape == (SIDE, SIDE, 3)
    assert low <= np.mean(alike) <= high
    assert np.min(depths) > -0.06 and np.max(depths) < 0.16


def test_batches_hold_pictures_then_drawings(root: Path) -> None:
    draws = sampler(root, drawing(SceneFolder.open(root)))
    draws.check()
    batch = collate([draws.draw(np.random.default_rng(seed)) for seed in range(2)])
    assert batch['images'].shape == (4, 3, SIDE, SIDE) and 'lone' not in batch
    assert ((batch['labels'] > 0) <= (batch['masks'] > 127)).all()
    assert batch['classes'].equal(batch['labels'].long())  # the one scene lists both, in order
    again = collate([draws.draw(np.random.default_rng(seed)) for seed in range(2)])
    assert all(batch[name].equal(again[name]) for name in ('images', 'uv', 'labels'))


def test_an_object_without_a_mesh_is_named(root: Path, tmp_path: Path) -> None:
    folder = SceneFolder.open(root)
    assert {path.name for path in folder.files} >= {'left.ply', 'right.ply'}
    del folder.meshes['right']
    with pytest.raises(DataError, match=r'right\.glb is missing'):
        drawing(folder)
    (tmp_path / 'broken.ply').write_text('ply')
    folder.meshes['right'] = tmp_path / 'broken.ply'
    with pytest.raises(DataError, match=r'broken\.ply: cannot be read'):
        drawing(folder)


def test_a_drawing_without_common_points_is_told(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('don_kp_ros.data.drawn_pairs._ATTEMPTS', 3)
    draws = sampler(root, drawing(SceneFolder.open(root)), tolerance=1e-6)
    with pytest.raises(DataError, match='3 pairs of views in a row share fewer than 24 points'):
        draws.check()
