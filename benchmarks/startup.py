"""How long a command takes to say what it takes.

`python -m benchmarks.startup`: `don_kp COMMAND --help`, of every command, in turn with
`python -c pass`, ROUNDS (5) times each. What counts is what the one takes longer than the other.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

from benchmarks.report import Target, report
from don_kp_ros.cli import COMMANDS

_LONGER_S = 0.3


def seconds(*arguments: str) -> float:
    """Run this Python with arguments; return the time that it takes."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> int:
    """Run the benchmark."""
    rounds = int(os.environ.get('ROUNDS') or 5)
    rows, targets = [], []
    for name in COMMANDS:
        bare, whole = [], []
        for _ in range(rounds):
            bare.append(seconds('-c', 'pass'))
            whole.append(seconds('-m', 'don_kp_ros.cli', name, '--help'))
        longer = statistics.median(b - a for a, b in zip(bare, whole, strict=True))
        rows.append(
            {
                'command': f'don_kp {name} --help',
                'seconds': statistics.median(whole),
                'python -c pass': statistics.median(bare),
                'longer': longer,
            }
        )
        targets.append(Target(f'{name} --help, seconds longer', longer, _LONGER_S))
    ok = report('startup', 'What --help takes, seconds', rows, targets)
    return 0 if ok else 1


if __name__ == '__main__':
    sys.exit(main())
