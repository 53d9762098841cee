"""Judged grasp trials, each kept as it is done: what is interrupted goes on where it stopped."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import sys
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmarks.report import OUTPUT
from don_kp_ros.bringup.processes import NodeParameters
from don_kp_ros.demo.judge import StackEndedError, UnansweredError
from don_kp_ros.demo.pictures import Pictures
from don_kp_ros.demo.session import judged, model_for
from don_kp_ros.demo.trials import Task, run_trial
from don_kp_ros.evaluation.results import commit
from don_kp_ros.networks import checkpoint

Row = dict[str, Any]

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
    """Return settings of the present commit and their checkpoint: the kind's, or one's path."""
    path = model_for(kind) if model is None else Path(model)
    fingerprint = checkpoint.load(path).fingerprint
    return Settings(kind, mode, clutter, fingerprint, commit(), **more), path


def key(settings: Settings, seed: int) -> str:
    """Name a trial by its settings and seed."""
    return json.dumps([*dataclasses.astuple(settings), seed])


def kept(path: Path) -> dict[str, Row]:
    """Read the trials of a file by their keys; a line that a kill cut off is left out."""
    rows = {}
    lines = path.read_text(encoding='utf-8').splitlines() if path.is_file() else []
    for line in lines:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        rows[row['key']] = row
    return rows


def keep(path: Path, row: Row) -> None:
    """Add a line to a file, whole, whoever else does so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('ab', buffering=0) as file:
        # Begun anew: what a kill cut off must not spoil this one, too.
        file.write(b'\n' + json.dumps(row, allow_nan=False).encode() + b'\n')


def picture_of(row_key: str) -> Path:
    """Return the path of a trial's picture."""
    *values, seed = json.loads(row_key)
    settings = Settings(*values)
    folder = FOLDER / 'pictures' / f'{settings.commit}-{settings.model}'
    return folder / f'{settings.name}-{seed}.png'


def run(settings: Settings, model: Path, seeds: Sequence[int]) -> str:
    """Run trials in a stack of their own, and keep each; return why it ended early, or nothing."""
    logs = FOLDER / 'logs' / f'{settings.name}-{seeds[0]}'
    try:
        with judged(model, logs, parameters=settings.parameters) as judge:
            for seed in seeds:
                name = key(settings, seed)
                picture = picture_of(name)
                picture.parent.mkdir(parents=True, exist_ok=True)
                pictures = Pictures(judge, picture, animated=False)
                trial = run_trial(judge, settings.task, seed, pictures, lambda *_: None)
                keep(TRIALS, {'key': name, **trial.plain()})
    except (StackEndedError, UnansweredError) as error:
        return f'{settings.name}: {error}; logs: {logs}'
    return ''


def _run(job: tuple[Settings, Path, Sequence[int]]) -> str:
    return run(*job)


def measured(
    wanted: Iterable[tuple[Settings, Path]], seeds: Sequence[int], parts: int, jobs: int
) -> list[list[Row]]:
    """Run the trials that are missing, and return those of each of the wanted settings.

    parts: stacks that share the trials of one of the settings; jobs: stacks at a time. What ends
    early is told on standard error.
    """
    wanted, begun, work = list(wanted), set(kept(TRIALS)), []
    for settings, model in wanted:
        missing = [seed for seed in seeds if key(settings, seed) not in begun]
        begun |= {key(settings, seed) for seed in missing}
        work += [(settings, model, part) for i in range(parts) if (part := missing[i::parts])]
    with multiprocessing.get_context('spawn').Pool(jobs, maxtasksperchild=1) as pool:
        for failure in tqdm(pool.imap_unordered(_run, work), 'parts', len(work)):
            if failure:
                print(failure, file=sys.stderr)
    done = kept(TRIALS)
    return [
        [done[name] for seed in seeds if (name := key(settings, seed)) in done]
        for settings, _ in wanted
    ]
