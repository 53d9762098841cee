"""Trials as the command runs them, of which each costs nothing."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from don_kp_ros.demo import command, trials
from don_kp_ros.demo.attempt import Attempt
from don_kp_ros.demo.results import Trial, report


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


def told(trials: list[Trial], mode: str) -> tuple[bool, str]:
    """Report trials; return whether they are enough, and what is said."""
    console = Console(record=True, quiet=False, width=200)
    options = argparse.Namespace(trials=len(trials), cap='random', mode=mode)
    return report(trials, options, console), console.export_text()


def pinched(lift: float, error: float) -> Trial:
    """Return a trial in which a cap was lifted so far, metres, and found so far from its place."""
    return Trial(0, 'cap', 1, True, 60.0, Attempt('succeeded', '', lift, error), None)


def test_a_trial_counts_where_the_object_was_lifted_at_its_point() -> None:
    good, beside, left = pinched(0.12, 0.002), pinched(0.12, 0.02), pinched(0.0, 0.002)
    enough, said = told([good] * 8 + [beside, left], 'pinch')
    assert not enough and '9 of 10 lifted' in said and 'both 8' in said
    assert told([good] * 9 + [beside], 'pinch')[0]


@pytest.mark.parametrize('mode', ['pinch', 'aligned', 'both'])
def test_trials_of_what_could_not_be_taught_are_not_enough(mode: str) -> None:
    lost = Trial(0, 'cap', 1, True, 60.0, None, None, failure='teach_object: refused')
    enough, said = told([lost] * 3, mode)
    assert not enough and '0 of 3' in said
