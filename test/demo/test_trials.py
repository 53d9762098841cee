"""Trials as the command runs them, of which each costs nothing."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from don_kp_ros.demo import command, trials
from don_kp_ros.demo.results import Trial


def test_an_interruption_keeps_the_trials_that_ended_and_none_of_an_earlier_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written = tmp_path / 'grasp.json'
    written.write_text('[{"seed": 7}]')
    found: list[list[int]] = []

    @contextlib.contextmanager
    def judged(*_: Any) -> Iterator[None]:
        yield

    def run_trial(_: Any, task: trials.Task, seed: int, *__: Any) -> Trial:
        found.append([told['seed'] for told in json.loads(written.read_text())])
        if len(found) == 3:
            raise KeyboardInterrupt
        return Trial(seed, task.kind, 1, True, 60.0, None, None)

    monkeypatch.setattr(trials, 'judged', judged)
    monkeypatch.setattr(trials, 'run_trial', run_trial)
    monkeypatch.setattr(trials, 'Pictures', lambda *_: None)
    monkeypatch.setenv('ROS_DOMAIN_ID', '5')
    with pytest.raises(KeyboardInterrupt):
        command.main(['--trials', '5', '--output', str(tmp_path)])
    assert found == [[], [0], [0, 1]]
    assert [told['seed'] for told in json.loads(written.read_text())] == [0, 1]
    assert '0 of 5 lifted' in capsys.readouterr().out
