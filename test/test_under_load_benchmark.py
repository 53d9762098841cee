"""What the benchmark beside busy processes takes for its own."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import report, under_load


def test_trials_of_an_earlier_run_are_not_told_as_those_of_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, 'OUTPUT', tmp_path)
    monkeypatch.setattr(under_load, 'OUTPUT', tmp_path)
    monkeypatch.setenv('BUSY', '0')
    monkeypatch.setenv('TRIALS', '1')
    file = tmp_path / 'under_load' / 'grasp.json'
    file.parent.mkdir()
    row = {'seconds': 5.0, 'passed': True, 'pinch': {'outcome': 'done'}}
    told: list[str | None] = [None, '[]', json.dumps([row])]

    def grasp(*_: object, **__: object) -> SimpleNamespace:
        assert not file.exists()
        text = told.pop(0)
        if text is not None:
            file.write_text(text)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(under_load, 'subprocess', SimpleNamespace(run=grasp))
    for _ in range(2):
        file.write_text(json.dumps([row]))
        assert under_load.main() == 1
        assert f'{file}: no trial came to an end' in capsys.readouterr().err
        assert not (tmp_path / 'under_load.json').exists()
    assert under_load.main() == 0
