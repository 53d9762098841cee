"""What trials that end their stack leave behind."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import grasp_trials, grasping, kept_trials, placing, report
from don_kp_ros.demo.judge import StackEndedError

SETTINGS = grasp_trials.Settings('cap', 'pinch', 0, 'm', 'c')


def lifted(seed: int) -> kept_trials.Row:
    step = {'phase': 'lift', 'simulated': 1.0, 'real': 1.0}
    told = {'verdict': 'lifted', 'error': 0.001, 'turn': None, 'steps': [step]}
    return {'seed': seed, 'pinch': told, 'aligned': None}


def test_a_trial_that_ends_its_stack_has_failed_and_the_rest_go_on_in_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stacks: list[Path] = []

    @contextlib.contextmanager
    def judged(_: Path, logs: Path, **__: object) -> Iterator[None]:
        stacks.append(logs)
        yield

    def trial(_: object, seed: int) -> kept_trials.Row:
        if seed == 3:
            raise StackEndedError('grasp ended with exit code -6')
        return lifted(seed)

    monkeypatch.setattr(kept_trials, 'judged', judged)
    file = tmp_path / 'trials.jsonl'
    failed = grasp_trials.failed
    why = kept_trials.run(file, SETTINGS, tmp_path, range(1, 6), trial, failed)
    assert 'seed 3: grasp ended with exit code -6' in why
    rows = [kept_trials.kept(file)[kept_trials.key(SETTINGS, seed)] for seed in range(1, 6)]
    assert [grasping.told(row)['verdict'] for row in rows] == [
        *['lifted'] * 2, 'failed', *['lifted'] * 2,
    ]  # fmt: skip
    assert len(stacks) == 2
    figures = grasping.summary('cap', 'pinch', rows)
    assert (figures['trials'], figures['lifted'], figures['failed']) == (5, 4, 1)
    assert [goal.measured for goal in grasping.targets('pinch', 0, [figures])] == [0.8, 0.0, 0.8]


def test_a_stack_that_does_not_start_is_started_once_and_fails_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def judged(*_: object, **__: object) -> Iterator[None]:
        raise StackEndedError('no model')
        yield

    monkeypatch.setattr(kept_trials, 'judged', judged)
    file = tmp_path / 'trials.jsonl'
    failed = grasp_trials.failed
    why = kept_trials.run(file, SETTINGS, tmp_path, [1, 2], lambda *_: lifted(0), failed)
    assert 'no model' in why and not kept_trials.kept(file)


def test_a_failed_pick_is_in_the_table_of_places_and_no_trial_is_said_to_be_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = {'refused': 0, 'told': 'x'}
    placed = {**plain, 'seed': 0, 'placed': 1, 'off [mm]': 1.0, 'turned by [deg]': 2.0, 'code': 0}
    failed = {**plain, 'seed': 1, 'placed': 0, 'code': 3}
    rows = [failed, placed, placing._failed(placing.Settings(True, 'm', 'c'), 2, 'ended')]
    monkeypatch.setattr(report, 'OUTPUT', tmp_path)
    monkeypatch.setattr(kept_trials, 'measured', lambda *_: [rows])
    monkeypatch.setenv('COUNT', '3')
    assert placing.main() == 1
    written = json.loads((tmp_path / 'placing.json').read_text())
    assert [row['off [mm]'] for row in written['rows']] == ['', 1.0, '']
    assert written['targets'][0]['measured'] == 1
    rows.clear()
    assert placing.main() == 1
    assert 'no trial came to an end; see ' in capsys.readouterr().err
