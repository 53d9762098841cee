"""Run a study: train every case, measure it beside what knows nothing, and sum up."""

from __future__ import annotations

import re
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from don_kp_ros import configuration
from don_kp_ros.evaluation.baselines import check
from don_kp_ros.evaluation.comparison import (
    MODEL,
    Found,
    Learned,
    figures,
    fingerprint,
    independent,
    joined,
    match_all,
    matchers,
    summed_up,
)
from don_kp_ros.evaluation.protocols.protocol import Condition
from don_kp_ros.evaluation.reading import Reader
from don_kp_ros.evaluation.results import device_name, versions, without_nan
from don_kp_ros.evaluation.statistics import over_seeds
from don_kp_ros.networks.checkpoint import Checkpoint
from don_kp_ros.studies.pictures import Pictures
from don_kp_ros.studies.study import Case, Study
from don_kp_ros.studies.trainings import Kept

FORMAT, VERSION = 'don_kp study', 1

_ALL = 'all'
_HELD_NEGATIVES = 4  # one of so many is kept from the trainings


@dataclass(frozen=True)
class Job:
    """What is studied, on which folder, and where models and results are kept."""

    study: Study
    data: Path
    output: Path
    seed: int = 0
    skip_broken: bool = False
    device: str = 'cpu'
    command: str = ''


@dataclass
class Comparison:
    """Trains and measures the cases of a study, one after the other."""

    job: Job
    pictures: Pictures
    console: Console
    reader: Reader
    _held: dict[str, list[Condition]] = field(default_factory=dict)
    _found: dict[Hashable, Found] = field(default_factory=dict)

    def prepare(self, cases: Sequence[Case]) -> None:
        """Check every configuration and make every pair, before anything is trained."""
        study, reader = self.job.study, self.reader
        for case in cases:
            _ = study.recipe(case, study.seeds[0]).settings
            if case.measured_on in self._held:
                continue
            folder = self.job.output / 'held' / _file_name(case.measured_on)
            negatives = self.pictures.negatives[-self._negatives() :] if self._negatives() else ()
            self.pictures.write(folder, case.held, negatives, poses=True)
            conditions = study.measure.conditions(folder, self.job.seed, reader)
            conditions = [conditions[i] for i in summed_up(conditions)]
            for condition in conditions:
                check(condition.data)
            self._held[case.measured_on] = conditions

    def run(self, case: Case) -> tuple[dict[str, list[Found]], list[dict[str, Any]]]:
        """Train a case with every seed and match its pairs; return what was found, and cards.

        Found are one for each seed of the model, and one of each other method.
        """
        conditions, own, cards = self._held[case.measured_on], [], []
        for seed in self.job.study.seeds:
            checkpoint, card = self._train(case, seed)
            cards.append(card)
            methods = matchers(
                checkpoint, self.job.device, self.job.study.measure.step, self.job.seed
            )
            own.append(_match(conditions, methods[MODEL]))
        found = {MODEL: own}
        for name, matcher in methods.items():
            if name != MODEL:
                # Cases share pairs, and untrained networks of one architecture are the same.
                alike = checkpoint.untrained(self.job.seed).fingerprint
                key = (case.measured_on, name, alike if isinstance(matcher, Learned) else '')
                if key not in self._found:
                    self.console.print(f'Measuring {name}.', highlight=False)
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

    def _train(self, case: Case, seed: int) -> tuple[Checkpoint, dict[str, Any]]:
        study = self.job.study
        number = len(self.pictures.negatives) - self._negatives()
        kept = Kept(
            self.job.output / 'trainings',
            _file_name(case.name),
            study.recipe(case, seed),
            partial(
                self.pictures.write,
                places=case.learned,
                negatives=self.pictures.negatives[:number],
                poses=study.poses,
            ),
        )
        say = partial(self.console.print, highlight=False, markup=False, soft_wrap=True)
        checkpoint, file = kept.model(say)
        return checkpoint, {
            'seed': seed,
            'fingerprint': checkpoint.fingerprint,
            'steps': checkpoint.card.get('steps'),
            'cpu_minutes': checkpoint.card.get('cpu_minutes'),
            'model': str(file.relative_to(self.job.output)),
        }

    def _negatives(self) -> int:
        """Count the negatives that are measured with."""
        return len(self.pictures.negatives) // _HELD_NEGATIVES


def study(job: Job, console: Console | None = None) -> dict[str, Any]:
    """Train and measure all cases of a study; return its results.

    Raises DataError, ConfigurationError, StudyError, or ValueError naming what is wrong.
    """
    console = console or Console(quiet=True)
    started, date = time.monotonic(), datetime.now(timezone.utc)
    pictures = Pictures.open(job.data)
    cases = job.study.cases(pictures)
    comparison = Comparison(job, pictures, console, Reader(job.skip_broken))
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
            **_figures(job, found, groups),
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
        summary = {'name': _ALL, **_figures(job, found, objects)}
    results = {
        'format': FORMAT,
        'version': VERSION,
        'study': {'kind': job.study.kind, **configuration.plain(job.study)},
        'measure': job.study.measure.kind,
        'seed': job.seed,
        'data': {
            'folder': job.data.resolve().name,
            'pictures': len(pictures.images),
            'objects_told': pictures.told is not None,
            'fingerprint': comparison.fingerprint,
            'skipped': comparison.reader.skipped,
        },
        'versions': versions(),
        'cases': rows,
        'summary': summary,
        'run': {
            'date': date.strftime('%Y-%m-%d %H:%M UTC'),
            'seconds': round(time.monotonic() - started, 1),
            'command': job.command,
            'device': device_name(job.device),
        },
    }
    plain: dict[str, Any] = without_nan(results)
    return plain


def _match(conditions: Sequence[Condition], matcher: Any) -> Found:
    return joined(match_all(condition, matcher, lambda: None) for condition in conditions)


def _joined_cases(cases: Sequence[Sequence[Found]]) -> list[Found]:
    """Put cases together, seed by seed."""
    return [joined(seeds) for seeds in zip(*cases, strict=True)]


def _figures(
    job: Job, found: dict[str, list[Found]], groups: Sequence[Hashable] | None
) -> dict[str, Any]:
    """Summarise a row: figures over all seeds, intervals over pairs, and spread over seeds."""
    pairs = len(found[MODEL][0].errors)
    names = range(pairs) if groups is None else groups
    resamples = job.study.measure.resamples
    methods: dict[str, Any] = {}
    for name, seeds in found.items():
        # A pair of all seeds is resampled together.
        methods[name] = figures(joined(seeds), job.seed, resamples, list(names) * len(seeds))
    each = [figures(own, job.seed, 1) for own in found[MODEL]]
    numbers = [{k: v for k, v in one.items() if isinstance(v, int | float)} for one in each]
    methods[MODEL]['over_seeds'] = {
        name: {'mean': own.mean, 'sigma': own.sigma, 'runs': own.runs}
        for name, own in over_seeds(numbers).items()
    }
    queries = sum(len(errors) for errors in found[MODEL][0].errors)
    return {'pairs': pairs, 'queries': queries, 'methods': methods}


def _file_name(name: str) -> str:
    return re.sub(r'[^\w.-]+', '_', name)
