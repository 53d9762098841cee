"""Rendered posed views against the geometry of what they show; meshes of files."""

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import trimesh
from PIL import Image

from don_kp_ros.data.depth_view import correspondences
from don_kp_ros.data.folder import DataError, ImageFolder
from don_kp_ros.data.index_file import DEPTH_UNIT, camera_entry
from don_kp_ros.data.pairs import ViewConfiguration
from don_kp_ros.data.posed import PosedFolder, PosedSample, kind_of
from don_kp_ros.data.posed_pairs import PosedSampler, prepare_posed
from don_kp_ros.geometry import rigid
from don_kp_ros.simulation import command, instances, meshes, posed
from don_kp_ros.simulation.camera import D435
from don_kp_ros.simulation.kinds import BUILT_IN
from don_kp_ros.simulation.posed import Shot, Subject, Viewpoints, take
from don_kp_ros.simulation.shapes import CapShape

RED, GREEN, BLUE, WHITE = (220, 20, 20), (20, 220, 20), (20, 20, 220), (220, 220, 220)


def render(folder: Path, *arguments: str) -> Path:
    assert command.main([str(folder), '--workers', '1', *arguments]) == 0
    return folder


def samples(folder: Path) -> list[PosedSample]:
    return list(PosedFolder.open(folder).samples())


CAPS = ('--object', 'cap', '--views', '4', '--instances', '2', '--seed', '3')


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp('caps'), *CAPS)


class TestCaps:
    def test_the_folder_is_complete_and_of_the_plain_layout_too(self, folder: Path) -> None:
        names = sorted(str(p.relative_to(folder)) for p in folder.rglob('*') if p.is_file())
        assert names == sorted(
            [f'{kind}/{i:06d}.png' for kind in ('depths', 'masks') for i in range(4)]
            + [f'rgbs/{i:06d}.jpg' for i in range(4)]
            + ['negatives/000000.jpg', 'views.json']
        )
        assert len(ImageFolder.open(folder).images) == 4

    def test_views_are_of_the_instances_in_turn(self, folder: Path) -> None:
        objects = [sample.object for sample in samples(folder)]
        assert objects[:2] == objects[2:] and objects[0] != objects[1]
        assert all(int(name.removeprefix('cap-')) in instances.TRAINING for name in objects)

    def test_a_caps_button_is_where_its_pose_says(self, folder: Path) -> None:
        for sample in samples(folder):
            instance = int(sample.object.removeprefix('cap-'))
            shape = CapShape.draw(np.random.default_rng([instance, 0xCA9]))
            apex = [0, 0, shape.height + 0.003]  # the button is an ellipsoid 6 mm high
            in_camera = rigid.apply(rigid.inverse(sample.T_object_camera), apex)
            u, v = np.rint(D435.project(in_camera)).astype(int)
            assert sample.mask[v, u] == 255
            assert sample.depth[v, u] == pytest.approx(in_camera[2], abs=1.5e-3)

    def test_named_points_lie_on_the_caps(self, folder: Path) -> None:
        points, seen = PosedFolder.open(folder).points, set()
        for sample in samples(folder):
            for name, point in points[sample.object].items():
                in_camera = rigid.apply(rigid.inverse(sample.T_object_camera), point)
                gap = in_camera[2] - sample.depth_at(D435.project(in_camera)[None])[0]
                # Nothing that is seen there lies behind the point; the meshes are faceted.
                assert np.isnan(gap) or gap > -0.0015, name
                if abs(gap) < 0.0015:
                    seen.add(name)
        assert {'button', 'brim', 'brim, left', 'brim, right', 'crown, back'} <= seen

    def test_cameras_stand_where_the_options_say(self, folder: Path) -> None:
        for sample in samples(folder):
            eye, sight = sample.T_object_camera[:3, 3], sample.T_object_camera[:3, 2]
            assert 0 <= np.degrees(np.arccos(-sight[2])) <= 60
            assert 0.35 < np.linalg.norm(eye - [0, 0, 0.03]) < 0.9

    def test_points_correspond_on_a_cap_that_was_moved(self, folder: Path) -> None:
        views = samples(folder)
        a, b = views[0], views[2]
        v, u = np.nonzero(a.mask)
        uv_a = np.stack([u, v], axis=1)
        uv_b, seen = correspondences(a, b, uv_a)
        assert seen.mean() > 0.3
        at = np.rint(uv_b[seen]).astype(int).T
        assert (b.mask[at[1], at[0]] == 255).all()
        lab = [
            cv2.cvtColor(cv2.GaussianBlur(x.image, (5, 5), 0), cv2.COLOR_RGB2LAB).astype(float)
            for x in (a, b)
        ]
        colours = [lab[0][v[seen], u[seen], 1:], lab[1][at[1], at[0], 1:]]
        colours = [c - np.median(c, axis=0) for c in colours]  # the light's tint differs
        shuffled = np.random.default_rng(0).permutation(colours[1])
        difference = np.abs(colours[0] - colours[1]).mean()
        assert difference < 0.7 * np.abs(colours[0] - shuffled).mean()

    def test_pairs_are_drawn_of_it(self, folder: Path) -> None:
        sources = [prepare_posed(sample, 640) for sample in samples(folder)]
        pair = PosedSampler(ViewConfiguration(), sources, []).draw(np.random.default_rng(0))
        assert pair.uv_a.shape == (ViewConfiguration().queries, 2)

    def test_equal_seeds_render_equal_folders(self, folder: Path, tmp_path: Path) -> None:
        again = render(tmp_path, *CAPS)
        for path in folder.rglob('*'):
            if path.is_file():
                other = again / path.relative_to(folder)
                assert path.read_bytes() == other.read_bytes(), path.name

    def test_a_rendering_that_is_interrupted_leaves_no_poses_of_earlier_pictures(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        again = tmp_path / 'again'
        shutil.copytree(folder, again)

        def one_only(jobs: list[Any], workers: int) -> None:
            function, arguments = jobs[0]
            function(*arguments)
            raise KeyboardInterrupt

        monkeypatch.setattr(posed, 'render_all', one_only)
        with pytest.raises(KeyboardInterrupt):
            render(again, '--object', 'mug', '--views', '4', '--negatives', '1')
        with pytest.raises(DataError, match=r'views\.json: .* a rendering was interrupted'):
            PosedFolder.open(again)
        monkeypatch.undo()
        render(again, *CAPS)  # goes on, and is as if nothing had been
        for path in folder.rglob('*'):
            if path.is_file():
                assert path.read_bytes() == (again / path.relative_to(folder)).read_bytes()

    @pytest.mark.parametrize(
        'left', ['rgbs/000004.jpg', 'negatives/000001.jpg', 'validation/rgbs/000000.jpg']
    )
    def test_pictures_that_would_stay_are_refused(
        self, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], left: str
    ) -> None:
        other = tmp_path / 'other'
        shutil.copytree(folder, other)
        (other / left).parent.mkdir(parents=True, exist_ok=True)
        (other / left).write_bytes(b'')
        assert command.main([str(other), *CAPS]) == 1
        assert f'{other / left}: an earlier picture' in capsys.readouterr().err
        assert (other / 'views.json').read_bytes() == (folder / 'views.json').read_bytes()

    @pytest.mark.parametrize('camera', [None, {**camera_entry(D435), 'fx': 600.0}])
    @pytest.mark.parametrize(
        'own', ['rgbs/000000.jpg', 'masks/000000.png', 'depths/000000.png', 'negatives/000000.jpg']
    )
    def test_pictures_that_no_rendering_made_stay(
        self,
        folder: Path,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        own: str,
        camera: dict[str, float] | None,
    ) -> None:
        (tmp_path / own).parent.mkdir()
        (tmp_path / own).write_bytes(b'own')
        if camera is not None:
            index = json.loads((folder / 'views.json').read_text())
            (tmp_path / 'views.json').write_text(json.dumps({**index, 'camera': camera}))
        assert command.main([str(tmp_path), *CAPS]) == 1
        said = capsys.readouterr().err
        assert f'{tmp_path / own}: an earlier picture, which no rendering made' in said
        assert (tmp_path / own).read_bytes() == b'own'


def test_objects_of_every_kind_are_rendered_and_others_held(tmp_path: Path) -> None:
    options = ['--views', '10', '--instances', '5', '--pairs', '2', '--negatives', '1']
    folder = PosedFolder.open(render(tmp_path / 'objects', *options))
    held = folder.validation()
    assert held is not None
    for part, objects, numbers in (
        (folder, 5, instances.TRAINING),
        (held, 2, instances.VALIDATION),
    ):
        names = [view.object for view in part.views]
        assert names == 2 * names[:objects]  # in turn: views of one object are of other scenes
        assert {kind_of(name) for name in names} == set(list(BUILT_IN)[:objects])
        assert all(int(name.rpartition('-')[2]) in numbers for name in names)
    assert (len(folder.negatives), len(held.negatives)) == (1, 2)
    assert set(held.files) < set(folder.files)


def hit_box(T_object_camera: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Depth (H, W) at which rays enter the box that stands on the origin; NaN where none does."""
    rays = D435.deproject_image(np.ones((D435.height, D435.width))) @ T_object_camera[:3, :3].T
    eye = T_object_camera[:3, 3] - [0, 0, half[2]]
    one, two = (-half - eye) / rays, (half - eye) / rays
    enter, leave = np.minimum(one, two).max(-1), np.maximum(one, two).min(-1)
    return np.where(enter < leave, enter, np.nan)


def test_depth_mask_and_correspondences_of_a_box_are_those_of_its_planes() -> None:
    subject = Subject('box', 5)
    half = np.random.default_rng([5, 0x0B1]).uniform([0.03, 0.02, 0.015], [0.06, 0.045, 0.045])
    views = []
    for seed in range(2):
        shot = take(subject, Viewpoints(tilt=(30, 45)), np.random.default_rng(seed))
        true = hit_box(shot.T_object_camera, half)
        shown, expected = shot.mask, np.isfinite(true)
        assert np.count_nonzero(shown ^ expected) < 0.01 * expected.sum()  # nothing in front
        error = np.abs(shot.frame.depth - true)[shown & expected]
        assert np.quantile(error, 0.99) < 1e-3
        views.append((shot, true))
    (a, true_a), (b, true_b) = views
    as_samples = [sample_of(shot) for shot in (a, b)]
    v, u = np.nonzero(a.mask & np.isfinite(true_a))
    uv_a = np.stack([u, v], axis=1)
    uv_b, seen = correspondences(*as_samples, uv_a)
    points = rigid.apply(a.T_object_camera, D435.deproject(uv_a, true_a[v, u]))
    in_b = rigid.apply(rigid.inverse(b.T_object_camera), points)
    np.testing.assert_allclose(uv_b[seen], D435.project(in_b)[seen], atol=1.0)
    assert np.abs(uv_b - D435.project(in_b))[seen].mean() < 0.2
    at = np.rint(D435.project(in_b)).astype(int).T
    gap = in_b[:, 2] - true_b[at[1], at[0]]
    assert not seen[gap > 0.006].any()  # on a side that the other camera does not see
    assert seen[np.abs(gap) < 0.001].mean() > 0.95
    assert 0.2 < seen.mean() < 0.999


def sample_of(shot: Shot) -> PosedSample:
    mask = shot.mask.astype(np.uint8) * 255
    return PosedSample(
        mask, shot.frame.depth, D435, shot.T_object_camera, Path('x'), 'x', shot.frame.colour
    )


def slab(looks: str) -> trimesh.Trimesh:
    """A slab of 0.12 x 0.08 x 0.04, z up, about the origin; its top shows a picture of four."""
    mesh = trimesh.creation.box([0.12, 0.08, 0.04])
    mesh = trimesh.Trimesh(mesh.vertices[mesh.faces].reshape(-1, 3), np.arange(36).reshape(-1, 3),
                           process=False)  # fmt: skip
    x, y = mesh.vertices[:, 0] / 0.12, mesh.vertices[:, 1] / 0.08
    if looks == 'texture':
        picture = np.zeros((64, 128, 3), np.uint8)
        picture[:32, :64], picture[:32, 64:], picture[32:, :64], picture[32:, 64:] = (
            RED, GREEN, BLUE, WHITE,
        )  # fmt: skip
        uv = np.stack([x + 0.5, y + 0.5], axis=1)
        mesh.visual = trimesh.visual.TextureVisuals(
            uv, trimesh.visual.material.PBRMaterial(baseColorTexture=Image.fromarray(picture))
        )
    elif looks == 'vertex':
        mesh.visual.vertex_colors = np.where(x[:, None] > 0, [*RED, 255], [*BLUE, 255])
    return mesh


def write(path: Path, mesh: trimesh.Trimesh) -> Path:
    if path.suffix == '.glb':  # y is up
        T = np.eye(4)
        T[1:3, 1:3] = [[0, 1], [-1, 0]]
        mesh.apply_transform(T)
    elif mesh.visual.kind == 'texture':
        mesh.visual.material = mesh.visual.material.to_simple()
    mesh.export(path)
    return path


def hue_at(shot: Shot, point: list[float]) -> str:
    """Name the colour shown at a point of the object's frame."""
    u, v = np.rint(D435.project(rigid.apply(rigid.inverse(shot.T_object_camera), point))).astype(
        int
    )
    assert shot.mask[v, u]
    r, g, b = shot.frame.colour[v - 2 : v + 3, u - 2 : u + 3].reshape(-1, 3).mean(axis=0)
    strong = (np.array([r, g, b]) > 0.6 * max(r, g, b)).tolist()
    names = {(1, 0, 0): 'red', (0, 1, 0): 'green', (0, 0, 1): 'blue', (1, 1, 1): 'white'}
    return names.get(tuple(map(int, strong)), f'{r:.0f} {g:.0f} {b:.0f}')


@pytest.mark.parametrize('name', ['slab.obj', 'slab.glb'])
def test_a_meshs_texture_depth_and_frame_are_right(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, slab('texture'))
    subject = Subject(str(path), size=0.18)  # half as large again
    half = np.array([0.09, 0.06, 0.03])
    mesh = subject.mesh
    assert mesh is not None
    np.testing.assert_allclose(mesh.size, 2 * half, atol=1e-6)
    assert subject.name == 'slab'
    assert 'textured' in subject.description and '0.180' in subject.description
    shot = take(subject, Viewpoints(tilt=(0, 40)), np.random.default_rng(1))
    true = hit_box(shot.T_object_camera, half)
    error = np.abs(shot.frame.depth - true)[shot.mask & np.isfinite(true)]
    assert np.count_nonzero(shot.mask) > 0.95 * np.isfinite(true).sum()
    assert np.quantile(error, 0.99) < 1e-3
    top = [hue_at(shot, [x, y, 0.06]) for y in (0.03, -0.03) for x in (-0.045, 0.045)]
    assert top == ['red', 'green', 'blue', 'white']


def test_colours_of_vertices_are_shown(tmp_path: Path) -> None:
    path = write(tmp_path / 'slab.glb', slab('vertex'))
    subject = Subject(str(path))
    assert 'coloured' in subject.description and 'no texture' in subject.description
    shot = take(subject, Viewpoints(tilt=(0, 20)), np.random.default_rng(1))
    assert hue_at(shot, [0.055, 0, 0.04]) == 'red'
    assert hue_at(shot, [-0.055, 0, 0.04]) == 'blue'


def test_an_open_surface_is_seen_from_both_sides(tmp_path: Path) -> None:
    """Triangles that face away would be left out."""
    shots = []
    for flip in (False, True):
        mesh = slab('none')
        mesh.faces = mesh.faces[:, ::-1] if flip else mesh.faces
        path = write(tmp_path / f'slab{flip}.obj', mesh)
        shots.append(take(Subject(str(path)), Viewpoints(tilt=(0, 40)), np.random.default_rng(2)))
    np.testing.assert_array_equal(shots[0].mask, shots[1].mask)
    np.testing.assert_allclose(shots[0].frame.depth, shots[1].frame.depth, atol=1e-4)


def test_a_flat_mesh_lies_on_the_table_not_in_it(tmp_path: Path) -> None:
    path = tmp_path / 'flat.obj'
    path.write_text('v 0 0 0\nv .1 0 0\nv .1 .1 0\nv 0 .1 0\nf 1 2 3 4\n')
    shot = take(Subject(str(path)), Viewpoints(tilt=(0, 40)), np.random.default_rng(2))
    true = np.isfinite(hit_box(shot.T_object_camera, np.array([0.05, 0.05, 1e-6])))
    assert np.count_nonzero(shot.mask ^ true) < 0.03 * true.sum()


def test_a_mesh_is_rendered_by_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / 'thing.obj', slab('none'))
    arguments = ['--object', str(path), '--views', '2', '--tilt', '10', '20']
    arguments += ['--roll', '0', '0', '--distance', '0.5', '0.5', '--negatives', '0']
    folder = render(tmp_path / 'data', *arguments)
    assert 'no texture' in capsys.readouterr().out
    for sample in samples(folder):
        assert sample.object == 'thing'
        true = hit_box(sample.T_object_camera, np.array([0.06, 0.04, 0.02]))
        inside = (sample.mask > 0) & np.isfinite(true)
        assert inside.sum() > 4000
        assert np.quantile(np.abs(sample.depth - true)[inside], 0.99) < 1e-3
        steps = sample.depth[inside] / DEPTH_UNIT
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-2)
        T = sample.T_object_camera
        assert 10 <= np.degrees(np.arccos(-T[2, 2])) <= 20.001
        assert T[2, 0] == pytest.approx(0, abs=1e-6)  # no roll: the picture's rows lie level
        assert T[2, 1] < 0
    # A view of another folder would stay among these.
    (folder / 'rgbs' / '000002.jpg').write_bytes(b'')
    assert command.main([str(folder), *arguments]) == 1
    assert '000002' in capsys.readouterr().err


class TestErrors:
    def test_every_bad_mesh_is_named(self, tmp_path: Path) -> None:
        texts: dict[str, tuple[str | bytes | None, str]] = {
            'none.obj': (None, 'no such file'),
            'mesh.stl': ('solid', r'\.obj and \.glb'),
            'text.obj': ('hello\n', 'no faces|cannot be read'),
            'empty.obj': ('', 'no faces|cannot be read'),
            'points.obj': ('v 0 0 0\nv 1 0 0\nv 0 1 0\n', 'no faces|cannot be read'),
            'line.obj': ('v 0 0 0\nv 1 0 0\nv 2 0 0\nf 1 2 3\n', 'no faces'),
            'nan.obj': ('v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n', 'finite|cannot be read'),
            'cut.glb': (b'glTF\x02\0\0\0', 'cannot be read'),
            'large.obj': ('v 0 0 0\nv 90 0 0\nv 0 90 0\nf 1 2 3\n', '90 m large.*--size'),
        }
        for name, (content, message) in texts.items():
            path = tmp_path / name
            if isinstance(content, bytes):
                path.write_bytes(content)
            elif content is not None:
                path.write_text(content)
            with pytest.raises(DataError, match=message) as caught:
                meshes.load(path)
            assert str(path) in str(caught.value)

    def test_the_command_says_what_is_wrong(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        missing = str(tmp_path / 'none.obj')
        assert command.main([str(tmp_path / 'data'), '--object', missing]) == 1
        assert f'don_kp render: {missing}: no such file' in capsys.readouterr().err
        assert not (tmp_path / 'data').exists()

    @pytest.mark.parametrize(
        ('arguments', 'message'),
        [
            (['--views', '3'], '--views is 3; two of every instance are needed: 1320'),
            (['--pairs', '-1'], '--pairs at least 0'),
            (['--up', 'z'], 'built-in kinds have their own sizes'),
            (['--object', 'cap', '--views', '5', '--instances', '3'], '--views is 5'),
            (['--object', 'cap', '--instances', '0'], '--instances'),
            (['--object', 'cap', '--tilt', '50', '20'], '--tilt is 50 20'),
            (['--object', 'cap', '--distance', '0.1', '1'], '--distance is 0.1 1'),
            (['--object', 'mug', '--size', '0.1'], '--size'),
            (['--object', 'a.obj', '--instances', '2'], 'belong to built-in kinds'),
            (['--object', 'a.obj', '--pairs', '2'], 'belong to built-in kinds'),
        ],
    )
    def test_options_that_do_not_fit_are_named(
        self,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        arguments: list[str],
        message: str,
    ) -> None:
        with pytest.raises(SystemExit):
            command.main([str(tmp_path / 'data'), *arguments])
        assert message in capsys.readouterr().err

    def test_an_object_that_fits_in_no_view_is_an_error(self, tmp_path: Path) -> None:
        path = write(tmp_path / 'slab.obj', slab('none'))
        with pytest.raises(DataError, match=r'slab\.obj.*--distance'):
            take(Subject(str(path), size=1.5), Viewpoints(), np.random.default_rng(0))


@pytest.mark.parametrize('kind', ['mug', 'can'])
def test_other_kinds_stand_on_the_table_in_view(kind: str) -> None:
    shot = take(Subject(kind, 8), Viewpoints(), np.random.default_rng(4))
    assert abs(shot.T_world_object[2, 3]) < 1e-12
    points = rigid.apply(shot.T_object_camera, D435.deproject_image(shot.frame.depth))[shot.mask]
    assert points[:, 2].min() > -1e-3
    assert 0.06 < points[:, 2].max() < 0.12
    assert np.linalg.norm(points[:, :2], axis=1).max() < 0.075
