"""What benchmarks choose and record; what they measure is measured elsewhere."""

import json
import os
import re
import runpy
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import masks, object_pose, objects, perception_latency
from benchmarks import report as report_module
from benchmarks.report import Target, report
from benchmarks.running_nodes import cpu_seconds
from don_kp_ros.annotation.proposal import Proposal
from don_kp_ros.errors import RefusedError
from don_kp_ros.simulation.posed import Subject
from don_kp_ros.studies import command
from don_kp_ros.studies.registry import read_study

ROWS = [{'descriptors': 'trained', 'median_px': 3.0}]


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


@pytest.mark.parametrize(
    ('name', 'variables', 'config', 'output', 'said'),
    [
        (
            'accuracy',
            {'SPLITS': 'held,unseen', 'LEFT_OUT': '01', 'SEEDS': '0,1', 'MINUTES': '2'},
            'accuracy',
            'accuracy-some caps-seeds=0,1-minutes=2-splits=held,unseen-left_out=01',
            {'splits': ('held', 'unseen'), 'left_out': ('01',), 'seeds': (0, 1), 'minutes': 2},
        ),
        (
            'keypoints',
            {'RETRAIN': '1', 'TURNS': '4'},
            'keypoints',
            None,
            {'retrain': True, 'turns': 4},
        ),
        (
            'absent',
            {'MINUTES': '4'},
            'absent',
            'absent-some caps-minutes=4',
            {'minutes': 4, 'seeds': (0,)},
        ),
        (
            'real_photos',
            {'SEED': '3'},
            'real_photos',
            'real_photos-some caps-seeds=3',
            {'seeds': (3,)},
        ),
        ('keypoints', {'RETRAIN': '0'}, 'keypoints', None, {'retrain': False}),
        ('real_photos', {'MINUTES': '5'}, 'real_photos', None, {'minutes': 5, 'seeds': (0,)}),
        (
            'paper_tables',
            {'BUDGET': 'paper', 'DIMENSIONS': '3,64', 'EPOCHS': '5', 'JOBS': '3'},
            'paper_tables_as_printed',
            None,
            {'dimensions': (3, 64), 'epochs': 5, 'jobs': 3, 'seeds': (0, 1, 2)},
        ),
    ],
)
def test_variables_choose_what_a_study_does(
    name: str,
    variables: dict[str, str],
    config: str,
    output: str | None,
    said: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr(command, 'main', lambda arguments: asked.append(arguments) or 0)
    monkeypatch.setattr('sys.argv', [name])
    monkeypatch.delitem(sys.modules, f'benchmarks.{name}', raising=False)
    for variable in ('SPLITS', 'METHODS', 'SEEDS', 'SEED', 'MINUTES', 'LEFT_OUT', 'BUDGET'):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in {'DATA': 'some caps', **variables}.items():
        monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit, match='0'):
        runpy.run_module(f'benchmarks.{name}', run_name='__main__')
    ((study, folder, where, *overrides),) = asked
    assert (study, folder) == (config, 'some caps')
    if output is not None:
        assert where == f'--output=output/bench/{output}'
    overrides = [
        own.replace('--seeds=', '--seeds=[') + ']' if own.startswith('--seeds=') else own
        for own in overrides
    ]
    read = read_study(Path(study), overrides)
    assert {key: getattr(read, key) for key in said} == said


def test_what_is_kept_of_other_pictures_is_not_taken_for_a_folder_of_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders: list[Path] = []
    model = SimpleNamespace(fingerprint='feed')
    monkeypatch.setattr(objects, 'DescriptorModel', SimpleNamespace(load=lambda _: model))
    monkeypatch.setattr(objects, 'parts', lambda *values: folders.append(values[-1]) or {})
    monkeypatch.setattr(report_module, 'OUTPUT', tmp_path)
    for text in ('a', 'b', 'b'):
        picture = tmp_path / 'data' / 'caps' / 'rgbs' / '1.png'
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_text(text)
        monkeypatch.setenv('DATA', str(tmp_path / 'data'))
        objects.main()
    assert folders[0] != folders[1] == folders[2]


def test_make_offers_only_what_can_be_run() -> None:
    root = Path(__file__).parents[1]
    told = subprocess.run(
        ['make', '-s', 'help'], cwd=root, capture_output=True, text=True, check=True
    ).stdout
    (offered,) = re.findall(r'run one of: (.*)', told)
    for name in offered.split():
        text = (root / 'benchmarks' / f'{name}.py').read_text(encoding='utf-8')
        assert "__name__ == '__main__'" in text, name


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


def test_an_object_is_found_if_all_that_is_published_is_right() -> None:
    def pose(
        of: int, mm: float, degrees: float, axis: bool = False, ambiguous: bool = False
    ) -> dict[str, object]:
        known = {'of': of, 'mm': mm, 'degrees': degrees, 'squared': 5.0}
        return {**known, 'axis': axis, 'ambiguous': ambiguous}

    right, turned, far = pose(0, 2, 3), pose(0, 2, 25), pose(0, 21, 3)
    views = [[right], [turned], [far], [right, far], [], [pose(0, 4, 1, axis=True)]]
    views.append([pose(0, 2, 3, axis=True, ambiguous=True)])  # neither found nor wrong
    rows = [{'poses': poses} for poses in views]
    found = object_pose.summary('all', 'one view', rows)
    assert (found['views'], found['found']) == (7, pytest.approx(2 / 7, abs=1e-3))
    assert found['wrong'] == pytest.approx(3 / 7, abs=1e-3)
    assert (found['median mm'], found['median deg'], found['axis']) == (2, 3, 2)
    other = pose(1, 1, 1)
    pairs = [[right, other], [other, right], [right, right], [right], [right, other, far]]
    both = object_pose.summary('all', 'two in view', [{'poses': poses} for poses in pairs])
    assert both['found'] == pytest.approx(2 / 5, abs=1e-3)


def test_networks_are_compared_where_all_were_measured() -> None:
    def row(part: str, who: str, auc: float | str, **more: object) -> dict[str, object]:
        return {'part': part, 'descriptors': who, 'auc': auc, **more}

    turned, named = 'photos and their turned copies', 'named points of different photos'
    rows = [
        row('held', 'joint', 0.96, split='held'),
        row('held', 'joint', 0.98, split='held'),
        row('held', 'untrained', 0.3, split='held'),
        row('held others', 'XFeat', 0.75, split='held'),
        row('held others', 'DISK', 'not measured', split='held'),
        *(row('unseen', 'joint', 0.9 + 0.02 * i, split=f'unseen {i % 2}') for i in range(4)),
        row('transfer', 'joint', 0.7, split='transfer'),
        row('transfer', 'joint', 0.9, split='transfer'),
        row('transfer others', 'XFeat', 0.85, split='transfer'),
        row('photos', 'trained', 0.97, pck_5=0.9, median_px=1, **{'looked for': turned}),
        row('photos', 'trained', 0.5, pck_5=0.1, median_px=30, **{'looked for': named}),
        row('one_photo', 'trained on 2.png', 0.92, **{'looked for': '9 random views of photo 2'}),
        row('one_photo', 'trained on 2.png', 0.1, median_px=9, **{'looked for': named}),
        *(
            row('kinds', 'ours', 0.5, false_finds=share, **{'looked for': kind})
            for kind, share in (('cap', 0.01), ('mug', 0.05))
        ),
    ]
    table = objects.summary(rows, ('ours', 'joint', 'trained'))
    assert [own['descriptors'] for own in table] == ['ours', 'untrained', 'XFeat']
    assert list(table[0].values())[1:] == [
        pytest.approx(figure) for figure in (0.97, 0.93, 0.92, 0.8, 0.2, 0.97, 0.9, 30, 0.92, 0.05)
    ]
    assert (table[2]['held'], table[2]['photos']) == (0.75, '')
    met = {target.name: target.met for target in objects.targets(table)}
    assert met['held: ahead of XFeat'] and not met['transfer: ahead of XFeat']
    assert not met['spread of transfer'] and met['PCK@5 of photos']
    assert len(met) == len(objects.GOALS) + 2


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    calls: list[int] = []

    def work() -> list[dict[str, object]]:
        calls.append(1)
        return [{'poses': []}]

    for _ in range(2):
        assert object_pose.done(tmp_path / 'kept', '1-0001', work) == [{'poses': []}]
    assert len(calls) == 1


def test_masks_are_measured_by_their_overlap_and_bad_ones_must_be_doubted() -> None:
    true = np.zeros((40, 60), np.bool_)
    true[10:30, 10:40] = True
    half = np.where(true & (np.arange(60) < 25), 255, 0).astype(np.uint8)
    rows = [
        {'kind': 'cap', **masks.measured(lambda: Proposal(half, ('touches',)), true)},
        {'kind': 'cap', **masks.measured(lambda: Proposal(half, ()), true)},
        {'kind': 'cap', **masks.measured(lambda: Proposal(255 * true.astype(np.uint8), ()), true)},
        {'kind': 'cap', **masks.measured(_refused, true)},
    ]
    found = masks.summary('depth', 'cap', rows)
    assert found['mean IoU'] == pytest.approx((0.5 + 0.5 + 1 + 0) / 4)
    assert (found['below 0.8'], found['unsaid'], found['doubtful']) == (3, 1, 2)


def _refused() -> Proposal:
    raise RefusedError('no table')


def test_a_simulated_view_is_masked_by_its_depth() -> None:
    rows = masks.trial(Subject('can', 100_001), [0, 8, 2], colour=False)
    assert {row['way']: row['iou'] for row in rows}['exact depth'] > 0.95
