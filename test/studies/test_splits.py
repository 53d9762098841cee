"""What is trained on and measured on, and the tables that are made of it."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from don_kp_ros.data.folder import DataError, ImageFolder
from don_kp_ros.evaluation.keypoints import measure_keypoints
from don_kp_ros.evaluation.matchers import at_scale, centroid
from don_kp_ros.evaluation.measure import measure
from don_kp_ros.evaluation.peers import PEERS
from don_kp_ros.networks.checkpoint import Checkpoint, Preprocessing
from don_kp_ros.networks.descriptor_network import KeypointConfiguration, NetworkConfiguration
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.studies import absent, accuracy, command, one_photo, splits
from don_kp_ros.studies.pictures import alike
from don_kp_ros.studies.splits import Data, Photos

HEADS = {'joint': KeypointConfiguration(number=4), 'mined': KeypointConfiguration(number=4)}


@pytest.fixture
def data(folder: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of renders, photos and backgrounds; few pairs are made of it."""
    root = folder.parent / 'data'
    root.mkdir()
    (root / 'caps').symlink_to(folder)
    (root / 'caps_real').symlink_to(photos)
    (root / 'backgrounds').symlink_to(folder / 'negatives')
    monkeypatch.setattr(splits, '_PAIRS', 3)
    return root


def model(head: KeypointConfiguration | None, seed: int) -> Checkpoint:
    network = NetworkConfiguration('resnet18', channels=8, dimension=8, keypoints=head)
    untrained = Checkpoint(network, Preprocessing(input_size=96), {}, 0.0).untrained(seed)
    return dataclasses.replace(untrained, card={'steps': 7, 'cpu_minutes': 1.5})


@pytest.fixture
def trained(train_by: Callable[..., list[str]]) -> list[str]:
    """Replace trainings by models of random weights; list the names of those that were done."""

    def train(arguments: list[str], name: str) -> None:
        seed = int(arguments[arguments.index('--seed') + 1])
        head = next((own for method, own in HEADS.items() if method in name), None)
        model(head, seed).save(Path(arguments[arguments.index('--output') + 1]))

    return train_by(train)


@pytest.fixture
def run(data: Path) -> Callable[..., dict[str, Any]]:
    def study(name: str, *arguments: str) -> dict[str, Any]:
        output, kept = data.parent / 'out', data.parent / 'kept'
        options = ['--output', str(output), '--trainings', str(kept), *arguments]
        status = command.main([name, str(data), *options])
        content: dict[str, Any] = json.loads((output / 'results.json').read_text())
        assert status == (0 if all(target['met'] for target in content['targets']) else 1)
        assert content['title'] in (output / 'report.html').read_text()
        return content

    return study


def test_the_later_of_two_turned_photos_is_held_out(photos: Path) -> None:
    read = Photos.read(photos)
    assert [sample.path.name for sample in read.learned] == ['1.jpg', '2.png', '4.png']
    ((photo, copy),) = read.pairs
    assert (photo.path.name, copy.path.name) == ('2.png', '11.png')
    (pair,) = read.turned_pairs(0).pairs
    uv, truth = pair.uv_a, pair.uv_b
    assert uv.shape == truth.shape == (100, 2)
    (u, v), (u_true, v_true) = uv.astype(int).T, truth.astype(int).T
    assert photo.mask[v, u].all()
    np.testing.assert_array_equal(copy.image[v_true, u_true], photo.image[v, u])


def test_points_of_turned_photos_lie_on_both_masks(photos: Path) -> None:
    """Masks are drawn by hand, and that of the copy may be smaller."""
    smaller = np.zeros((48, 64), np.uint8)
    smaller[10:30, 20:50] = 255
    smaller = smaller[::-1, ::-1].copy()
    smaller[:22] = 0
    cv2.imwrite(str(photos / 'masks' / '11.png'), smaller)
    (pair,) = Photos.read(photos).turned_pairs(0).pairs
    u, v = pair.uv_b.astype(int).T
    assert smaller[v, u].all()


def test_photos_without_a_turned_one_are_refused(photos: Path) -> None:
    (photos / 'rgbs' / '11.png').unlink()
    with pytest.raises(DataError, match='no picture is another one turned'):
        Photos.read(photos)
    with pytest.raises(DataError, match='rgbs'):
        Photos.read(photos / 'rgbs')


def test_pictures_of_one_object_are_told_by_their_colours(photos: Path) -> None:
    samples = sorted(ImageFolder.open(photos).samples(), key=lambda s: s.path.name)
    names = {sample.path.stem: name for sample, name in zip(samples, alike(samples), strict=True)}
    assert names['2'] == names['11'] == '11'  # the same, turned
    assert len({names['1'], names['2'], names['4']}) == 3


def test_splits_hold_what_they_measure(data: Path) -> None:
    read = Data.read(data)
    assert read.objects == ('0', '1') * 4 and read.left_out(()) == ('0', '1')
    assert len(read.training_backgrounds()) == 3  # of four: the last is measured with
    held, unseen = read.split('held', 45), read.split('unseen', 45, '0')
    assert [sample.path.stem for sample in held.learned] == ['0', '1', '3', '4', '5', '7']
    assert [sample.path.stem for sample in unseen.learned] == ['1', '3', '5', '7']
    for split in (held, unseen):
        assert split.about.images[0].shape == (384, 384, 3) and split.about.width == 640
        assert split.whole is not None and split.whole.images[0].shape == (96, 128, 3)
    names = {name: read.split(name, 45).learned for name in ('photos', 'transfer', 'mixed')}
    assert [len(learned) for learned in names.values()] == [3, 8, 8 + 2]
    assert '2.png' not in [sample.path.name for sample in names['mixed'][8:]]
    with pytest.raises(DataError, match='left_out is 0, 7; the objects are 0, 1'):
        read.left_out(('0', '7'))


def test_accuracy_is_that_of_its_trainings(
    data: Path, run: Callable[..., dict[str, Any]], trained: list[str]
) -> None:
    options = ('--splits=[held, photos]', '--methods=[joint]', '--seeds=1')
    rows = run('accuracy', *options)['rows']
    assert trained == ['held-joint-45', 'photos-joint-180']
    assert [row['descriptors'] for row in rows if row['split'] == 'held'] == [
        'object centroid',
        'random pixel of the object',
        'untrained',
        'joint',
    ]
    held = Data.read(data).split('held', 45)
    assert held.whole is not None
    for name, own in (('joint', model(HEADS['joint'], 1)), ('untrained', None)):
        own = own or model(HEADS['joint'], 1).untrained()
        (row,) = (row for row in rows if (row['split'], row['descriptors']) == ('held', name))
        about = measure(at_scale(own, held.about), held.about).accuracy.rounded()
        assert {key: row[key] for key in ('auc', 'pck_5', 'pck_10', 'median_px')} == {
            key: about[key] for key in ('auc', 'pck_5', 'pck_10', 'median_px')
        }
        whole = measure(DescriptorModel(own), held.whole).accuracy.rounded()
        assert row['auc in whole pictures'] == whole['auc']


def test_what_is_not_trained_is_measured_alone(
    run: Callable[..., dict[str, Any]], trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accuracy, 'absent', lambda: 'not measured: they are missing')
    monkeypatch.setattr(accuracy, 'peers', lambda device: {PEERS[0]: centroid})
    rows = run('accuracy', '--splits=[photos]', '--methods=[]')['rows']
    assert trained == []
    known, missing = rows[:5], rows[5:]
    assert [row['descriptors'] for row in known[2:]] == ['dense SIFT', 'colours', PEERS[0]]
    assert all(0 <= row['auc'] <= 1 for row in known)
    assert [row['descriptors'] for row in missing] == list(PEERS[1:])
    assert {row['auc'] for row in missing} == {'not measured'}


def test_keypoints_are_those_of_the_trainings_of_accuracy(
    data: Path, run: Callable[..., dict[str, Any]], trained: list[str]
) -> None:
    run('accuracy', '--splits=[held]', '--methods=[joint]', '--seeds=1')
    content = run('keypoints', '--methods=[joint]', '--seeds=1', '--turns=2')
    assert trained == ['held-joint-45']
    assert [(row['shown +-'], row['copies']) for row in content['rows']] == [
        (45, 1),
        (45, 2),
        (180, 1),
        (180, 2),
    ]
    about = Data.read(data).split('held', 180).about
    quality = measure_keypoints(at_scale(model(HEADS['joint'], 1), about), about, 2).rounded()
    assert {key: content['rows'][3][key] for key in quality} == quality
    assert len(content['targets']) == 4


@pytest.mark.parametrize(
    ('name', 'override', 'named'),
    [
        ('keypoints', '--methods=[]', 'methods is []'),
        ('keypoints', '--methods=[joint, nt_xent]', 'methods names nt_xent'),
        ('keypoints', '--methods=[mined, joints]', 'methods: joints'),
        ('accuracy', '--methods=[mined, joints]', 'methods: joints'),
        ('accuracy', '--splits=[]', 'splits is []'),
        ('absent', '--absent=[]', 'absent is []'),
    ],
)
def test_lists_that_cannot_be_are_named_before_anything_is_trained(
    data: Path, trained: list[str], capsys: Any, name: str, override: str, named: str
) -> None:
    folders = ['--output', str(data.parent / 'out'), '--trainings', str(data.parent / 'kept')]
    assert command.main([name, str(data), *folders, override]) == 1
    assert named in capsys.readouterr().err and trained == []


def test_photos_are_found_in_their_copies(
    photos: Path, run: Callable[..., dict[str, Any]], trained: list[str]
) -> None:
    named = photos / 'named_points.json'
    named.write_text('{"note": "x", "2": {"a": [20, 10], "b": [1, 1]}, "4": {"a": [38, 33.5]}}')
    content = run('real_photos')
    assert trained == ['real_photos'] and content['trained_on'] == ['1.jpg', '2.png', '4.png']
    assert content['matched'] == ['2.png to 11.png']
    _, _, of_centroid, _, _, of_named, *others = content['rows']
    # The mask of 30 by 20 pixels; one of 64 across counts as ten.
    v, u = np.indices((20, 30))
    expected = 10 * np.hypot(u - 14.5, v - 9.5)
    assert of_centroid['queries'] == 100
    assert of_centroid['median_px'] == pytest.approx(np.median(expected), rel=0.1)
    assert [target['limit'] for target in content['targets']] == [8, 0.8, 10]
    # From photo 2 to 4 and back; the mask's centre is (34.5, 19.5).
    assert of_named['queries'] == 2
    errors = [10 * np.hypot(34.5 - u, 19.5 - v) for u, v in ((20, 10), (38, 33.5))]
    assert of_named['median_px'] == pytest.approx(np.mean(errors), abs=0.01)
    names = ['dense SIFT', 'colours', *PEERS]
    assert [row['descriptors'] for row in others] == names + names
    named.write_text('{"2": {"a": 20}}')
    with pytest.raises(DataError, match=r'named_points\.json: not named points.*"2"'):
        Photos.read(photos)


def test_each_photo_is_learned_alone(
    run: Callable[..., dict[str, Any]], trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(one_photo, '_PAIRS', 2)
    monkeypatch.setattr(one_photo, 'not_trained', lambda job: {'XFeat': None})
    content = run('one_photo', '--seeds=[0, 1]')
    assert trained == [f'one_photo-{stem}' for stem in (1, 1, 2, 2, 4, 4)]
    of_photos = [content['rows'][place : place + 4] for place in (0, 4, 8)]
    for name, rows in zip(('1.jpg', '2.png', '4.png'), of_photos, strict=True):
        assert {row['looked for'] for row in rows} == {f'2 random views of photo {name}'}
        assert [row['seed'] for row in rows] == [0, 1, '', '']
        assert rows[2]['queries'] == 200 and rows[3]['auc'] == 'not measured'
    figures = [row['auc'] for rows in of_photos for row in rows[:2]]
    (goal,) = content['targets']
    assert goal['measured'] == pytest.approx(np.mean(figures), abs=1e-4)


def test_named_points_are_not_looked_for_in_the_photo_that_is_learned(
    photos: Path,
    run: Callable[..., dict[str, Any]],
    trained: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(one_photo, '_PAIRS', 2)
    monkeypatch.setattr(one_photo, 'not_trained', lambda job: {})
    points = {stem: {'a': [20 + place, 10]} for place, stem in enumerate('124')}
    (photos / 'named_points.json').write_text(json.dumps(points))
    rows = run('one_photo')['rows']
    named = [row for row in rows if row['looked for'] == 'named points of different photos']
    # Of six pairs of three photos, two are of points that lie in the learned one.
    assert [row['queries'] for row in named if row['seed'] == 0] == [4, 4, 4]


def test_what_is_absent_is_looked_for_as_what_is_there(
    data: Path, run: Callable[..., dict[str, Any]], trained: list[str]
) -> None:
    content = run('absent')
    cases = ['all photos', *(f'all but {name}' for name in ('1.jpg', '2.png', '4.png'))]
    assert trained == [f'absent-{case.replace(" ", "-")}' for case in cases]
    rows = content['rows']
    assert [row['trained on'] for row in rows[::4]] == cases
    assert [row['looked for in'] for row in rows[:4]] == [
        'the object',
        'caps/rgbs/*',
        'backgrounds/*',
        'all without it',
    ]
    # Each of three photos has three others; alone, two are looked for in the one that was held.
    assert [rows[place]['points'] for place in (0, 4)] == [9 * 60, 2 * 60]
    assert [row['points'] for row in rows[1:4]] == [8 * 180, 4 * 180, 4 * 180]
    (target,) = content['targets']
    assert target['measured'] == rows[3]['at recall 0.8']
    assert [row['at the threshold'] for row in rows[1:4]] == [1, 1, 1]  # of these models it is 0


def test_false_finds_are_those_above_the_threshold_of_a_recall() -> None:
    present = np.concatenate([np.linspace(0.01, 0.9, 90), np.full(10, -np.inf)])
    others = {'near': np.linspace(0, 1, 101), 'far': np.full(101, -0.5)}
    shown, alike, near, far, every = absent._rows(
        absent._Found(present, others, {'alike': np.array([0.5, 0.9])}), 0.705
    )
    assert shown['at recall 0.8'] == 0.81 and shown['at recall 0.95'] == 0.9
    assert (near['at recall 0.8'], far['at recall 0.8']) == (round(91 / 101, 4), 0)
    assert alike['at the threshold'] == 0.5
    assert every['at recall 0.8'] == round(91 / 202, 4)
    assert far['at recall 0.95'] == 1  # not reached by accepting everything
    assert (shown['at the threshold'], near['at the threshold']) == (0.2, round(30 / 101, 4))


def test_tables_hold_every_cell_and_what_knows_nothing(
    data: Path, run: Callable[..., dict[str, Any]], trained: list[str], monkeypatch: Any
) -> None:
    monkeypatch.setattr('don_kp_ros.studies.paper_tables.memory', lambda case: 0.5)
    content = run('paper_tables', '--dimensions=[64]', '--seeds=1,2')
    cells = ['nt_xent-128', 'mined-128', 'mined-16']
    assert sorted(trained) == sorted(2 * [f'tables-{cell}-64' for cell in cells])
    rows = content['rows']
    assert [(row['method'], row['N']) for row in rows[:3]] == [
        ('NT-Xent', 128),
        ('mined', 128),
        ('mined', 16),
    ]
    names = ['untrained', 'object centroid', 'random pixel of the object']
    assert [row['method'] for row in rows[3:]] == names
    about = Data.read(data).split('held', 45).about
    aucs = [
        measure(at_scale(model(HEADS['mined'], seed), about), about).accuracy.auc
        for seed in (1, 2)
    ]
    assert rows[1]['auc'] == pytest.approx(np.mean(aucs), abs=1e-4)
    assert rows[1]['deviation'] == pytest.approx(np.std(aucs, ddof=1), abs=1e-4)
    assert set(content['published metric']) == {'the truth', "the picture's centre"}
