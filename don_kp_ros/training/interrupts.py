"""Signals that wait for the end of a training step, and until its state is saved."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from don_kp_ros.signals import ending_signals

PATIENCE_S = 10.0


class Interrupts:
    """Makes signals a KeyboardInterrupt between two steps, where the state is whole.

    These are SIGINT, SIGTERM, and SIGHUP unless `nohup` has it ignored. Others that follow within
    PATIENCE_S change nothing, since `timeout` and launchers send two at once. A later one does not
    wait: what was saved before remains.
    """

    def __init__(self) -> None:
        self.in_step = False
        self._asked: float | None = None  # monotonic seconds

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Catch the signals meanwhile; in another than the main thread nothing is caught."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = ending_signals()
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
        if self._asked is not None:
            raise KeyboardInterrupt

    def _on_signal(self, *_: Any) -> None:
        now = time.monotonic()
        if self._asked is None:
            self._asked = now
            if not self.in_step:
                raise KeyboardInterrupt
        elif now - self._asked > PATIENCE_S:
            raise KeyboardInterrupt
