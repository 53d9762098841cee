"""Which state of the code figures are of."""

import subprocess
from pathlib import Path

import pytest

from don_kp_ros.evaluation import results
from don_kp_ros.evaluation.results import commit


def test_figures_are_of_the_packages_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = commit()
    monkeypatch.chdir(tmp_path)
    assert commit() == own


def test_an_installation_within_another_checkout_has_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = tmp_path / '.venv' / 'results.py'
    installed.parent.mkdir()
    installed.touch()
    (tmp_path / 'mine.py').touch()
    git = ['git', '-C', str(tmp_path), '-c', 'user.name=me', '-c', 'user.email=me@example.org']
    for arguments in (['init', '-q'], ['add', 'mine.py'], ['commit', '-qm', 'mine']):
        subprocess.run([*git, *arguments], check=True)
    monkeypatch.setattr(results, '__file__', str(installed))
    assert commit() == 'unknown'
    monkeypatch.setattr(results, '__file__', str(tmp_path / 'mine.py'))
    assert len(commit()) == 12


def test_each_state_of_a_checkout_has_its_own_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = tmp_path / 'benchmarks' / 'new.py'
    code = tmp_path / 'don_kp_ros' / 'evaluation' / 'results.py'
    for folder in (new.parent, code.parent):
        folder.mkdir(parents=True)
    code.write_text('a = 0\n')
    (data := tmp_path / 'data.txt').write_text('0\n')
    git = ['git', '-C', str(tmp_path), '-c', 'user.name=me', '-c', 'user.email=me@example.org']
    for arguments in (['init', '-q'], ['add', '.'], ['commit', '-qm', 'mine']):
        subprocess.run([*git, *arguments], check=True)
    monkeypatch.setattr(results, '__file__', str(code))
    clean = commit()
    states = [clean]
    for file, text in (
        (code, 'a = 1\n'),
        (code, 'a = 2\n'),
        (data, 'ä'),
        (new, 'b = 1\n'),
        (new, 'b = 2\n'),
    ):
        file.write_text(text, encoding='latin-1')
        states.append(commit())
        assert commit() == states[-1]
    assert len(set(states)) == 6 and all(s.startswith(f'{clean}-dirty-') for s in states[1:])
    subprocess.run([*git, 'checkout', '-q', '.'], check=True)
    new.unlink()
    assert commit() == clean
