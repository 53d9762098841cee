"""Judged trials, each kept as it is done: what is interrupted goes on where it stopped."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from tqdm import tqdm

from don_kp_ros.bringup.processes import NodeParameters
from don_kp_ros.demo.judge import Judge, StackEndedError, UnansweredError
from don_kp_ros.demo.session import judged

Row = dict[str, Any]


class Settings(Protocol):
    """A dataclass of all that trials have in common, and that their results depend on."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    @property
    def name(self) -> str:
        """A name for files, other for other settings of one model and commit."""

    @property
    def parameters(self) -> NodeParameters:
        """Parameters of the stack's nodes."""


S = TypeVar('S', bound=Settings)


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


def run(
    file: Path,
    settings: S,
    model: Path,
    seeds: Sequence[int],
    trial: Callable[[Judge, int], Row],
    failed: Callable[[S, int, str], Row],
) -> str:
    """Run trials in a stack of their own, and keep each; return what ended early and why.

    What ends its stack, or gets no answer, is kept as ``failed`` makes it of the seed and the
    reason, and the rest are run in another stack.
    """
    left, ended = list(seeds), []
    while left:
        logs, running = file.parent / 'logs' / f'{settings.name}-{left[0]}', False
        try:
            with judged(model, logs, parameters=settings.parameters) as judge:
                running = True
                while left:
                    keep(file, {'key': key(settings, left[0]), **trial(judge, left[0])})
                    del left[0]
        except (StackEndedError, UnansweredError) as error:
            ended.append(f'{settings.name}, seed {left[0]}: {error}; logs: {logs}')
            if not running:
                break
            seed = left.pop(0)
            keep(file, {'key': key(settings, seed), **failed(settings, seed, str(error))})
    return '\n'.join(ended)


def measured(
    file: Path,
    wanted: Iterable[tuple[S, Path]],
    seeds: Sequence[int],
    parts: int,
    jobs: int,
    run_part: Callable[[tuple[S, Path, Sequence[int]]], str],
) -> list[list[Row]]:
    """Run the trials that are missing in a file; return those of each of the wanted settings.

    wanted: with their checkpoints; parts: stacks that share the trials of one of the settings;
    jobs: stacks at a time. ``run_part``, of a module, runs and keeps some trials as `run` does;
    what it says ended early is told on standard error.
    """
    wanted, begun, work = list(wanted), set(kept(file)), []
    for settings, model in wanted:
        missing = [seed for seed in seeds if key(settings, seed) not in begun]
        begun |= {key(settings, seed) for seed in missing}
        work += [(settings, model, part) for i in range(parts) if (part := missing[i::parts])]
    if work:
        with multiprocessing.get_context('spawn').Pool(jobs, maxtasksperchild=1) as pool:
            for failure in tqdm(pool.imap_unordered(run_part, work), 'parts', len(work)):
                if failure:
                    print(failure, file=sys.stderr)
    done = kept(file)
    return [
        [done[name] for seed in seeds if (name := key(settings, seed)) in done]
        for settings, _ in wanted
    ]
