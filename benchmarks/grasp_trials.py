"""Judged grasp trials of some settings, with a picture of each."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import kept_trials
from benchmarks.kept_trials import Row, key
from benchmarks.report import COMMIT, OUTPUT
from don_kp_ros.bringup.processes import NodeParameters
from don_kp_ros.demo.judge import Judge
from don_kp_ros.demo.pictures import Pictures
from don_kp_ros.demo.trials import Task, run_trial
from don_kp_ros.networks import checkpoint
from don_kp_ros.resources import shipped_model

FOLDER = OUTPUT / 'grasping'
TRIALS = FOLDER / 'trials.jsonl'


@dataclass(frozen=True)
class Settings:
    """All that trials of a kind have in common, and that their results depend on."""

    kind: str
    mode: str
    clutter: int
    model: str  # fingerprint
    commit: str
    aim: str = 'point'  # of a pinch
    push: float = 0.0  # metres, once the object was found
    parameters: NodeParameters = field(default_factory=dict)  # of the stack's nodes
    disturbances: Mapping[str, float] = field(default_factory=dict)  # once all is taught

    @property
    def task(self) -> Task:
        """What is to be tried."""
        return Task(
            self.kind,
            self.mode,
            self.clutter,
            aim=self.aim,
            push=self.push,
            disturbances=self.disturbances,
        )

    @property
    def name(self) -> str:
        """A name for files, other for other settings of one model and commit."""
        special = [self.aim, self.push, self.parameters, self.disturbances]
        plain = f'{self.kind}-{self.mode}-{self.clutter}'
        if special == ['point', 0.0, {}, {}]:
            return plain
        return f'{plain}-{self.aim}-{zlib.crc32(json.dumps(special).encode()):08x}'


def settings_for(
    kind: str, mode: str, clutter: int, model: str | None, **more: Any
) -> tuple[Settings, Path]:
    """Return settings of the present commit and the checkpoint: of a path, or the shipped one."""
    path = shipped_model() if model is None else Path(model)
    fingerprint = checkpoint.load(path).fingerprint
    return Settings(kind, mode, clutter, fingerprint, COMMIT, **more), path


def picture_of(row_key: str) -> Path:
    """Return the path of a trial's picture."""
    *values, seed = json.loads(row_key)
    settings = Settings(*values)
    folder = FOLDER / 'pictures' / f'{settings.commit}-{settings.model}'
    return folder / f'{settings.name}-{seed}.png'


def failed(settings: Settings, seed: int, why: str) -> Row:
    """Make the row of a trial that came to no end."""
    nothing = dict.fromkeys(('lift', 'error', 'turn', 'grasp'))
    told: Row = {'verdict': 'failed', 'message': why, 'steps': [], **nothing}
    row: Row = {'seed': seed, 'kind': settings.kind, 'instance': '', 'passed': False}
    return {**row, 'failure': why, 'pinch': None, 'aligned': None, settings.mode: told}


def _run(job: tuple[Settings, Path, Sequence[int]]) -> str:
    settings, model, seeds = job

    def trial(judge: Judge, seed: int) -> Row:
        picture = picture_of(key(settings, seed))
        picture.parent.mkdir(parents=True, exist_ok=True)
        pictures = Pictures(judge, picture, animated=False)
        return run_trial(judge, settings.task, seed, pictures, lambda *_: None).plain()

    return kept_trials.run(TRIALS, settings, model, seeds, trial, failed)


def measured(
    wanted: Iterable[tuple[Settings, Path]], seeds: Sequence[int], parts: int, jobs: int
) -> list[list[Row]]:
    """Run the trials that are missing, and return those of each of the wanted settings.

    parts: stacks that share the trials of one of the settings; jobs: stacks at a time.
    """
    return kept_trials.measured(TRIALS, wanted, seeds, parts, jobs, _run)
