"""Mined, NT-Xent and joint descriptors after equal processor time, on splits that are honest.

held       other renders of objects that were trained on, each in two random views
unseen     renders of an object that was left out, each object in its turn
photos     photos of one object, found in one that is another turned by 180 degrees
transfer   the same photos, after training on renders alone; also by the shipped model, which
           learned from many more renders
mixed      the same photos, after training on renders and the photos that nothing is measured on
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from don_kp_ros.configuration import within
from don_kp_ros.evaluation.baselines import ColourPatches, DenseSift
from don_kp_ros.evaluation.matchers import (
    Learned,
    Matcher,
    accuracy,
    at_scale,
    centroid,
    not_learned,
    random_pixel,
)
from don_kp_ros.evaluation.pairs import PairSet
from don_kp_ros.evaluation.peers import PEERS, absent, peers
from don_kp_ros.evaluation.results import Target
from don_kp_ros.networks.checkpoint import Checkpoint, load
from don_kp_ros.resources import shipped_model
from don_kp_ros.studies.splits import SPLITS, Data, Split, method_recipe
from don_kp_ros.studies.study import Job, Outcome, Study, not_empty

METHODS = ('mined', 'nt_xent', 'joint')
UNMEASURED = 'not measured'
SHOWN = ('auc', 'pck_5', 'pck_10', 'median_px')
_GOALS = (  # minutes, split, method, figure, its name, and what its mean must reach
    (10, 'held', 'mined', 'auc', 'AUC', 0.955),
    (10, 'held', 'joint', 'auc', 'AUC', 0.965),
    (10, 'unseen', 'joint', 'auc', 'AUC', 0.94),
    (10, 'photos', 'joint', 'auc', 'AUC', 0.92),
    (10, 'transfer', 'joint', 'auc', 'AUC', 0.58),
    (30, 'held', 'joint', 'auc', 'auc', 0.98),
    (30, 'held', 'joint', 'pck_5', 'pck_5', 0.88),
)

MatcherOf = Callable[[PairSet], Matcher]
Name = Literal['held', 'unseen', 'photos', 'transfer', 'mixed']


@dataclass(frozen=True)
class AccuracyStudy(Study):
    """Trains every method on every split with every seed.

    methods: names in config/training/ (none given: only what is not trained is measured);
    left_out: objects, by the names of their first pictures (none given: each); rotation: degrees,
    +-, by which views of renders are turned.
    """

    kind: ClassVar[str] = 'accuracy'

    splits: tuple[Name, ...] = ('held', 'unseen', 'photos', 'transfer', 'mixed')
    methods: tuple[str, ...] = METHODS
    left_out: tuple[str, ...] = ()
    rotation: float = 45.0

    def __post_init__(self) -> None:
        super().__post_init__()
        within('rotation', self.rotation, 0, 180)
        not_empty('splits', self.splits, ', '.join(SPLITS))

    def run(self, job: Job) -> Outcome:
        """Train and measure; see Study."""
        for method in self.methods:
            _ = method_recipe(method, self.rotation, self, self.seeds[0]).settings
        data = Data.read(job.request.data, job.reader)
        # These take minutes for each split.
        others = not_trained(job) if self.methods in (METHODS, ()) else {}
        parts = [
            (name, left_out)
            for name in self.splits
            for left_out in (data.left_out(self.left_out) if name == 'unseen' else ('',))
        ]
        rows: list[dict[str, Any]] = []
        for name, left_out in parts:
            split = data.split(name, self.rotation, left_out)
            rows += self._rows(job, data, split, f'{name} {left_out}'.strip(), others)
        title = (
            f'Accuracy after {self.minutes:g} processor minutes, views turned by '
            f'+-{self.rotation:g} degrees, pixels of a 640-pixel-wide picture'
        )
        return Outcome(title, rows, self._targets(rows), {'cards': job.cards})

    def _rows(
        self, job: Job, data: Data, split: Split, name: str, others: Mapping[str, MatcherOf | None]
    ) -> list[dict[str, Any]]:
        """Measure what knows nothing, and every method with every seed."""
        rows = [_row(name, shown, '', own, split) for shown, own in blind().items()]
        about = dataclasses.replace(split, whole=None)
        rows += [_row(name, shown, '', own, about) for shown, own in others.items()]
        if split.name == 'transfer':
            shipped = load(shipped_model())
            rows.append(_row(name, 'shipped model', '', shipped, split))
        for number, (method, seed) in enumerate((m, s) for m in self.methods for s in self.seeds):
            kept = data.training(job.trainings, split, method, self, seed)
            model = job.train(f'{name}-{method}-{seed}', kept).checkpoint
            if number == 0:
                rows.append(_row(name, 'untrained', '', model.untrained(), split))
            rows.append(_row(name, method, seed, model, split))
        return rows

    def _targets(self, rows: list[dict[str, Any]]) -> list[Target]:
        """Say what must be reached after ten minutes, and after thirty."""
        targets = []
        for minutes, split, method, figure, name, limit in _GOALS:
            own = [
                row[figure]
                for row in rows
                if (row['split'].split()[0], row['descriptors']) == (split, method)
            ]
            if own and (self.minutes, self.rotation) == (minutes, 45):
                reached = round(float(np.mean(own)), 4)
                targets.append(Target(f'{name}, {split}, {method}', reached, limit, True))
        return targets


def blind() -> dict[str, MatcherOf]:
    """Make guesses that know where the object is, and nothing else."""

    def random(_: PairSet) -> Matcher:
        rng = np.random.default_rng(0)
        return random_pixel(lambda number: rng)

    return {'object centroid': lambda _: centroid, 'random pixel of the object': random}


def not_trained(job: Job) -> dict[str, MatcherOf | None]:
    """Make what learned nothing of these pictures; say why some of it cannot be: None."""
    known = peers(job.request.device)
    if missing := [name for name in PEERS if name not in known]:
        job.say(f'{", ".join(missing)}: {absent()}')
    return {
        'dense SIFT': lambda _: not_learned(DenseSift()),
        'colours': lambda _: not_learned(ColourPatches()),
        **{name: (lambda _, own=known[name]: own) if name in known else None for name in PEERS},
    }


def _row(
    name: str, shown: str, seed: int | str, known: Checkpoint | MatcherOf | None, split: Split
) -> dict[str, Any]:
    """Measure a model, or what isn't one, on a split."""

    def figures(data: PairSet) -> dict[str, Any]:
        if known is None:
            return dict.fromkeys(SHOWN, UNMEASURED)
        if isinstance(known, Checkpoint):
            return accuracy(data, Learned(at_scale(known, data))).rounded()
        return accuracy(data, known(data)).rounded()

    own = figures(split.about)
    return {
        'split': name,
        'descriptors': shown,
        'seed': seed,
        'steps': known.card.get('steps', 0) if isinstance(known, Checkpoint) else '',
        **{key: own[key] for key in SHOWN},
        'auc in whole pictures': '' if split.whole is None else figures(split.whole)['auc'],
    }
