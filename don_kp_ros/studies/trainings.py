"""Trainings that are done once: kept, and continued after an interruption.

A training is identified by its pictures, configuration, seed and length. A change of any of them
makes another training. Remove its folder to train again. Of studies that run at the same time, one
does a training that several need, and the others wait for it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from don_kp_ros import configuration
from don_kp_ros.data.folder import list_images
from don_kp_ros.evaluation.results import commit
from don_kp_ros.networks import checkpoint
from don_kp_ros.networks.checkpoint import Checkpoint
from don_kp_ros.training.settings import TrainingConfiguration

_COMMAND = (sys.executable, '-m', 'don_kp_ros.training.command')
_PICTURES, _BACKGROUNDS = 'pictures', 'backgrounds'
_MODEL, _RECORD, _LOCK = 'model.safetensors', 'training.json', 'lock'
_BRIEF = ('--threads=1', '--validation.times=1', '--validation.final_pairs=10')
_TRAINED = 0.93  # of the minutes of a training in all; the rest is for start, measuring, writing
_POLL_S = 0.2


class StudyError(Exception):
    """A study cannot be finished; the message says why, and what to do."""


@dataclass(frozen=True)
class Recipe:
    """How to train: a configuration with overrides, for some processor minutes, or steps.

    Every training runs on one thread, and measures itself only briefly.
    """

    config: Path
    overrides: tuple[str, ...] = ()
    minutes: float = 10.0
    steps: int | None = None
    seed: int = 0
    accelerator: str = 'auto'

    @classmethod
    def within(cls, minutes: float, config: Path, overrides: tuple[str, ...], seed: int) -> Recipe:
        """Train on a processor, for so many minutes from the start to the written model."""
        return cls(config, overrides, _TRAINED * minutes, None, seed, 'cpu')

    @property
    def settings(self) -> TrainingConfiguration:
        """The configuration; raises ConfigurationError."""
        arguments = (*_BRIEF, *self.overrides)
        mapping = configuration.override(configuration.load(self.config), arguments)
        return configuration.read(TrainingConfiguration, mapping, str(self.config))

    @property
    def length(self) -> str:
        """How long it trains, in words."""
        return (
            f'{self.minutes:g} processor minutes' if self.steps is None else f'{self.steps} steps'
        )

    def options(self) -> list[str]:
        """Return the options for `don_kp train`."""
        length = ['--cpu-minutes', str(self.minutes)]
        if self.steps is not None:
            length = ['--steps', str(self.steps)]
        known = ['--config', str(self.config), '--seed', str(self.seed), *length]
        return [*known, f'--accelerator={self.accelerator}', *_BRIEF, *self.overrides]


@dataclass(frozen=True)
class Trained:
    """A training that was done: the model, its file, processor minutes in all, and the commit.

    before: it was done before, and only taken now.
    """

    checkpoint: Checkpoint
    file: Path
    cpu_minutes: float
    commit: str
    before: bool = False

    @property
    def card(self) -> dict[str, Any]:
        """What results tell of it."""
        return {**self.checkpoint.card, 'commit': self.commit}


@dataclass(frozen=True)
class Kept:
    """A training and its folder below `root`.

    write: writes the pictures to learn from into a new folder; backgrounds: files, besides what
    the recipe says; log: where it prints to (none: here).
    """

    root: Path
    name: str
    recipe: Recipe
    write: Callable[[Path], None]
    backgrounds: tuple[Path, ...] = ()
    log: Path | None = None

    def model(self, say: Callable[[str], None] = print) -> Trained:
        """Train, go on, or take what was trained before; raises StudyError where that fails."""
        ((_, trained),) = together([self], 1, say)
        return trained

    @cached_property
    def folder(self) -> Path:
        """The training's folder, named after all that it depends on."""
        self.root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.root, prefix='.staged-') as staged:
            self.write(Path(staged, _PICTURES))
            return self.root / f'{self.name}-{self.recipe.seed}-{self._digest(Path(staged))}'

    @property
    def trained(self) -> bool:
        """Whether it is trained."""
        return (self.folder / _MODEL).is_file()

    def prepare(self) -> IO[bytes] | None:
        """Lock the training's folder, and lay out what is trained on, unless it is trained.

        Returns the lock, for `release`; None where another study has it.
        """
        folder = self.folder
        folder.mkdir(exist_ok=True)
        lock = (folder / _LOCK).open('wb')
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return None
        if not self.trained:
            self.clear()  # of what was interrupted
            self.write(folder / _PICTURES)
            for number, path in enumerate(self.backgrounds):
                (folder / _BACKGROUNDS).mkdir(exist_ok=True)
                link = folder / _BACKGROUNDS / f'{number:03}{path.suffix}'
                link.symlink_to(path.resolve())
        return lock

    def release(self, lock: IO[bytes]) -> None:
        """Leave the training's folder to other studies."""
        if self.trained:  # nobody trains it any more
            (self.folder / _LOCK).unlink(missing_ok=True)
        lock.close()

    def start(self) -> _Process:
        """Start the training, or go on with it, in its folder."""
        folder = self.folder
        arguments = [str(folder / _PICTURES), '--output', str(folder / _MODEL)]
        arguments += self.recipe.options()
        if self.backgrounds:
            arguments += [f'--backgrounds={folder / _BACKGROUNDS}']
        return _Process(arguments, self.name, self.log)

    def finish(self, seconds: float) -> None:
        """Keep what a training took, seconds of processor time; remove what it was trained on."""
        folder = self.folder
        # An interrupted training's card knows what was used before it went on.
        used = max(
            seconds / 60, float(checkpoint.load(folder / _MODEL).card.get('cpu_minutes', 0))
        )
        record = {'cpu_minutes': used, 'commit': commit()}
        (folder / _RECORD).write_text(json.dumps(record) + '\n', encoding='utf-8')
        self.clear()

    def clear(self) -> None:
        """Remove what is trained on from the training's folder."""
        for name in (_PICTURES, _BACKGROUNDS):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def _digest(self, staged: Path) -> str:
        recipe, settings = self.recipe, self.recipe.settings
        length = ['steps', recipe.steps] if recipe.steps is not None else ['cpu', recipe.minutes]
        known_by = [recipe.seed, length, configuration.plain(settings)]
        digest = hashlib.sha256(json.dumps(known_by, sort_keys=True).encode())
        files = sorted(path for path in staged.rglob('*') if path.is_file())
        named = [(str(path.relative_to(staged)), path) for path in files]
        named += [(_BACKGROUNDS, path) for path in self.backgrounds]
        if settings.backgrounds is not None:
            named += [(path.name, path) for path in list_images(settings.backgrounds)]
        if settings.weights is not None and Path(settings.weights).is_file():
            named += [('weights', Path(settings.weights))]
        for name, path in named:
            digest.update(name.encode() + hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()[:10]


def together(
    trainings: Sequence[Kept], jobs: int, say: Callable[[str], None] = print
) -> Generator[tuple[int, Trained], None, None]:
    """Do trainings, so many at a time, and yield the place of each and its model as it ends.

    One that another study does is waited for, and then taken. Where this is interrupted, those
    that run are told to save their states, and waited for. Raises StudyError if one fails.
    """
    waiting, told = deque(enumerate(trainings)), set[int]()
    running: dict[int, tuple[IO[bytes], _Process]] = {}
    try:
        while waiting or running:
            for _ in range(len(waiting) if len(running) < jobs else 0):
                place, kept = waiting.popleft()
                named, lock = f'{kept.name}, seed {kept.recipe.seed}', kept.prepare()
                if lock is None:
                    waiting.append((place, kept))
                    if place not in told:
                        say(f'{named}: waiting for another study, which has {kept.folder}')
                        told.add(place)
                elif kept.trained:
                    kept.release(lock)
                    say(f'{named}: trained before, {kept.folder}')
                    yield place, _trained(kept.folder, before=True)
                else:
                    say(f'{named}: training, {kept.recipe.length}, {kept.folder}')
                    running[place] = lock, kept.start()
                    if len(running) == jobs:
                        break
            for place, (lock, process) in list(running.items()):
                kept = trainings[place]
                if (seconds := process.seconds(wait=False)) is not None:
                    kept.finish(seconds)
                    del running[place]
                    kept.release(lock)
                    yield place, _trained(kept.folder)
            if running or waiting:
                time.sleep(_POLL_S)
    finally:
        for place, (lock, process) in running.items():
            process.stop()
            trainings[place].release(lock)


def _trained(folder: Path, before: bool = False) -> Trained:
    model = checkpoint.load(folder / _MODEL)
    record = {'cpu_minutes': model.card.get('cpu_minutes', 0.0), 'commit': 'unknown'}
    if (folder / _RECORD).is_file():
        record = json.loads((folder / _RECORD).read_text(encoding='utf-8'))
    minutes = float(record['cpu_minutes'])
    return Trained(model, folder / _MODEL, minutes, str(record['commit']), before)


class _Process:
    """A training in a process of its own."""

    def __init__(self, arguments: Sequence[str], name: str, log: Path | None = None) -> None:
        self._name = name
        self._where = 'stands above' if log is None else f'is in {log}'
        with nullcontext() if log is None else log.open('a') as output:
            # In a session of its own it hears of Ctrl-C once, from this process.
            self._process = subprocess.Popen(
                [*_COMMAND, *arguments], stdout=output, start_new_session=True
            )

    def seconds(self, wait: bool = True) -> float | None:
        """Return its processor time, its own children's included; None while it runs.

        Raises StudyError where it failed.
        """
        pid, status, usage = os.wait4(self._process.pid, 0 if wait else os.WNOHANG)
        if pid == 0:
            return None
        self._process.returncode = os.waitstatus_to_exitcode(status)
        if self._process.returncode:
            raise StudyError(
                f'the training {self._name} ended with status {self._process.returncode}; its '
                f'message {self._where}, and the same command goes on from there'
            )
        return usage.ru_utime + usage.ru_stime

    def stop(self) -> None:
        """Tell it to save its state, and wait for its end."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait()
