"""How grasps of unseen objects suffer where senses are worse, and where the object is pushed.

`python -m benchmarks.perturbations`: each disturbance of ONLY=push,light,... (all of them) at each
of its levels, TRIALS=10 trials of each of KIND=cap, beside CLUTTER=0 others, from SEED=0,
MODE=pinch or aligned. STRONGEST=1 takes only the strongest level of each, and none at all.
Undisturbed the object is taught; then the disturbance sets in, and it is moved, turned, found and
grasped. A camera that is mounted off is so some other way in each trial. What is pushed is shifted
at once when it was found, while the grasp is planned. JOBS=2 runs so many simulations at a time,
one for each level; MODEL=FILE takes another checkpoint.

Trials are kept as benchmarks.grasping keeps its own, and both take what is there. The table goes
to output/bench/perturbations.json; output/bench/perturbations/ has the curves, and a page with the
failures.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.grasp_trials import measured, picture_of, settings_for
from benchmarks.grasping import MODES, phases, summary, told
from benchmarks.grasping_page import page_of
from benchmarks.report import OUTPUT, given, report
from don_kp_ros.evaluation.drawings import Panel, plot_shares
from don_kp_ros.simulation.kinds import BUILT_IN

Row = dict[str, Any]

FOLDER = OUTPUT / 'perturbations'


@dataclass(frozen=True)
class Disturbance:
    """Levels of a parameter of the simulation, or of the push; one of them is usual."""

    label: str  # what is plotted, with its unit
    levels: tuple[float, ...]
    unit: float = 1.0  # that the levels are in, of SI
    usual: float = 0.0

    def settings(self, name: str, level: float) -> dict[str, Any]:
        """Return what makes it so strong, as fields of Settings."""
        if level == self.usual:
            return {}
        value = round(level * self.unit, 9)
        return {'push': value} if name == 'push' else {'disturbances': {name: value}}


_MM, _DEGREE = 1e-3, float(np.deg2rad(1.0))
DISTURBANCES = {
    'depth_noise': Disturbance("depth noise, times a D435's", (1, 2, 4, 8), usual=1.0),
    'depth_holes': Disturbance('holes in depth, %', (0, 10, 20, 30), 0.01),
    'hand_eye_shift': Disturbance('camera shifted, mm', (0, 2.5, 5, 10), _MM),
    'hand_eye_turn': Disturbance('camera turned, degrees', (0, 1, 2, 3), _DEGREE),
    'light': Disturbance('light, times', (0.25, 0.5, 1, 2, 4), usual=1.0),
    'colour_cast': Disturbance('colour cast, %', (-40, -20, 0, 20, 40), 0.01),
    'camera_hz': Disturbance('pictures a second', (5, 10, 20, 30), usual=5.0),
    'joint_noise': Disturbance('joint noise, mrad', (0, 1, 2, 5), 1e-3),
    'push': Disturbance('pushed once found, mm', (0, 10, 30, 60), _MM),
}


def cases(names: Sequence[str], strongest: bool) -> list[tuple[str, float]]:
    """Return the levels of disturbances; strongest: that which is farthest from the usual."""
    chosen = []
    for name in names:
        one = DISTURBANCES[name]
        levels = one.levels
        if strongest:
            levels = (one.usual, max(levels, key=lambda level: abs(level - one.usual)))
        chosen += [(name, level) for level in levels]
    return chosen


def line(name: str, level: float, kind: str, mode: str, rows: Sequence[Row]) -> Row:
    """Make the figures of a level."""
    return {'disturbance': name, 'level': level, **summary(kind, mode, rows)}


def panels(table: Sequence[Row], mode: str) -> list[Panel]:
    """Make the curves of each disturbance: shares of the trials, of all kinds together."""
    where = 'within 8 mm' if mode == 'pinch' else 'within 8 deg'
    made = []
    for name in dict.fromkeys(row['disturbance'] for row in table):
        own = [row for row in table if row['disturbance'] == name]
        levels = sorted({row['level'] for row in own})
        shares = {
            figure: [
                sum(row[figure] for row in own if row['level'] == level)
                / sum(row['trials'] for row in own if row['level'] == level)
                for level in levels
            ]
            for figure in ('lifted', where)
        }
        made.append(Panel(DISTURBANCES[name].label, levels, shares))
    return made


def main() -> int:
    """Measure, print, write; 1 where a trial is missing, 2 where an argument is wrong."""
    variables = given(
        'ONLY', 'STRONGEST', 'TRIALS', 'KIND', 'CLUTTER', 'MODE', 'JOBS', 'SEED', 'MODEL'
    )
    names = variables.get('ONLY', ','.join(DISTURBANCES)).split(',')
    kinds = variables.get('KIND', 'cap').split(',')
    mode = variables.get('MODE', 'pinch')
    for variable, values, allowed in (
        ('ONLY', names, list(DISTURBANCES)),
        ('KIND', kinds, list(BUILT_IN)),
        ('MODE', [mode], list(MODES)),
        ('STRONGEST', [variables.get('STRONGEST', '0')], ['0', '1']),
    ):
        if unknown := [value for value in values if value not in allowed]:
            print(
                f'{variable} has {unknown[0]}; it must be of {", ".join(allowed)}', file=sys.stderr
            )
            return 2
    count, clutter, jobs, seed = (
        int(variables.get(name, usual))
        for name, usual in (('TRIALS', '10'), ('CLUTTER', '0'), ('JOBS', '2'), ('SEED', '0'))
    )
    strongest = variables.get('STRONGEST') == '1'
    chosen = [(kind, *case) for kind in kinds for case in cases(names, strongest)]
    wanted = [
        settings_for(
            kind,
            mode,
            clutter,
            variables.get('MODEL'),
            **DISTURBANCES[name].settings(name, level),
        )
        for kind, name, level in chosen
    ]
    trials = measured(wanted, [1000 * seed + i for i in range(count)], 1, jobs)
    table = [
        line(name, level, kind, mode, rows)
        for (kind, name, level), rows in zip(chosen, trials, strict=True)
        if rows
    ]
    every = list({row['key']: row for rows in trials for row in rows}.values())
    if not every:
        print('no trial came to an end', file=sys.stderr)
        return 1
    title = f'{mode} of {", ".join(kinds)} where senses are worse, {count} trials of each level'
    curves = plot_shares(panels(table, mode))
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / 'curves.svg').write_text(curves, encoding='utf-8')
    shown = [(row, told(row), picture_of(row['key'])) for row in every]
    page = page_of(title, table, phases(every), shown, curves)
    (FOLDER / 'report.html').write_text(page, encoding='utf-8')
    print(f'Curves and failures are shown in {FOLDER / "report.html"}')
    report(
        'perturbations',
        title,
        table,
        seed=seed,
        details={'trials': every},
        variables=variables,
        variant='' if mode == 'pinch' else mode,
    )
    return 0 if all(len(rows) == count for rows in trials) else 1


if __name__ == '__main__':
    sys.exit(main())
