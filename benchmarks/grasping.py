"""Grasps of unseen objects of every kind, judged by physics.

`python -m benchmarks.grasping`: for each kind of OBJECTS=cap,mug,can,box,bottle, TRIALS=20 trials,
beside CLUTTER=2 others of other kinds, from SEED=0. MODE=pinch: a point is shown once, the object
is moved and turned, and pinched at that point. MODE=aligned: the object is taught by one click,
and a grasp of it by numbers; moved and turned, it is held so by its name. Objects that the hand
can hardly open for are not drawn. JOBS=2 runs so many simulations at a time. MODEL=FILE takes
another checkpoint than the shipped ones, which are that of caps for caps and that of all kinds
for others.

Every trial is a line of output/bench/grasping/trials.jsonl, kept with its settings, model and
commit: a run that is interrupted goes on where it stopped. output/bench/grasping/report.html shows
every failure.
"""

from __future__ import annotations

import dataclasses
import json
import math
import multiprocessing
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.grasping_page import page_of
from benchmarks.report import OUTPUT, Target, given, report
from don_kp_ros.demo.judge import StackEndedError, UnansweredError
from don_kp_ros.demo.pictures import Pictures
from don_kp_ros.demo.results import FOUND, TURNED
from don_kp_ros.demo.session import judged, model_for
from don_kp_ros.demo.trials import Task, run_trial
from don_kp_ros.evaluation.results import commit
from don_kp_ros.networks import checkpoint
from don_kp_ros.simulation.kinds import BUILT_IN

Row = dict[str, Any]

FOLDER = OUTPUT / 'grasping'
TRIALS = FOLDER / 'trials.jsonl'
MODES = ('pinch', 'aligned')
VERDICTS = (
    'lifted', 'wrong object', 'dropped', 'missed', 'no plan', 'not found', 'not taught', 'failed',
)  # fmt: skip
_GOALS = {'pinch': 0.97, 'aligned': 0.93}  # of what is lifted; in clutter, of a pinch:
_IN_CLUTTER, _MOST_WRONG = 0.9, 0.02
_CLUTTER = 4  # others, from which on it is called so


@dataclasses.dataclass(frozen=True)
class Settings:
    """All that trials of a kind have in common, and that their results depend on."""

    kind: str
    mode: str
    clutter: int
    model: str  # fingerprint
    commit: str


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
    kind, mode, clutter, model, at, seed = json.loads(row_key)
    return FOLDER / 'pictures' / f'{at}-{model}' / f'{kind}-{mode}-{clutter}-{seed}.png'


def run(settings: Settings, model: Path, seeds: Sequence[int]) -> str:
    """Run trials in a stack of their own, and keep each; return why it ended early, or nothing."""
    logs = FOLDER / 'logs' / f'{settings.kind}-{seeds[0]}'
    task = Task(settings.kind, settings.mode, settings.clutter)
    try:
        with judged(model, logs) as judge:
            for seed in seeds:
                name = key(settings, seed)
                picture = picture_of(name)
                picture.parent.mkdir(parents=True, exist_ok=True)
                pictures = Pictures(judge, picture, animated=False)
                trial = run_trial(judge, task, seed, pictures, lambda *_: None)
                keep(TRIALS, {'key': name, **trial.plain()})
    except (StackEndedError, UnansweredError) as error:
        return f'{settings.kind}: {error}; logs: {logs}'
    return ''


def _run(job: tuple[Settings, Path, Sequence[int]]) -> str:
    return run(*job)


def told(row: Row) -> Row:
    """Return what came of a trial's only goal; where none was sent, why not."""
    attempt: Row | None = row['pinch'] or row['aligned']
    if attempt is not None:
        return attempt
    nothing = dict.fromkeys(('lift', 'error', 'turn', 'grasp'))
    return {'verdict': 'not taught', 'message': row['failure'], 'steps': [], **nothing}


def summary(kind: str, mode: str, rows: Sequence[Row]) -> Row:
    """Make the figures of trials."""
    attempts = [told(row) for row in rows]
    errors = [1000 * one['error'] for one in attempts if one['error'] is not None]
    figures: Row = {'kind': kind, 'trials': len(rows)}
    for verdict in VERDICTS:
        figures[verdict] = sum(one['verdict'] == verdict for one in attempts)
    figures['median mm'] = _median(errors)
    figures['within 10 mm'] = sum(error <= 1000 * FOUND for error in errors)
    if mode == 'aligned':
        turns = [math.degrees(one['turn']) for one in attempts if one['turn'] is not None]
        figures['median deg'] = _median(turns)
        figures['within 8 deg'] = sum(turn <= math.degrees(TURNED) for turn in turns)
    figures['s, simulated'] = _median([_seconds(one, 'simulated') for one in attempts])
    figures['s, real'] = _median([_seconds(one, 'real') for one in attempts])
    return figures


def phases(rows: Sequence[Row]) -> list[Row]:
    """Make the median seconds of each phase, of the trials that came to it."""
    seconds: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        for step in told(row)['steps']:
            seconds.setdefault(step['phase'], []).append((step['simulated'], step['real']))
    return [
        {'phase': phase, 'times': len(own), 's, simulated': _median([s for s, _ in own]),
         's, real': _median([s for _, s in own])}
        for phase, own in seconds.items()
    ]  # fmt: skip


def targets(mode: str, clutter: int, table: Sequence[Row]) -> list[Target]:
    """Return what all kinds together must reach."""
    n = sum(row['trials'] for row in table)
    lifted, wrong = (sum(row[name] for row in table) / n for name in ('lifted', 'wrong object'))
    crowded = mode == 'pinch' and clutter >= _CLUTTER
    goal = _IN_CLUTTER if crowded else _GOALS[mode]
    return [
        Target('share lifted', lifted, goal, at_least=True),
        Target('share of wrong objects', wrong, _MOST_WRONG),
    ]


def _seconds(attempt: Row, name: str) -> float:
    return float(sum(step[name] for step in attempt['steps']))


def _median(values: Sequence[float]) -> float | str:
    return round(float(np.median(values)), 2) if len(values) else ''


def main() -> int:
    """Measure, print, write; 1 where a target is missed, 2 where an argument is wrong."""
    variables = given('TRIALS', 'OBJECTS', 'CLUTTER', 'MODE', 'JOBS', 'SEED', 'MODEL')
    mode = variables.get('MODE', 'pinch')
    kinds = variables.get('OBJECTS', 'cap,mug,can,box,bottle').split(',')
    for name, values, allowed in (('MODE', [mode], MODES), ('OBJECTS', kinds, list(BUILT_IN))):
        if unknown := [value for value in values if value not in allowed]:
            print(f'{name} has {unknown[0]}; it must be of {", ".join(allowed)}', file=sys.stderr)
            return 2
    count, clutter, jobs, seed = (
        int(variables.get(name, usual))
        for name, usual in (('TRIALS', '20'), ('CLUTTER', '2'), ('JOBS', '2'), ('SEED', '0'))
    )
    seeds = [1000 * seed + i for i in range(count)]
    at, done, work, wanted = commit(), kept(TRIALS), [], {}
    for kind in kinds:
        model = Path(variables['MODEL']) if 'MODEL' in variables else model_for(kind)
        settings = Settings(kind, mode, clutter, checkpoint.load(model).fingerprint, at)
        wanted[kind] = [key(settings, one) for one in seeds]
        missing = [one for one in seeds if key(settings, one) not in done]
        work += [(settings, model, part) for i in range(jobs) if (part := missing[i::jobs])]
    with multiprocessing.get_context('spawn').Pool(jobs, maxtasksperchild=1) as pool:
        for failure in tqdm(pool.imap_unordered(_run, work), 'parts', len(work)):
            if failure:
                print(failure, file=sys.stderr)
    done = kept(TRIALS)
    rows = {kind: [done[one] for one in wanted[kind] if one in done] for kind in kinds}
    if not any(rows.values()):
        print(f'no trial came to an end; see {FOLDER / "logs"}', file=sys.stderr)
        return 1
    table = [summary(kind, mode, own) for kind, own in rows.items() if own]
    title = f'{mode} among {clutter} others, {count} trials of each kind, seed {seed}'
    every = [row for own in rows.values() for row in own]
    page = page_of(
        title, table, phases(every), [(row, told(row), picture_of(row['key'])) for row in every]
    )
    (FOLDER / 'report.html').write_text(page, encoding='utf-8')
    print(f'Failures are shown in {FOLDER / "report.html"}')
    met = report(
        'grasping',
        title,
        table,
        targets(mode, clutter, table),
        seed=seed,
        details={'phases': phases(every), 'trials': every},
        variables=variables,
        variant=f'{mode}-{clutter}',
    )
    return 0 if met and len(every) == count * len(kinds) else 1


if __name__ == '__main__':
    sys.exit(main())
