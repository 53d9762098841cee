"""What a node keeps of its newest messages."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

Value = TypeVar('Value')


@dataclass(frozen=True)
class Stamped(Generic[Value]):
    """A value with the time it speaks of, and the time it came."""

    value: Value
    stamp: float  # seconds, of the message's header
    arrival: float  # seconds, monotonic

    def age(self, now: float) -> float:
        """Return the greater of the ages by stamp, at time ``now``, and by arrival, in seconds."""
        return max(now - self.stamp, time.monotonic() - self.arrival)


class Latest(Generic[Value]):
    """The newest values, by arrival. Thread-safe."""

    def __init__(self, kept: int = 1, seconds: float = math.inf) -> None:
        """Keep ``kept`` values; of those, the newest, and what came less than ``seconds`` ago."""
        self._values: deque[Stamped[Value]] = deque(maxlen=kept)
        self._seconds = seconds
        self._changed = threading.Condition()

    def put(self, value: Value, stamp: float) -> None:
        """Add a value, and wake who waits for one."""
        with self._changed:
            self._values.append(Stamped(value, stamp, time.monotonic()))
            self._forget()
            self._changed.notify_all()

    def get(self) -> Stamped[Value] | None:
        """Return the newest value, or None."""
        with self._changed:
            return self._values[-1] if self._values else None

    def all(self) -> list[Stamped[Value]]:
        """Return all values that are kept, the newest last."""
        with self._changed:
            self._forget()
            return list(self._values)

    def nearest(
        self, stamp: float, tolerance: float, timeout: float = 0.0
    ) -> Stamped[Value] | None:
        """Return the value nearest in stamp, within ``tolerance`` s; wait ``timeout`` s for one.

        None where there is none.
        """

        def near() -> Stamped[Value] | None:
            nearest = min(self._values, key=lambda kept: abs(kept.stamp - stamp), default=None)
            return nearest if nearest and abs(nearest.stamp - stamp) <= tolerance else None

        with self._changed:
            return self._changed.wait_for(near, timeout)

    def wait_for_newer(self, than: Stamped[Value] | None, timeout: float) -> Stamped[Value] | None:
        """Wait for another newest value than the one given; None after ``timeout`` s."""
        with self._changed:
            self._changed.wait_for(lambda: self._values and self._values[-1] is not than, timeout)
            newest = self._values[-1] if self._values else None
        return None if newest is than else newest

    def _forget(self) -> None:
        oldest = time.monotonic() - self._seconds
        while len(self._values) > 1 and self._values[0].arrival < oldest:
            self._values.popleft()
