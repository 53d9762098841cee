"""Trainings are done once, known by all that they depend on, and end in good order."""

import dataclasses
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from don_kp_ros.data.folder import ImageFolder, write_samples
from don_kp_ros.networks.checkpoint import Checkpoint, Preprocessing
from don_kp_ros.networks.descriptor_network import NetworkConfiguration
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
def runs(train_by: Callable[..., list[str]]) -> list[list[str]]:
    """Replace the training by one that writes a small model; list what was asked for."""
    asked: list[list[str]] = []

    def train(arguments: list[str], name: str) -> None:
        asked.append(arguments)
        assert (Path(arguments[0]) / 'rgbs/0.png').is_file()
        network = NetworkConfiguration('resnet18', channels=8, dimension=8, keypoints=None)
        model = Checkpoint(network, Preprocessing(), {}, 0.0).untrained(seed=len(asked))
        model.save(Path(arguments[arguments.index('--output') + 1]))

    train_by(train, minutes=2)
    return asked


def test_a_training_is_done_once(tmp_path: Path, runs: list[list[str]]) -> None:
    first, again = (kept(tmp_path).model(silent) for _ in range(2))
    assert len(runs) == 1 and first.file == again.file
    assert (first.before, again.before) == (False, True)
    assert first.checkpoint.fingerprint == again.checkpoint.fingerprint
    assert (again.cpu_minutes, again.commit) == (first.cpu_minutes, first.commit)
    assert first.cpu_minutes == 2
    assert [path.name for path in tmp_path.iterdir()] == [first.file.parent.name]
    names = {path.name for path in first.file.parent.iterdir()}
    assert names == {'model.safetensors', 'training.json'}  # pictures are gone
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
    stopped = []

    class Interrupted:
        def __init__(self, arguments: list[str], name: str, log: Path | None) -> None:
            runs.append(arguments)

        def seconds(self, wait: bool) -> float:
            raise KeyboardInterrupt

        def stop(self) -> None:
            stopped.append(self)

    with monkeypatch.context() as patch:
        patch.setattr(trainings, '_Process', Interrupted)
        with pytest.raises(KeyboardInterrupt):
            kept(tmp_path).model(silent)
    assert len(stopped) == 1
    kept(tmp_path).model(silent)
    assert runs[0] == runs[1] and len(runs) == 2


def test_several_are_done_together_and_known_apart(
    tmp_path: Path, runs: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    every = [kept(tmp_path, content=bytes([number])) for number in range(3)]
    every[1].model(silent)
    done = dict(trainings.together(every, 2, silent))
    assert sorted(done) == [0, 1, 2] and len(runs) == 3
    assert [done[place].before for place in range(3)] == [False, True, False]
    assert len({trained.file for trained in done.values()}) == 3


def test_of_two_studies_one_trains_and_the_other_waits(
    tmp_path: Path, runs: list[list[str]]
) -> None:
    first, said = kept(tmp_path), list[str]()
    lock = first.prepare()
    assert lock is not None

    def say(text: str) -> None:
        said.append(text)
        if 'waiting for another study' in text:
            assert (first.folder / 'pictures/rgbs/0.png').is_file()  # the first one's
            first.start()
            first.finish(60)
            first.release(lock)

    second = kept(tmp_path).model(say)
    assert second.before and second.cpu_minutes == 1 and len(runs) == 1
    assert [str(first.folder) in text for text in said] == [True, True]
    assert {path.name for path in first.folder.iterdir()} == {'model.safetensors', 'training.json'}


def test_the_same_training_twice_at_a_time_is_done_once(
    tmp_path: Path, runs: list[list[str]]
) -> None:
    done = dict(trainings.together([kept(tmp_path), kept(tmp_path)], 2, silent))
    assert [done[place].before for place in (0, 1)] == [False, True] and len(runs) == 1


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
        f'folder = pathlib.Path({str(tmp_path)!r})\n'
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
        list(trainings.together([kept(tmp_path / 'kept')], 1, silent))
    thread.join()
    assert (tmp_path / 'saved').exists()


def test_a_training_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainings, '_COMMAND', (sys.executable, '-c', 'raise SystemExit(3)'))
    with pytest.raises(StudyError, match='case ended with status 3'):
        trainings._Process([], 'case').seconds()


def test_processor_time_is_that_of_the_training_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / 'log'
    monkeypatch.setattr(trainings, '_COMMAND', (sys.executable, '-c'))
    busy = 'import time\nwhile time.process_time() < 0.5: pass\nprint("done")'
    assert trainings._Process([busy], 'busy', log).seconds() >= 0.5
    assert trainings._Process(['print("idle")'], 'idle', log).seconds() < 0.5
    assert log.read_text() == 'done\nidle\n'
    with pytest.raises(StudyError, match=f'status 3; its message is in {log}'):
        trainings._Process(['raise SystemExit(3)'], 'bad', log).seconds()


def test_a_length_in_minutes_is_that_of_the_whole_training(
    tmp_path: Path, runs: list[list[str]]
) -> None:
    config = config_path('training/mined.yaml')
    for recipe in (Recipe.within(3.0, config, (), 0), Recipe(config, steps=3)):
        kept(tmp_path, recipe).model(silent)
    by_time, by_steps = (' '.join(arguments) for arguments in runs)
    assert '--cpu-minutes 2.79 --accelerator=cpu' in by_time
    assert '--steps 3 --accelerator=auto' in by_steps
    assert len(list(tmp_path.iterdir())) == 2


def test_backgrounds_are_trained_on_and_tell_trainings_apart(
    tmp_path: Path, runs: list[list[str]]
) -> None:
    root, files = tmp_path / 'kept', [tmp_path / f'{name}.jpg' for name in 'ab']
    for path in files:
        path.write_bytes(path.stem.encode())
    for backgrounds in ((), tuple(files), tuple(files[:1])):
        dataclasses.replace(kept(root), backgrounds=backgrounds).model(silent)
    assert len({arguments[2] for arguments in runs}) == 3
    assert [any('--backgrounds=' in own for own in arguments) for arguments in runs] == [
        False,
        True,
        True,
    ]


def test_a_true_training_is_done_once(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write = partial(write_samples, samples=list(ImageFolder.open(photos).samples()))
    background = tmp_path / 'background.png'
    cv2.imwrite(str(background), np.full((40, 40, 3), 90, np.uint8))
    small = ('--views.size=96', '--network.channels=8', '--workers=0', '--validation.queries=4')
    recipe = Recipe.within(0.22, config_path('training/nt_xent.yaml'), small, 0)
    own = Kept(tmp_path / 'kept', 'small', recipe, write, (background,))
    first = own.model()
    assert first.checkpoint.card['steps'] >= 1 and first.cpu_minutes > 0.01
    capsys.readouterr()
    again = own.model()
    assert 'trained before' in capsys.readouterr().out
    assert (again.checkpoint.fingerprint, again.commit) == (
        first.checkpoint.fingerprint,
        first.commit,
    )
    assert len(list((tmp_path / 'kept').iterdir())) == 1
