"""Scenes of objects that fell: masks and correspondences against the geometry, and resumption."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import mujoco
import numpy as np
import pytest
import trimesh

from don_kp_ros.data.depth_view import correspondences
from don_kp_ros.data.folder import ImageFolder
from don_kp_ros.data.picture_file import DataError, image_of, read_image
from don_kp_ros.data.scenes import SCENES, Scene, SceneFolder, SceneView
from don_kp_ros.geometry import rigid
from don_kp_ros.meshes.raster import rasterise
from don_kp_ros.meshes.reading import read
from don_kp_ros.simulation import command, instances, posed, scenes
from don_kp_ros.simulation.camera import D435
from don_kp_ros.simulation.drop import Drop, Look, drop
from don_kp_ros.simulation.posed import SMALLEST, Subject, Viewpoints
from don_kp_ros.simulation.renderer import StillScene
from don_kp_ros.simulation.shapes import BoxShape

BOXES = (Subject('box', 5), Subject('box', 6), Subject('box', 7))
OPTIONS = ('--scene', '--scenes', '2', '--pairs', '1', '--objects', '2', '3', '--instances', '6')

Shown = tuple[Drop, Look, Look]


def render(folder: Path, *arguments: str) -> int:
    return command.main([str(folder), *OPTIONS, '--workers', '1', *arguments])


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob('*')
        if path.is_file()
    }


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('scenes') / 'data'
    assert render(root) == 0
    return root


def half_of(box: Subject) -> np.ndarray:
    shape = BoxShape.draw(np.random.default_rng([box.instance, 0x0B1]))
    return np.array([shape.x, shape.y, shape.z])


def hit_boxes(
    boxes: tuple[Subject, ...], poses: list[np.ndarray], T_scene_camera: np.ndarray
) -> np.ndarray:
    """Depths (n, H, W) at which rays enter boxes that stand on their origins; inf: they do not."""
    rays_camera = D435.deproject_image(np.ones((D435.height, D435.width)))
    result = []
    for box, T_scene_object in zip(boxes, poses, strict=True):
        T = rigid.inverse(T_scene_object) @ T_scene_camera
        half = half_of(box)
        rays, eye = rays_camera @ T[:3, :3].T, T[:3, 3] - [0, 0, half[2]]
        one, two = (-half - eye) / rays, (half - eye) / rays
        enter, leave = np.minimum(one, two).max(-1), np.maximum(one, two).min(-1)
        result.append(np.where(enter < leave, enter, np.inf))
    return np.stack(result)


@pytest.fixture(scope='module')
def scene() -> Iterator[Shown]:
    dropped, a, b = drop(BOXES, Viewpoints(), 30.0, np.random.default_rng(1))
    with dropped:
        yield dropped, a, b


class TestBoxes:
    """Boxes have depths in closed form, the pictures' independent truth."""

    def test_masks_and_depths_are_those_of_their_planes(
        self, scene: tuple[Drop, Look, Look]
    ) -> None:
        dropped, *looks = scene
        for look in looks:
            true = hit_boxes(BOXES, list(dropped.T_scene_object), look.T_scene_camera)
            nearest = true.argmin(axis=0) + 1
            expected = np.where(np.isfinite(true.min(axis=0)), nearest, 0)
            # Rays through the middles of pixels on an edge may be judged either way.
            assert (look.numbers != expected).mean() < 5e-4
            same = (look.numbers == expected) & (expected > 0)
            assert np.abs(look.frame.depth - true.min(axis=0))[same].max() < 2e-3

    def test_masks_are_the_segmentation_of_mujocos_own_renderer(
        self, scene: tuple[Drop, Look, Look]
    ) -> None:
        dropped, look, _ = scene
        model = dropped.model
        with mujoco.Renderer(model, D435.height, D435.width) as renderer:
            renderer.enable_segmentation_rendering()
            T = look.T_scene_camera
            model.vis.global_.fovy = np.degrees(2 * np.arctan(D435.height / 2 / D435.fy))
            renderer.update_scene(dropped.data)
            for eye in renderer.scene.camera:
                eye.pos[:], eye.forward[:], eye.up[:] = T[:3, 3], T[:3, 2], -T[:3, 1]
                # The middle of the picture is at half a pixel, as D435's principal point.
                near = eye.frustum_near
                eye.frustum_center = 0
                eye.frustum_bottom = -near * D435.height / 2 / D435.fy
                eye.frustum_top = near * D435.height / 2 / D435.fy
                eye.frustum_width = near * D435.width / 2 / D435.fx
            found = renderer.render()
        geom = np.where(found[..., 1] == mujoco.mjtObj.mjOBJ_GEOM, found[..., 0], -1)
        body = np.where(geom >= 0, model.geom_bodyid[geom], -1)
        expected = np.zeros_like(look.numbers)
        for number in range(1, len(BOXES) + 1):
            expected[body == model.body(f'object_{number}').id] = number
        np.testing.assert_array_equal(look.numbers, expected)

    def test_points_correspond_to_a_tenth_of_a_pixel(self, scene: Shown) -> None:
        dropped, a, b = scene
        views = [
            SceneView(
                look.numbers,
                look.frame.depth,
                D435,
                look.T_scene_camera,
                Path(),
                look.frame.colour,
            )
            for look in (a, b)
        ]
        v, u = np.nonzero(a.numbers)
        uv = np.stack([u, v], axis=1)
        uv_b, seen = correspondences(views[0], views[1], uv)
        assert seen.mean() > 0.5
        # The true point of each pixel: where its ray enters the nearest box.
        true = hit_boxes(BOXES, list(dropped.T_scene_object), a.T_scene_camera).min(axis=0)[v, u]
        inner = seen & np.isfinite(true)
        points = D435.deproject(uv[inner], true[inner])
        T_b_a = rigid.inverse(b.T_scene_camera) @ a.T_scene_camera
        off = np.linalg.norm(uv_b[inner] - D435.project(rigid.apply(T_b_a, points)), axis=1)
        assert np.quantile(off, 0.99) < 0.1
        # And the other view says the same number there.
        at = np.rint(uv_b[inner]).astype(int)
        same = b.numbers[at[:, 1], at[:, 0]] == a.numbers[v[inner], u[inner]]
        assert same.mean() > 0.99

    def test_everything_is_at_rest_on_the_table(self, scene: Shown) -> None:
        dropped, *_ = scene
        data = mujoco.MjData(dropped.model)
        before = data.qpos.copy()
        while data.time < 0.3:
            mujoco.mj_step(dropped.model, data)
        moved = np.abs(data.qpos - before).reshape(-1, 7)[:, :3]
        assert moved.max() < 5e-3
        for pose, box in zip(dropped.T_scene_object, BOXES, strict=True):
            middle = rigid.apply(pose, [[0, 0, half_of(box)[2]]])[0]
            assert 0 < middle[2] < 0.5

    def test_a_lone_object_is_where_it_was_and_hidden_by_nothing(
        self, scene: tuple[Drop, Look, Look]
    ) -> None:
        dropped, a, _ = scene
        for number, box in enumerate(BOXES, start=1):
            picture = dropped.alone(a.T_scene_camera, number)
            pose = dropped.T_scene_object[number - 1]
            true = np.isfinite(hit_boxes((box,), [pose], a.T_scene_camera)[0])
            plain = (picture == 128).all(axis=-1)
            assert (plain & true).sum() < 0.02 * true.sum()
            assert (~plain & ~true).mean() < 5e-4
            own = (a.numbers == number).astype(np.uint8)
            inner = cv2.erode(own, np.ones((5, 5), np.uint8)) > 0  # edges are smoothed
            np.testing.assert_array_equal(picture[inner], a.frame.colour[inner])


class TestFolder:
    def test_it_holds_what_was_asked_for(self, folder: Path) -> None:
        opened = SceneFolder.open(folder)
        held = opened.validation()
        assert held is not None
        assert (len(opened.entries), len(held.entries)) == (2, 1)
        for part, numbers in ((opened, instances.TRAINING), (held, instances.VALIDATION)):
            for scene in part.scenes():
                names = scene.entry.objects
                assert 2 <= len(names) <= 3
                assert all(int(name.rpartition('-')[2]) in numbers for name in names)
        assert {path.relative_to(folder).as_posix() for path in opened.files} == set(files(folder))

    def test_both_views_show_objects_whole_and_large_enough(self, folder: Path) -> None:
        for scene in SceneFolder.open(folder).scenes():
            sizes = [
                np.bincount(view.mask.ravel(), minlength=9)[1:] for view in (scene.a, scene.b)
            ]
            assert np.count_nonzero(np.minimum(*sizes) >= SMALLEST) >= 2
            for view in (scene.a, scene.b):
                edges = view.mask[0], view.mask[-1], view.mask[:, 0], view.mask[:, -1]
                assert not any(edge.any() for edge in edges)

    def test_lone_objects_are_those_of_the_first_view(self, folder: Path) -> None:
        for scene in SceneFolder.open(folder).scenes():
            large = np.flatnonzero(np.bincount(scene.a.mask.ravel())[1:] >= SMALLEST) + 1
            assert set(scene.lone) == set(large.tolist())
            for number, file in scene.lone.items():
                own = scene.a.mask == number
                off = np.abs(image_of(file)[own].astype(int) - scene.a.image[own])
                assert off.mean() < 12  # the camera's noise, and JPEG

    def test_poses_of_objects_agree_with_the_pictures(self, folder: Path) -> None:
        for scene in SceneFolder.open(folder).scenes():
            assert_poses_hold(scene)

    def test_equal_seeds_render_equal_folders_also_after_an_interruption(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        again = tmp_path / 'again'
        rendered: list[object] = []

        def one_only(jobs: list[Any], workers: int) -> None:
            for function, arguments in jobs:
                if rendered:
                    raise KeyboardInterrupt
                rendered.append(function(*arguments))

        monkeypatch.setattr(scenes, 'render_all', one_only)
        with pytest.raises(KeyboardInterrupt):
            render(again)
        assert not (again / SCENES).exists()
        done = {path: path.stat().st_mtime_ns for path in (again / 'rgbs').iterdir()}
        assert len(done) == 2
        monkeypatch.undo()
        assert render(again) == 0
        assert files(again) == files(folder)
        assert {path: path.stat().st_mtime_ns for path in done} == done
        assert render(again) == 0  # nothing is left to do
        assert files(again) == files(folder)

    def test_what_was_begun_otherwise_is_not_gone_on_with(
        self, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert render(folder, '--seed', '1') == 1
        assert 'holds other scenes; give an empty folder' in capsys.readouterr().err
        begun = tmp_path / 'begun'
        shutil.copytree(folder, begun)
        made = json.loads((begun / SCENES).read_text())['made']
        (begun / SCENES).unlink()
        assert render(begun) == 1
        assert 'would not be written over' in capsys.readouterr().err
        (begun / '.rendering').mkdir()
        (begun / '.rendering' / 'command.json').write_text(json.dumps({**made, 'seed': [1]}))
        assert render(begun) == 1
        assert 'an interrupted rendering with other seed' in capsys.readouterr().err

    def test_what_was_begun_is_not_read_as_plain_pictures(
        self, folder: Path, tmp_path: Path
    ) -> None:
        begun = tmp_path / 'begun'
        shutil.copytree(folder, begun)
        (begun / SCENES).unlink()
        (begun / '.rendering').mkdir()
        with pytest.raises(DataError, match=f'{begun}: an interrupted rendering; go on with its'):
            ImageFolder.open(begun)

    @pytest.mark.parametrize('text', ['', '{"name": "000', '[1]', '{}'])
    def test_notes_of_an_interrupted_rendering_that_are_damaged_are_named(
        self,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
        text: str,
    ) -> None:
        def damage(jobs: list[Any], workers: int) -> None:
            for _, (folder, name, *_) in jobs:
                (folder / '.rendering' / f'{name}.json').write_text(text)

        monkeypatch.setattr(scenes, 'render_all', damage)
        assert render(tmp_path / 'new') == 1
        assert f'{tmp_path}/new/.rendering/000000.json: ' in capsys.readouterr().err
        (tmp_path / 'new' / '.rendering' / 'command.json').write_text(text)
        assert render(tmp_path / 'new') == 1
        assert str(tmp_path / 'new') in capsys.readouterr().err

    @pytest.mark.parametrize(
        ('text', 'error'),
        [('{"made":', 'cannot be read as JSON'), ('[]', 'not an index of scenes')],
    )
    def test_an_index_that_cannot_be_read_is_told(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, error: str
    ) -> None:
        (tmp_path / SCENES).write_text(text)
        assert render(tmp_path) == 1
        said = capsys.readouterr().err
        assert f'{tmp_path / SCENES}: {error}' in said
        assert (tmp_path / SCENES).read_text() == text


@pytest.mark.parametrize('fault', [ValueError, None])
def test_a_scene_that_is_not_handed_on_is_closed(
    monkeypatch: pytest.MonkeyPatch, fault: type[Exception] | None
) -> None:
    closed: list[Drop] = []

    def find(self: Drop, *_: object) -> None:
        if fault is not None:
            raise fault('no view')

    def close(self: Drop) -> None:
        closed.append(self)
        StillScene.close(self)

    monkeypatch.setattr(Drop, 'find', find)
    monkeypatch.setattr(Drop, 'close', close, raising=False)
    monkeypatch.setattr('don_kp_ros.simulation.drop._SCENES', 2)
    with pytest.raises(fault or DataError, match=r'no view|none shows two'):
        drop(BOXES[:2], Viewpoints(), 30.0, np.random.default_rng(0))
    assert len(closed) == (2 if fault is None else 1)


def assert_poses_hold(scene: Scene) -> None:
    """What both views show of an object lies above its base and near its axis."""
    for number in scene.in_both():
        T_scene_object = scene.entry.T_scene_object[number - 1]
        for view in (scene.a, scene.b):
            v, u = np.nonzero((view.mask == number) & np.isfinite(view.depth))
            points = D435.deproject(np.stack([u, v], axis=1), view.depth[v, u])
            T = rigid.inverse(T_scene_object) @ view.T_object_camera
            own = rigid.apply(T, points)
            assert own[:, 2].min() > -0.005  # everything is above the object's base
            assert np.linalg.norm(own[:, :2], axis=1).max() < 0.3


def test_meshes_fall_and_come_to_rest(tmp_path: Path) -> None:
    block = trimesh.creation.box([0.06, 0.04, 0.1])
    block.visual.vertex_colors = (20, 200, 20, 255)
    file = tmp_path / 'block.ply'
    block.export(file)
    out = tmp_path / 'out'
    assert (
        command.main(
            [str(out), '--scene', '--scenes', '1', '--object', str(file), '--object', 'can']
            + ['--instances', '2', '--objects', '3', '3', '--workers', '1']
        )
        == 0
    )
    (entry,) = SceneFolder.open(out).entries
    assert sorted(name.partition('-')[0] for name in entry.objects) == ['block', 'can', 'can']
    T = entry.T_scene_object[entry.objects.index('block')]
    # Its middle is as high as one of its half sides, or it leans on something.
    middle = rigid.apply(T, [[0, 0, 0.05]])[0]
    assert 0.019 < middle[2] < 0.2
    # The mesh that is kept, drawn at the pose, covers what the mask shows of it.
    folder = SceneFolder.open(out)
    assert set(folder.meshes) == {'block'}
    number = entry.objects.index('block')
    (scene,) = folder.scenes()
    T_camera_object = rigid.inverse(entry.T_scene_camera[0]) @ entry.T_scene_object[number]
    kept = read(folder.meshes['block'])
    drawn = rasterise(rigid.apply(T_camera_object, kept.vertices), kept.faces, D435)
    shown = scene.a.mask == number + 1
    assert (shown & ~drawn.mask).sum() <= 0.02 * shown.sum()
    np.testing.assert_allclose(
        np.median(np.abs(drawn.depth - scene.a.depth)[shown & drawn.mask]), 0, atol=2e-4
    )
    picture = read_image(out / 'rgbs' / f'{entry.views[0]}.jpg')
    assert picture.shape == (D435.height, D435.width, 3)


@pytest.mark.parametrize('interrupted', [True, False])
def test_a_mesh_that_changed_is_not_taken_for_the_one_before(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    interrupted: bool,
) -> None:
    out, file = tmp_path / 'out', tmp_path / 'block.ply'
    arguments = [str(out), '--scene', '--scenes', '1', '--object', str(file), '--object', 'can']
    arguments += ['--instances', '2', '--objects', '2', '2', '--workers', '1']

    def render_block(height: float) -> int:
        trimesh.creation.box([0.06, 0.04, height]).export(file)
        posed._mesh.cache_clear()  # as in a process of its own
        return command.main(arguments)

    with monkeypatch.context() as patch:
        if interrupted:
            patch.setattr(scenes, 'render_all', lambda *_: (_ for _ in ()).throw(DataError('end')))
        assert render_block(0.1) == int(interrupted)
    before = files(out)
    assert render_block(0.08) == 1
    assert f'{file}: is not the mesh of the scenes in {out}' in capsys.readouterr().err
    assert files(out) == before
    assert render_block(0.1) == 0  # goes on, or finds nothing left to do


def test_objects_that_fall_off_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('don_kp_ros.simulation.drop._SPREAD', 0.0)
    monkeypatch.setattr('don_kp_ros.simulation.drop.TABLE_CENTRE', (3.0, 0.0, -0.02))
    with pytest.raises(DataError, match='do not come to rest on the table') as error:
        Drop(BOXES[:1], np.random.default_rng(0))
    assert 'box-5' in str(error.value) and '--objects' in str(error.value)


@pytest.mark.parametrize(
    ('options', 'error'),
    [
        (['--scenes', '3'], '--scenes belongs to --scene'),
        (['--seed', '-1'], '--seed is -1; it must not be negative'),
        (['--scene', '--seed', '-1'], '--seed is -1; it must not be negative'),
        (['--scene', '--views', '3'], '--views belongs to single objects'),
        (['--scene', '--objects', '3', '2'], '--objects is 3 2; allowed is LOW HIGH within 1'),
        (
            ['--scene', '--object', 'a.obj', '--object', 'b.obj', '--objects', '2', '3'],
            '--objects is 2 3, but there are 2 objects: lower HIGH to 2, or give more by',
        ),
        (
            ['--scene', '--instances', '4', '--object', 'a.obj', '--object', 'cap']
            + ['--objects', '2', '6'],
            '--objects is 2 6, but there are 5 objects',
        ),
        (['--scene', '--instances', '100001'], '--instances is 100001; there are 100000'),
        (['--scene', '--apart', '91'], '--apart is 91; allowed is 0 to 90'),
        (['--scene', '--size', '1'], '--size and --up belong to meshes'),
        (['--object', 'cap', '--object', 'can'], '--object is given several times'),
    ],
)
def test_options_that_do_not_fit(
    tmp_path: Path, options: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command.main([str(tmp_path), *options])
    assert error in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
