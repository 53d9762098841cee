"""Named points of one object looked for on another: the truth against the geometry of boxes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from don_kp_ros.configuration import ConfigurationError
from don_kp_ros.data.folder import DataError, Sample, write_samples
from don_kp_ros.data.posed import PosedView, read_index, write_depth, write_index
from don_kp_ros.evaluation import command
from don_kp_ros.evaluation.figures import by_name
from don_kp_ros.evaluation.matchers import Found
from don_kp_ros.evaluation.pairs import Pair, PairSet, check
from don_kp_ros.evaluation.protocols.named_points import NamedPoints
from don_kp_ros.evaluation.protocols.protocol import Condition
from don_kp_ros.evaluation.protocols.registry import read_protocol
from don_kp_ros.evaluation.reading import Reader
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.networks.checkpoint import Checkpoint, Preprocessing
from don_kp_ros.networks.descriptor_network import NetworkConfiguration

CAMERA = Camera(160, 120, 240.0, 240.0, 79.5, 59.5)
TILT = 35.0  # degrees of the line of sight off the vertical
HALVES = {'box-1': np.array([0.06, 0.05, 0.02]), 'box-2': np.array([0.05, 0.03, 0.05])}
KINDS = {'flat': HALVES['box-1'], 'tall': HALVES['box-2']}


def looking(azimuth: float, tilt: float = TILT, distance: float = 0.5) -> np.ndarray:
    """T_object_camera (4, 4) of a camera that looks at the origin from an angle, degrees."""
    a, t = np.deg2rad([azimuth, tilt])
    R = rigid.rotation_about([0, 0, 1], a) @ rigid.rotation_about([0, 1, 0], t)
    R = R @ np.diag([1.0, -1.0, -1.0])
    return rigid.transform(R, -distance * R[:, 2])


def box_depth(T_object_camera: np.ndarray, half: np.ndarray) -> np.ndarray:
    """Depth (H, W) at which rays enter a box about the origin; NaN where none does."""
    rays = CAMERA.deproject_image(np.ones((CAMERA.height, CAMERA.width)))
    rays, eye = rays @ T_object_camera[:3, :3].T, T_object_camera[:3, 3]
    one, two = (-half - eye) / rays, (half - eye) / rays
    enter, leave = np.minimum(one, two).max(-1), np.maximum(one, two).min(-1)
    return np.where(enter < leave, enter, np.nan)


def named(half: np.ndarray) -> dict[str, np.ndarray]:
    """The middles of four sides of a box, and a point within it that nobody sees."""
    x, y, z = np.diag(half)
    return {'top': z, 'front': x, 'left': y, 'back': -x, 'inside': 0 * x}


def write_boxes(root: Path, halves: dict[str, np.ndarray]) -> Path:
    """Write views of boxes, by their names."""
    (root / 'depths').mkdir(parents=True)
    views = []
    for shown, half in halves.items():
        for azimuth in (0, 90, 180):
            name, pose = f'{len(views)}', looking(azimuth)
            depth = box_depth(pose, half)
            mask = np.isfinite(depth).astype(np.uint8) * 255
            write_depth(root / f'depths/{name}.png', depth.astype(np.float32))
            picture = np.full((*mask.shape, 3), 20 + 15 * len(views), np.uint8)
            write_samples(root, [Sample(Path(f'{name}.png'), picture, mask)])
            views.append(PosedView(name, shown, pose))
    write_index(root, CAMERA, views, {name: named(half) for name, half in halves.items()})
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_boxes(tmp_path / 'boxes', HALVES)


def condition(root: Path, seed: int = 0, **settings: Any) -> Condition:
    (found,) = NamedPoints(**settings).conditions(root, seed, Reader())
    check(found.data)
    return found


def test_the_truth_is_where_the_geometry_says(root: Path) -> None:
    found = condition(root)
    assert len(found.data.pairs) == 2 * 3 * 3
    for pair in found.data.pairs:
        a, b = found.views[pair.image_a], found.views[pair.image_b]
        assert a.object != b.object
        for view, uv in ((a, pair.uv_a), (b, pair.uv_b)):
            points = np.array([named(HALVES[view.object])[name] for name in pair.names])
            in_camera = rigid.apply(rigid.inverse(view.T_object_camera), points)
            np.testing.assert_allclose(uv, CAMERA.project(in_camera), atol=1e-3)
            assert pair.mask_b is not None


def test_only_points_that_both_see_count(root: Path) -> None:
    """A side is seen where its outward normal looks to the camera, which stands at an azimuth."""
    faces = {'front': np.array([1.0, 0, 0]), 'left': np.array([0, 1.0, 0])}
    faces |= {'back': -faces['front'], 'top': np.array([0, 0, 1.0])}
    found = condition(root)
    for pair in found.data.pairs:
        expected = set()
        for name, normal in faces.items():
            facing = []
            for view in (found.views[pair.image_a], found.views[pair.image_b]):
                at = named(HALVES[view.object])[name]
                facing.append(float(normal @ (view.T_object_camera[:3, 3] - at)) > 0.02)
            if all(facing):
                expected.add(name)
        assert set(pair.names) == expected
    assert {name for pair in found.data.pairs for name in pair.names} == set(faces)


def test_points_of_one_name_are_sought_on_the_same_kind_alone(tmp_path: Path) -> None:
    more = {**HALVES, 'can-1': HALVES['box-1'], 'can-2': HALVES['box-2']}
    found = condition(write_boxes(tmp_path / 'more', more), pairs=100)
    shown = [
        {found.views[number].object for number in (pair.image_a, pair.image_b)}
        for pair in found.data.pairs
    ]
    assert len(shown) == 2 * 2 * 3 * 3
    assert all(names in ({'box-1', 'box-2'}, {'can-1', 'can-2'}) for names in shown)
    with pytest.raises(DataError, match='of one kind'):
        condition(write_boxes(tmp_path / 'kinds', KINDS))


def test_points_that_miss_the_depth_by_more_than_the_tolerance_are_not_seen(root: Path) -> None:
    off = {  # 6 mm above the box
        shown: {'top': np.array([0, 0, half[2] + 0.006])} for shown, half in HALVES.items()
    }
    camera, _, views, _ = read_index(root / 'views.json')
    write_index(root, camera, views, off)
    with pytest.raises(DataError, match=r'of one kind .* within 0\.003 m.*raise tolerance'):
        condition(root)
    assert len(condition(root, tolerance=0.01).data.pairs) == 2 * 3 * 3


def test_points_are_chosen_and_counted(root: Path) -> None:
    found = condition(root, points=('front', 'top'), pairs=4)
    assert len(found.data.pairs) == 4
    assert {name for pair in found.data.pairs for name in pair.names} == {'front', 'top'}
    few = condition(root, queries=1)
    assert all(len(pair.names) == len(pair.uv_a) == 1 for pair in few.data.pairs)
    kept = found.data.some(2, 1)
    for pair in kept.pairs:
        original = next(p for p in found.data.pairs if p.image_a == pair.image_a)
        place = original.names.index(pair.names[0])
        np.testing.assert_array_equal(pair.uv_a, original.uv_a[[place]])


def test_the_report_tells_points_apart(root: Path) -> None:
    network = NetworkConfiguration('resnet18', channels=8, dimension=8, keypoints=None)
    model = Checkpoint(network, Preprocessing(input_size=96), {}, 0.0).untrained()
    model.save(root / 'net.safetensors')
    options = ['--model', str(root / 'net.safetensors'), '--protocol', 'named_points']
    options += ['--output', str(root / 'out'), '--step=8', '--resamples=20', '--pairs=6']
    assert command.main([str(root), *options]) == 0
    content = json.loads((root / 'out/results.json').read_text())
    summary, points = content['summary']['methods'], content['points']
    assert set(points) <= {'top', 'front', 'left', 'back'} and 'top' in points
    for method, whole in summary.items():
        parts = [own[method] for own in points.values()]
        assert sum(part['queries'] for part in parts) == whole['queries']
        mean = np.average([p['auc'] for p in parts], weights=[p['queries'] for p in parts])
        assert mean == pytest.approx(whole['auc'], abs=2e-4)
    assert summary['centroid']['space']['truth_unknown'] == 0
    assert 'By point' in (root / 'out/report.html').read_text()


def test_the_report_tells_kinds_apart(tmp_path: Path) -> None:
    root = write_boxes(tmp_path / 'kinds', KINDS)
    network = NetworkConfiguration('resnet18', channels=8, dimension=8, keypoints=None)
    model = Checkpoint(network, Preprocessing(input_size=96), {}, 0.0).untrained()
    model.save(root / 'net.safetensors')
    options = ['--model', str(root / 'net.safetensors'), '--protocol', 'posed', '--step=8']
    options += ['--output', str(root / 'out'), '--resamples=20', '--pairs=6']
    assert command.main([str(root), *options, '--tilt=[]', '--ratio=[]', '--rotation=[]']) == 0
    content = json.loads((root / 'out/results.json').read_text())
    assert set(content['kinds']) == set(KINDS)
    whole = content['summary']['methods']['model']['queries']
    assert sum(own['queries'] for own in content['kinds'].values()) == whole
    assert 'By kind' in (root / 'out/report.html').read_text()


def test_equal_seeds_make_equal_pairs(root: Path) -> None:
    def order(seed: int) -> list[tuple[int, int]]:
        return [(p.image_a, p.image_b) for p in condition(root, seed).data.pairs]

    assert order(1) == order(1) != order(2)


def test_what_is_missing_is_named(root: Path) -> None:
    with pytest.raises(DataError, match=r"views\.json.*'brim'.*back; front"):
        condition(root, points=('brim',))
    with pytest.raises(DataError, match=r'views\.json: no two views'):
        condition(root, points=('inside',))
    index = root / 'views.json'
    views = [PosedView(f'{i}', 'box-1', looking(0)) for i in range(2)]
    write_index(root, CAMERA, views)
    with pytest.raises(DataError, match=rf'{index}: has no named points.*don_kp render'):
        condition(root)
    with pytest.raises(ConfigurationError, match='views is 1'):
        read_protocol(Path('named_points'), ['--views=1'])


def test_figures_are_parted_by_name() -> None:
    uv = np.zeros((3, 2), np.float32)
    pairs = [
        Pair(0, 0, uv, uv, names=('a', 'b', 'a')),
        Pair(0, 0, uv[:1], uv[:1], names=('b',)),
    ]
    data = PairSet('', [], pairs, [])
    found = Found([uv, uv[:1]], [np.array([1.0, 2, 3]), np.array([4.0])], [])
    parts = by_name([pair.names for pair in data.pairs], found)
    assert {name: [e.tolist() for e in part.errors] for name, part in parts.items()} == {
        'a': [[1, 3]],
        'b': [[2], [4]],
    }
    assert by_name([(), ()], found) == {}
