"""What all studies say: which models are trained on what, and what they are measured on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar

from don_kp_ros import configuration
from don_kp_ros.configuration import within
from don_kp_ros.evaluation.protocols.held_views import HeldViews
from don_kp_ros.evaluation.protocols.protocol import Protocol
from don_kp_ros.resources import config_path
from don_kp_ros.studies.pictures import Pictures
from don_kp_ros.studies.trainings import Recipe


@dataclass(frozen=True)
class Case:
    """A row of a study's table: what is learned from and measured on, pictures by index.

    measured_on: names what is measured on, which cases may share.
    """

    name: str
    learned: tuple[int, ...]
    held: tuple[int, ...]
    measured_on: str
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Study(ABC):
    """The settings that all studies share.

    training: YAML file, or the name of one in config/training/; overrides: of its keys, in every
    case; minutes: processor time of each training; steps: its length instead; seeds: of the
    trainings of each case; poses: train on pairs of posed views, else on single pictures; measure:
    the protocol that held pictures are measured by.
    """

    kind: ClassVar[str]

    description: str = ''
    training: str = 'nt_xent'
    overrides: tuple[str, ...] = ()
    minutes: float = 10.0
    steps: int | None = None
    seeds: tuple[int, ...] = (0, 1)
    poses: bool = False
    measure: Protocol = field(default_factory=HeldViews)

    def __post_init__(self) -> None:
        within('minutes', self.minutes, 0.01, 1e5)
        if self.steps is not None:
            within('steps', self.steps, 1, 1e9)
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f'seeds is {list(self.seeds)}; different numbers from 0 are needed')

    @abstractmethod
    def cases(self, pictures: Pictures) -> list[Case]:
        """List the cases of a folder; raises DataError naming what is missing."""

    def recipe(self, case: Case, seed: int) -> Recipe:
        """Say how a case is trained; raises ConfigurationError."""
        overrides = (*self.overrides, *case.overrides)
        config = configuration.find(self.training, config_path('training'))
        return Recipe(config, overrides, self.minutes, self.steps, seed)
