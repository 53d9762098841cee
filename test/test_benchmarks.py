"""What benchmarks choose and record; what they measure is measured elsewhere."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import real_photos
from benchmarks.report import Target, report
from don_kp_ros.data.folder import DataError

ROWS = [{'descriptors': 'trained', 'median_px': 3.0}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
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


def test_the_later_of_two_turned_photos_is_held_out(folder: Path) -> None:
    photos = real_photos.Photos.read(real_photos.photo_folder(str(folder)))
    assert [sample.path.name for sample in photos.learned] == ['1.jpg', '2.png', '4.png']
    ((photo, copy),) = photos.pairs
    assert (photo.path.name, copy.path.name) == ('2.png', '11.png')
    uv, truth = real_photos.points_to_find(photo, np.random.default_rng(0))
    assert uv.shape == truth.shape == (100, 2)
    (u, v), (u_true, v_true) = uv.astype(int).T, truth.astype(int).T
    assert photo.mask[v, u].all()
    np.testing.assert_array_equal(copy.image[v_true, u_true], photo.image[v, u])


def test_photos_without_a_turned_one_are_refused(folder: Path) -> None:
    (folder / 'rgbs' / '11.png').unlink()
    with pytest.raises(DataError, match='no picture is another one turned'):
        real_photos.Photos.read(folder)
    with pytest.raises(DataError, match='rgbs'):
        real_photos.photo_folder(str(folder / 'rgbs'))


def test_a_variant_leaves_the_result_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    targets = [Target('median', 3.0, 8.0)]
    assert report('x', 'X', ROWS, targets, 1, variables={'DATA': 'some caps', 'SEED': 1})
    assert not report('x', 'X', ROWS, [Target('median', 3.0, 2.0)], 1, variant='rendered')
    first = json.loads((tmp_path / 'output/bench/x.json').read_text())
    second = json.loads((tmp_path / 'output/bench/x-rendered.json').read_text())
    assert first['command'] == "DATA='some caps' SEED=1 python -m benchmarks.x"
    assert (first['name'], first['seed']) == ('x', 1)
    assert (second['name'], second['targets'][0]['met']) == ('x-rendered', False)
