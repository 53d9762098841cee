"""Mistakes in posed views of three joined spheres, whose depth is known in closed form."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from don_kp_ros.data.folder import Sample, write_samples
from don_kp_ros.data.posed import PosedFolder, PosedSample, PosedView, write_depth, write_index
from don_kp_ros.data.posed_diagnosis import diagnose
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.training import command

CAMERA = Camera(160, 120, 180.0, 180.0, 78.5, 61.25)
SPHERES = (((0.03, 0.0, 0.05), 0.05), ((-0.05, 0.02, 0.04), 0.04), ((0.0, -0.06, 0.03), 0.03))
VIEWS, TOLERANCE = 12, 0.003

Index = dict[str, Any]


def looking(azimuth: float, tilt: float, distance: float, roll: float) -> np.ndarray:
    """T_object_camera of a camera that looks at the object's middle; degrees and metres."""
    a, t, r = np.deg2rad([azimuth, tilt, roll])
    R = rigid.rotation_about([0, 0, 1], a) @ rigid.rotation_about([0, 1, 0], t)
    R = R @ np.diag([1.0, -1.0, -1.0]) @ rigid.rotation_about([0, 0, 1], r)
    return rigid.transform(R, -distance * R[:, 2] + [0, 0, 0.04])


def depth_of(T_object_camera: np.ndarray) -> np.ndarray:
    """Depth (H, W), metres, where rays first meet a sphere; NaN: nowhere."""
    rays = CAMERA.deproject_image(np.ones((CAMERA.height, CAMERA.width)))
    direction, eye = rays @ T_object_camera[:3, :3].T, T_object_camera[:3, 3]
    found = []
    for centre, radius in SPHERES:
        a, b = (direction**2).sum(-1), direction @ (eye - centre)
        with np.errstate(invalid='ignore'):
            root = np.sqrt(b**2 - a * ((eye - centre) @ (eye - centre) - radius**2))
        found.append((-b - root) / a)  # of rays whose third component is 1
    return np.fmin(np.fmin(*found[:2]), found[2]).astype(np.float32)


@pytest.fixture(scope='module')
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('views') / 'good'
    (root / 'depths').mkdir(parents=True)
    rng, entries = np.random.default_rng(0), []
    pattern = cv2.resize(rng.integers(0, 255, (9, 12, 3), dtype=np.uint8), (160, 120))
    for number in range(VIEWS):
        T = looking(37 * number, rng.uniform(10, 60), rng.uniform(0.3, 0.5), rng.uniform(0, 360))
        depth = depth_of(T)
        mask = np.isfinite(depth).astype(np.uint8) * 255
        image = np.where(mask[..., None] > 0, pattern, np.uint8(90))
        write_samples(root, [Sample(Path(f'{number:02}.png'), image, mask)])
        write_depth(root / 'depths' / f'{number:02}.png', depth)
        entries.append(PosedView(f'{number:02}', 'spheres', T))
    write_index(root, CAMERA, entries)
    return root


def poses(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Index], None]:
    def changed(index: Index) -> None:
        for view in index['views']:
            view['T_object_camera'] = change(np.array(view['T_object_camera'])).tolist()

    return changed


def intrinsics(scale: float) -> Callable[[Index], None]:
    def changed(index: Index) -> None:
        for name in ('fx', 'fy'):
            index['camera'][name] *= scale
        for name in ('cx', 'cy'):
            index['camera'][name] = scale * (index['camera'][name] + 0.5) - 0.5

    return changed


def shifted(by: int) -> Callable[[Index], None]:
    def changed(index: Index) -> None:
        own = [view['T_object_camera'] for view in index['views']]
        for number, view in enumerate(index['views']):
            view['T_object_camera'] = own[(number + by) % len(own)]

    return changed


INVERSE = poses(rigid.inverse)
CENTIMETRES = poses(lambda T: rigid.transform(T[:3, :3], 100 * T[:3, 3]))
MILLIMETRES = poses(lambda T: rigid.transform(T[:3, :3], 1000 * T[:3, 3]))
OPENGL = poses(lambda T: T @ np.diag([1.0, -1.0, -1.0, 1.0]))
FAULTS: dict[str, tuple[Callable[[Index], None], str]] = {
    'inverse': (INVERSE, 'map from the object to the camera'),
    'millimetres': (MILLIMETRES, 'in millimetres'),
    'centimetres': (CENTIMETRES, 'in centimetres'),
    'OpenGL': (OPENGL, 'of OpenGL'),
    'unit 1 mm': (lambda index: index.update(depth_unit_m=0.001), '0.0001 instead of 0.001'),
    'unit .25 mm': (lambda index: index.update(depth_unit_m=0.00025), '0.0001 instead of'),
    'K of 1280': (intrinsics(2), 'about 0.5 times as large:'),
    'K of 1280, cropped': (
        lambda index: index['camera'].update(fx=270, fy=270, cx=159.5, cy=89.5),
        'times as large, and cx and cy in the middle',
    ),
    'K of 424': (intrinsics(2 / 3), 'about 1.5 times as large:'),
    'off by one': (shifted(1), 'pose of the previous one'),
    'off by minus one': (shifted(-1), 'pose of the next one'),
}


def changed(good: Path, root: Path, *changes: Callable[[Index], None]) -> Path:
    """Write the folder with changes of its index."""
    root.mkdir(exist_ok=True)
    for name in ('rgbs', 'masks', 'depths'):
        (root / name).symlink_to(good / name)
    index = json.loads((good / 'views.json').read_text())
    for change in changes:
        change(index)
    (root / 'views.json').write_text(json.dumps(index))
    return root


def found(root: Path) -> str | None:
    folder = PosedFolder.open(root)
    return diagnose(list(folder.samples()), folder.depth_unit, TOLERANCE)


def test_views_that_fit_are_not_blamed(good: Path) -> None:
    assert found(good) is None


@pytest.mark.parametrize('views', [3, VIEWS])
@pytest.mark.parametrize('fault', FAULTS)
def test_each_mistake_is_named(good: Path, tmp_path: Path, fault: str, views: int) -> None:
    change, name = FAULTS[fault]
    few = changed(good, tmp_path / 'data', lambda i: i.update(views=i['views'][:views]), change)
    text = found(few)
    assert text is not None and name in text
    assert 'met in another' in text


@pytest.mark.parametrize('changes', [(INVERSE, MILLIMETRES), (OPENGL, intrinsics(3))])
def test_two_mistakes_at_once_are_not_called_one(
    good: Path, tmp_path: Path, changes: tuple[Callable[[Index], None], ...]
) -> None:
    assert found(changed(good, tmp_path / 'data', *changes)) is None


@pytest.mark.parametrize(
    ('changes', 'part'), [((OPENGL,), 'of OpenGL'), ((INVERSE, MILLIMETRES), 'more than one')]
)
def test_a_training_says_what_is_wrong(
    good: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: tuple[Callable[[Index], None], ...],
    part: str,
) -> None:
    root = changed(good, tmp_path / 'data', *changes)
    output = tmp_path / 'm.safetensors'
    assert command.main([str(root), f'--output={output}', '--network.keypoints=null']) == 1
    error = capsys.readouterr().err
    assert str(root / 'views.json') in error and part in error
    assert 'met in another' in error or 'no two views' in error


@pytest.mark.parametrize('metres', [0.001, 0.01])
def test_noisy_poses_are_not_called_a_mistake(good: Path, metres: float) -> None:
    rng = np.random.default_rng(1)

    def noisy(sample: PosedSample) -> PosedSample:
        error = rigid.transform(
            rigid.rotation_about(rng.normal(size=3), metres), rng.normal(size=3) * metres
        )
        return replace(sample, T_object_camera=sample.T_object_camera @ error)

    samples = [noisy(sample) for sample in PosedFolder.open(good).samples()]
    assert diagnose(samples, 0.0001, TOLERANCE) is None
