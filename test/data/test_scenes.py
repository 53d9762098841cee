"""Folders of scenes: what is read, what is refused, and pairs against the geometry of planes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from masked import turned
from plates import CAMERA, PLATES, poses, scene_of_plates, seen

from don_kp_ros.data.folder import DataError
from don_kp_ros.data.loader import collate
from don_kp_ros.data.pairs import ViewConfiguration
from don_kp_ros.data.picture_file import image_of
from don_kp_ros.data.scene_pairs import SceneSampler, prepare_scene
from don_kp_ros.data.scenes import SCENES, SceneFolder
from don_kp_ros.geometry import rigid

CLEAN: dict[str, Any] = {
    'occlusion': 0.0,
    'size': 96,
    'queries': 64,
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return scene_of_plates(tmp_path / 'scenes')


def change(root: Path, *keys: Any, to: Any) -> None:
    content = json.loads((root / SCENES).read_text())
    inner = content
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = to
    (root / SCENES).write_text(json.dumps(content))


def test_equal_values_of_16_bits_are_read_alike_from_a_folder_and_its_validation(
    root: Path,
) -> None:
    for folder, brightest in ((root, 12), (scene_of_plates(root / 'validation'), 10)):
        for name, bits in (('s_a', 10), ('s_b', brightest)):
            path = str(folder / 'rgbs' / f'{name}.png')
            cv2.imwrite(path, cv2.imread(path).astype(np.uint16) << (bits - 8))
    (own,), (held,) = (SceneFolder.open(part).scenes() for part in (root, root / 'validation'))
    np.testing.assert_array_equal(held.a.image, own.a.image)
    np.testing.assert_array_equal(own.a.image, seen(poses()[0])[0] // 4)


def test_what_is_written_is_read(root: Path) -> None:
    folder = SceneFolder.open(root)
    (scene,) = folder.scenes()
    assert scene.entry.objects == ('left-1', 'right-1')
    for view, T in zip((scene.a, scene.b), poses(), strict=True):
        image, numbers, depth = seen(T)
        np.testing.assert_array_equal(view.image, image)
        np.testing.assert_array_equal(view.mask, numbers)
        np.testing.assert_allclose(view.depth, depth, atol=1e-4)
        np.testing.assert_allclose(view.T_object_camera, T)
    assert sorted(scene.lone) == [1, 2] and scene.in_both() == [1, 2]
    of_second = scene.a.of(2, 'right-1')
    np.testing.assert_array_equal(of_second.mask > 0, scene.a.mask == 2)
    assert {path.name for path in folder.files} >= {'scenes.json', 's_a.png', 's_a_1.png'}
    assert len(folder.files) == 1 + 2 * 3 + 2


@pytest.mark.parametrize(
    ('keys', 'value', 'error'),
    [
        (('version',), 2, 'version 2 is not known; this program reads version 1'),
        (('format',), 'x', '"format" must be "don_kp scenes"'),
        (('depth_unit_m',), 1, 'allowed is above 0, up to 0.01 m'),
        (('scenes',), [], 'a list of at least one scene'),
        (('scenes', 0, 'name'), '', 'scene 0 has no name'),
        (('scenes', 0, 'objects'), [], 'has 0 objects; 1 to 255 can be numbered'),
        (('scenes', 0, 'objects', 1, 'name'), 'left-1', 'left-1 is listed 2 times in scene s'),
        (('scenes', 0, 'objects', 1, 'name'), 3, 'one of the objects of scene s has no name'),
        (('scenes', 0, 'objects'), 'x', '"objects" of scene s must be a list'),
        (('scenes', 0, 'views', 0, 'name'), '../a', "'../a' must be a file name without folder"),
        (('scenes', 0, 'views', 0, 'name'), 'other', 'other.jpg: missing'),
        (('scenes', 0, 'views', 0, 'T_scene_camera'), [[1]], 'of s_a in scene s must be 4x4'),
        (
            ('scenes', 0, 'objects', 0, 'T_scene_object'),
            (2 * np.eye(4)).tolist(),
            'T_scene_object of left-1 in scene s is not rigid',
        ),
    ],
)
def test_an_index_that_cannot_be_right_is_refused(
    root: Path, keys: tuple[Any, ...], value: Any, error: str
) -> None:
    change(root, *keys, to=value)
    with pytest.raises(DataError) as told:
        SceneFolder.open(root)
    assert error in str(told.value)


def test_one_view_alone_is_refused(root: Path) -> None:
    views = json.loads((root / SCENES).read_text())['scenes'][0]['views']
    change(root, 'scenes', 0, 'views', to=views[:1])
    with pytest.raises(DataError, match='scene s has 1 views; two are expected'):
        SceneFolder.open(root)


@pytest.mark.parametrize(
    ('file', 'picture', 'error'),
    [
        ('masks/s_a.png', np.full((120, 160), 3, np.uint8), 'shows an object 3'),
        ('masks/s_b.png', np.zeros((120, 160, 3), np.uint8), '8 bits of one channel'),
        ('masks/s_b.png', np.zeros((60, 80), np.uint8), '80x60 pixels, but the camera'),
        ('masks/s_b.png', np.zeros((120, 160), np.uint8), 'shows no object; mend it, or take its'),
        ('rgbs/s_a.png', np.zeros((60, 80, 3), np.uint8), '80x60 pixels, but the camera'),
        ('lone/s_a_2.png', np.zeros((60, 80, 3), np.uint8), '80x60 pixels, but the camera'),
    ],
)
def test_pictures_that_do_not_fit_are_named(
    root: Path, file: str, picture: np.ndarray, error: str
) -> None:
    cv2.imwrite(str(root / file), picture)
    with pytest.raises(DataError) as told:
        list(SceneFolder.open(root).scenes())
    assert error in str(told.value) and str(root / file) in str(told.value)


@pytest.mark.parametrize(
    ('tagged', 'named'), [('rgbs', 'masks'), ('masks', 'masks'), ('depths', 'depths')]
)
def test_what_exif_turns_against_its_picture_is_refused(
    root: Path, tagged: str, named: str
) -> None:
    turned(root / tagged / 's_a.png')
    with pytest.raises(DataError, match='EXIF orientation') as told:
        list(SceneFolder.open(root).scenes())
    assert str(told.value).startswith(f'{root / named / "s_a.png"}: ')


class TestPairs:
    def draw(self, root: Path, number: int, lone: bool = True) -> Any:
        sources = [prepare_scene(scene, 96) for scene in SceneFolder.open(root).scenes()]
        sampler = SceneSampler(ViewConfiguration(**CLEAN), sources, [], lone)
        return [sampler.draw(np.random.default_rng(seed)) for seed in range(number)]

    def test_points_correspond_as_the_planes_say(self, root: Path) -> None:
        """Both plates' points agree with the labels and with each plate's plane homography."""
        for pair in self.draw(root, 6):
            labels, (field_a, field_b) = pair.scene.labels, pair.scene.field
            known = np.isfinite(field_b[..., 0])
            assert known.sum() >= 24
            for number, (z, *_) in PLATES.items():
                u, v = np.rint(field_a).astype(int).T
                own = known & (number == labels[0][v, u].T)
                if not own.any():
                    continue
                T_a, T_b = poses()
                # Homographies are of the pictures resized to three quarters.
                resize = np.array([[0.75, 0, -0.125], [0, 0.75, -0.125], [0, 0, 1]])
                to_a, to_b = (view.homography @ resize for view in (pair.a, pair.b))
                in_a = homogeneous(np.linalg.inv(to_a), field_a[own])
                rays = np.column_stack([in_a, np.ones(len(in_a))]) @ np.linalg.inv(CAMERA.K).T
                points = rigid.apply(T_a, rays * (z / rays[:, 2:]))
                in_b = CAMERA.project(rigid.apply(rigid.inverse(T_b), points))
                off = np.linalg.norm(homogeneous(to_b, in_b) - field_b[own], axis=1)
                assert off.max() < 0.1

    def test_queries_are_of_all_objects_and_of_the_field(self, root: Path) -> None:
        for pair in self.draw(root, 6):
            assert pair.uv_a.shape == pair.uv_b.shape == (64, 2)
            numbers = []
            for labels, uv in zip(pair.scene.labels, (pair.uv_a, pair.uv_b), strict=True):
                u, v = np.rint(uv).astype(int).T
                numbers.append(labels[v, u])
            np.testing.assert_array_equal(*numbers)
            assert pair.scene.target in numbers[0] and 0 not in numbers[0]
            known = pair.scene.field[:, np.isfinite(pair.scene.field[1, ..., 0])]
            both = np.concatenate([*known], axis=1).tolist()
            assert all(q in both for q in np.hstack([pair.uv_a, pair.uv_b]).tolist())

    def test_the_lone_object_is_where_view_a_shows_it(self, root: Path) -> None:
        sources = [prepare_scene(scene, 96) for scene in SceneFolder.open(root).scenes()]
        sampler = SceneSampler(plain(), sources, [], lone=True)
        for seed in range(4):
            pair: Any = sampler.draw(np.random.default_rng(seed))
            own = (pair.scene.labels[0] == pair.scene.target).astype(np.uint8)
            inner = cv2.erode(own, np.ones((5, 5), np.uint8)) > 0
            off = np.abs(pair.scene.lone[inner].astype(int) - pair.a.image[inner])
            assert inner.any() and off.max() <= 1
            other = (pair.scene.labels[0] == 3 - pair.scene.target).astype(np.uint8)
            hidden = cv2.erode(other, np.ones((5, 5), np.uint8)) > 0
            assert (pair.scene.lone[hidden] == 128).all()

    def test_lone_objects_of_16_bits_are_as_bright_as_in_the_view(self, root: Path) -> None:
        """Of the 12 bits that the views use, the object alone needs 10."""
        for file in [*(root / 'rgbs').iterdir(), *(root / 'lone').iterdir()]:
            dark = (cv2.imread(str(file)).astype(np.uint16) >> 3) << 4
            if file.parent.name == 'rgbs':
                dark[0, 0] = 4095
            cv2.imwrite(str(file), dark)
        folder = SceneFolder.open(root)
        (scene,) = folder.scenes()
        assert folder.bits == scene.bits == 12
        assert image_of(scene.lone[1]).max() > 2 * image_of(scene.lone[1], scene.bits).max()
        sampler = SceneSampler(plain(), [prepare_scene(scene, 96)], [], lone=True)
        for seed in range(4):
            pair: Any = sampler.draw(np.random.default_rng(seed))
            own = (pair.scene.labels[0] == pair.scene.target).astype(np.uint8)
            inner = cv2.erode(own, np.ones((5, 5), np.uint8)) > 0
            off = np.abs(pair.scene.lone[inner].astype(int) - pair.a.image[inner])
            assert inner.any() and off.max() <= 1

    def test_batches_hold_views_a_then_b(self, root: Path) -> None:
        pairs = self.draw(root, 2)
        batch = collate(pairs)
        np.testing.assert_array_equal(batch['labels'][1], pairs[1].scene.labels[0])
        np.testing.assert_array_equal(batch['labels'][2], pairs[0].scene.labels[1])
        np.testing.assert_array_equal(batch['field'][3], pairs[1].scene.field[1])
        np.testing.assert_array_equal(batch['lone'][1].permute(1, 2, 0), pairs[1].scene.lone)
        assert batch['targets'].tolist() == [pair.scene.target for pair in pairs]
        assert 'lone' not in collate(self.draw(root, 2, lone=False))

    def test_lone_objects_that_are_missing_are_told(self, root: Path) -> None:
        for file in (root / 'lone').iterdir():
            file.unlink()
        with pytest.raises(DataError, match=r'no object that both .* and lone/ shows alone'):
            self.draw(root, 1)

    def test_views_too_far_apart_are_told(
        self, root: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr('don_kp_ros.data.scene_pairs._ATTEMPTS', 3)
        away = rigid.transform(translation=[0, 0, 0.2])
        change(root, 'scenes', 0, 'views', 1, 'T_scene_camera', to=away.tolist())
        with pytest.raises(DataError, match='3 pairs of views in a row share fewer than 24'):
            self.draw(root, 1)


def plain() -> ViewConfiguration:
    """Leave colours and backgrounds as they are."""
    settings = ViewConfiguration(**CLEAN)
    colour: dict[str, Any] = {
        'probability': 0.0,
        'grey': 0.0,
        'gradient': 0.0,
        'blur': 0.0,
        'noise': 0.0,
    }
    return ViewConfiguration(
        **CLEAN,
        colour=type(settings.colour)(**colour),
        background=type(settings.background)(keep=1, image=0, noise=0, plain=0),
    )


def homogeneous(homography: np.ndarray, uv: np.ndarray) -> np.ndarray:
    mapped = np.column_stack([uv, np.ones(len(uv))]) @ homography.T
    return mapped[:, :2] / mapped[:, 2:]
