"""Train on a few photos without negatives; look for their points where the object is absent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.data.folder import DataError, Sample, write_samples
from don_kp_ros.data.picture_file import Image, read_image
from don_kp_ros.evaluation.matchers import Learned
from don_kp_ros.evaluation.pairs import Pixels, shown_on
from don_kp_ros.evaluation.results import Target
from don_kp_ros.networks.checkpoint import Checkpoint
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.resources import config_path
from don_kp_ros.studies.splits import Photos
from don_kp_ros.studies.study import Job, Outcome, Study, not_empty
from don_kp_ros.studies.trainings import Kept, Recipe

_CONFIG = 'training/photos.yaml'
_POINTS = 60  # of each photo
_RECALLS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_JUDGED, _MOST_FALSE = 0.8, 0.05
_ALL = 'all photos'

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class AbsentObjects(Study):
    """Trains on all photos, and without each; its points are looked for in all others.

    So points of a photo are looked for in the photos that show the object, in those that the
    training knew, or in the one that it did not; and in pictures without it. absent: patterns of
    these below DATA; alike: of pictures of other objects of its kind, which are not judged.
    """

    kind: ClassVar[str] = 'absent'

    seeds: tuple[int, ...] = (0,)
    absent: tuple[str, ...] = ('backgrounds/*', 'ycb_real/posecnn_demo/*color*')
    alike: tuple[str, ...] = ('caps/rgbs/*',)

    def __post_init__(self) -> None:
        super().__post_init__()
        not_empty('absent', self.absent, 'the patterns of pictures below DATA without the object')

    def run(self, job: Job) -> Outcome:
        """Train and measure; see Study."""
        photos, absent = Photos.read(job.request.data, job.reader), _read(job, self.absent)
        alike = _read(job, self.alike)
        learned = photos.learned
        cases = {_ALL: (learned, [*learned, *(copy for _, copy in photos.pairs)])}
        for held in learned if len(learned) > 1 else []:
            others = [sample for sample in learned if sample is not held]
            cases[f'all but {held.path.name}'] = (others, [held])
        rows, targets = [], []
        for (name, (known, shown)), seed in product(cases.items(), self.seeds):
            recipe = Recipe.within(self.minutes, config_path(_CONFIG), self.overrides, seed)
            write = partial(write_samples, samples=known)
            kept = Kept(job.trainings, f'absent-{name.replace(" ", "-")}', recipe, write)
            model = job.train(f'{name}, seed {seed}', kept).checkpoint
            for variant in [model, *[_without_novelty(model)] * model.network.novelty]:
                of = {'trained on': name, 'seed': seed, 'novelty': variant.network.novelty}
                describer = Learned(DescriptorModel(variant, job.request.device))
                found = _look(describer, known, shown, absent, alike)
                threshold = variant.match_threshold if variant is model else None
                own = [{**of, **row} for row in _rows(found, threshold)]
                rows += own
                if name == _ALL and variant is model:
                    false = own[-1][f'at recall {_JUDGED:g}']
                    text = f'false finds at a recall of {_JUDGED:g}, {name}, seed {seed}'
                    targets.append(Target(text, false, _MOST_FALSE))
        title = 'Shares of points that are found in pictures with the object and without it'
        return Outcome(title, rows, targets, {'cards': job.cards})


def _read(job: Job, patterns: Sequence[str]) -> dict[str, list[Image]]:
    """Read pictures by their patterns; raises DataError where there are none at all."""
    root = job.request.data
    found = {
        pattern: [read_image(path) for path in sorted(root.glob(pattern))] for pattern in patterns
    }
    if patterns and not any(found.values()):
        raise DataError(f'{root}: there are no pictures {", ".join(patterns)}')
    return {pattern: images for pattern, images in found.items() if images}


@dataclass(frozen=True)
class _Found:
    """Similarities of points: where the object is, -inf if beside it; and where it is not.

    absent, alike: as of AbsentObjects, by their patterns.
    """

    present: Scores
    absent: Mapping[str, Scores]
    alike: Mapping[str, Scores]

    def threshold(self, recall: float) -> float:
        """Return the threshold at which that share of the points is found on the object."""
        return float(np.quantile(self.present, 1 - recall, method='lower'))


def _look(
    matcher: Learned,
    known: Sequence[Sample],
    shown: Sequence[Sample],
    absent: Mapping[str, Sequence[Image]],
    alike: Mapping[str, Sequence[Image]],
) -> _Found:
    """Look for points of known photos in others that show the object, and where it is absent."""
    places = [_points(sample, number) for number, sample in enumerate(known)]
    present = []
    for sample, uv in zip(known, places, strict=True):
        for other in shown:
            if other is not sample:
                there = matcher.find(sample.image, other.image, uv)
                hit = shown_on(there.uv, other.mask)
                present.append(np.where(hit, there.score, np.float32(-np.inf)))

    def best(images: Sequence[Image]) -> Scores:
        return np.concatenate(
            [
                matcher.find(sample.image, image, uv).score
                for image in images
                for sample, uv in zip(known, places, strict=True)
            ]
        )

    return _Found(
        np.concatenate(present),
        {name: best(images) for name, images in absent.items()},
        {name: best(images) for name, images in alike.items()},
    )


def _points(sample: Sample, seed: int) -> Pixels:
    v, u = np.nonzero(sample.mask)
    chosen = np.random.default_rng(seed).choice(len(u), min(_POINTS, len(u)), replace=False)
    return np.stack([u[chosen], v[chosen]], axis=1).astype(np.float32)


def _rows(found: _Found, threshold: float | None) -> Iterator[dict[str, Any]]:
    """Tell the shares that are found: the object's, those of others, and all that are absent."""
    every = np.concatenate(list(found.absent.values()))
    groups = {'the object': found.present, **found.alike, **found.absent, 'all without it': every}
    for name, scores in groups.items():
        thresholds = {f'at recall {recall:g}': found.threshold(recall) for recall in _RECALLS}
        if threshold is not None:
            thresholds = {'at the threshold': threshold, **thresholds}
        shares = {
            at: round(float(np.mean((scores >= value) & (scores > -np.inf))), 4)
            for at, value in thresholds.items()
        }
        yield {'looked for in': name, 'points': len(scores), 'at the threshold': None, **shares}


def _without_novelty(model: Checkpoint) -> Checkpoint:
    """Drop the number of a descriptor that says how new a cell is, to compare with."""
    network = replace(model.network, novelty=False, dimension=model.network.learned)
    weights = {name: own for name, own in model.weights.items() if name != 'familiar_length'}
    return replace(model, network=network, weights=weights)
