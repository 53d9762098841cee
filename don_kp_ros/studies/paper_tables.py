"""Paper 1's tables 1 to 3: accuracy and memory by descriptor size, of NT-Xent and mined.

The tables' 20 settings (D of 3 to 512; N = 128 correspondences or keypoints, and 16 keypoints for
D from 64 on), trained and measured on the split `held` of the accuracy study. Memory is that of a
training step of the paper's size, whatever is trained: the peak of torch's own counter on a GPU,
otherwise the bytes that autograd holds at the most.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from rich.console import Console
from torch.nn import functional

from don_kp_ros import configuration
from don_kp_ros.configuration import within
from don_kp_ros.data.folder import DataError
from don_kp_ros.evaluation.matchers import (
    Learned,
    Matcher,
    accuracy,
    at_scale,
    centroid,
    random_pixel,
)
from don_kp_ros.evaluation.pairs import PairSet
from don_kp_ros.evaluation.pck import Accuracy
from don_kp_ros.evaluation.results import say
from don_kp_ros.networks.checkpoint import Checkpoint
from don_kp_ros.networks.model import fast_bfloat16
from don_kp_ros.resources import config_path
from don_kp_ros.studies import step_costs as costs
from don_kp_ros.studies.accuracy import SHOWN
from don_kp_ros.studies.pictures import write_samples
from don_kp_ros.studies.published import PUBLISHED, TABLES_1_AND_2, Case, known_guesses
from don_kp_ros.studies.splits import Data, Split
from don_kp_ros.studies.study import Job, Outcome, Study
from don_kp_ros.studies.trainings import Kept, Recipe, together
from don_kp_ros.training.module import DescriptorTraining
from don_kp_ros.training.settings import TrainingConfiguration

AS_PRINTED = {'NT-Xent': 'dense_object_nets', 'mined': 'paper'}
_ROTATION = 45.0  # degrees, +-: keypoints are not learned from views turned by any angle
_PICTURE = (480, 640)  # height, width


class Result(NamedTuple):
    """A model that was trained, and what it scores."""

    case: Case
    checkpoint: Checkpoint
    accuracy: Accuracy


@dataclass(frozen=True)
class PaperTables(Study):
    """Trains every setting of the tables with every seed.

    recipes: the configuration in config/training/ of each method; overrides: of its keys; epochs:
    the length of each training in as many steps as there are pictures, on a GPU, instead of
    minutes; dimensions: those of the tables that are trained (none given: all); jobs: trainings at
    a time.
    """

    kind: ClassVar[str] = 'paper_tables'

    minutes: float = 2.0
    seeds: tuple[int, ...] = (0,)
    recipes: dict[str, str] = field(
        default_factory=lambda: {'NT-Xent': 'nt_xent', 'mined': 'mined'}
    )
    overrides: tuple[str, ...] = ()
    epochs: float | None = None
    dimensions: tuple[int, ...] = ()
    jobs: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        within('jobs', self.jobs, 1, 1000)
        if self.epochs is not None:
            within('epochs', self.epochs, 0.01, 1e6)
        if set(self.recipes) != set(AS_PRINTED):
            raise ValueError(
                f'recipes is of {", ".join(self.recipes)}; {" and ".join(AS_PRINTED)} are needed'
            )
        for dimension in self.dimensions:
            if dimension not in TABLES_1_AND_2:
                allowed = ', '.join(map(str, TABLES_1_AND_2))
                raise ValueError(f'dimensions holds {dimension}; allowed are {allowed}')

    def cases(self) -> list[Case]:
        """List the tables' cells, of the dimensions that are wanted."""
        return [case for case in PUBLISHED if not self.dimensions or case.D in self.dimensions]

    def kept(self, job: Job, case: Case, seed: int, split: Split, data: Data) -> Kept:
        """Say how a case is trained, and where it is kept."""
        config, overrides = recipe(self.recipes, case, self.overrides)
        how = Recipe.within(self.minutes, config, overrides, seed)
        if self.epochs is not None:
            steps = round(self.epochs * len(split.learned))
            how = Recipe(config, overrides, steps=steps, seed=seed)
        return Kept(
            job.trainings,
            f'tables-{config.stem}-{case.N}-{case.D}',
            how,
            partial(write_samples, samples=split.learned),
            data.training_backgrounds(),
            job.output / 'trainings.log',
        )

    def run(self, job: Job, console: Console) -> Outcome:
        """Train and measure; see Study."""
        if self.epochs is not None and not torch.cuda.is_available():
            raise DataError(
                f'epochs is {self.epochs:g}, but torch finds no CUDA device; run it on a machine '
                'with a GPU, or by minutes here: the study paper_tables (BUDGET=cpu)'
            )
        data, cases = Data.read(job.request.data), self.cases()
        split = data.split('held', _ROTATION)
        results, cards = self._train(job, data, split, console)
        say(console, "Measuring the memory of a step of the paper's size")
        rows = [row(case, [r for r in results if r.case == case], memory(case)) for case in cases]
        largest = max(cases, key=lambda case: case.D)
        rows += references(settings(self.recipes, largest, self.overrides), largest, split.about)
        assert split.whole is not None
        guesses = known_guesses(split.whole)
        for guess, value in guesses.items():
            say(console, f'Under the metric of the published AUC: {guess} {value:.3f}')
        title = (
            'Paper 1, tables 1 to 3: other renders of objects that were trained on; GB of a step '
            f'with a pair of 640x480, {_counted()}'
        )
        return Outcome(title, rows, [], {'published metric': guesses, 'cards': cards})

    def _train(
        self, job: Job, data: Data, split: Split, console: Console
    ) -> tuple[list[Result], dict[str, Any]]:
        """Train and measure every case with every seed, some at a time; say how far it is."""
        wanted = [(case, seed) for seed in self.seeds for case in self.cases()]
        trainings = [self.kept(job, case, seed, split, data) for case, seed in wanted]
        job.output.mkdir(parents=True, exist_ok=True)
        results: list[Result] = []
        cards = {}
        fresh, started = 0, time.monotonic()
        with closing(together(trainings, self.jobs, partial(say, console))) as done:
            for place, trained in done:
                case, seed = wanted[place]
                model = Learned(at_scale(trained.checkpoint, split.about))
                own = accuracy(split.about, model)
                results.append(Result(case, trained.checkpoint, own))
                card = {**trained.checkpoint.card, 'commit': trained.commit}
                cards['-'.join(map(str, (*case, seed)))] = card
                fresh += not trained.before
                each = (time.monotonic() - started) / 60 / max(fresh, 1)
                left = (
                    f'about {each * (len(wanted) - len(results)):.0f} min left; ' if fresh else ''
                )
                say(
                    console,
                    f'{len(results)} of {len(wanted)} runs, {left}{case.method}, N = {case.N}, '
                    f'D = {case.D}, seed {seed}: AUC {own.auc:.3f}',
                )
        return results, cards


def recipe(
    recipes: Mapping[str, str], case: Case, overrides: tuple[str, ...] = ()
) -> tuple[Path, tuple[str, ...]]:
    """Return the configuration that a case is trained by, and what is changed in it."""
    size = 'views.queries' if case.method == 'NT-Xent' else 'network.keypoints.number'
    changes = (f'--network.dimension={case.D}', f'--{size}={case.N}')
    turned = f'--views.warp.rotation={_ROTATION:g}'
    path = config_path('training') / f'{recipes[case.method]}.yaml'
    return path, (turned, *changes, *overrides)


def settings(
    recipes: Mapping[str, str], case: Case, overrides: tuple[str, ...] = ()
) -> TrainingConfiguration:
    """Resolve the recipe of a case."""
    path, changes = recipe(recipes, case, overrides)
    mapping = configuration.override(configuration.load(path), changes)
    return configuration.read(TrainingConfiguration, mapping, str(path))


def row(case: Case, results: list[Result], gigabytes: float) -> dict[str, Any]:
    """Put our figures, means over seeds, beside the published ones."""
    published = PUBLISHED[case]
    printed = f'{published.auc:.3f} ± {published.deviation:.3f}' if published else ''
    return {
        'method': case.method,
        'N': case.N,
        'D': case.D,
        'steps': round(np.mean([result.checkpoint.card['steps'] for result in results])),
        **_figures([result.accuracy for result in results]),
        'GB': round(gigabytes, 3),
        'published in': 'table 3' if case.N == 16 else 'tables 1, 2',
        'AUC, other metric': printed,
        'published GB': published.gigabytes if published else '',
    }


def references(own: TrainingConfiguration, case: Case, data: PairSet) -> list[dict[str, Any]]:
    """Measure what knows nothing: a case's network with random weights, and two guesses."""
    untrained = Checkpoint(own.network, own.preprocessing, {}, 0.0).untrained()
    rng = np.random.default_rng(0)
    known: tuple[tuple[str, int | str, Matcher], ...] = (
        ('untrained', case.D, Learned(at_scale(untrained, data))),
        ('object centroid', '', centroid),
        ('random pixel of the object', '', random_pixel(lambda number: rng)),
    )
    nothing = {key: '' for key in ('GB', 'published in', 'AUC, other metric', 'published GB')}
    return [
        {
            'method': name,
            'N': '',
            'D': D,
            'steps': '',
            **_figures([accuracy(data, matcher)]),
            **nothing,
        }
        for name, D, matcher in known
    ]


def _figures(accuracies: list[Accuracy]) -> dict[str, Any]:
    aucs = [accuracy.auc for accuracy in accuracies]
    means = {
        key: round(float(np.mean([accuracy.rounded()[key] for accuracy in accuracies])), 4)
        for key in SHOWN
    }
    deviation = round(float(np.std(aucs, ddof=1)), 4) if len(aucs) > 1 else ''
    return {'auc': means.pop('auc'), 'deviation': deviation, **means}


def memory(case: Case) -> float:
    """Measure the GB that a training step of the paper's size takes (table 2).

    On a GPU the peak of torch's own counter over a step with its optimiser, weights included;
    otherwise what autograd holds at the most: in the backward pass, where that of the backbone is
    still there and that of the rest exists anew.
    """
    torch.manual_seed(0)
    pairs = costs.batch()
    pairs['images'] = functional.interpolate(pairs['images'], _PICTURE)
    pairs['masks'] = functional.interpolate(pairs['masks'][:, None], _PICTURE)[:, 0]
    pairs['uv'] = pairs['uv'][:, : case.N]
    gc.collect()  # the counter would count what is left of the case before
    module = DescriptorTraining(settings(AS_PRINTED, case), lambda: 0.5, Path('output'))
    if not torch.cuda.is_available():
        kept = costs.saved_bytes(partial(module.training_step, pairs, 0))
        features = costs.features(module, pairs).detach().requires_grad_()
        return (kept + costs.saved_bytes(partial(module.losses, features, pairs))) / 1e9
    module.cuda()
    pairs = {name: tensor.cuda() for name, tensor in pairs.items()}
    optimiser: torch.optim.Optimizer = module.configure_optimizers()
    for _ in range(2):  # the first step makes the optimiser's moments
        torch.cuda.reset_peak_memory_stats()
        costs.step(module, pairs)
        optimiser.step()
        optimiser.zero_grad()
    return torch.cuda.max_memory_allocated() / 1e9


def _counted() -> str:
    if torch.cuda.is_available():
        return "torch's peak"
    return f'saved in {"bfloat16" if fast_bfloat16(torch.device("cpu")) else "float32"}'
