"""Grasp trials beside busy processes: they must pass all the same, and never on stale data.

`python -m benchmarks.under_load`: pinches of `don_kp grasp`, TRIALS=20 with SEED=1, beside BUSY=6
processes that never rest. With BUSY=0, how long a trial takes on an idle machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np

from benchmarks.report import OUTPUT, Target, given, report

_LONGEST_S = 8.0  # of a trial on an idle machine


def main() -> int:
    """Run, print, write; 1 where a target is missed."""
    trials, seed = (
        int(os.environ.get(*pair) or pair[1]) for pair in (('TRIALS', '20'), ('SEED', '1'))
    )
    busy = int(os.environ.get('BUSY') or '6')
    output = OUTPUT / 'under_load'
    file = output / 'grasp.json'
    file.unlink(missing_ok=True)
    command = [sys.executable, '-m', 'don_kp_ros.cli', 'grasp', '--output', str(output)]
    command += ['--trials', str(trials), '--seed', str(seed), '--mode', 'pinch']
    beside = [subprocess.Popen([sys.executable, '-c', 'while True: pass']) for _ in range(busy)]
    try:
        subprocess.run(command, check=False)
    finally:
        for process in beside:
            process.kill()
            process.wait()
    rows = json.loads(file.read_text()) if file.is_file() else []
    if not rows:
        print(f'{file}: no trial came to an end; see what is said above', file=sys.stderr)
        return 1
    # A trial that did not end has no outcome.
    outcomes = [row['pinch']['outcome'] if row['pinch'] else 'unanswered' for row in rows]
    seconds = float(np.median([row['seconds'] for row in rows]))
    targets = [
        Target(
            'trials passed',
            float(sum(row['passed'] for row in rows)),
            float(trials),
            at_least=True,
        ),
        Target(
            'trials with stale data',
            float(outcomes.count('stale data')),
            0.0,
        ),
    ]
    if not busy:
        targets.append(Target('seconds a trial, median', seconds, _LONGEST_S))
    ok = report(
        'under_load',
        f'{trials} trials beside {busy} busy processes',
        [
            {
                'outcome': outcome,
                'trials': outcomes.count(outcome),
            }
            for outcome in sorted(set(outcomes))
        ],
        targets,
        seed=seed,
        details={'seconds': seconds, 'trials': rows},
        variables=given('TRIALS', 'SEED', 'BUSY'),
    )
    return 0 if ok else 1


if __name__ == '__main__':
    sys.exit(main())
