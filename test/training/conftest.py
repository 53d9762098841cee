from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

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
