"""Protocols: the truth of their pairs against geometry, and errors that name what is wrong."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from don_kp_ros.configuration import ConfigurationError
from don_kp_ros.data.folder import DataError, Sample, write_samples
from don_kp_ros.data.homography import project
from don_kp_ros.data.posed import PosedView, write_depth, write_index
from don_kp_ros.evaluation.figures import figures, fingerprint, independent, space_figures
from don_kp_ros.evaluation.matchers import Found
from don_kp_ros.evaluation.pairs import check
from don_kp_ros.evaluation.protocols.folder import Folder
from don_kp_ros.evaluation.protocols.held_views import HeldViews
from don_kp_ros.evaluation.protocols.invariance import Invariance, warp_about
from don_kp_ros.evaluation.protocols.posed import Limits, Posed, change
from don_kp_ros.evaluation.protocols.protocol import Condition
from don_kp_ros.evaluation.protocols.registry import PROTOCOLS, read_protocol
from don_kp_ros.evaluation.protocols.turned import Turned, turned_copies
from don_kp_ros.evaluation.reading import Reader
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera

WIDTH, HEIGHT = 128, 96
CAMERA = Camera(WIDTH, HEIGHT, 240.0, 240.0, 63.5, 47.5)
HALF = 0.08  # metres, of the plane that is looked at


def smooth(seed: int = 0) -> np.ndarray:
    """A picture (H, W, 3) whose colours change slowly."""
    cells = np.random.default_rng(seed).integers(30, 225, (3, 4, 3)).astype(np.uint8)
    return cv2.resize(cells, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)


def square(u: int = 40, v: int = 30, side: int = 36) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[v : v + side, u : u + side] = 255
    return mask


def write(root: Path, pictures: list[np.ndarray], masks: list[np.ndarray]) -> Path:
    both = zip(pictures, masks, strict=True)
    write_samples(root, [Sample(Path(f'{i}.png'), *own) for i, own in enumerate(both)])
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / 'data', [smooth(i) for i in range(3)], [square()] * 3)


def write_truth(root: Path, uv_a: Any, uv_b: Any, images: int = 1) -> None:
    uv_a, uv_b = (np.asarray(uv, np.float32) for uv in (uv_a, uv_b))
    index = np.arange(len(uv_a)) % images
    np.savez(root / 'correspondences.npz', image_a=index, image_b=index + 1, uv_a=uv_a, uv_b=uv_b)


def conditions(protocol: Any, root: Path, seed: int = 0, **reader: Any) -> list[Condition]:
    found: list[Condition] = protocol.conditions(root, seed, Reader(**reader))
    for condition in found:
        check(condition.data)
        assert all(pair.mask_b is not None for pair in condition.data.pairs)
    return found


class TestConfigurations:
    @pytest.mark.parametrize('kind', PROTOCOLS)
    def test_every_protocol_has_a_configuration_of_its_name(self, kind: str) -> None:
        protocol = read_protocol(Path(kind), ['--pairs=7'])
        assert (protocol.kind, protocol.pairs) == (kind, 7)
        assert type(protocol) is PROTOCOLS[kind]

    @pytest.mark.parametrize(
        ('argument', 'named'),
        [
            ('--kind=held', 'held_views, folder'),
            ('--kind=[posed]', r'kind is \[.posed.\]; allowed are held_views, folder'),
            ('--tilt=[0, 95]', 'tilt is 95'),
            ('--scale=[0]', 'scale is 0'),
            ('--pairs=0', 'pairs is 0'),
            ('--colour.noise=2', 'noise is 2'),
            ('--zoom=1', 'unknown key zoom'),
        ],
    )
    def test_what_is_not_allowed_is_named(self, argument: str, named: str) -> None:
        with pytest.raises(ConfigurationError, match=named.replace('(', r'\(')):
            read_protocol(Path('invariance'), [argument])

    def test_bins_must_rise(self) -> None:
        with pytest.raises(ValueError, match='tilt'):
            Posed(tilt=(0, 20, 10))

    def test_an_unknown_name_lists_those_that_are_known(self) -> None:
        with pytest.raises(ConfigurationError, match=r'held_views.*turned'):
            read_protocol(Path('nothing'))


class TestHeldViews:
    @pytest.mark.parametrize('argument', ['--both=true', '--crop=64'])
    def test_a_is_no_view_nor_a_part_of_a_picture(self, argument: str) -> None:
        # Intervals are over pictures A, and models see whole pictures at their scale.
        with pytest.raises(ConfigurationError, match='unknown key'):
            read_protocol(Path('held_views'), [argument])

    def test_equal_seeds_make_equal_pairs(self, folder: Path) -> None:
        protocol = HeldViews(pairs=4, queries=9)
        first, again, other = (
            fingerprint(conditions(protocol, folder, seed)) for seed in (1, 1, 2)
        )
        assert first == again != other

    def test_the_homography_leads_from_a_to_b(self, folder: Path) -> None:
        (condition,) = conditions(HeldViews(pairs=3, queries=9), folder)
        for pair in condition.data.pairs:
            assert pair.homography is not None
            np.testing.assert_allclose(project(pair.homography, pair.uv_a), pair.uv_b, atol=1e-3)


@pytest.mark.parametrize('protocol', [HeldViews(), Invariance()], ids=['views', 'invariance'])
def test_an_object_too_small_at_the_fixed_size_is_named_with_what_helps(
    tmp_path: Path, protocol: Any
) -> None:
    mask = np.zeros((1440, 1920), np.uint8)
    mask[600:612, 800:812] = 255  # 16 pixels of 640x480
    root = write(tmp_path / 'data', [np.zeros((*mask.shape, 3), np.uint8)], [mask])
    with pytest.raises(DataError, match=r'0\.png: .* needed: crop the picture about the object$'):
        conditions(protocol, root)


class TestFolder:
    def test_pairs_are_read_with_their_masks(self, folder: Path) -> None:
        write_truth(folder, [[[50, 40], [np.nan, 0]]], [[[51, 42], [3, 4]]])
        (condition,) = conditions(Folder(), folder)
        (pair,) = condition.data.pairs
        np.testing.assert_array_equal(pair.uv_b, [[51, 42]])
        np.testing.assert_array_equal(pair.mask_b, square())

    def test_a_validation_folder_is_found(self, folder: Path) -> None:
        held = folder / 'validation'
        write(held, [smooth(), smooth(1)], [square()] * 2)
        write_truth(held, [[[50, 40]]], [[[51, 42]]])
        assert len(conditions(Folder(), folder)[0].data.images) == 2

    def test_a_pair_without_correspondences_is_named(self, folder: Path) -> None:
        none = np.full((1, 2, 2), np.nan)
        write_truth(folder, np.concatenate([[[[50, 40]] * 2], none]), np.full((2, 2, 2), 50), 2)
        with pytest.raises(DataError, match=r'pair 1 \(1.png, 2.png\) has no correspondences'):
            conditions(Folder(), folder)

    def test_a_pixel_outside_is_named(self, folder: Path) -> None:
        write_truth(folder, [[[50, 40]]], [[[40, 110]]])
        with pytest.raises(DataError, match=r'pair 0.*\(40, 110\).*128x96'):
            conditions(Folder(), folder)

    def test_without_truth_the_missing_file_is_named(self, folder: Path) -> None:
        with pytest.raises(DataError, match=r'correspondences\.npz'):
            conditions(Folder(), folder)


class TestBrokenPictures:
    @pytest.fixture
    def broken(self, folder: Path) -> Path:
        write_truth(folder, [[[50, 40]]] * 2, [[[51, 42]]] * 2, 2)
        (folder / 'rgbs/2.png').write_bytes(b'not a picture')
        return folder

    def test_one_is_an_error_that_names_it_and_the_remedy(self, broken: Path) -> None:
        with pytest.raises(DataError, match=r'rgbs/2.png.*--skip-broken'):
            conditions(Folder(), broken)

    def test_one_is_left_out_with_its_pairs_and_named(self, broken: Path) -> None:
        reader = Reader(skip_broken=True)
        (condition,) = Folder().conditions(broken, 0, reader)
        assert (len(condition.data.images), len(condition.data.pairs)) == (2, 1)
        assert len(reader.skipped) == 1 and '2.png' in reader.skipped[0]

    def test_one_of_16_bits_that_is_cut_is_left_out_too(self, broken: Path) -> None:
        for number in range(3):
            deep = smooth(number).astype(np.uint16) << 4
            cv2.imwrite(str(broken / f'rgbs/{number}.png'), deep)
        cut = broken / 'rgbs/2.png'
        cut.write_bytes(cut.read_bytes()[:-2000])
        reader = Reader(skip_broken=True)
        (condition,) = Folder().conditions(broken, 0, reader)
        assert len(condition.data.images) == 2 and len(reader.skipped) == 1
        with pytest.raises(DataError, match=r'rgbs/2.png.*--skip-broken'):
            conditions(Folder(), broken)

    def test_an_empty_mask_is_an_error_all_the_same(self, broken: Path) -> None:
        cv2.imwrite(str(broken / 'masks/1.png'), np.zeros((HEIGHT, WIDTH), np.uint8))
        with pytest.raises(DataError, match=r'masks/1.png: empty'):
            conditions(Folder(), broken, skip_broken=True)

    def test_where_none_can_be_read_the_folder_is_named(self, broken: Path) -> None:
        for number in range(2):
            (broken / f'rgbs/{number}.png').write_bytes(b'')
        with pytest.raises(DataError, match='none of its pictures'):
            conditions(Folder(), broken, skip_broken=True)


class TestWarp:
    @pytest.mark.parametrize(
        ('rotation', 'scale', 'tilt', 'around'),
        [(0, 1, 0, 0), (70, 1, 0, 2), (0, 2, 0, 0), (0, 1, 50, 0.7), (30, 1.5, 40, -2)],
    )
    def test_it_is_what_a_camera_sees_of_a_moved_plane(
        self, rotation: float, scale: float, tilt: float, around: float
    ) -> None:
        f, centre = 120.0, np.array([50.0, 30.0])
        H = warp_about(
            centre, (WIDTH, HEIGHT), np.deg2rad(rotation), scale, np.deg2rad(tilt), around, f
        )
        uv = np.random.default_rng(0).uniform(20, 70, (20, 2)).astype(np.float32)
        # A plane a metre away; it is enlarged about the centre, turned, then tilted.
        on_plane = np.hstack([(uv - centre) / f * scale, np.zeros((20, 1))])
        turn = Rotation.from_rotvec([0, 0, np.deg2rad(rotation)])
        axis = np.array([np.cos(around), np.sin(around), 0]) * np.deg2rad(tilt)
        moved = Rotation.from_rotvec(axis).apply(turn.apply(on_plane)) + [0, 0, 1]
        camera = Camera(WIDTH, HEIGHT, f, f, (WIDTH - 1) / 2, (HEIGHT - 1) / 2)
        np.testing.assert_allclose(project(H, uv), camera.project(moved), atol=1e-3)


class TestInvariance:
    def test_true_pixels_show_the_same_colours(self, folder: Path) -> None:
        protocol = Invariance(
            pairs=2, queries=30, rotation=(0, 60, 180), scale=(0.6, 2.0), tilt=(50,)
        )
        found = conditions(protocol, folder)
        assert [condition.value for condition in found] == [0, 60, 180, 0.6, 2.0, 50]
        for condition in found:
            for pair in condition.data.pairs:
                a, b = (
                    condition.data.images[i][tuple(np.rint(uv).astype(int).T[::-1])].astype(float)
                    for i, uv in ((pair.image_a, pair.uv_a), (pair.image_b, pair.uv_b))
                )
                assert np.abs(a - b).mean() < 6, condition.name
                assert np.ptp(a) > 30

    def test_the_angle_is_that_of_the_pairs(self, folder: Path) -> None:
        (condition,) = conditions(Invariance(pairs=1, rotation=(90,), scale=(), tilt=()), folder)
        (pair,) = condition.data.pairs
        a, b = (uv - uv.mean(axis=0) for uv in (pair.uv_a, pair.uv_b))
        np.testing.assert_allclose(b, np.stack([-a[:, 1], a[:, 0]], axis=1), atol=1e-3)

    def test_the_object_is_shown_once_when_it_becomes_smaller(self, tmp_path: Path) -> None:
        image = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
        image[square(5, 5) > 0] = 220  # near the corner, where a mirror image would show it again
        root = write(tmp_path / 'data', [image], [square(5, 5)])
        (condition,) = conditions(Invariance(pairs=1, rotation=(), scale=(0.5,), tilt=()), root)
        (pair,) = condition.data.pairs
        bright = (condition.data.images[pair.image_b][..., 0] > 130).astype(np.uint8)
        assert cv2.connectedComponents(bright)[0] == 2  # the ground, and one object


def looking(azimuth: float, tilt: float, distance: float, roll: float) -> np.ndarray:
    """T_object_camera (4, 4) of a camera that looks at the origin from an angle, degrees."""
    a, t, r = np.deg2rad([azimuth, tilt, roll])
    R = rigid.rotation_about([0, 0, 1], a) @ rigid.rotation_about([0, 1, 0], t)
    R = R @ np.diag([1.0, -1.0, -1.0]) @ rigid.rotation_about([0, 0, 1], r)
    return rigid.transform(R, -distance * R[:, 2])


class TestChange:
    @pytest.mark.parametrize(
        ('a', 'b', 'expected'),
        [
            ((0, 30, 0.5, 0), (0, 30, 0.5, 70), (0, 1, 70)),
            ((0, 30, 0.5, 0), (0, 30, 0.5, -170), (0, 1, 170)),
            ((0, 30, 1.0, 0), (0, 30, 0.5, 0), (0, 2, 0)),
            ((0, 10, 0.5, 0), (0, 45, 0.5, 0), (35, 1, 0)),
            ((0, 0, 0.5, 0), (120, 0, 0.5, 0), (0, 1, 120)),
        ],
    )
    def test_each_movement_is_told_from_the_others(
        self, a: tuple[float, ...], b: tuple[float, ...], expected: tuple[float, ...]
    ) -> None:
        found = change(looking(*a), looking(*b), np.zeros(3))  # type: ignore[arg-type]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def plane_points(T_object_camera: np.ndarray, uv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where rays through pixels (..., 2) meet the plane z = 0: (..., 3), and depth (...)."""
    rays = CAMERA.deproject(uv, np.ones(uv.shape[:-1])) @ T_object_camera[:3, :3].T
    depth = -T_object_camera[2, 3] / rays[..., 2]
    return T_object_camera[:3, 3] + depth[..., None] * rays, depth


def write_posed(root: Path, poses: list[np.ndarray]) -> Path:
    pixels = np.stack(np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)), axis=-1)
    (root / 'depths').mkdir(parents=True)
    pictures, masks = [], []
    for number, pose in enumerate(poses):
        points, depth = plane_points(pose, pixels)
        shown = (np.abs(points[..., :2]) < HALF).all(axis=-1)
        masks.append(shown.astype(np.uint8) * 255)
        pictures.append((128 + 100 * np.sin(points * 60) * shown[..., None]).astype(np.uint8))
        write_depth(root / f'depths/{number}.png', depth.astype(np.float32))
    write(root, pictures, masks)
    views = [PosedView(str(number), 'plane', pose) for number, pose in enumerate(poses)]
    write_index(root, CAMERA, views)
    return root


class TestPosed:
    @pytest.fixture
    def root(self, tmp_path: Path) -> Path:
        draw = np.random.default_rng(0).uniform
        angles: Iterator[tuple[float, ...]] = (
            (draw(0, 360), draw(0, 45), draw(0.35, 0.6), draw(-180, 180)) for _ in range(8)
        )
        return write_posed(tmp_path / 'data', [looking(*a) for a in angles])  # type: ignore[arg-type]

    def test_pairs_show_the_same_points_and_lie_in_their_bin(self, root: Path) -> None:
        protocol = Posed(pairs=5, queries=20, limits=Limits(tilt=40, ratio=1.6, rotation=170))
        found = conditions(protocol, root)
        assert {condition.curve[:4] for condition in found} == {'', 'angl', 'size', 'rota'}
        for condition in found:
            assert 0 < len(condition.data.pairs) <= 5
            for pair in condition.data.pairs:
                poses = [condition.views[i].T_object_camera for i in (pair.image_a, pair.image_b)]
                a, _ = plane_points(poses[0], pair.uv_a)
                b, _ = plane_points(poses[1], pair.uv_b)
                np.testing.assert_allclose(a, b, atol=0.001)
                if condition.curve:
                    moved = change(*poses, np.zeros(3))
                    kind, low, _, high, *_ = condition.name.split()
                    assert float(low) - 1 <= getattr(moved, kind) <= float(high) + 1
                    assert kind == 'tilt' or moved.tilt <= 41
                    assert kind == 'ratio' or 1 / 1.63 <= moved.ratio <= 1.63
                    assert kind == 'rotation' or moved.rotation <= 171

    def test_errors_in_space_are_what_the_geometry_says(self, tmp_path: Path) -> None:
        straight = [looking(0, 0, 0.5, 0), looking(0, 0, 0.5, 90)]
        (condition, *_) = conditions(Posed(), write_posed(tmp_path / 'data', straight))
        truth = [pair.uv_b for pair in condition.data.pairs]
        exact = space_figures(condition, Found(truth, [], []))
        assert exact is not None and exact['mean_mm'] == 0 and exact['within_5_mm'] == 1
        inside = [np.where(uv > 60, uv - 4, uv + 4) for uv in truth]  # 4 pixels in u and in v
        shifted = space_figures(condition, Found(inside, [], []))
        assert shifted is not None and shifted['guess_unknown'] == 0
        assert shifted['median_mm'] == pytest.approx(1000 * 4 * 2**0.5 * 0.5 / 240, abs=0.02)
        assert (shifted['within_10_mm'], shifted['queries']) == (0, exact['queries'])

    def test_views_of_which_no_two_share_anything_are_named(self, tmp_path: Path) -> None:
        root = write_posed(tmp_path / 'data', [looking(0, 0, 0.5, 0)])
        with pytest.raises(DataError, match='no two views'):
            conditions(Posed(), root)

    def test_views_that_miss_each_other_by_more_than_the_tolerance_share_nothing(
        self, tmp_path: Path
    ) -> None:
        root = write_posed(tmp_path / 'data', [looking(0, 0, 0.5, 0)] * 2)
        depth = np.full((HEIGHT, WIDTH), 0.506, np.float32)  # of a real camera: 6 mm off
        write_depth(root / 'depths/1.png', depth)
        with pytest.raises(DataError, match=r'no two views .* within 0\.003 m.*raise tolerance'):
            conditions(read_protocol(Path('posed')), root)
        assert conditions(read_protocol(Path('posed'), ['--tolerance=0.01']), root)

    def test_a_broken_depth_picture_is_left_out_if_that_is_asked_for(self, root: Path) -> None:
        (root / 'depths/3.png').write_bytes(b'')
        with pytest.raises(DataError, match=r'depths/3.png.*--skip-broken'):
            conditions(Posed(pairs=2), root)
        assert len(conditions(Posed(pairs=2), root, skip_broken=True)[0].views) == 7


class TestTurned:
    def test_the_copy_is_found_and_the_truth_is_the_half_turn(self, tmp_path: Path) -> None:
        image, mask = smooth(), square(20, 10)
        smaller = square(20, 10, 24)[::-1, ::-1]
        pictures = [smooth(5), image, image[::-1, ::-1]]
        root = write(tmp_path / 'data', pictures, [square(), mask, smaller])
        (condition,) = conditions(Turned(queries=40), root)
        (pair,) = condition.data.pairs
        assert (pair.image_a, pair.image_b) == (1, 2)
        np.testing.assert_allclose(pair.uv_b, [WIDTH - 1, HEIGHT - 1] - pair.uv_a)
        assert pair.uv_a.min(axis=0).tolist() >= [20, 10]
        assert pair.uv_a.max(axis=0).max() <= 43 and pair.uv_a[:, 1].max() <= 33  # on both masks

    def test_without_a_copy_the_folder_is_named(self, folder: Path) -> None:
        pictures = [Sample(Path(f'{i}.png'), smooth(i), square()) for i in range(2)]
        assert turned_copies(pictures) == {}
        with pytest.raises(DataError, match=f'{folder}: no picture is another one'):
            conditions(Turned(), folder)

    def test_masks_of_different_places_are_named(self, tmp_path: Path) -> None:
        pictures = [smooth(), smooth()[::-1, ::-1]]
        root = write(tmp_path / 'data', pictures, [square(0, 0, 20)] * 2)
        with pytest.raises(DataError, match=r'0.png: its mask and the turned mask of 1.png'):
            conditions(Turned(), root)

    def test_small_objects_on_one_table_are_no_copies_of_each_other(self) -> None:
        table, mask = np.full((HEIGHT, WIDTH, 3), 120, np.uint8), square(50, 40, 14)
        samples = []
        for number in range(3):
            picture = table.copy()
            picture[mask > 0] = smooth(number)[mask > 0]
            samples.append(Sample(Path(f'{number}.png'), picture, mask))
        copy = Sample(Path('3.png'), samples[1].image[::-1, ::-1], mask[::-1, ::-1])
        assert cv2.absdiff(samples[0].image, samples[1].image).mean() < 6
        assert turned_copies([*samples, copy]) == {3: 1}


def test_pairs_of_one_picture_a_are_one_group_in_a_single_condition_too(folder: Path) -> None:
    (condition,) = conditions(HeldViews(pairs=7, queries=4), folder)
    groups = independent([condition])
    shown = [pair.image_a for pair in condition.data.pairs]
    assert len(groups) == 7 and len(set(groups)) == len(set(shown)) == 3
    assert len(set(zip(groups, shown, strict=True))) == 3


def test_pairs_of_one_picture_are_resampled_together() -> None:
    errors = [np.full(5, e) for e in (1.0, 30.0, 1.0, 30.0)]
    found = Found([], errors, [])
    apart = figures(found, 0, 200)['interval_95']['auc']
    together = figures(found, 0, 200, ['a', 'b', 'a', 'b'])['interval_95']['auc']
    assert together[1] - together[0] > 0 and together[0] <= apart[0] and together[1] >= apart[1]
    assert together == [0.7, 0.99]  # either picture alone: of the thresholds 1 to 100, 70 or 99
    assert figures(found, 0, 200, ['a'] * 4)['interval_95'] is None
