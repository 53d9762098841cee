from pathlib import Path

import cv2
import numpy as np
import pytest


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
