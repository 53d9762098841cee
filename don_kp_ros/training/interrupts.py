"""Signals that wait for the end of a training step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Interrupts:
    """Makes SIGINT and SIGTERM a KeyboardInterrupt between two steps, where the state is whole.

    A second signal does not wait: what was saved before the step remains.
    """

    def __init__(self) -> None:
        self.in_step = False
        self._asked = False

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Catch the signals meanwhile; in another than the main thread nothing is caught."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, self._on_signal) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    def begin_step(self) -> None:
        """Let signals wait from now on."""
        self.in_step = True

    def end_step(self) -> None:
        """Raise the KeyboardInterrupt that was asked for meanwhile."""
        self.in_step = False
        if self._asked:
            raise KeyboardInterrupt

    def _on_signal(self, *_: Any) -> None:
        first, self._asked = not self._asked, True
        if not (self.in_step and first):
            raise KeyboardInterrupt
