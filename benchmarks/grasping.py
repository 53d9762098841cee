"""Grasps of unseen objects of every kind, judged by physics.

`python -m benchmarks.grasping`: for each kind of OBJECTS=cap,mug,can,box,bottle, TRIALS=20 trials,
beside CLUTTER=2 others of other kinds, from SEED=0. MODE=pinch: a point is shown once, the object
is moved and turned, and pinched at that point. MODE=aligned: the object is taught by one click,
and a grasp of it by numbers; moved and turned, it is held so by its name. Objects that the hand
can hardly open for are not drawn. JOBS=2 runs so many simulations at a time. MODEL=FILE takes
another checkpoint than the shipped one.

WAYS=point,centroid,random,preferred,single_look puts others beside pinches of the point: of the
middle of the object's surface in view, of any point of it (both by the simulation's own word of
where that is), of the place that is preferred (`cap/*`), and without a second look. How far from
the point the hand goes is measured for all of them; the goals are for `point` alone. What the map
of preferences is worth is measured by benchmarks.preference.

Every trial is a line of output/bench/grasping/trials.jsonl, kept with its settings, model and
commit: a run that is interrupted goes on where it stopped. output/bench/grasping/report.html shows
every failure.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.grasp_trials import FOLDER, measured, picture_of, settings_for
from benchmarks.grasping_page import page_of
from benchmarks.report import Target, given, report
from don_kp_ros.bringup.processes import NodeParameters
from don_kp_ros.demo.results import FOUND, TURNED
from don_kp_ros.simulation.kinds import BUILT_IN

Row = dict[str, Any]

MODES = ('pinch', 'aligned')
VERDICTS = (
    'lifted', 'wrong object', 'dropped', 'missed', 'no plan', 'not found', 'not taught', 'failed',
)  # fmt: skip
_GOALS = {'pinch': 0.97, 'aligned': 0.93}  # of what is lifted, and of where; in clutter:
_IN_CLUTTER, _MOST_WRONG = 0.9, 0.02
_CLUTTER = 4  # others, from which on it is called so
NEAR = 0.008  # metres from the point


@dataclass(frozen=True)
class Way:
    """A way to grasp; those besides `point` are there to be compared with it."""

    aim: str = 'point'
    parameters: NodeParameters = field(default_factory=dict)


WAYS = {
    'point': Way(),
    'centroid': Way('centroid'),
    'random': Way('random'),
    'preferred': Way('preferred'),
    'single_look': Way(parameters={'grasp': {'views': 1}}),
}


def told(row: Row) -> Row:
    """Return what came of a trial's only goal; where none was sent, why not."""
    attempt: Row | None = row['pinch'] or row['aligned']
    if attempt is not None:
        return attempt
    nothing = dict.fromkeys(('lift', 'error', 'turn', 'grasp'))
    return {'verdict': 'not taught', 'message': row['failure'], 'steps': [], **nothing}


def summary(kind: str, mode: str, rows: Sequence[Row], way: str = 'point') -> Row:
    """Make the figures of trials."""
    attempts = [told(row) for row in rows]
    # Of what was found: a refused find has a place, too.
    found = [one for one in attempts if one['verdict'] != 'not found']
    errors = [1000 * one['error'] for one in found if one['error'] is not None]
    figures: Row = {'kind': kind, 'way': way, 'trials': len(rows)}
    for verdict in VERDICTS:
        figures[verdict] = sum(one['verdict'] == verdict for one in attempts)
    figures['median mm'] = _median(errors)
    figures['within 8 mm'] = sum(error <= 1000 * NEAR for error in errors)
    figures['within 10 mm'] = sum(error <= 1000 * FOUND for error in errors)
    if mode == 'aligned':
        turns = [math.degrees(one['turn']) for one in attempts if one['turn'] is not None]
        figures['median deg'] = _median(turns)
        figures['within 8 deg'] = sum(turn <= math.degrees(TURNED) for turn in turns)
    figures['s, simulated'] = _median([_seconds(one, 'simulated') for one in attempts])
    figures['s, real'] = _median([_seconds(one, 'real') for one in attempts])
    return figures


def judged_by(way: str, row: Row) -> Row:
    """Return a trial as one that passed if it need not be at the point and was lifted."""
    if WAYS[way].aim == 'point':
        return row
    return {**row, 'passed': told(row)['verdict'] == 'lifted'}


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
    """Return what all kinds together must reach: the rows of a table of the way `point`."""

    def share(name: str) -> float:
        return float(sum(row[name] for row in table) / sum(row['trials'] for row in table))

    crowded = mode == 'pinch' and clutter >= _CLUTTER
    goal = _IN_CLUTTER if crowded else _GOALS[mode]
    goals = [
        Target('share lifted', share('lifted'), goal, at_least=True),
        Target('share of wrong objects', share('wrong object'), _MOST_WRONG),
    ]
    where = 'within 8 mm' if mode == 'pinch' else 'within 8 deg'
    if not crowded:
        goals.append(Target(f'share {where}', share(where), goal, at_least=True))
    return goals


def _seconds(attempt: Row, name: str) -> float:
    return float(sum(step[name] for step in attempt['steps']))


def _median(values: Sequence[float]) -> float | str:
    return round(float(np.median(values)), 2) if len(values) else ''


def main() -> int:
    """Measure, print, write; 1 where a target is missed, 2 where an argument is wrong."""
    variables = given('TRIALS', 'OBJECTS', 'CLUTTER', 'MODE', 'WAYS', 'JOBS', 'SEED', 'MODEL')
    mode = variables.get('MODE', 'pinch')
    kinds = variables.get('OBJECTS', 'cap,mug,can,box,bottle').split(',')
    ways = variables.get('WAYS', 'point').split(',')
    allowed_ways = list(WAYS) if mode == 'pinch' else ['point', 'single_look']
    for name, values, allowed in (
        ('MODE', [mode], MODES),
        ('OBJECTS', kinds, list(BUILT_IN)),
        ('WAYS', ways, allowed_ways),
    ):
        if unknown := [value for value in values if value not in allowed]:
            print(f'{name} has {unknown[0]}; it must be of {", ".join(allowed)}', file=sys.stderr)
            return 2
    count, clutter, jobs, seed = (
        int(variables.get(name, usual))
        for name, usual in (('TRIALS', '20'), ('CLUTTER', '2'), ('JOBS', '2'), ('SEED', '0'))
    )
    cases = [(kind, way) for way in ways for kind in kinds]
    wanted = [
        settings_for(
            kind,
            mode,
            clutter,
            variables.get('MODEL'),
            aim=WAYS[way].aim,
            parameters=WAYS[way].parameters,
        )
        for kind, way in cases
    ]
    trials = measured(wanted, [1000 * seed + i for i in range(count)], jobs, jobs)
    every = [row for own in trials for row in own]
    if not every:
        print(f'no trial came to an end; see {FOLDER / "logs"}', file=sys.stderr)
        return 1
    table = [
        summary(kind, mode, own, way)
        for (kind, way), own in zip(cases, trials, strict=True)
        if own
    ]
    title = f'{mode} among {clutter} others, {count} trials of each kind, seed {seed}'
    first = [
        row for (_, way), own in zip(cases, trials, strict=True) for row in own if way == ways[0]
    ]
    shown = [
        (judged_by(way, row), told(row), picture_of(row['key']))
        for (_, way), own in zip(cases, trials, strict=True)
        for row in own
    ]
    page = page_of(title, table, phases(first), shown)
    (FOLDER / 'report.html').write_text(page, encoding='utf-8')
    print(f'Failures are shown in {FOLDER / "report.html"}')
    own_table = [row for row in table if row['way'] == 'point']
    met = report(
        'grasping',
        title,
        table,
        targets(mode, clutter, own_table) if own_table else [],
        seed=seed,
        details={'phases': phases(first), 'trials': every},
        variables=variables,
        variant='-'.join([mode, str(clutter), *([] if ways == ['point'] else ways)]),
    )
    return 0 if met and len(every) == count * len(cases) else 1


if __name__ == '__main__':
    sys.exit(main())
