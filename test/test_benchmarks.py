"""What benchmarks choose and record; what they measure is measured elsewhere."""

import json
import os
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from benchmarks import accuracy, perception_latency, real_photos, runs, training_costs
from benchmarks.report import Target, report
from benchmarks.running_nodes import cpu_seconds
from don_kp_ros.data.folder import DataError, ImageFolder

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


def test_a_run_is_done_once(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    samples = list(ImageFolder.open(folder).samples())
    background = np.full((40, 40, 3), 90, np.uint8)
    small = ('--views.size=96', '--network.channels=8', '--workers=0', '--validation.queries=4')
    config = Path(__file__).parents[1] / 'config' / 'training' / 'nt_xent.yaml'

    def run(seed: int) -> runs.Run:
        return runs.trained('small', samples, config, 0.22, seed, small, (background,))

    first = run(0)
    assert first.checkpoint.card['steps'] >= 1 and first.cpu_minutes > 0.01
    capsys.readouterr()
    again = run(0)
    assert 'run before' in capsys.readouterr().out
    assert (again.checkpoint.fingerprint, again.commit) == (
        first.checkpoint.fingerprint,
        first.commit,
    )
    assert len(list((tmp_path / 'output/bench/runs').iterdir())) == 1


def test_saved_bytes_are_those_of_every_storage_once() -> None:
    values = torch.rand(10, 10, requires_grad=True)
    weight = torch.nn.Parameter(torch.rand(10, 10))

    def function() -> torch.Tensor:
        inner = values @ weight  # keeps values, and a parameter, which doesn't count
        return inner.exp() + values.square()  # keeps the exponential; values are counted already

    assert training_costs.saved_bytes(function) == 2 * 400


@pytest.mark.parametrize('method', training_costs.METHODS)
def test_every_method_keeps_what_its_backbone_keeps(method: str) -> None:
    pairs = {name: tensor for name, tensor in training_costs.batch().items()}
    module = training_costs.training(method, 64)
    own = training_costs.saved_bytes(lambda: training_costs.features(module, pairs))
    kept = training_costs.saved_bytes(lambda: module.training_step(pairs, 0))
    assert own <= kept <= 1.05 * own


def test_pictures_of_one_object_are_told_by_their_colours(folder: Path) -> None:
    samples = sorted(ImageFolder.open(folder).samples(), key=lambda s: s.path.name)
    names = {
        sample.path.stem: name
        for sample, name in zip(samples, accuracy.objects_shown(samples), strict=True)
    }
    assert names['2'] == names['11'] == '11'  # the same, turned
    assert len({names['1'], names['2'], names['4']}) == 3


def test_the_time_of_a_process_is_that_of_all_its_threads() -> None:
    worker = threading.Thread(target=lambda: sum(range(5_000_000)))
    worker.start()
    worker.join()
    before = time.process_time()
    measured = cpu_seconds(os.getpid())
    assert before - 0.1 <= measured <= time.process_time() + 0.1


def test_what_a_viewer_adds_is_told_by_medians() -> None:
    alone, viewed = [0.010, 0.020, 0.090], [0.011, 0.021, 0.022]
    row = perception_latency.row(2, alone, viewed)
    assert (row['round'], row['alone: images'], row['viewed: images']) == (2, 3, 3)
    assert row['alone: median'] == pytest.approx(20.0)
    assert row['alone: p90'] == pytest.approx(76.0)
    assert row['ratio'] == pytest.approx(1.05)
