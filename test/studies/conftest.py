from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from don_kp_ros.data.folder import Sample, write_samples
from don_kp_ros.studies import trainings

Train = Callable[[list[str], str], None]

WIDTH, HEIGHT = 128, 96


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write four pictures of each of two patterned squares, and four without any."""
    root = tmp_path / 'squares'
    (root / 'negatives').mkdir(parents=True)
    for number in range(8):
        shown = 'red' if number % 2 == 0 else 'blue'
        draw = np.random.default_rng(number % 2).integers(40, 215, (6, 6, 3), dtype=np.uint8)
        draw[..., 0 if shown == 'blue' else 2] = 0
        rng = np.random.default_rng(10 + number)
        image = np.full((HEIGHT, WIDTH, 3), 60 + 20 * number, np.uint8)
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        v, u = int(rng.integers(40)), int(rng.integers(70))
        image[v : v + 50, u : u + 50] = cv2.resize(draw, (50, 50))
        mask[v : v + 50, u : u + 50] = 255
        write_samples(root, [Sample(Path(f'{number}.png'), image, mask)])
        if number < 4:
            plain = np.full((HEIGHT, WIDTH, 3), 90 + 30 * number, np.uint8)
            cv2.imwrite(str(root / f'negatives/{number}.png'), plain)
    return root


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Make four photos, of which 11 is 2, turned."""
    data = tmp_path / 'some caps'
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (3, 12, 16, 3), dtype=np.uint8)
    one, two, four = (cv2.resize(noise, (64, 48)) for noise in coarse)
    mask = np.zeros((48, 64), np.uint8)
    mask[10:30, 20:50] = 255
    for name in ('rgbs', 'masks'):
        (data / name).mkdir(parents=True)
    for stem, image, its_mask in (
        ('1.jpg', one, mask),
        ('2.png', two, mask),
        ('4.png', four, mask),
        ('11.png', two[::-1, ::-1], mask[::-1, ::-1]),
    ):
        cv2.imwrite(str(data / 'rgbs' / stem), image)
        cv2.imwrite(str((data / 'masks' / stem).with_suffix('.png')), its_mask)
    return data


@pytest.fixture
def train_by(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Train by a function of a training's arguments and name; list what is trained, by name."""

    def replace(train: Train, minutes: float = 0.0) -> list[str]:
        names: list[str] = []

        class Done:
            def __init__(self, arguments: list[str], name: str, log: Path | None) -> None:
                names.append(name)
                train(arguments, name)

            def seconds(self, wait: bool) -> float:
                return 60 * minutes

        monkeypatch.setattr(trainings, '_Process', Done)
        return names

    return replace
