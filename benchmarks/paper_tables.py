"""Paper 1's tables 1 to 3: accuracy and memory by descriptor size, of NT-Xent and mined.

`DATA=FOLDER BUDGET=cpu python -m benchmarks.paper_tables`: the tables' 20 settings (D of 3 to 512;
N = 128 correspondences or keypoints, and 16 keypoints for D from 64 on), trained and measured on
the split `held` of benchmarks.accuracy, DATA as there.

BUDGET=cpu    the project's own recipes, MINUTES (2) processor minutes each, two at a time
BUDGET=paper  as the paper is printed, on a GPU: ResNet-34, one pair of about 640x480 pixels a
              step, EPOCHS (2500) of as many steps as there are pictures, three models each

DIMENSIONS and SEEDS choose some (DIMENSIONS=3,64 SEEDS=0,1), JOBS is the number of trainings at a
time. Trainings are kept and gone on with (benchmarks/runs.py). What they print goes to
output/bench/paper_tables.log.

Memory is that of a training step of the paper's size under either budget: the peak of torch's own
counter on a GPU, otherwise the bytes that autograd holds at the most.
"""

from __future__ import annotations

import dataclasses
import gc
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.nn import functional

from benchmarks import training_costs as costs
from benchmarks.accuracy import Data, Split, at_scale, chosen, number
from benchmarks.report import OUTPUT, given, report
from benchmarks.runs import Run, trained
from don_kp_ros import configuration
from don_kp_ros.data.folder import DataError, Image
from don_kp_ros.evaluation.measure import centroid_accuracy, measure, random_accuracy
from don_kp_ros.evaluation.pairs import PairSet
from don_kp_ros.evaluation.pck import Accuracy
from don_kp_ros.networks.checkpoint import Checkpoint
from don_kp_ros.networks.model import fast_bfloat16
from don_kp_ros.training.module import DescriptorTraining
from don_kp_ros.training.settings import TrainingConfiguration

Method = Literal['NT-Xent', 'mined']

_ROTATION = 45  # degrees, +-: keypoints are not learned from views turned by any angle
_PICTURE = (480, 640)  # height, width
_LOG = OUTPUT / 'paper_tables.log'


class Case(NamedTuple):
    """A cell of the tables; N: correspondences of NT-Xent, keypoints of mined."""

    method: Method
    N: int
    D: int


class Published(NamedTuple):
    """What the paper prints for it: AUC, its standard deviation over three models, GB."""

    auc: float
    deviation: float
    gigabytes: float


_TABLES_1_AND_2: dict[int, tuple[Published | None, Published]] = {
    3: (Published(0.922, 0.006, 9.377), Published(0.914, 0.009, 4.763)),
    8: (Published(0.933, 0.011, 13.717), Published(0.928, 0.015, 4.785)),
    16: (Published(0.948, 0.012, 20.479), Published(0.945, 0.010, 4.832)),
    32: (Published(0.953, 0.008, 30.067), Published(0.950, 0.009, 4.872)),
    64: (None, Published(0.953, 0.006, 4.913)),
    128: (None, Published(0.957, 0.012, 5.409)),
    256: (None, Published(0.959, 0.008, 6.551)),
    512: (None, Published(0.962, 0.011, 7.915)),
}
_TABLE_3 = {
    64: Published(0.948, 0.009, 3.799),
    128: Published(0.952, 0.010, 4.191),
    256: Published(0.955, 0.013, 5.241),
    512: Published(0.957, 0.006, 7.341),
}
PUBLISHED: dict[Case, Published | None] = {
    **{Case('NT-Xent', 128, D): row[0] for D, row in _TABLES_1_AND_2.items()},
    **{Case('mined', 128, D): row[1] for D, row in _TABLES_1_AND_2.items()},
    **{Case('mined', 16, D): row for D, row in _TABLE_3.items()},
}


@dataclass(frozen=True)
class Budget:
    """How the tables' models are trained: for a length by a clock, some at a time (jobs)."""

    name: str
    recipes: dict[Method, str]
    overrides: tuple[str, ...]
    seeds: tuple[str, ...]
    jobs: int
    clock: Literal['MINUTES', 'EPOCHS']
    length: float

    @classmethod
    def read(cls) -> Budget:
        """Read BUDGET, its length, and JOBS; raises DataError for a budget that can't be used."""
        name = os.environ.get('BUDGET') or 'cpu'
        if name not in _BUDGETS:
            raise DataError(f'BUDGET is {name}; allowed are {", ".join(_BUDGETS)}')
        budget = _BUDGETS[name]
        if budget.clock == 'EPOCHS' and not torch.cuda.is_available():
            raise DataError(
                f'BUDGET is {name}, but torch finds no CUDA device; run it on a machine with a '
                'GPU, or BUDGET=cpu here'
            )
        length, jobs = number(budget.clock, budget.length), int(number('JOBS', budget.jobs))
        return dataclasses.replace(budget, length=length, jobs=jobs)

    def recipe(self, case: Case) -> tuple[Path, tuple[str, ...]]:
        """Return the configuration that a case is trained by, and what is changed in it."""
        size = 'views.queries' if case.method == 'NT-Xent' else 'network.keypoints.number'
        changes = (f'--network.dimension={case.D}', f'--{size}={case.N}')
        turned = f'--views.warp.rotation={_ROTATION}'
        path = Path(f'config/training/{self.recipes[case.method]}.yaml')
        return path, (turned, *changes, *self.overrides)

    def settings(self, case: Case) -> TrainingConfiguration:
        """Resolve the recipe of a case."""
        path, changes = self.recipe(case)
        mapping = configuration.override(configuration.load(path), changes)
        return configuration.read(TrainingConfiguration, mapping, str(path))


_BUDGETS = {
    'cpu': Budget(
        'cpu',
        {'NT-Xent': 'nt_xent', 'mined': 'mined'},
        overrides=(),
        seeds=('0',),
        jobs=2,
        clock='MINUTES',
        length=2,
    ),
    'paper': Budget(
        'paper',
        {'NT-Xent': 'dense_object_nets', 'mined': 'paper'},
        # Views are square: 544 x 544 has the pixels of 640 x 480, to 4 %.
        overrides=('--preprocessing.input_size=640', '--views.size=544'),
        seeds=('0', '1', '2'),
        jobs=1,
        clock='EPOCHS',
        length=2500,
    ),
}


class Result(NamedTuple):
    """A model that was trained, and what it scores."""

    case: Case
    seed: int
    run: Run
    accuracy: Accuracy


def main() -> int:
    """Run the benchmark."""
    try:
        _run()
    except DataError as error:
        print(f'paper_tables: {error}', file=sys.stderr)
        return 2
    except CalledProcessError as error:
        print(f'paper_tables: {error}; what it printed is in {_LOG}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('paper_tables: stopped; the same command goes on from here', file=sys.stderr)
        return 130
    return 0


def _run() -> None:
    started = time.monotonic()
    budget, cases = Budget.read(), chosen_cases()
    data = Data.read()
    split = data.split('held', _ROTATION)
    results = train_all(budget, cases, split, data.training_backgrounds())
    print("Measuring the memory of a step of the paper's size", flush=True)
    rows = [row(case, [r for r in results if r.case == case], memory(case)) for case in cases]
    rows += references(budget, max(cases, key=lambda case: case.D), split.about)
    assert split.whole is not None
    published_metric = known_guesses(split.whole)
    for guess, value in published_metric.items():
        print(f'Under the metric of the published AUC: {guess} {value:.3f}')
    variables = {'BUDGET': budget.name, **given('DIMENSIONS', 'SEEDS', budget.clock)}
    report(
        'paper_tables',
        f'Paper 1, tables 1 to 3, BUDGET={budget.name}: other renders of objects that were '
        f'trained on; GB of a step with a pair of 640x480, {_counted()}',
        rows,
        details={
            'data': data.name,
            'minutes': round((time.monotonic() - started) / 60, 1),
            'published metric': published_metric,
            'cards': {
                '-'.join(map(str, (*result.case, result.seed))): {
                    **result.run.checkpoint.card,
                    'commit': result.run.commit,
                }
                for result in results
            },
        },
        variables={'DATA': data.name, **variables},
        variant=data.variant(variables),
    )


def chosen_cases() -> list[Case]:
    """Return the tables' cases, or those of DIMENSIONS; raises DataError for another one."""
    known = [str(D) for D in _TABLES_1_AND_2]
    wanted = chosen('DIMENSIONS', tuple(known))
    for dimension in wanted:
        if dimension not in known:
            raise DataError(f'DIMENSIONS holds {dimension}; allowed are {", ".join(known)}')
    return [case for case in PUBLISHED if str(case.D) in wanted]


def train_all(
    budget: Budget, cases: list[Case], split: Split, backgrounds: list[Image]
) -> list[Result]:
    """Train and measure every case with every seed, some at a time; say how far it is."""
    wanted = [(case, int(seed)) for seed in chosen('SEEDS', budget.seeds) for case in cases]
    results: list[Result] = []
    longest = 0.0
    _LOG.parent.mkdir(parents=True, exist_ok=True)
    pool = ThreadPoolExecutor(budget.jobs)
    try:
        started = [
            pool.submit(_train, budget, case, seed, split, backgrounds) for case, seed in wanted
        ]
        for future in as_completed(started):
            case, seed, run, seconds = future.result()
            accuracy = measure(at_scale(run.checkpoint, split.about), split.about).accuracy
            results.append(Result(case, seed, run, accuracy))
            longest = max(longest, seconds)
            left = longest * (len(wanted) - len(results)) / budget.jobs
            print(
                f'{len(results)} of {len(wanted)} runs, about {left / 60:.0f} min left; '
                f'{case.method}, N = {case.N}, D = {case.D}, seed {seed}: AUC {accuracy.auc:.3f}',
                flush=True,
            )
    finally:
        pool.shutdown(cancel_futures=True)
    return results


def _train(
    budget: Budget, case: Case, seed: int, split: Split, backgrounds: list[Image]
) -> tuple[Case, int, Run, float]:
    """Train a model; return how many seconds it took now, too."""
    started = time.monotonic()
    path, changes = budget.recipe(case)
    by_time = budget.clock == 'MINUTES'
    run = trained(
        f'tables-{path.stem}-{case.N}-{case.D}',
        split.learned,
        path,
        budget.length if by_time else None,
        seed,
        changes,
        tuple(backgrounds),
        steps=None if by_time else round(budget.length * len(split.learned)),
        log=_LOG,
    )
    return case, seed, run, time.monotonic() - started


def row(case: Case, results: list[Result], gigabytes: float) -> dict[str, Any]:
    """Put our figures, means over seeds, beside the published ones."""
    published = PUBLISHED[case]
    printed = f'{published.auc:.3f} ± {published.deviation:.3f}' if published else ''
    return {
        'method': case.method,
        'N': case.N,
        'D': case.D,
        'steps': round(np.mean([result.run.checkpoint.card['steps'] for result in results])),
        **_figures([result.accuracy for result in results]),
        'GB': round(gigabytes, 3),
        'published in': 'table 3' if case.N == 16 else 'tables 1, 2',
        'AUC, other metric': printed,
        'published GB': published.gigabytes if published else '',
    }


def references(budget: Budget, case: Case, data: PairSet) -> list[dict[str, Any]]:
    """Measure what knows nothing: a case's network with random weights, and two guesses."""
    settings = budget.settings(case)
    untrained = Checkpoint(settings.network, settings.preprocessing, {}, 0.0).untrained()
    known = (
        ('untrained', case.D, measure(at_scale(untrained, data), data).accuracy),
        ('object centroid', '', centroid_accuracy(data)),
        ('random pixel of the object', '', random_accuracy(data)),
    )
    nothing = {key: '' for key in ('GB', 'published in', 'AUC, other metric', 'published GB')}
    return [
        {'method': name, 'N': '', 'D': D, 'steps': '', **_figures([accuracy]), **nothing}
        for name, D, accuracy in known
    ]


def _figures(accuracies: list[Accuracy]) -> dict[str, Any]:
    aucs = [accuracy.auc for accuracy in accuracies]
    means = {
        key: round(float(np.mean([accuracy.rounded()[key] for accuracy in accuracies])), 4)
        for key in ('auc', 'pck_5', 'pck_10', 'median_px')
    }
    deviation = round(float(np.std(aucs, ddof=1)), 4) if len(aucs) > 1 else ''
    return {'auc': means.pop('auc'), 'deviation': deviation, **means}


def published_auc(found: ArrayLike, true: ArrayLike) -> float:
    """Compute the AUC of table 1 as the authors' code does, from pixels uv (Q, 2).

    It takes a point for found where the cosine of the angle between the two pixels, seen as
    vectors from the picture's corner, is at least k / 100, and has u and v of one swapped.
    """
    a, b = np.asarray(found, np.float64)[:, ::-1], np.asarray(true, np.float64)
    cosines = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    shares = (cosines[:, None] >= np.arange(1, 101) / 100).mean(axis=0)
    return float((shares[:-1] + shares[1:]).mean() / 2)  # the trapezoidal rule over [0, 1]


def known_guesses(data: PairSet) -> dict[str, float]:
    """Compute the published AUC of the truth itself, and of the picture's centre for any point."""
    true = np.concatenate([pair.uv_b for pair in data.pairs])
    centres = [np.array(data.images[pair.image_b].shape[1::-1]) / 2 for pair in data.pairs]
    centre = np.concatenate(
        [np.broadcast_to(c, pair.uv_b.shape) for c, pair in zip(centres, data.pairs, strict=True)]
    )
    return {
        'the truth': round(published_auc(true, true), 4),
        "the picture's centre": round(published_auc(centre, true), 4),
    }


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
    module = DescriptorTraining(_BUDGETS['paper'].settings(case), lambda: 0.5, OUTPUT)
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


if __name__ == '__main__':
    sys.exit(main())
