"""What all studies say, and what they bring."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from rich.console import Console

from don_kp_ros.configuration import within
from don_kp_ros.evaluation.reading import Reader
from don_kp_ros.evaluation.request import Request
from don_kp_ros.evaluation.results import Target, say
from don_kp_ros.studies.trainings import Kept, Trained


@dataclass(frozen=True)
class Job:
    """What is studied, where results and trainings are kept, and where progress is told.

    cards: what is known of the trainings that were used, by their names in the results.
    """

    request: Request
    output: Path
    trainings: Path
    console: Console = field(default_factory=lambda: Console(quiet=True))
    cards: dict[str, Any] = field(default_factory=dict)

    def say(self, line: str) -> None:
        """Tell a line of progress."""
        say(self.console, line)

    @property
    def reader(self) -> Reader:
        """Reads pictures as the request says."""
        return Reader(self.request.skip_broken, self.request.masks, self.say)

    def train(self, name: str, kept: Kept) -> Trained:
        """Train, or take what was trained before; raises StudyError where that fails."""
        trained = kept.model(self.say)
        self.cards[name] = trained.card
        return trained


@dataclass(frozen=True)
class Outcome:
    """A table of what was measured, what must be reached, and what else is told of it."""

    title: str
    rows: list[dict[str, Any]]
    targets: list[Target] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)


def not_empty(key: str, chosen: Sequence[str], what: str) -> None:
    """Raise ValueError where nothing is chosen; what: can be chosen."""
    if not chosen:
        raise ValueError(f'{key} is []; name one or more of {what}')


@dataclass(frozen=True)
class Study(ABC):
    """The settings that all studies share.

    minutes: processor time of each training; seeds: of the trainings of each case; overrides: of
    the keys of every training.
    """

    # Whether trainings are given masks of two values, or the user's own files.
    rewrites_masks: ClassVar[bool] = True
    kind: ClassVar[str]

    description: str = ''
    minutes: float = 10.0
    seeds: tuple[int, ...] = (0, 1)
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        within('minutes', self.minutes, 0.01, 1e5)
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f'seeds is {list(self.seeds)}; different numbers from 0 are needed')

    @abstractmethod
    def run(self, job: Job) -> Outcome:
        """Train, measure and compare.

        Raises DataError, ConfigurationError, StudyError, or ValueError naming what is wrong.
        """
