"""Trainings are done once, known by all that they depend on, and end in good order."""

import dataclasses
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from don_kp_ros.networks.checkpoint import Checkpoint, Preprocessing
from don_kp_ros.networks.descriptor_network import DescriptorNetwork, NetworkConfiguration
from don_kp_ros.resources import config_path
from don_kp_ros.studies import trainings
from don_kp_ros.studies.trainings import Kept, Recipe, StudyError

RECIPE = Recipe(config_path('training/nt_xent.yaml'), steps=3, seed=1)


def kept(root: Path, recipe: Recipe = RECIPE, content: bytes = b'picture') -> Kept:
    def write(folder: Path) -> None:
        (folder / 'rgbs').mkdir(parents=True, exist_ok=True)
        (folder / 'rgbs/0.png').write_bytes(content)

    return Kept(root, 'case', recipe, write)


def silent(text: str) -> None:
    pass


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Replace the training by one that writes a small model; list what was asked for."""
    asked: list[list[str]] = []

    def run(arguments: list[str], name: str) -> None:
        asked.append(arguments)
        assert (Path(arguments[0]) / 'rgbs/0.png').is_file()
        network = NetworkConfiguration(channels=8, dimension=8, keypoints=None)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(len(asked))
            weights = DescriptorNetwork(network).state_dict()
        output = Path(arguments[arguments.index('--output') + 1])
        Checkpoint(network, Preprocessing(), weights, 0.5).save(output)

    monkeypatch.setattr(trainings, '_run', run)
    return asked


def test_a_training_is_done_once(tmp_path: Path, runs: list[list[str]]) -> None:
    first, file = kept(tmp_path).model(silent)
    again, other = kept(tmp_path).model(silent)
    assert len(runs) == 1 and file == other
    assert first.fingerprint == again.fingerprint
    assert [path.name for path in tmp_path.iterdir()] == [file.parent.name]  # pictures are gone
    arguments = ' '.join(runs[0])
    assert '--steps 3' in arguments and '--seed 1' in arguments and '--threads=1' in arguments


@pytest.mark.parametrize(
    'change',
    [
        lambda recipe: dataclasses.replace(recipe, steps=4),
        lambda recipe: dataclasses.replace(recipe, steps=None),
        lambda recipe: dataclasses.replace(recipe, overrides=('--pairs=2',)),
        lambda recipe: dataclasses.replace(recipe, config=config_path('training/mined.yaml')),
    ],
)
def test_another_recipe_is_another_training(
    tmp_path: Path, runs: list[list[str]], change: Callable[[Recipe], Recipe]
) -> None:
    kept(tmp_path).model(silent)
    kept(tmp_path, change(RECIPE)).model(silent)
    assert len(runs) == 2 and runs[0][2] != runs[1][2]


def test_other_pictures_are_another_training(tmp_path: Path, runs: list[list[str]]) -> None:
    kept(tmp_path).model(silent)
    kept(tmp_path, content=b'another').model(silent)
    assert len(runs) == 2


def test_an_interrupted_training_goes_on_with_the_same_command(
    tmp_path: Path, runs: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainings._run

    def stop(arguments: list[str], name: str) -> None:
        run(arguments, name)
        Path(arguments[arguments.index('--output') + 1]).unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(trainings, '_run', stop)
    with pytest.raises(KeyboardInterrupt):
        kept(tmp_path).model(silent)
    monkeypatch.setattr(trainings, '_run', run)
    kept(tmp_path).model(silent)
    assert runs[0] == runs[1] and len(runs) == 2


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Hear SIGINT, which a shell's background processes, and theirs, ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures('_interruptible')
def test_a_training_is_told_to_end_and_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        'import pathlib, sys, time\n'
        'folder = pathlib.Path(sys.argv[1])\n'
        'try:\n'
        '    (folder / "ready").touch()\n'
        '    time.sleep(60)\n'
        'except KeyboardInterrupt:\n'
        '    time.sleep(0.5)\n'
        '    (folder / "saved").touch()\n'
    )
    monkeypatch.setattr(trainings, '_COMMAND', (sys.executable, '-c', script))

    def interrupt() -> None:
        while not (tmp_path / 'ready').exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        trainings._run([str(tmp_path)], 'case')
    thread.join()
    assert (tmp_path / 'saved').exists()


def test_a_training_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainings, '_COMMAND', (sys.executable, '-c', 'raise SystemExit(3)'))
    with pytest.raises(StudyError, match='case ended with status 3'):
        trainings._run([], 'case')
