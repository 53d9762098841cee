"""The progress of a training in steps, wall time or processor time."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Literal

Clock = Literal['steps', 'wall', 'cpu']


@dataclass(frozen=True)
class Budget:
    """The length of a training: an amount of steps, or of seconds of wall or processor time."""

    clock: Clock
    amount: float

    def __post_init__(self) -> None:
        if not self.amount > 0:
            raise ValueError(f'a training of {self.amount} {self.unit}; it must be positive')

    @property
    def unit(self) -> str:
        """The unit of `amount`."""
        return 'steps' if self.clock == 'steps' else 'seconds'


class Stopwatch:
    """What a training has used so far, across restarts.

    Wall time is counted while the stopwatch runs. Processor time is that of all threads of this
    process since it started, and of the loader's workers, which report theirs.
    """

    def __init__(self, wall: float = 0.0, cpu: float = 0.0) -> None:
        self._wall = wall
        self._earlier_cpu = cpu
        self._started: float | None = None
        self._workers: dict[int, float] = {}

    def start(self) -> None:
        """Start or continue to count wall time."""
        if self._started is None:
            self._started = time.monotonic()

    def pause(self) -> None:
        """Stop counting wall time."""
        self._wall = self.wall
        self._started = None

    def worker(self, number: int, cpu_seconds: float) -> None:
        """Note a loader worker's processor time so far."""
        self._workers[number] = cpu_seconds

    @property
    def wall(self) -> float:
        """Seconds of wall time."""
        return self._wall + (0 if self._started is None else time.monotonic() - self._started)

    @property
    def cpu(self) -> float:
        """Seconds of processor time."""
        return self._earlier_cpu + time.process_time() + sum(self._workers.values())

    def used(self, clock: Clock, steps: int) -> float:
        """Return what is used of a budget by this clock."""
        return {'steps': float(steps), 'wall': self.wall, 'cpu': self.cpu}[clock]


def learning_rate_factor(fraction: float, warmup: float) -> float:
    """Rise linearly to 1 over the first `warmup` of a training, then fall to 0 as a cosine.

    fraction: completed part of the training, 0 to 1.
    """
    fraction = min(max(fraction, 0.0), 1.0)
    if fraction < warmup:
        return fraction / warmup
    return 0.5 * (1 + math.cos(math.pi * (fraction - warmup) / (1 - warmup)))
