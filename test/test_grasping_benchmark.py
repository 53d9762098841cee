"""What the grasping benchmark keeps, counts and shows."""

import json
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks import grasp_trials, grasping, kept_trials, perturbations, placing
from benchmarks import report as report_module
from benchmarks.grasping_page import marked, page_of
from don_kp_ros.demo.pictures import end_of
from don_kp_ros.evaluation.drawings import plot_shares
from don_kp_ros.geometry import rigid
from don_kp_ros.nodes.simulation.parameters import SimulationParameters
from don_kp_ros.simulation.camera import D435
from don_kp_ros.simulation.disturbances import Disturbances


def row(verdict: str, error: float | None, seconds: float, **more: object) -> dict[str, Any]:
    steps = [
        {'phase': 'plan', 'simulated': 0.1, 'real': 1.0},
        {'phase': 'lift', 'simulated': seconds, 'real': 2 * seconds},
    ]
    told = {'verdict': verdict, 'message': 'a <sentence>', 'error': error, 'turn': None}
    pinch = {**told, 'steps': steps, 'grasp': None}
    name = kept_trials.key(grasp_trials.Settings('mug', 'pinch', 2, 'feed', 'abc'), 7)
    plain = {'key': name, 'kind': 'mug', 'instance': 5, 'seed': 7, 'failure': ''}
    return {**plain, 'passed': verdict == 'lifted', 'pinch': pinch, 'aligned': None, **more}


def test_a_trial_that_a_kill_cut_off_is_done_again_and_the_others_are_not(tmp_path: Path) -> None:
    path = tmp_path / 'bench' / 'trials.jsonl'
    assert kept_trials.kept(path) == {}
    kept_trials.keep(path, {'key': 'a', 'n': 1})
    with path.open('a') as file:
        file.write('{"key": "b", "n":')
    kept_trials.keep(path, {'key': 'c', 'n': 3})
    assert {name: own['n'] for name, own in kept_trials.kept(path).items()} == {'a': 1, 'c': 3}


def test_a_trial_of_other_settings_is_another_trial() -> None:
    settings = [
        grasp_trials.Settings(*one)
        for one in (
            ('cap', 'pinch', 2, 'm', 'c'),
            ('mug', 'pinch', 2, 'm', 'c'),
            ('cap', 'aligned', 2, 'm', 'c'),
            ('cap', 'pinch', 3, 'm', 'c'),
            ('cap', 'pinch', 2, 'n', 'c'),
            ('cap', 'pinch', 2, 'm', 'd'),
        )
    ]
    keys = {kept_trials.key(one, seed) for one in settings for seed in (0, 1)}
    assert len(keys) == 12
    assert len({grasp_trials.picture_of(one) for one in keys}) == 12


def test_a_trial_of_other_disturbances_aims_or_parameters_is_another_trial() -> None:
    plain = grasp_trials.Settings('cap', 'pinch', 2, 'm', 'c')
    others = [
        replace(plain, aim='random'),
        replace(plain, push=0.01),
        replace(plain, push=0.02),
        replace(plain, parameters={'grasp': {'views': 1}}),
        replace(plain, disturbances={'light': 2.0}),
        replace(plain, disturbances={'light': 4.0}),
    ]
    keys = {kept_trials.key(one, 3) for one in (plain, *others)}
    assert len(keys) == 7
    assert len({grasp_trials.picture_of(one) for one in keys}) == 7
    task = replace(others[1], disturbances={'light': 2.0}).task
    assert (task.kind, task.mode, task.others, task.aim) == ('cap', 'pinch', 2, 'point')
    assert (task.push, task.disturbances) == (0.01, {'light': 2.0})


def test_what_was_measured_is_not_measured_again_nor_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[str, list[int]]] = []

    class Pool:
        def __enter__(self) -> 'Pool':
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def imap_unordered(self, _: object, work: list[Any]) -> Iterator[str]:
            for settings, _, seeds in work:
                begun.append((settings.kind, list(seeds)))
                for seed in seeds:
                    name = kept_trials.key(settings, seed)
                    kept_trials.keep(grasp_trials.TRIALS, {'key': name, 'seed': seed})
            yield from [''] * len(work)

    monkeypatch.setattr(grasp_trials, 'TRIALS', tmp_path / 'trials.jsonl')
    pools = SimpleNamespace(Pool=lambda *_, **__: Pool())
    monkeypatch.setattr(kept_trials.multiprocessing, 'get_context', lambda _: pools)
    cap, mug = (grasp_trials.Settings(kind, 'pinch', 2, 'm', 'c') for kind in ('cap', 'mug'))
    kept_trials.keep(grasp_trials.TRIALS, {'key': kept_trials.key(cap, 8), 'seed': 8})
    wanted = [(cap, tmp_path), (mug, tmp_path), (cap, tmp_path)]
    rows = grasp_trials.measured(wanted, [7, 8, 9], 2, 2)
    assert begun == [('cap', [7]), ('cap', [9]), ('mug', [7, 9]), ('mug', [8])]
    assert [[row['seed'] for row in own] for own in rows] == [[7, 8, 9]] * 3


def test_what_was_placed_before_is_not_placed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placing, '_TRIALS', tmp_path / 'trials.jsonl')
    monkeypatch.setattr(report_module, 'OUTPUT', tmp_path)
    monkeypatch.setattr(placing, 'COMMIT', 'abc')
    monkeypatch.setattr(placing.checkpoint, 'load', lambda _: SimpleNamespace(fingerprint='feed'))
    for later in (False, True):
        settings = placing.Settings(later, 'feed', 'abc')
        for seed in (3000, 3001):
            one = {'key': kept_trials.key(settings, seed), 'seed': seed, 'placed': int(not later)}
            kept_trials.keep(placing._TRIALS, one)
    monkeypatch.setenv('COUNT', '2')
    monkeypatch.setenv('SEED', '3')
    assert placing.main() == 0
    written = json.loads((tmp_path / 'placing.json').read_text())
    assert written['rows'] == [{'seed': seed, 'placed': 1} for seed in (3000, 3001)]
    monkeypatch.setenv('LATER', '1')
    assert placing.main() == 1
    assert json.loads((tmp_path / 'placing-later.json').read_text())['targets'][0]['measured'] == 0


def test_a_find_that_was_refused_is_none_that_came_near() -> None:
    refused = grasping.summary('mug', 'pinch', [row('not found', 0.002, 1.0)])
    assert (refused['within 8 mm'], refused['within 10 mm'], refused['median mm']) == (0, 0, '')


def test_figures_are_of_every_trial_also_of_what_could_not_be_taught() -> None:
    rows = [
        row('lifted', 0.002, 3.0),
        row('lifted', 0.012, 5.0),
        row('not found', None, 1.0),
        row('', None, 0.0, pinch=None, failure='teach_object: refused'),
    ]
    found = grasping.summary('mug', 'pinch', rows)
    assert (found['trials'], found['lifted'], found['not found']) == (4, 2, 1)
    assert (found['not taught'], found['within 10 mm']) == (1, 1)
    assert (found['within 8 mm'], found['way']) == (1, 'point')
    assert found['median mm'] == pytest.approx(7.0)
    assert sum(found[verdict] for verdict in grasping.VERDICTS) == 4
    by_phase = {one['phase']: one for one in grasping.phases(rows)}
    assert by_phase['lift'] == {'phase': 'lift', 'times': 3, 's, simulated': 3.0, 's, real': 6.0}
    goals = grasping.targets('pinch', 4, [found, {**found, 'lifted': 4}])
    assert [(goal.measured, goal.limit) for goal in goals] == [(0.75, 0.9), (0.0, 0.02)]
    assert grasping.targets('pinch', 2, [found])[0].limit == 0.97
    near = grasping.targets('pinch', 0, [found])[2]
    assert (near.name, near.measured, near.limit) == ('share within 8 mm', 0.25, 0.97)
    aligned = grasping.targets('aligned', 4, [{**found, 'within 8 deg': 3}])
    assert aligned[0].limit == 0.93
    turned = aligned[2]
    assert (turned.name, turned.measured, turned.limit) == ('share within 8 deg', 0.75, 0.93)


def test_a_wrong_argument_is_named_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv('OBJECTS', 'cap,cup')
    assert grasping.main() == 2
    assert 'OBJECTS has cup; it must be of cap, mug' in capsys.readouterr().err
    monkeypatch.setenv('OBJECTS', 'cap')
    monkeypatch.setenv('MODE', 'aligned')
    monkeypatch.setenv('WAYS', 'point,centroid')
    assert grasping.main() == 2
    assert 'WAYS has centroid; it must be of point, single_look' in capsys.readouterr().err
    monkeypatch.setenv('ONLY', 'push,rain')
    assert perturbations.main() == 2
    assert 'ONLY has rain; it must be of depth_noise, ' in capsys.readouterr().err


def test_every_failure_is_on_the_page_with_its_picture_and_successes_are_not(
    tmp_path: Path,
) -> None:
    picture = tmp_path / 'one.png'
    Image.fromarray(np.zeros((480, 1280, 3), np.uint8)).save(picture)
    Image.fromarray(np.zeros((360, 480, 3), np.uint8)).save(end_of(picture))
    rows = [row('lifted', 0.002, 3.0), row('dropped', 0.003, 2.0), row('missed', 0.004, 2.0)]
    shown = [(one, grasping.told(one), picture) for one in rows]
    shown[2] = (*shown[2][:2], tmp_path / 'none.png')
    text = page_of('title', [grasping.summary('mug', 'pinch', rows)], grasping.phases(rows), shown)
    assert text.count('<figure>') == 2 and text.count('<img') == 2
    assert 'it ended in lift, after 2.1 s' in text
    assert 'mug 5, seed 7: dropped' in text and 'a &lt;sentence&gt;' in text
    assert 'Failures: 2 of 3' in text
    assert json.loads(rows[0]['key'])[-1] == 7


def test_a_grasp_is_drawn_where_the_camera_would_see_the_hand() -> None:
    T_base_optical = rigid.transform(np.diag([1.0, -1.0, -1.0]), [0.5, 0.0, 0.6])
    grasp = rigid.transform(np.diag([-1.0, 1.0, -1.0]), [0.5, 0.0, 0.1])
    view = np.zeros((480, 1280, 3), np.uint8)
    drawn = marked(view, grasp, T_base_optical).any(axis=2)
    assert not view.any() and drawn.any() and not drawn[:, D435.width :].any()
    v, u = np.nonzero(drawn)
    for y in (-0.04, 0.04):  # both fingers' ends, 0.5 m before the camera
        end = D435.project(np.array([0.0, -y, 0.5]))
        assert np.hypot(u - end[0], v - end[1]).min() < 2


def test_every_disturbance_has_levels_that_the_simulation_takes_and_one_that_is_usual() -> None:
    usual = SimulationParameters()
    assert {one.name for one in fields(Disturbances)} < set(perturbations.DISTURBANCES)
    for name, one in perturbations.DISTURBANCES.items():
        assert one.usual in one.levels and one.settings(name, one.usual) == {}
        for level in set(one.levels) - {one.usual}:
            made = one.settings(name, level)
            if name == 'push':
                assert made == {'push': level / 1000}
            else:
                assert made['disturbances'][name] != getattr(usual, name)
                SimulationParameters(**made['disturbances'])
    strongest = perturbations.cases(['light', 'push'], strongest=True)
    assert strongest == [('light', 1.0), ('light', 4), ('push', 0.0), ('push', 60)]
    assert len(perturbations.cases(['light'], strongest=False)) == 5
    angle = perturbations.DISTURBANCES['hand_eye_turn'].settings('hand_eye_turn', 3)
    assert angle['disturbances']['hand_eye_turn'] == pytest.approx(np.deg2rad(3), abs=1e-8)


def test_curves_are_shares_of_all_kinds_at_each_level() -> None:
    good, far, bad = row('lifted', 0.002, 3.0), row('lifted', 0.012, 5.0), row('missed', 0.1, 1.0)
    table = [
        perturbations.line('push', 30, 'cap', 'pinch', [good, bad]),
        perturbations.line('push', 0, 'cap', 'pinch', [good, far]),
        perturbations.line('push', 0, 'mug', 'pinch', [good, good]),
        perturbations.line('light', 1, 'cap', 'pinch', [bad]),
    ]
    push, light = perturbations.panels(table, 'pinch')
    assert (push.label, push.levels) == ('pushed once found, mm', [0, 30])
    assert push.shares == {'lifted': [1.0, 0.5], 'within 8 mm': [0.75, 0.5]}
    assert light.shares == {'lifted': [0.0], 'within 8 mm': [0.0]}
    drawn = plot_shares([push, light])
    assert (
        drawn.startswith('<svg') and 'pushed once found, mm' in drawn and 'light, times' in drawn
    )


def test_both_benchmarks_write_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(grasping, 'FOLDER', tmp_path)
    monkeypatch.setattr(perturbations, 'FOLDER', tmp_path / 'curves')
    monkeypatch.setattr(report_module, 'OUTPUT', tmp_path)
    asked: list[grasp_trials.Settings] = []

    def measured(wanted: Any, seeds: list[int], *_: int) -> list[list[dict[str, Any]]]:
        asked[:] = [settings for settings, _ in wanted]
        lifted = [one.push == 0 and one.aim == 'point' for one in asked]
        return [[row('lifted' if own else 'missed', 0.002, 3.0)] * len(seeds) for own in lifted]

    for benchmark in (grasping, perturbations):
        monkeypatch.setattr(benchmark, 'measured', measured)
    monkeypatch.setenv('TRIALS', '2')
    monkeypatch.setenv('OBJECTS', 'mug')
    monkeypatch.setenv('WAYS', 'point,random,single_look')
    assert grasping.main() == 0  # the goals are for the point alone
    written = json.loads((tmp_path / 'grasping-pinch-2-point-random-single_look.json').read_text())
    assert [(own['way'], own['lifted']) for own in written['rows']] == [
        ('point', 2), ('random', 0), ('single_look', 2),
    ]  # fmt: skip
    assert [goal['met'] for goal in written['targets']] == [True] * 3
    assert asked[2].parameters == {'grasp': {'views': 1}}
    assert 'Failures: 2 of 6' in (tmp_path / 'report.html').read_text()

    monkeypatch.setenv('ONLY', 'push')
    monkeypatch.setenv('STRONGEST', '1')
    assert perturbations.main() == 0
    table = json.loads((tmp_path / 'perturbations.json').read_text())['rows']
    assert [(own['level'], own['lifted']) for own in table] == [(0, 2), (60, 0)]
    page = (tmp_path / 'curves' / 'report.html').read_text()
    assert 'pushed once found, mm' in page and '<svg' in page
    assert (tmp_path / 'curves' / 'curves.svg').read_text() in page
