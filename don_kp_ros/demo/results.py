"""What came of grasp trials: told in a sentence, in a table and as JSON."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from don_kp_ros.demo.attempt import LIFTED, Attempt
from don_kp_ros.outputs import replacing, without_nan

FOUND = 0.010  # metres that count as found
TURNED = math.radians(8)  # of the finger axis from the taught one, at most
STILL = 0.01  # radians by which no joint may move where there is nothing to grasp
REQUIRED_SHARE = 0.9


def is_pinched(told: Attempt) -> bool:
    """Tell whether physics says that the object was lifted, at the point where it is."""
    return told.verdict == 'lifted' and told.error <= FOUND


def is_held(told: Attempt) -> bool:
    """Tell whether physics says that the object was lifted, and held as was taught."""
    return told.verdict == 'lifted' and told.turn <= TURNED


@dataclass(frozen=True)
class Trial:
    """What came of one trial; seconds are of this machine."""

    seed: int
    kind: str
    instance: int
    present: bool
    seconds: float
    pinch: Attempt | None  # not tried where only the other is, or where nothing answered
    aligned: Attempt | None  # not tried where there was nothing to teach
    failure: str = ''  # what did not answer, which ended the trial

    @property
    def passed(self) -> bool:
        """Whether all went as it should: without an object, nothing found and nothing moved."""
        told = [one for one in (self.pinch, self.aligned) if one is not None]
        if self.failure or not told:
            return False
        if not self.present:
            return all(one.outcome == 'not found' and one.motion <= STILL for one in told)
        pinched = self.pinch is None or is_pinched(self.pinch)
        return pinched and (self.aligned is None or is_held(self.aligned))

    def plain(self) -> dict[str, Any]:
        """Return it as JSON can hold it: null for NaN."""
        row = {**asdict(self), 'passed': self.passed}
        for name, told in (('pinch', self.pinch), ('aligned', self.aligned)):
            if told is not None:
                row[name]['verdict'] = told.verdict
        plain: dict[str, Any] = without_nan(row)
        return plain


def sentence(trial: Trial) -> str:
    """Say what came of a trial."""
    if trial.failure:
        return f'NOT ended: {trial.failure}'
    lines = []
    for told, how in ((trial.pinch, 'pinched'), (trial.aligned, 'held as taught')):
        if told is None:
            continue
        if not trial.present:
            verdict = 'nothing to grasp, and the arm stayed' if trial.passed else 'WRONG'
            lines.append(f'{verdict}: {told.outcome}, the arm moved {told.motion:.3f} rad')
        elif told.verdict != 'lifted':
            lines.append(f'{trial.kind} NOT {how} ({told.verdict}: {told.message})')
        else:
            line = f'{trial.kind} {how} and lifted by {100 * told.lift:.1f} cm, '
            line += f'found {1000 * told.error:.1f} mm from the true place'
            if math.isfinite(told.turn):
                line += f', fingers turned by {math.degrees(told.turn):.1f} degrees'
            lines.append(line)
    return '\n'.join(lines)


def write(trials: Sequence[Trial], folder: Path) -> None:
    """Write the numbers of the trials so far as grasp.json, all or nothing."""
    with replacing(folder / 'grasp.json') as partial:
        partial.write_text(json.dumps([trial.plain() for trial in trials], indent=1))


def report(trials: Sequence[Trial], options: argparse.Namespace, console: Console) -> bool:
    """Print the table, and tell whether enough trials passed."""
    if options.trials == 1:
        console.print(f'pictures: {options.output}/grasp.png, {options.output}/grasp.gif')
        console.print(sentence(trials[0]) if trials else 'the trial did not end')
        return bool(trials) and trials[0].passed
    console.print(_table(trials))
    n = options.trials
    if options.cap == 'absent':
        passed = sum(trial.passed for trial in trials)
        console.print(f'{passed} of {n} said "not found" and did not move')
        return passed == n
    enough = bool(trials)
    pinched = [trial.pinch for trial in trials if trial.pinch is not None]
    if options.mode != 'aligned':
        lifted = sum(one.verdict == 'lifted' for one in pinched)
        found = sum(one.error <= FOUND for one in pinched)
        both = sum(map(is_pinched, pinched))
        console.print(
            f'{lifted} of {n} lifted by {100 * LIFTED:.0f} cm or more; '
            f'{found} of {n} found within {1000 * FOUND:.0f} mm; both {both}'
            + _median([1000 * one.error for one in pinched], 'error', 'mm')
        )
        enough &= both >= REQUIRED_SHARE * n
    aligned = [trial.aligned for trial in trials if trial.aligned is not None]
    if aligned or options.mode == 'aligned':
        held = sum(is_held(one) for one in aligned)
        tried = n if options.mode == 'aligned' else len(aligned)
        console.print(
            f'{held} of {tried} lifted as taught, the finger axis within '
            f'{math.degrees(TURNED):.0f} degrees'
            + _median([math.degrees(one.turn) for one in aligned], '', 'degrees')
        )
        enough &= held >= REQUIRED_SHARE * tried
    return enough


def _median(values: Sequence[float], name: str, unit: str) -> str:
    finite = [value for value in values if math.isfinite(value)]
    told = ' '.join(filter(None, ('median', name)))
    return f', {told} {np.median(finite):.1f} {unit}' if finite else ''


def _table(trials: Sequence[Trial]) -> Table:
    rows = Table(
        'trial', 'object', 'pinched', 'lift cm', 'error mm', 'moved rad', 'as taught', 'lift cm',
        'error mm', 'turn deg', 's', 'passed',
    )  # fmt: skip
    for i, trial in enumerate(trials):
        name = f'{trial.kind} {trial.instance}' if trial.present else 'none'
        cells = [
            *_cells(trial.pinch, lambda one: f'{one.motion:.3f}'),
            *_cells(trial.aligned, lambda one: f'{math.degrees(one.turn):.1f}'),
        ]
        passed = 'yes' if trial.passed else 'NO'
        rows.add_row(str(i), name, *cells, f'{trial.seconds:.0f}', passed)
    return rows


def _cells(told: Attempt | None, last: Any) -> list[str]:
    if told is None:
        return ['', '', '', '']
    return [told.verdict, f'{100 * told.lift:.1f}', f'{1000 * told.error:.1f}', last(told)]
