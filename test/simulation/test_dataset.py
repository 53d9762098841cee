"""Rendered folders: complete, repeatable, and true in their correspondences."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from don_kp_ros.simulation import command, dataset


def render(folder: Path, seed: int) -> Path:
    arguments = ['--images', '3', '--negatives', '1', '--pairs', '1', '--workers', '1']
    assert command.main([str(folder), *arguments, '--seed', str(seed)]) == 0
    return folder


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(tmp_path_factory.mktemp('first'), seed=4)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file())


def test_the_folder_is_what_its_description_says(folder: Path) -> None:
    assert names(folder) == [
        'masks/000000.png', 'masks/000001.png', 'masks/000002.png', 'negatives/000000.jpg',
        'rgbs/000000.jpg', 'rgbs/000001.jpg', 'rgbs/000002.jpg',
        'validation/correspondences.npz', 'validation/masks/000000.png',
        'validation/masks/000001.png', 'validation/negatives/000000.jpg',
        'validation/rgbs/000000.jpg', 'validation/rgbs/000001.jpg',
    ]  # fmt: skip
    mask = cv2.imread(str(folder / 'masks/000000.png'), cv2.IMREAD_UNCHANGED)
    assert mask.shape == (480, 640)
    assert set(np.unique(mask)) == {0, 255}
    assert 3000 < (mask > 0).sum() < 80_000


def test_equal_seeds_render_equal_folders(folder: Path, tmp_path: Path) -> None:
    again = render(tmp_path, seed=4)
    for name in names(folder):
        if not name.endswith('.npz'):
            assert (folder / name).read_bytes() == (again / name).read_bytes(), name


def test_correspondences_lie_on_the_cap_and_show_equal_colours(folder: Path) -> None:
    pairs = np.load(folder / 'validation/correspondences.npz')
    colours = []
    for which in ('a', 'b'):
        index = int(pairs[f'image_{which}'][0])
        uv = np.round(pairs[f'uv_{which}'][0]).astype(int)
        assert uv.shape == (dataset.POINTS_PER_PAIR, 2)
        mask = cv2.imread(str(folder / f'validation/masks/{index:06d}.png'), 0)
        assert (mask[uv[:, 1], uv[:, 0]] == 255).all()
        picture = cv2.imread(str(folder / f'validation/rgbs/{index:06d}.jpg'))
        smooth = cv2.GaussianBlur(picture, (5, 5), 0)
        lab = cv2.cvtColor(smooth, cv2.COLOR_BGR2LAB)[uv[:, 1], uv[:, 0], 1:].astype(float)
        colours.append(lab - np.median(lab, axis=0))  # the light's tint differs
    difference = np.abs(colours[0] - colours[1]).mean()
    shuffled = np.random.default_rng(0).permutation(colours[1])
    assert difference < 0.5 * np.abs(colours[0] - shuffled).mean()
