"""What came of grasp trials: told in a sentence, in a table and as JSON."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

TARGET, OBJECT = 'cap/brim', 'cap'
LIFTED = 0.10  # metres that count as lifted
FOUND = 0.010  # metres that count as found
TURNED = math.radians(8)  # of the finger axis from the taught one, at most
STILL = 0.01  # radians by which no joint may move where there is nothing to grasp
REQUIRED_SHARE = 0.9


@dataclass(frozen=True)
class Aligned:
    """What came of holding the cap as was taught; metres, radians, NaN where nothing was held."""

    outcome: str
    message: str
    lift: float = math.nan
    turn: float = math.nan  # of the finger axis in the cap's frame from the taught one

    @property
    def passed(self) -> bool:
        """Whether physics says that it was lifted, and held as was taught."""
        return self.lift >= LIFTED and self.turn <= TURNED


@dataclass(frozen=True)
class Trial:
    """What came of one trial; metres, radians, seconds, NaN where there is nothing to measure."""

    seed: int
    instance: int
    cap: bool
    outcome: str  # the action's code in words
    message: str
    lift: float  # the least over the time of holding; 0 where nothing was held
    error: float  # from the found point to the true one
    motion: float  # the largest of any joint between the goal and its result
    seconds: float
    aligned: Aligned | None = None  # not tried where there was nothing to teach

    @property
    def lifted(self) -> bool:
        """Whether physics says that the cap was lifted."""
        return self.lift >= LIFTED

    @property
    def found(self) -> bool:
        """Whether the point was found where it is."""
        return self.error <= FOUND

    @property
    def passed(self) -> bool:
        """Whether all went as it should: without a cap, nothing found and nothing moved."""
        if self.cap:
            return self.lifted and self.found and (self.aligned is None or self.aligned.passed)
        return self.outcome == 'not found' and self.motion <= STILL


def sentence(trial: Trial) -> str:
    """Say what came of a trial."""
    if not trial.cap:
        verdict = 'nothing to grasp, and the arm stayed' if trial.passed else 'WRONG'
        return f'{verdict}: {trial.outcome}, the arm moved {trial.motion:.3f} rad'
    where = f'found {1000 * trial.error:.1f} mm from the true point'
    if not trial.lifted:
        return f'{TARGET} NOT lifted ({trial.outcome}: {trial.message}), {where}'
    told = f'{TARGET} pinched and lifted by {100 * trial.lift:.1f} cm, {where}'
    if (again := trial.aligned) is None:
        return told
    how = f'fingers turned by {math.degrees(again.turn):.1f} degrees from what was taught'
    if again.lift >= LIFTED:
        return f'{told}\n{OBJECT} held as taught and lifted by {100 * again.lift:.1f} cm, {how}'
    return f'{told}\n{OBJECT} NOT lifted as taught ({again.outcome}: {again.message})'


def report(trials: Sequence[Trial], options: argparse.Namespace, console: Console) -> bool:
    """Write the numbers, print the table, and tell whether enough trials passed."""
    with (options.output / 'grasp.json').open('w') as file:
        json.dump([_plain(trial) for trial in trials], file, indent=1)
    if options.trials == 1:
        console.print(f'pictures: {options.output}/grasp.png, {options.output}/grasp.gif')
        console.print(sentence(trials[0]) if trials else 'the trial did not end')
        return bool(trials) and trials[0].passed
    rows = Table(
        'trial', 'cap', 'outcome', 'lift cm', 'error mm', 'moved rad', 'as taught', 'lift cm',
        'turn deg', 's', 'passed',
    )  # fmt: skip
    for i, t in enumerate(trials):
        rows.add_row(
            str(i), str(t.instance) if t.cap else 'none', t.outcome, f'{100 * t.lift:.1f}',
            f'{1000 * t.error:.1f}', f'{t.motion:.3f}', *_told(t.aligned), f'{t.seconds:.0f}',
            'yes' if t.passed else 'NO',
        )  # fmt: skip
    console.print(rows)
    n = options.trials
    if options.cap == 'absent':
        passed = sum(t.passed for t in trials)
        console.print(f'{passed} of {n} said "not found" and did not move')
        return passed == n
    lifted, found = sum(t.lifted for t in trials), sum(t.found for t in trials)
    errors = [1000 * t.error for t in trials if math.isfinite(t.error)]
    console.print(
        f'{lifted} of {n} lifted by {100 * LIFTED:.0f} cm or more; '
        f'{found} of {n} found within {1000 * FOUND:.0f} mm'
        + (f', median error {np.median(errors):.1f} mm' if errors else '')
    )
    tried = [t.aligned for t in trials if t.aligned is not None]
    held = sum(one.passed for one in tried)
    if tried:
        turns = [math.degrees(one.turn) for one in tried if math.isfinite(one.turn)]
        console.print(
            f'{held} of {len(tried)} lifted as taught, the finger axis within '
            f'{math.degrees(TURNED):.0f} degrees'
            + (f', median {np.median(turns):.1f} degrees' if turns else '')
        )
    return min(lifted, found) >= REQUIRED_SHARE * n and held >= REQUIRED_SHARE * len(tried)


def _told(aligned: Aligned | None) -> tuple[str, str, str]:
    if aligned is None:
        return '', '', ''
    return aligned.outcome, f'{100 * aligned.lift:.1f}', f'{math.degrees(aligned.turn):.1f}'


def _plain(trial: Trial) -> dict[str, object]:
    """Return a trial as JSON can hold it: null for NaN."""
    aligned = trial.aligned and {**_finite(asdict(trial.aligned)), 'passed': trial.aligned.passed}
    return {**_finite(asdict(trial)), 'aligned': aligned, 'passed': trial.passed}


def _finite(values: dict[str, object]) -> dict[str, object]:
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in values.items()
    }
