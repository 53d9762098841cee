"""Studies of cases: models trained on parts of one folder, and measured on what was held."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from rich.console import Console

from don_kp_ros import configuration
from don_kp_ros.configuration import within
from don_kp_ros.evaluation.figures import figures, fingerprint, independent, joined, summed_up
from don_kp_ros.evaluation.matchers import MODEL, Found, Learned, match_all, matchers
from don_kp_ros.evaluation.pairs import check
from don_kp_ros.evaluation.protocols.held_views import HeldViews
from don_kp_ros.evaluation.protocols.protocol import Condition, Protocol
from don_kp_ros.evaluation.reading import Reader
from don_kp_ros.evaluation.results import method_row, say
from don_kp_ros.evaluation.statistics import over_seeds
from don_kp_ros.networks.checkpoint import Checkpoint
from don_kp_ros.resources import config_path
from don_kp_ros.studies.pictures import Pictures
from don_kp_ros.studies.study import Job, Outcome, Study
from don_kp_ros.studies.trainings import Kept, Recipe

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

    training: YAML file, or the name of one in config/training/; overrides: of its keys, in every
    case; steps: the length of each training instead of minutes; poses: train on pairs of posed
    views, else on single pictures; measure: the protocol that held pictures are measured by.
    """

    training: str = 'nt_xent'
    overrides: tuple[str, ...] = ()
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

    def run(self, job: Job, console: Console) -> Outcome:
        """Train every case, measure it beside what knows nothing, and sum up; see Study."""
        pictures = Pictures.open(job.request.data)
        cases = self.cases(pictures)
        comparison = Comparison(self, job, pictures, console, Reader(job.request.skip_broken))
        comparison.prepare(cases)
        rows, parts = [], []
        for case in cases:
            found, cards = comparison.run(case)
            groups = independent(comparison.conditions(case))
            row = {
                'name': case.name,
                'learned': len(case.learned),
                'held': len(case.held),
                'overrides': list(case.overrides),
                **comparison.figures(found, groups),
                'trainings': cards,
            }
            rows.append(row)
            parts.append(found)
        summary = None
        if len({case.measured_on for case in cases}) == len(cases) > 1:
            # Pairs of one object are not independent: intervals are over objects.
            found = {name: _joined_cases([part[name] for part in parts]) for name in parts[0]}
            objects = [
                case.measured_on
                for case, row in zip(cases, rows, strict=True)
                for _ in range(row['pairs'])
            ]
            summary = {'name': _ALL, **comparison.figures(found, objects)}
        data = {
            'pictures': len(pictures.images),
            'objects_told': pictures.told is not None,
            'fingerprint': comparison.fingerprint,
            'skipped': comparison.reader.skipped,
        }
        details = {
            'measure': self.measure.kind,
            'data': data,
            'cases': rows,
            'summary': summary,
        }
        shown = [_shown(row) for row in (*rows, *([summary] if summary else []))]
        return Outcome(f'{self.kind} of {job.request.data}', shown, [], details)


@dataclass
class Comparison:
    """Trains and measures the cases of a study, one after the other."""

    study: CaseStudy
    job: Job
    pictures: Pictures
    console: Console
    reader: Reader
    _held: dict[str, list[Condition]] = field(default_factory=dict)
    _found: dict[Hashable, Found] = field(default_factory=dict)

    def prepare(self, cases: Sequence[Case]) -> None:
        """Check every configuration and make every pair, before anything is trained."""
        study, request = self.study, self.job.request
        for case in cases:
            _ = study.recipe(case, study.seeds[0]).settings
            if case.measured_on in self._held:
                continue
            folder = self.job.output / 'held' / _file_name(case.measured_on)
            negatives = self.pictures.negatives[-self._negatives() :] if self._negatives() else ()
            self.pictures.write(folder, case.held, negatives, poses=True)
            conditions = study.measure.conditions(folder, request.seed, self.reader)
            conditions = [conditions[i] for i in summed_up(conditions)]
            for condition in conditions:
                check(condition.data)
            self._held[case.measured_on] = conditions

    def run(self, case: Case) -> tuple[dict[str, list[Found]], list[dict[str, Any]]]:
        """Train a case with every seed and match its pairs; return what was found, and cards.

        The matches are one entry for each seed of the model, and one for each other method.
        """
        conditions, own, cards = self._held[case.measured_on], [], []
        for seed in self.study.seeds:
            checkpoint, card = self._train(case, seed)
            cards.append(card)
            methods = matchers(
                checkpoint, self.job.request.device, self.study.measure.step, self.job.request.seed
            )
            own.append(_match(conditions, methods[MODEL]))
        found = {MODEL: own}
        for name, matcher in methods.items():
            if name != MODEL:
                # Cases share pairs, and the same architecture gives the same untrained network.
                alike = checkpoint.untrained(self.job.request.seed).fingerprint
                key = (case.measured_on, name, alike if isinstance(matcher, Learned) else '')
                if key not in self._found:
                    say(self.console, f'Measuring {name}.')
                    self._found[key] = _match(conditions, matcher)
                found[name] = [self._found[key]]
        return found, cards

    def conditions(self, case: Case) -> list[Condition]:
        """Return what a case is measured on."""
        return self._held[case.measured_on]

    @property
    def fingerprint(self) -> str:
        """Hash everything that is measured on."""
        return fingerprint([condition for held in self._held.values() for condition in held])

    def figures(
        self, found: dict[str, list[Found]], groups: Sequence[Hashable] | None
    ) -> dict[str, Any]:
        """Summarise a row: figures over all seeds, intervals over pairs, and spread over seeds."""
        pairs = len(found[MODEL][0].errors)
        names = range(pairs) if groups is None else groups
        resamples = self.study.measure.resamples
        methods: dict[str, Any] = {}
        for name, seeds in found.items():
            # A pair of all seeds is resampled together.
            methods[name] = figures(
                joined(seeds), self.job.request.seed, resamples, list(names) * len(seeds)
            )
        each = [figures(own, self.job.request.seed, 1) for own in found[MODEL]]
        numbers = [{k: v for k, v in one.items() if isinstance(v, int | float)} for one in each]
        methods[MODEL]['over_seeds'] = {
            name: {'mean': own.mean, 'sigma': own.sigma, 'runs': own.runs}
            for name, own in over_seeds(numbers).items()
        }
        queries = sum(len(errors) for errors in found[MODEL][0].errors)
        return {'pairs': pairs, 'queries': queries, 'methods': methods}

    def _train(self, case: Case, seed: int) -> tuple[Checkpoint, dict[str, Any]]:
        number = len(self.pictures.negatives) - self._negatives()
        kept = Kept(
            self.job.trainings,
            _file_name(case.name),
            self.study.recipe(case, seed),
            partial(
                self.pictures.write,
                places=case.learned,
                negatives=self.pictures.negatives[:number],
                poses=self.study.poses,
            ),
        )
        trained = kept.model(partial(say, self.console))
        card = trained.checkpoint.card
        return trained.checkpoint, {
            'seed': seed,
            'fingerprint': trained.checkpoint.fingerprint,
            'steps': card.get('steps'),
            'cpu_minutes': card.get('cpu_minutes'),
            'model': str(trained.file.relative_to(self.job.trainings)),
        }

    def _negatives(self) -> int:
        """Count the negatives that are measured with."""
        return len(self.pictures.negatives) // _HELD_NEGATIVES


def _match(conditions: Sequence[Condition], matcher: Any) -> Found:
    return joined(match_all(condition.data, matcher, with_peaks=True) for condition in conditions)


def _joined_cases(cases: Sequence[Sequence[Found]]) -> list[Found]:
    """Put cases together, seed by seed."""
    return [joined(seeds) for seeds in zip(*cases, strict=True)]


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
