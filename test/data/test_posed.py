"""Posed views and their pairs against the geometry of spheres and planes."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from masked import turned

from don_kp_ros import configuration
from don_kp_ros.data.depth_view import DepthView, correspondences
from don_kp_ros.data.folder import DataError, ImageFolder, Sample, write_samples
from don_kp_ros.data.homography import project
from don_kp_ros.data.pairs import ViewConfiguration
from don_kp_ros.data.posed import (
    FEWEST_COMMON,
    PosedFolder,
    PosedSample,
    PosedView,
    write_depth,
    write_index,
)
from don_kp_ros.data.posed_pairs import PosedSampler, prepare_posed
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera

CAMERA = Camera(160, 120, 300.0, 300.0, 78.5, 61.25)
UNEQUAL = Camera(160, 120, 300.0, 330.0, 78.5, 61.25)
RADIUS = 0.05
TRUE_COLOURS = {
    'colour': {'probability': 0, 'grey': 0, 'gradient': 0, 'blur': 0, 'noise': 0},
    'background': {'keep': 1, 'image': 0, 'noise': 0, 'plain': 0},
    'occlusion': 0,
}


def pose(azimuth: float, tilt: float, distance: float = 0.5, roll: float = 0.0) -> np.ndarray:
    """T_object_camera of a camera that looks at the object's middle from an angle, degrees."""
    a, t, r = np.deg2rad([azimuth, tilt, roll])
    R = rigid.rotation_about([0, 0, 1], a) @ rigid.rotation_about([0, 1, 0], t)
    R = R @ np.diag([1.0, -1.0, -1.0]) @ rigid.rotation_about([0, 0, 1], r)
    return rigid.transform(R, -distance * R[:, 2])


def on_sphere(T_object_camera: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Where rays (..., 3) of a camera meet the sphere, in the object's frame; NaN: nowhere."""
    direction = rays @ T_object_camera[:3, :3].T
    eye = T_object_camera[:3, 3]
    a, b = (direction**2).sum(-1), direction @ eye
    root = b**2 - a * (eye @ eye - RADIUS**2)
    with np.errstate(invalid='ignore'):
        along = (-b - np.sqrt(root)) / a
    return eye + along[..., None] * direction


def colour(points: np.ndarray) -> np.ndarray:
    """Colour the sphere smoothly and differently everywhere."""
    return 128 + 100 * points / RADIUS


def ball(T_object_camera: np.ndarray, camera: Camera = CAMERA, name: str = 'ball') -> PosedSample:
    rays = camera.deproject_image(np.ones((camera.height, camera.width)))
    points = on_sphere(T_object_camera, rays)
    hit = np.isfinite(points[..., 0])
    depth = rigid.apply(rigid.inverse(T_object_camera), points)[..., 2].astype(np.float32)
    image = np.where(hit[..., None], colour(points), 20).astype(np.uint8)
    return PosedSample(
        mask=hit.astype(np.uint8) * 255,
        depth=depth,
        camera=camera,
        T_object_camera=T_object_camera,
        path=Path('data/rgbs/0.png'),
        object=name,
        image=image,
    )


def object_pixels(view: DepthView) -> np.ndarray:
    v, u = np.nonzero(view.mask)
    return np.stack([u, v], axis=1)


class TestCorrespondences:
    @pytest.mark.parametrize('camera', [CAMERA, UNEQUAL])
    def test_points_of_a_sphere_are_found_where_geometry_says(self, camera: Camera) -> None:
        a, b = ball(pose(0, 30), camera), ball(pose(70, 50, 0.4, 100), camera)
        uv_a = object_pixels(a)
        uv_b, seen = correspondences(a, b, uv_a)
        points = on_sphere(a.T_object_camera, camera.deproject(uv_a, np.ones(len(uv_a))))
        true = camera.project(rigid.apply(rigid.inverse(b.T_object_camera), points))
        np.testing.assert_allclose(uv_b, true, atol=1e-3)
        # A point of a sphere is seen where its normal points to the eye; the limb is unsure.
        sight = b.T_object_camera[:3, 3] - points
        facing = (points * sight).sum(1) / np.linalg.norm(sight, axis=1) / RADIUS
        assert 500 < seen.sum() < 0.9 * len(seen)
        assert seen[facing > 0.3].all()
        assert not seen[facing < -0.02].any()

    def test_between_pixels_a_point_lies_on_the_surface(self) -> None:
        a, b = ball(pose(0, 20)), ball(pose(40, 35))
        uv_a = np.random.default_rng(0).uniform([65, 50], [90, 75], (200, 2))
        uv_b, seen = correspondences(a, b, uv_a)
        points = on_sphere(a.T_object_camera, CAMERA.deproject(uv_a, np.ones(len(uv_a))))
        true = CAMERA.project(rigid.apply(rigid.inverse(b.T_object_camera), points))
        np.testing.assert_allclose(uv_b, true, atol=0.05)
        assert seen.all()

    def test_what_is_hidden_in_the_other_view_is_not_seen(self) -> None:
        a, whole = ball(pose(0, 20)), ball(pose(30, 20))
        depth, mask = whole.depth.copy(), whole.mask.copy()
        depth[:, :70] -= 0.1  # another part of the same object is in front
        mask[:, 90:] = 0  # and something else hides the right
        b = replace(whole, depth=depth, mask=mask)
        uv_b, seen = correspondences(a, b, object_pixels(a))
        _, seen_in_whole = correspondences(a, whole, object_pixels(a))
        u = uv_b[:, 0]
        assert not seen[u < 69.4].any()  # beyond, interpolation mixes
        assert not seen[u > 90].any()
        between = (u > 70) & (u < 89)
        assert (seen == seen_in_whole)[between].all()
        assert seen_in_whole[u < 69].sum() > 100
        assert seen_in_whole[u > 91].sum() > 100

    def test_a_steep_surface_is_seen_and_one_behind_it_is_not(self) -> None:
        def plane(tilt: float, behind: float = 0.0) -> DepthView:
            T = pose(0, tilt)
            rays = CAMERA.deproject_image(np.ones((120, 160))) @ T[:3, :3].T
            depth = (-behind - T[2, 3]) / rays[..., 2]
            depth[(depth < 0) | (depth > 1)] = np.nan
            mask = np.isfinite(depth).astype(np.uint8) * 255
            return DepthView(mask, depth.astype(np.float32), CAMERA, T)

        a, b = plane(0), plane(80)
        change = np.nanmax(np.abs(np.diff(b.depth, axis=1)))
        assert change > 0.005  # metres from pixel to pixel: more than the tolerance
        uv_a = np.stack(np.meshgrid(np.arange(30, 130, 3), np.arange(30, 90, 3)), -1).reshape(
            -1, 2
        )
        uv_b, seen = correspondences(a, b, uv_a, tolerance=0.001)
        within = np.all((uv_b > 1) & (uv_b < [158, 118]), axis=1)
        assert within.sum() > 300
        assert seen[within].all()
        _, seen = correspondences(plane(0, behind=0.005), b, uv_a, tolerance=0.001)
        assert not seen.any()

    def test_pixels_without_depth_have_no_correspondence(self) -> None:
        a, b = ball(pose(0, 20)), ball(pose(30, 20))
        depth = a.depth.copy()
        depth[60, 80] = np.nan
        uv_b, seen = correspondences(
            replace(a, depth=depth), b, [[80, 60], [79.5, 60], [2, 2], [-9, 60], [90, 60]]
        )
        assert seen.tolist() == [False, False, False, False, True]
        assert np.isnan(uv_b[:4]).all()

    def test_a_crop_is_the_same_camera(self) -> None:
        a, b = ball(pose(0, 20)), ball(pose(30, 20))
        uv_a = object_pixels(a)
        corner = uv_a.min(axis=0)
        uv_b, seen = correspondences(a, b, uv_a)
        cropped_b, cropped_seen = correspondences(a.cropped(), b.cropped(), uv_a - corner + 1)
        assert a.cropped().depth.size < 0.5 * a.depth.size
        np.testing.assert_array_equal(seen, cropped_seen)
        np.testing.assert_allclose(uv_b, cropped_b + object_pixels(b).min(axis=0) - 1, atol=1e-9)


def settings(**changes: Any) -> ViewConfiguration:
    mapping = {'size': 96, 'queries': 40, **TRUE_COLOURS, **changes}
    return configuration.read(ViewConfiguration, mapping, 'test')


def sampler(samples: list[PosedSample], input_size: int = 160, **changes: Any) -> PosedSampler:
    sources = [prepare_posed(sample, input_size) for sample in samples]
    return PosedSampler(settings(**changes), sources, [])


class TestSampler:
    @pytest.mark.parametrize('camera', [CAMERA, UNEQUAL])
    @pytest.mark.parametrize('input_size', [160, 101])
    def test_geometry_leads_from_one_view_to_the_other(
        self, camera: Camera, input_size: int
    ) -> None:
        drawer = sampler(
            [ball(pose(40 * i, 25, 0.5, 77 * i), camera) for i in range(4)], input_size
        )
        rng = np.random.default_rng(0)
        for _ in range(10):
            pair = drawer.draw(rng)
            geometry = pair.geometry
            assert geometry is not None and pair.homography is None
            assert pair.uv_a.shape == pair.uv_b.shape == (40, 2)
            assert pair.uv_a.dtype == pair.uv_b.dtype == np.float32
            # The sphere tells the depth of a pixel; the sampler has no part in it.
            homogeneous = np.column_stack([pair.uv_a, np.ones(40)])
            rays = homogeneous @ np.linalg.inv(geometry.K_a).T
            points = on_sphere(geometry.T_world_a, rays)
            in_a = rigid.apply(rigid.inverse(geometry.T_world_a), points)
            lifted = rays * in_a[:, 2:]
            moved = rigid.apply(geometry.T_b_a, lifted) @ geometry.K_b.T
            np.testing.assert_allclose(moved[:, :2] / moved[:, 2:], pair.uv_b, atol=2e-3)
            np.testing.assert_allclose(
                rigid.inverse(geometry.T_world_b) @ geometry.T_world_a, geometry.T_b_a, atol=1e-12
            )
            for K, T in ((geometry.K_a, geometry.T_b_a), (geometry.K_b, geometry.T_world_b)):
                assert K[0, 0] == K[1, 1] > 0 and K[0, 1] == K[1, 0] == 0  # square pixels
                np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-12)

    def test_corresponding_pixels_show_the_same_point(self) -> None:
        drawer = sampler([ball(pose(40 * i, 25, 0.5, 77 * i), UNEQUAL) for i in range(4)])
        rng = np.random.default_rng(1)
        for _ in range(10):
            pair = drawer.draw(rng)
            assert pair.geometry is not None
            rays = np.column_stack([pair.uv_a, np.ones(40)]) @ np.linalg.inv(pair.geometry.K_a).T
            true = colour(on_sphere(pair.geometry.T_world_a, rays))
            for view, uv in ((pair.a, pair.uv_a), (pair.b, pair.uv_b)):
                shown = cv2.remap(view.image, uv[:, 0], uv[:, 1], cv2.INTER_LINEAR).reshape(-1, 3)
                assert np.median(np.abs(shown - true)) < 1.5

    def test_views_turn_scale_and_shift_as_configured(self) -> None:
        still = {'rotation': 0, 'scale': [1.5, 1.5], 'shift': 0, 'perspective': 0.5}
        pair = sampler([ball(pose(0, 20)), ball(pose(20, 20))], warp=still).draw(
            np.random.default_rng(0)
        )
        assert pair.geometry is not None
        assert pair.geometry.K_a[0, 0] == pytest.approx(450)
        np.testing.assert_allclose(pair.a.homography[:2, :2], 1.5 * np.eye(2), atol=1e-9)
        np.testing.assert_allclose(pair.a.homography[2], [0, 0, 1], atol=1e-12)
        u, v = (pair.a.mask > 127).nonzero()[::-1]
        assert (u.min() + u.max()) / 2 == pytest.approx(47.5, abs=1)
        assert (v.min() + v.max()) / 2 == pytest.approx(47.5, abs=1)

    def test_pairs_are_of_one_object(self) -> None:
        samples = [ball(pose(20 * i, 20), name=f'ball-{i % 2}') for i in range(6)]
        for sample in samples[1::2]:
            sample.image[..., :] = 255 - sample.image
        drawer = sampler(samples, occlusion=0)
        rng = np.random.default_rng(0)
        first = 0
        for _ in range(20):
            pair = drawer.draw(rng)
            shown = []
            for view, uv in ((pair.a, pair.uv_a), (pair.b, pair.uv_b)):
                u, v = np.rint(uv).astype(int).T
                shown.append(view.image[v, u].astype(float))
            assert np.abs(shown[0] - shown[1]).mean() < 8
            assert not np.array_equal(pair.a.image, pair.b.image)
            assert pair.geometry is not None
            turned = pair.geometry.T_world_a[:3, 2] @ pair.geometry.T_world_b[:3, 2]
            assert turned < 0.999  # not the same view twice
            first += (shown[0].mean() - 128) * 1 > 0
        assert 0 < first < 20  # both objects are drawn

    def test_hidden_points_are_no_correspondences(self) -> None:
        drawer = sampler([ball(pose(0, 20)), ball(pose(20, 20))], occlusion=1)
        rng = np.random.default_rng(0)
        for _ in range(20):
            pair = drawer.draw(rng)
            for view, uv in ((pair.a, pair.uv_a), (pair.b, pair.uv_b)):
                u, v = np.rint(uv).astype(int).T
                assert (view.mask[v, u] > 0).all()

    def test_equal_seeds_draw_equal_pairs(self) -> None:
        drawer = sampler([ball(pose(20 * i, 20)) for i in range(4)], occlusion=0.5)
        one, two, other = (drawer.draw(np.random.default_rng(seed)) for seed in (3, 3, 4))
        np.testing.assert_array_equal(one.a.image, two.a.image)
        np.testing.assert_array_equal(one.uv_b, two.uv_b)
        assert not np.array_equal(one.uv_b, other.uv_b)

    def test_objects_of_a_single_view_are_left_out_and_none_is_an_error(self) -> None:
        lonely = ball(pose(0, 80), name='lonely')
        drawer = sampler([lonely, ball(pose(0, 20)), ball(pose(20, 20))])
        rng = np.random.default_rng(0)
        for _ in range(10):
            geometry = drawer.draw(rng).geometry
            assert geometry is not None
            assert -geometry.T_world_a[2, 2] > 0.9  # seen from above, as `lonely` is not
        with pytest.raises(DataError, match=r'data/views\.json.*two views'):
            sampler([lonely, ball(pose(0, 20))])

    def test_views_that_share_nothing_are_an_error_with_a_remedy(self) -> None:
        drawer = sampler([ball(pose(0, 90)), ball(pose(180, 90))])
        with pytest.raises(DataError, match=rf'data: .*{FEWEST_COMMON} points.*differ less'):
            drawer.draw(np.random.default_rng(0))

    def test_the_canvas_maps_the_prepared_picture(self) -> None:
        sample = ball(pose(10, 20), UNEQUAL)
        source = prepare_posed(sample, 64)
        assert source.source.image.shape[1] < sample.image.shape[1]
        point = np.array([[0.01, 0.02, 0.4]])
        width = source.source.image.shape[1] / sample.image.shape[1]
        height = source.source.image.shape[0] / sample.image.shape[0]
        u, v = UNEQUAL.project(point[0])
        expected = [(u + 0.5) * width - 0.5, (v + 0.5) * height - 0.5]
        in_picture = project(source.K, (point / point[:, 2:])[:, :2].astype(np.float32))
        np.testing.assert_allclose(in_picture[0], expected, atol=1e-4)


def write(root: Path, views: int = 3) -> Path:
    for name in ('depths', 'negatives'):
        (root / name).mkdir(parents=True)
    entries = []
    for i in range(views):
        sample = ball(pose(25 * i, 30))
        write_samples(root, [Sample(Path(f'{i:03d}.png'), sample.image, sample.mask)])
        write_depth(root / f'depths/{i:03d}.png', sample.depth)
        entries.append(PosedView(f'{i:03d}', 'ball', sample.T_object_camera))
    cv2.imwrite(str(root / 'negatives/0.png'), np.zeros((9, 9, 3), np.uint8))
    write_index(root, CAMERA, entries)
    return root


class TestFolder:
    def test_what_is_written_is_read(self, tmp_path: Path) -> None:
        root = write(tmp_path / 'data')
        folder = PosedFolder.open(root)
        assert folder.camera == CAMERA
        assert [path.name for path in folder.negatives] == ['0.png']
        samples = list(folder.samples())
        assert [sample.path.name for sample in samples] == ['000.png', '001.png', '002.png']
        for i, sample in enumerate(samples):
            true = ball(pose(25 * i, 30))
            assert sample.object == 'ball'
            np.testing.assert_array_equal(sample.image, true.image)
            np.testing.assert_array_equal(sample.mask, true.mask)
            np.testing.assert_allclose(sample.T_object_camera, true.T_object_camera, atol=1e-15)
            assert sample.depth.dtype == np.float32
            np.testing.assert_allclose(sample.depth, true.depth, atol=5.1e-5)  # NaN included

    def test_equal_values_of_16_bits_are_read_alike_from_a_folder_and_its_validation(
        self, tmp_path: Path
    ) -> None:
        root = write(tmp_path / 'data')
        for folder, brightest in ((root, 12), (write(root / 'validation'), 10)):
            for name, bits in (('000', 10), ('001', brightest)):
                path = str(folder / 'rgbs' / f'{name}.png')
                cv2.imwrite(path, cv2.imread(path).astype(np.uint16) << (bits - 8))
        for part in (root, root / 'validation'):
            image = PosedFolder.open(part).sample(0).image
            np.testing.assert_array_equal(image, ball(pose(0, 30)).image // 4)

    def test_named_points_are_read_as_they_were_written(self, tmp_path: Path) -> None:
        root = write(tmp_path / 'data')
        assert PosedFolder.open(root).points == {}
        assert json.loads((root / 'views.json').read_text())['version'] == 1
        folder = PosedFolder.open(root)
        write_index(root, CAMERA, folder.views, {'ball': {'top': np.array([0, 0, RADIUS])}})
        assert json.loads((root / 'views.json').read_text())['version'] == 2
        ((name, point),) = PosedFolder.open(root).points['ball'].items()
        assert (name, point.tolist()) == ('top', [0, 0, RADIUS])

    def test_it_is_a_plain_folder_too(self, tmp_path: Path) -> None:
        folder = ImageFolder.open(write(tmp_path / 'data'))
        assert len(folder.images) == len(folder.masks) == 3

    def test_depth_beyond_sixteen_bits_is_none(self, tmp_path: Path) -> None:
        write_depth(tmp_path / 'd.png', np.array([[7.0, 0.3, np.nan, -1, np.inf]], np.float32))
        steps = cv2.imread(str(tmp_path / 'd.png'), cv2.IMREAD_UNCHANGED)
        assert steps.tolist() == [[0, 3000, 0, 0, 0]]

    def test_depth_that_exif_turns_against_its_picture_is_refused(self, tmp_path: Path) -> None:
        root = write(tmp_path / 'data')
        turned(root / 'depths/001.png')
        with pytest.raises(DataError, match=r'depths/001\.png: EXIF orientation 3, but .* has 1'):
            list(PosedFolder.open(root).samples())

    def test_every_bad_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match='no such folder'):
            PosedFolder.open(tmp_path / 'none')
        root = write(tmp_path / 'data')
        small = np.full((120, 161), 255, np.uint8)
        empty = np.zeros((120, 160), np.uint8)
        beside = empty.copy()
        beside[:20, :20] = 255
        cases: list[tuple[str, bytes | np.ndarray | None, str]] = [
            ('rgbs/001.png', None, 'missing'),
            ('masks/001.png', None, 'missing'),
            ('depths/001.png', None, 'missing'),
            ('views.json', None, 'missing'),
            ('rgbs/001.png', b'nothing', 'cannot be read|can be read'),
            ('masks/001.png', b'', 'can be read'),
            ('depths/001.png', b'nothing', 'can be read'),
            ('depths/001.png', small.astype(np.uint16), '161x120 pixels.*160x120'),
            ('depths/001.png', empty, '16-bit'),
            ('masks/001.png', small, '161x120'),
            ('masks/001.png', empty, 'empty'),
            ('masks/001.png', beside, '0 pixels have a depth where'),
        ]
        for name, content, message in cases:
            path = root / name
            original = path.read_bytes()
            path.unlink()
            if isinstance(content, bytes):
                path.write_bytes(content)
            elif content is not None:
                cv2.imwrite(str(path), content)
            with pytest.raises(DataError, match=message) as caught:
                list(PosedFolder.open(root).samples())
            assert str(path.with_suffix('')) in str(caught.value)
            path.write_bytes(original)
        assert len(list(PosedFolder.open(root).samples())) == 3

    def test_pictures_must_have_the_cameras_size(self, tmp_path: Path) -> None:
        root = write(tmp_path / 'data')
        for folder, values in (('rgbs', np.zeros((60, 80, 3))), ('masks', np.full((60, 80), 255))):
            cv2.imwrite(str(root / folder / '002.png'), values.astype(np.uint8))
        with pytest.raises(DataError, match=r'rgbs/002\.png: 80x60 pixels.*160x120'):
            list(PosedFolder.open(root).samples())

    @pytest.mark.parametrize(
        ('change', 'message'),
        [
            (lambda c: c.update(format='other'), 'format'),
            (lambda c: c.update(version=3), 'version 3 is not known'),
            (lambda c: c.pop('version'), 'version None is not known'),
            (lambda c: c.update(depth_unit_m=0), 'depth_unit_m is 0'),
            (lambda c: c.update(depth_unit_m='mm'), 'depth_unit_m is mm'),
            (lambda c: c.update(points={}), 'points.*version 2'),
            (lambda c: c.update(version=2, points=[]), 'points.*must map'),
            (lambda c: c.update(version=2, points={'cup': {}}), 'names cup, which no view'),
            (lambda c: _name(c, [1, 2]), "'top' of ball is"),
            (lambda c: _name(c, [1, 2, 'x']), "'top' of ball is"),
            (lambda c: c.update(views=[]), 'at least one view'),
            (lambda c: c.pop('camera'), 'camera'),
            (lambda c: c['camera'].update(fx=-1), 'fx is -1'),
            (lambda c: c['camera'].update(cx=None), 'camera cx is None'),
            (lambda c: c['views'].append(3), 'view 3'),
            (lambda c: c['views'][1].pop('name'), 'view 1 has no name'),
            (lambda c: c['views'][1].update(object=''), 'view 1 has no object'),
            (lambda c: c['views'][1].update(name='../001'), 'without folder'),
            (lambda c: c['views'][1].update(name='000'), '000 is listed 2 times'),
            (lambda c: c['views'][1].pop('T_object_camera'), 'of view 001 must be 4x4'),
            (lambda c: c['views'][1]['T_object_camera'].pop(), 'of view 001 must be 4x4'),
            (lambda c: _set(c, 0, 3, float('nan')), 'of view 001 must be 4x4 finite'),
            (lambda c: _set(c, 0, 0, 1.5), 'of view 001 is not rigid'),
            (lambda c: _set(c, 3, 0, 0.1), 'of view 001 is not rigid'),
            (lambda c: _mirror(c), 'of view 001 is not rigid'),
        ],
    )
    def test_every_error_of_the_index_is_named(
        self, tmp_path: Path, change: Callable[[Any], object], message: str
    ) -> None:
        root = write(tmp_path / 'data')
        content = json.loads((root / 'views.json').read_text())
        change(content)
        (root / 'views.json').write_text(json.dumps(content))
        with pytest.raises(DataError, match=message) as caught:
            PosedFolder.open(root)
        assert str(root / 'views.json') in str(caught.value)

    def test_an_index_that_is_no_json_is_named(self, tmp_path: Path) -> None:
        root = write(tmp_path / 'data')
        for text in ('{', '[]', '7'):
            (root / 'views.json').write_text(text)
            with pytest.raises(DataError, match=r'views\.json'):
                PosedFolder.open(root)


def _name(content: Any, point: Any) -> None:
    content.update(version=2, points={'ball': {'top': point}})


def _set(content: Any, row: int, column: int, value: float) -> None:
    content['views'][1]['T_object_camera'][row][column] = value


def _mirror(content: Any) -> None:
    T = content['views'][1]['T_object_camera']
    T[0][:3] = [-x for x in T[0][:3]]
