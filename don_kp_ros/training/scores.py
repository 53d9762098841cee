"""What a trained model scores on held pictures, beside an untrained one and a blind guess."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from don_kp_ros.data.folder import DataError, Sample
from don_kp_ros.evaluation.counting import Counting
from don_kp_ros.evaluation.keypoints import keypoint_figures
from don_kp_ros.evaluation.kinds import measure_kinds
from don_kp_ros.evaluation.matchers import accuracy, centroid
from don_kp_ros.evaluation.measure import Measurement, measure
from don_kp_ros.evaluation.pairs import PairSet, at_side, synthetic
from don_kp_ros.evaluation.pck import BRIEF
from don_kp_ros.networks.checkpoint import Checkpoint
from don_kp_ros.networks.model import DescriptorModel
from don_kp_ros.training.settings import TrainingConfiguration

_KEYPOINT_PAIRS = 50


@dataclass(frozen=True)
class Scores:
    """The measurement that the match threshold comes from, and the figures for the card."""

    measurement: Measurement
    metrics: dict[str, dict[str, float]]  # by who finds the points
    kinds: dict[str, dict[str, Any]]  # empty where there are not several
    keypoints: dict[str, float] | None  # None where no pair shows any of them


def score(
    trained: Checkpoint,
    data: PairSet,
    settings: TrainingConfiguration,
    seed: int,
    device: torch.device,
    console: Console,
) -> Scores:
    """Measure a model on pairs, and its keypoints on random views where pairs are not."""
    console.print(f'Measuring on {len(data.pairs)} pairs.', highlight=False)
    model = DescriptorModel(trained, device)
    with Counting(console, 2 * len(data.pairs)) as counting:
        counting.begin('model')
        own = measure(model, data, counting.advance)
        counting.begin('untrained')
        untrained = DescriptorModel(trained.untrained(), device)
        other = measure(untrained, replace(data, negatives=[]), counting.advance)
    figures = (
        ('model', own.accuracy),
        ('untrained', other.accuracy),
        ('centroid', accuracy(data, centroid)),
    )
    metrics = {name: of.rounded(BRIEF) for name, of in figures}
    keypoints, kinds = None, measure_kinds(model, data)
    if model.number_of_keypoints:
        views = _views(data, settings, seed)
        keypoints = keypoint_figures(model, views)
        for kind, of_kind in kinds.items():
            shown = replace(views, pairs=[pair for pair in views.pairs if pair.kind == kind])
            if (own_keypoints := keypoint_figures(model, shown)) is not None:
                of_kind['keypoints'] = own_keypoints
    return Scores(own, metrics, kinds, keypoints)


def _views(data: PairSet, settings: TrainingConfiguration, seed: int) -> PairSet:
    """Return pairs with a homography: these, or random views of their pictures.

    Pictures whose object is too small for views are passed over.
    """
    if any(pair.homography is not None for pair in data.pairs):
        return data
    step = max(1, len(data.pairs) // _KEYPOINT_PAIRS)
    samples, kinds = [], []
    for n in range(0, len(data.pairs), step):
        sample = Sample(Path(), data.pictures(n)[1], data.mask_b(n))
        with suppress(DataError):
            at_side(sample)
            samples.append(sample)
            kinds.append(data.pairs[n].kind)
    views = synthetic(samples, settings.views, data.negatives, [], len(samples), 1, seed)
    # Picture A of a pair is the sample itself.
    return replace(views, pairs=[replace(p, kind=kinds[p.image_a]) for p in views.pairs])
