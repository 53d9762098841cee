"""Counts on the terminal what is being measured."""

from __future__ import annotations

from time import monotonic

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LINE_EVERY_S = 15  # of progress, where there is no terminal to draw a bar on


class Counting:
    """A bar of the pairs that are measured, of all; without a terminal, a line now and then.

    A context manager, inside of which the bar is drawn.
    """

    def __init__(self, console: Console, pairs: int) -> None:
        """Count to a number of pairs, of all methods together."""
        self._console = console
        self._printed = monotonic()
        self._bar = Progress(
            TextColumn('{task.description:14}'),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._bar.add_task('', total=pairs)
        (self._task,) = self._bar.tasks

    def __enter__(self) -> Counting:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def begin(self, method: str) -> None:
        """Say what is measured from now on."""
        self._bar.update(self._task.id, description=method)

    def advance(self) -> None:
        """Count a pair."""
        self._bar.advance(self._task.id)
        now = monotonic()
        if not self._console.is_terminal and now - self._printed > LINE_EVERY_S:
            self._printed = now
            done, total = int(self._task.completed), int(self._task.total or 0)
            self._console.print(
                f'measured {done} of {total} pairs ({self._task.description})', highlight=False
            )
