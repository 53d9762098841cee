"""What a node keeps of its newest messages."""

from __future__ import annotations

import contextlib
import math
import threading
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from don_kp_ros.nodes.kit.clock import RosTime, StoppedClockError

Value = TypeVar('Value')
_PAUSE_S = 0.02


@dataclass(frozen=True)
class Stamped(Generic[Value]):
    """A value with the time it speaks of, and the time it came."""

    value: Value
    stamp: float  # seconds, of the message's header
    arrival: float  # seconds, of ROS time

    def age(self, now: float) -> float:
        """Return the greater of the ages by stamp and by arrival, at time ``now``, in seconds."""
        return now - min(self.stamp, self.arrival)


class Latest(Generic[Value]):
    """The newest values, by arrival. Thread-safe."""

    def __init__(self, time: RosTime, kept: int = 1, seconds: float = math.inf) -> None:
        """Keep ``kept`` values; of those, the newest, and what came less than ``seconds`` ago."""
        self._time = time
        self._values: deque[Stamped[Value]] = deque(maxlen=kept)
        self._seconds = seconds
        self._changed = threading.Condition()
        self._ended = False

    def put(self, value: Value, stamp: float) -> None:
        """Add a value, and wake who waits for one."""
        with self._changed:
            self._values.append(Stamped(value, stamp, self._time.now()))
            self._forget()
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget all values."""
        with self._changed:
            self._values.clear()

    def end(self) -> None:
        """Let nobody wait any longer."""
        with self._changed:
            self._ended = True
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

        with self._changed, contextlib.suppress(StoppedClockError):
            for _ in self._time.rounds(timeout):
                if (found := near()) or not timeout or self._ended:
                    return found
                self._changed.wait(_PAUSE_S)
        return None

    def wait_for_newer(
        self, than: Stamped[Value] | None, patience: float
    ) -> Stamped[Value] | None:
        """Wait for another newest value than the one given; None where the caller must look up.

        ``patience`` is in seconds of this machine's time: it is no part of what a robot does.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._values and self._values[-1] is not than, patience)
            newest = self._values[-1] if self._values else None
        return None if newest is than else newest

    def _forget(self) -> None:
        oldest = self._time.now() - self._seconds
        while len(self._values) > 1 and self._values[0].arrival < oldest:
            self._values.popleft()
