from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from don_kp_ros.data.posed import write_depth
from don_kp_ros.data.scenes import Entry, write_scenes
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.training import command


@pytest.fixture
def small() -> list[str]:
    """Options of a training that takes a second."""
    return [
        '--views.size=64',
        '--views.queries=16',
        '--workers=0',
        '--network.backbone=resnet18',
        '--weights=null',
        '--threads=1',
        '--network.dimension=8',
        '--network.channels=8',
        '--preprocessing.input_size=96',
        '--validation.final_pairs=3',
        '--validation.queries=8',
        '--validation.times=2',
    ]


@pytest.fixture
def run(small: list[str]) -> Callable[..., int]:
    """Train a small model of a folder to m.safetensors beside it; return the exit status."""

    def train(folder: Path, *options: str, output: str = 'm.safetensors') -> int:
        path = folder.parent / output
        return command.main([str(folder), '--output', str(path), *small, *options])

    return train


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write pictures of a patterned square, and two without it."""
    rng = np.random.default_rng(0)
    root = tmp_path / 'data'
    for name in ('rgbs', 'masks', 'negatives'):
        (root / name).mkdir(parents=True)
    pattern = cv2.resize(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8), (50, 50))
    for number in range(3):
        image = np.full((96, 128, 3), 90 + 20 * number, np.uint8)
        cv2.imwrite(str(root / 'negatives' / f'{number}.png'), image)
        mask = np.zeros((96, 128), np.uint8)
        v, u = int(rng.integers(40)), int(rng.integers(70))
        image[v : v + 50, u : u + 50] = pattern
        mask[v : v + 50, u : u + 50] = 255
        cv2.imwrite(str(root / 'rgbs' / f'{number}.png'), image)
        cv2.imwrite(str(root / 'masks' / f'{number}.png'), mask)
    return root


@pytest.fixture
def held(folder: Path) -> Path:
    """Add two pictures to measure on, and 20 points of the first one that are its own."""
    root = folder / 'validation'
    for name in ('rgbs', 'masks'):
        (root / name).mkdir(parents=True)
        for number in (0, 1):
            source = folder / name / f'{number}.png'
            (root / name / f'{number}.png').write_bytes(source.read_bytes())
    v, u = np.nonzero(cv2.imread(str(root / 'masks' / '0.png'), cv2.IMREAD_GRAYSCALE))
    uv = np.stack([u[:20], v[:20]], axis=1).astype(np.float32)[None]
    np.savez(root / 'correspondences.npz', image_a=[0], image_b=[0], uv_a=uv, uv_b=uv)
    return root


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Write two scenes of two patterned plates, which fill the middle of both views.

    meshes/ holds the plates, in the plane z = 0 of their frames.
    """
    rng = np.random.default_rng(0)
    folder = tmp_path / 'scenes'
    for name in ('rgbs', 'masks', 'depths', 'lone'):
        (folder / name).mkdir(parents=True)
    patterns = cv2.resize(rng.integers(0, 255, (6, 12, 3), dtype=np.uint8), (80, 50))
    numbers = np.zeros((96, 128), np.uint8)
    numbers[23:73, 24:64], numbers[23:73, 64:104] = 1, 2
    (folder / 'meshes').mkdir()
    cv2.imwrite(str(folder / 'meshes' / 'print.png'), patterns)
    (folder / 'meshes' / 'print.mtl').write_text('newmtl print\nmap_Kd print.png\n')
    for name, left, first in (('a', -40, 0.0), ('b', 0, 0.5)):
        lines = ['mtllib print.mtl', 'usemtl print']
        for x, y in ((0, -25), (40, -25), (40, 25), (0, 25)):
            lines.append(f'v {(left + x) / 240} {y / 240} 0')
            lines.append(f'vt {first + x / 80} {0.5 - y / 50}')
        lines += ['f 1/1 2/2 3/3', 'f 1/1 3/3 4/4']
        (folder / 'meshes' / f'{name}.obj').write_text('\n'.join(lines) + '\n')
    flat, entries = np.full((96, 128), 0.5, np.float32), []
    for scene in ('s0', 's1'):
        image = np.full((96, 128, 3), rng.integers(60, 200), np.uint8)
        image[23:73, 24:104] = patterns
        for view in 'ab':
            cv2.imwrite(str(folder / 'rgbs' / f'{scene}_{view}.png'), image)
            cv2.imwrite(str(folder / 'masks' / f'{scene}_{view}.png'), numbers)
            write_depth(folder / 'depths' / f'{scene}_{view}.png', flat)
        for number in (1, 2):
            lone = np.where((numbers == number)[..., None], image, np.uint8(128))
            cv2.imwrite(str(folder / 'lone' / f'{scene}_a_{number}.png'), lone)
        here = rigid.transform(translation=[0, 0, 0.5])
        views = (f'{scene}_a', f'{scene}_b')
        entries.append(Entry(scene, ('a', 'b'), (here, here), views, (np.eye(4), np.eye(4))))
    write_scenes(folder, Camera(128, 96, 120.0, 120.0, 63.5, 47.5), entries)
    return folder
