"""What the arm does, for all who look: the goal that runs, its phases as they come, its end."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Told:
    """A goal, its phases with their details, and how it ended; ``ok`` None: it runs."""

    goal: str = ''
    phases: tuple[tuple[str, str], ...] = ()
    end: str = ''
    ok: bool | None = None

    @property
    def runs(self) -> bool:
        """Tell whether a goal runs."""
        return bool(self.goal) and self.ok is None


class Activity:
    """The newest goal. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told = Told()

    @property
    def told(self) -> Told:
        """What is known now."""
        with self._lock:
            return self._told

    def begin(self, goal: str) -> None:
        """A goal is sent."""
        with self._lock:
            self._told = Told(goal)

    def phase(self, phase: str, detail: str) -> None:
        """A phase of it begins."""
        with self._lock:
            self._told = replace(self._told, phases=(*self._told.phases, (phase, detail)))

    def finish(self, end: str, ok: bool) -> None:
        """It has ended."""
        with self._lock:
            self._told = replace(self._told, end=end, ok=ok)
