"""Paper 1's tables 1 to 3: accuracy and memory by descriptor size, of NT-Xent and mined.

The tables' 20 settings (D of 3 to 512; N = 128 correspondences or keypoints, and 16 keypoints for
D from 64 on), trained and measured on the split `held` of the accuracy study. Memory is that of a
training step of the paper's size, whatever is trained: the peak of torch's own counter on a GPU,
otherwise the bytes that autograd holds at the most.
"""

from __future__ import annotations

import gc
import time
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from don_kp_ros.configuration import within
from don_kp_ros.data.folder import DataError, write_samples
from don_kp_ros.evaluation.matchers import Learned, Matcher, accuracy, at_scale
from don_kp_ros.evaluation.pairs import PairSet
from don_kp_ros.evaluation.pck import Accuracy
from don_kp_ros.networks.checkpoint import Checkpoint
from don_kp_ros.networks.model import fast_bfloat16
from don_kp_ros.resources import config_path
from don_kp_ros.studies import step_costs as costs
from don_kp_ros.studies.accuracy import SHOWN, blind
from don_kp_ros.studies.published import PUBLISHED, TABLES_1_AND_2, Case, known_guesses
from don_kp_ros.studies.splits import Data, Split
from don_kp_ros.studies.study import Job, Outcome, Study
from don_kp_ros.studies.trainings import Kept, Recipe, together
from don_kp_ros.training.module import DescriptorTraining

AS_PRINTED = {'NT-Xent': 'dense_object_nets', 'mined': 'paper'}
_ROTATION = 45.0  # degrees, +-: keypoints are not learned from views turned by any angle
_PICTURE = (480, 640)  # height, width


class Run(NamedTuple):
    """What a model that was trained scores."""

    steps: int
    accuracy: Accuracy


@dataclass(frozen=True)
class PaperTables(Study):
    """Trains every setting of the tables with every seed.

    recipes: the configuration in config/training/ of each method; epochs:
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

    def recipe(self, case: Case, seed: int = 0, pictures: int = 1) -> Recipe:
        """Say how a case is trained on so many pictures."""
        size = 'views.queries' if case.method == 'NT-Xent' else 'network.keypoints.number'
        overrides = (
            f'--views.warp.rotation={_ROTATION:g}',
            f'--network.dimension={case.D}',
            f'--{size}={case.N}',
            *self.overrides,
        )
        config = config_path('training') / f'{self.recipes[case.method]}.yaml'
        if self.epochs is None:
            return Recipe.within(self.minutes, config, overrides, seed)
        return Recipe(config, overrides, steps=round(self.epochs * pictures), seed=seed)

    def run(self, job: Job) -> Outcome:
        """Train and measure; see Study."""
        if self.epochs is not None and not torch.cuda.is_available():
            raise DataError(
                f'epochs is {self.epochs:g}, but torch finds no CUDA device; run it on a machine '
                'with a GPU, or by minutes here: the study paper_tables (BUDGET=cpu)'
            )
        data, cases = Data.read(job.request.data, job.reader), self.cases()
        split = data.split('held', _ROTATION)
        runs = self._train(job, data, split)
        job.say("Measuring the memory of a step of the paper's size")
        rows = [row(case, runs[case], memory(case)) for case in cases]
        rows += self._references(max(cases, key=lambda case: case.D), split.about)
        assert split.whole is not None
        guesses = known_guesses(split.whole)
        for guess, value in guesses.items():
            job.say(f'Under the metric of the published AUC: {guess} {value:.3f}')
        title = (
            'Paper 1, tables 1 to 3: other renders of objects that were trained on; GB of a step '
            f'with a pair of 640x480, {_counted()}'
        )
        return Outcome(title, rows, [], {'published metric': guesses, 'cards': job.cards})

    def _train(self, job: Job, data: Data, split: Split) -> dict[Case, list[Run]]:
        """Train and measure every case with every seed, some at a time; say how far it is."""
        wanted = [(case, seed) for seed in self.seeds for case in self.cases()]
        trainings = [
            Kept(
                job.trainings,
                f'tables-{recipe.config.stem}-{case.N}-{case.D}',
                recipe,
                partial(write_samples, samples=split.learned),
                data.training_backgrounds(),
                job.output / 'trainings.log',
            )
            for case, seed in wanted
            for recipe in (self.recipe(case, seed, len(split.learned)),)
        ]
        job.output.mkdir(parents=True, exist_ok=True)
        runs: dict[Case, list[Run]] = {}
        fresh, started = 0, time.monotonic()
        with closing(together(trainings, self.jobs, job.say)) as done:
            for number, (place, trained) in enumerate(done, 1):
                case, seed = wanted[place]
                model = Learned(at_scale(trained.checkpoint, split.about))
                own = accuracy(split.about, model)
                runs.setdefault(case, []).append(Run(trained.checkpoint.card['steps'], own))
                job.cards['-'.join(map(str, (*case, seed)))] = trained.card
                fresh += not trained.before
                each = (time.monotonic() - started) / 60 / max(fresh, 1)
                left = f'about {each * (len(wanted) - number):.0f} min left; ' if fresh else ''
                job.say(
                    f'{number} of {len(wanted)} runs, {left}{case.method}, N = {case.N}, '
                    f'D = {case.D}, seed {seed}: AUC {own.auc:.3f}'
                )
        return runs

    def _references(self, case: Case, data: PairSet) -> list[dict[str, Any]]:
        """Measure what knows nothing: a case's network with random weights, and two guesses."""
        own = self.recipe(case).settings
        untrained = Checkpoint(own.network, own.preprocessing, {}, 0.0).untrained()
        known: dict[str, Matcher] = {'untrained': Learned(at_scale(untrained, data))}
        known |= {name: matcher(data) for name, matcher in blind().items()}
        return [
            {
                'method': name,
                'N': '',
                'D': case.D if name == 'untrained' else '',
                'steps': '',
                **_figures([accuracy(data, matcher)]),
                **dict.fromkeys(('GB', 'published in', 'AUC, other metric', 'published GB'), ''),
            }
            for name, matcher in known.items()
        ]


def row(case: Case, runs: list[Run], gigabytes: float) -> dict[str, Any]:
    """Put our figures, means over seeds, beside the published ones."""
    published = PUBLISHED[case]
    printed = f'{published.auc:.3f} ± {published.deviation:.3f}' if published else ''
    return {
        'method': case.method,
        'N': case.N,
        'D': case.D,
        'steps': round(np.mean([run.steps for run in runs])),
        **_figures([run.accuracy for run in runs]),
        'GB': round(gigabytes, 3),
        'published in': 'table 3' if case.N == 16 else 'tables 1, 2',
        'AUC, other metric': printed,
        'published GB': published.gigabytes if published else '',
    }


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
    module = DescriptorTraining(
        PaperTables(recipes=AS_PRINTED).recipe(case).settings, lambda: 0.5, Path('output')
    )
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
