"""Studies of cases: models trained on parts of one folder, and measured on what was held."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from don_kp_ros import configuration
from don_kp_ros.configuration import within
from don_kp_ros.evaluation.figures import (
    compared,
    figures,
    fingerprint,
    independent,
    joined,
    summed_up,
)
from don_kp_ros.evaluation.matchers import MODEL, UNTRAINED, Found, match_all, matchers
from don_kp_ros.evaluation.pairs import check
from don_kp_ros.evaluation.peers import absent, peers
from don_kp_ros.evaluation.protocols.held_views import HeldViews
from don_kp_ros.evaluation.protocols.protocol import Condition, Protocol
from don_kp_ros.evaluation.reading import Reader
from don_kp_ros.evaluation.results import method_row
from don_kp_ros.evaluation.statistics import over_seeds
from don_kp_ros.networks.checkpoint import Checkpoint
from don_kp_ros.resources import config_path
from don_kp_ros.studies.pictures import Pictures
from don_kp_ros.studies.study import Job, Outcome, Study
from don_kp_ros.studies.trainings import Kept, Recipe, Trained

_ALL = 'all'
_HELD_NEGATIVES = 4  # one of so many is kept from the trainings


@dataclass(frozen=True)
class Case:
    """A row of a study's table: indices of the pictures to train on and to measure on.

    measured_on: name of the pictures to measure on; cases may share them.
    """

    name: str
    learned: tuple[int, ...]
    held: tuple[int, ...]
    measured_on: str
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class CaseStudy(Study):
    """What all studies of cases say.

    training: YAML file, or the name of one in config/training/; steps: the length of each training
    instead of minutes; poses: train on pairs of posed views, else on single pictures; measure: the
    protocol that held pictures are measured by.
    """

    rewrites_masks: ClassVar[bool] = False
    training: str = 'nt_xent'
    steps: int | None = None
    poses: bool = False
    measure: Protocol = field(default_factory=HeldViews)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps is not None:
            within('steps', self.steps, 1, 1e9)

    @abstractmethod
    def cases(self, pictures: Pictures) -> list[Case]:
        """List the cases of a folder; raises DataError naming what is missing."""

    def recipe(self, case: Case, seed: int) -> Recipe:
        """Say how a case is trained; raises ConfigurationError."""
        overrides = (*self.overrides, *case.overrides)
        config = configuration.find(self.training, config_path('training'))
        return Recipe(config, overrides, self.minutes, self.steps, seed)

    def run(self, job: Job) -> Outcome:
        """Train every case, measure it beside what knows nothing, and sum up; see Study."""
        if self.measure.peers and (why := absent()):
            job.say(f'Peers are {why}')
        pictures, reader = Pictures.open(job.request.data, job.request.masks.values), job.reader
        cases = self.cases(pictures)
        held = self._held(job, pictures, cases, reader)
        known: dict[Hashable, Found] = {}
        rows, parts, objects = [], [], []
        for case in cases:
            conditions, trained = held[case.measured_on], self._trained(job, pictures, case)
            models = [own.checkpoint for own in trained]
            found = self._find(job, case.measured_on, conditions, models, known)
            row = {
                'name': case.name,
                'learned': len(case.learned),
                'held': len(case.held),
                'overrides': list(case.overrides),
                **self._compare(job, case.name, found, independent(conditions)),
                'trainings': [
                    {
                        'seed': seed,
                        'fingerprint': own.checkpoint.fingerprint,
                        'steps': own.checkpoint.card.get('steps'),
                        'cpu_minutes': own.checkpoint.card.get('cpu_minutes'),
                        'model': str(own.file.relative_to(job.trainings)),
                    }
                    for seed, own in zip(self.seeds, trained, strict=True)
                ],
            }
            rows.append(row)
            parts.append(found)
            objects += [case.measured_on] * row['pairs']
        summary = None
        if len(held) == len(cases) > 1:
            # Pairs of one object are not independent: intervals are over objects.
            every = {
                name: [joined(own) for own in zip(*(part[name] for part in parts), strict=True)]
                for name in parts[0]
            }
            summary = self._compare(job, _ALL, every, objects)
        details = {
            'measure': self.measure.kind,
            'data': {
                'pictures': len(pictures.images),
                'objects_told': pictures.told is not None,
                'fingerprint': fingerprint([own for each in held.values() for own in each]),
                'skipped': reader.skipped,
            },
            'cases': rows,
            'summary': summary,
        }
        shown = [_shown(row) for row in (*rows, *([summary] if summary else []))]
        return Outcome(f'{self.kind} of {job.request.data}', shown, [], details)

    def _held(
        self, job: Job, pictures: Pictures, cases: Sequence[Case], reader: Reader
    ) -> dict[str, list[Condition]]:
        """Check every configuration and make every pair, before anything is trained."""
        held: dict[str, list[Condition]] = {}
        for case in cases:
            _ = self.recipe(case, self.seeds[0]).settings
            if case.measured_on in held:
                continue
            folder = job.output / 'held' / _file_name(case.measured_on)
            pictures.write(folder, case.held, _negatives(pictures)[1], poses=True)
            conditions = self.measure.conditions(folder, job.request.seed, reader)
            held[case.measured_on] = [conditions[i] for i in summed_up(conditions)]
            for condition in held[case.measured_on]:
                check(condition.data)
        return held

    def _trained(self, job: Job, pictures: Pictures, case: Case) -> list[Trained]:
        """Train a case with every seed."""
        write = partial(
            pictures.write,
            places=case.learned,
            negatives=_negatives(pictures)[0],
            poses=self.poses,
        )
        name = _file_name(case.name)
        return [
            Kept(job.trainings, name, self.recipe(case, seed), write).model(job.say)
            for seed in self.seeds
        ]

    def _find(
        self,
        job: Job,
        measured_on: str,
        conditions: Sequence[Condition],
        models: Sequence[Checkpoint],
        known: dict[Hashable, Found],
    ) -> dict[str, list[Found]]:
        """Match pairs with the model of every seed, and with each other method.

        known: what other methods found for cases before, to which this is added.
        """
        request, own = job.request, []
        for model in models:
            methods = matchers(model, request.device, self.measure.step, request.seed)
            own.append(_match(conditions, methods.pop(MODEL)))
        if self.measure.peers:
            methods |= peers(request.device)
        found = {MODEL: own}
        for name, matcher in methods.items():
            # Cases share pairs, and the same architecture gives the same untrained network.
            alike = model.untrained(request.seed).fingerprint
            key = (measured_on, name, alike if name == UNTRAINED else '')
            if key not in known:
                job.say(f'Measuring {name}.')
                known[key] = _match(conditions, matcher)
            found[name] = [known[key]]
        return found

    def _compare(
        self,
        job: Job,
        name: str,
        found: dict[str, list[Found]],
        groups: Sequence[Hashable],
    ) -> dict[str, Any]:
        """Summarise a row: figures over all seeds, their intervals, and spread over seeds."""
        row = compared(name, found, job.request.seed, self.measure.resamples, groups)
        each = [figures(own, job.request.seed, 1) for own in found[MODEL]]
        numbers = [{k: v for k, v in one.items() if isinstance(v, int | float)} for one in each]
        row['methods'][MODEL]['over_seeds'] = over_seeds(numbers)
        return row


def _negatives(pictures: Pictures) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Split the negatives: those to train with, and those to measure with."""
    number = len(pictures.negatives) - len(pictures.negatives) // _HELD_NEGATIVES
    return pictures.negatives[:number], pictures.negatives[number:]


def _match(conditions: Sequence[Condition], matcher: Any) -> Found:
    return joined(match_all(condition.data, matcher, with_peaks=True) for condition in conditions)


def _shown(row: dict[str, Any]) -> dict[str, str]:
    """Write a row as the terminal shows it."""
    own = row['methods'][MODEL]
    others = {name: other['auc'] for name, other in row['methods'].items() if name != MODEL}
    best = max(others, key=lambda name: others[name])
    sigma = own['over_seeds']['auc']['sigma']
    shown = {'case': row['name'], **method_row(own)}
    shown['AUC'] += '' if np.isnan(sigma) else f' ± {sigma:.3f}'
    return {**shown, 'best other': f'{best} {others[best]:.3f}'}


def _file_name(name: str) -> str:
    return re.sub(r'[^\w.-]+', '_', name)
