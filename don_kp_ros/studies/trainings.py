"""Trainings that are done once: kept, and continued after an interruption.

A training is identified by its pictures, configuration, seed and length. A change of any of them
makes another training. Remove its folder to train again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from don_kp_ros import configuration
from don_kp_ros.data.folder import list_images
from don_kp_ros.networks import checkpoint
from don_kp_ros.networks.checkpoint import Checkpoint
from don_kp_ros.training.settings import TrainingConfiguration

_COMMAND = (sys.executable, '-m', 'don_kp_ros.training.command')
_PICTURES, _MODEL = 'pictures', 'model.safetensors'
_BRIEF = ('--threads=1', '--validation.times=1', '--validation.final_pairs=10')


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

    @property
    def settings(self) -> TrainingConfiguration:
        """The configuration; raises ConfigurationError."""
        arguments = (*_BRIEF, *self.overrides)
        mapping = configuration.override(configuration.load(self.config), arguments)
        return configuration.read(TrainingConfiguration, mapping, str(self.config))

    def options(self) -> list[str]:
        """Return the options for `don_kp train`."""
        length = ['--cpu-minutes', str(self.minutes)]
        if self.steps is not None:
            length = ['--steps', str(self.steps)]
        known = ['--config', str(self.config), '--seed', str(self.seed), *length]
        return [*known, *_BRIEF, *self.overrides]


@dataclass(frozen=True)
class Kept:
    """A training and its folder below `root`.

    write: writes the pictures to learn from into a new folder.
    """

    root: Path
    name: str
    recipe: Recipe
    write: Callable[[Path], None]

    def model(self, say: Callable[[str], None] = print) -> tuple[Checkpoint, Path]:
        """Train, go on, or take what was trained before; return the model and its file.

        Raises StudyError where the training fails.
        """
        settings = self.recipe.settings
        # The training goes on only with pictures of the same place.
        staged = self.root / f'{self.name}-{self.recipe.seed}.{_PICTURES}'
        self.write(staged)
        folder = self.root / f'{self.name}-{self.recipe.seed}-{self._digest(staged, settings)}'
        output = folder / _MODEL
        if output.is_file():
            say(f'{self.name}, seed {self.recipe.seed}: trained before, {folder}')
        else:
            length = f'{self.recipe.minutes:g} processor minutes'
            if self.recipe.steps is not None:
                length = f'{self.recipe.steps} steps'
            say(f'{self.name}, seed {self.recipe.seed}: training, {length}, {folder}')
            folder.mkdir(parents=True, exist_ok=True)
            _run([str(staged), '--output', str(output), *self.recipe.options()], self.name)
        shutil.rmtree(staged)
        return checkpoint.load(output), output

    def _digest(self, pictures: Path, settings: TrainingConfiguration) -> str:
        recipe = self.recipe
        length = ['steps', recipe.steps] if recipe.steps is not None else ['cpu', recipe.minutes]
        known_by = [recipe.seed, length, configuration.plain(settings)]
        digest = hashlib.sha256(json.dumps(known_by, sort_keys=True).encode())
        files = sorted(path for path in pictures.rglob('*') if path.is_file())
        names = [str(path.relative_to(pictures)) for path in files]
        if settings.backgrounds is not None:
            backgrounds = list_images(settings.backgrounds)
            files += backgrounds
            names += [path.name for path in backgrounds]
        if settings.weights is not None and Path(settings.weights).is_file():
            files.append(Path(settings.weights))
            names.append('weights')
        for name, path in zip(names, files, strict=True):
            digest.update(name.encode() + hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()[:10]


def _run(arguments: list[str], name: str) -> None:
    """Train in a process of its own, which is told to save its state where this one must end."""
    process = subprocess.Popen([*_COMMAND, *arguments], start_new_session=True)
    try:
        status = process.wait()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        process.wait()
        raise
    if status != 0:
        raise StudyError(
            f'the training {name} ended with status {status}; its message stands above, and the '
            'same command goes on from there'
        )
