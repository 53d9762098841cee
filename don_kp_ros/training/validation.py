"""Measure a model on held pictures while it trains, and choose its match threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from don_kp_ros.data.folder import Correspondences, Image, ImageFolder, Sample, read_image
from don_kp_ros.data.views import (
    ViewConfiguration,
    ViewSampler,
    prepare,
    project,
    random_homography,
)
from don_kp_ros.evaluation.pck import Accuracy, pixel_errors
from don_kp_ros.evaluation.transfer import transfer
from don_kp_ros.networks.model import DescriptorModel

Pixels = NDArray[np.float32]
Scores = NDArray[np.floating[Any]]

_SIDE = 640  # pixels of the longer side of synthetic validation pictures
_ABSENT_PER_PAIR = 2


@dataclass(frozen=True)
class Pair:
    """Two pictures (by index) with true pixels uv_a, uv_b (Q, 2), and B's object's centre (2,)."""

    image_a: int
    image_b: int
    uv_a: Pixels
    uv_b: Pixels
    centre_b: NDArray[np.float64]


@dataclass(frozen=True)
class ValidationSet:
    """Pictures, pairs of them with truth, and pictures without the object.

    origin: says in words where they come from.
    """

    origin: str
    images: list[Image]
    pairs: list[Pair]
    negatives: list[Image]

    def some(self, pairs: int, queries: int) -> ValidationSet:
        """Keep a number of pairs, evenly spread, and of queries in each."""
        places = np.unique(np.linspace(0, len(self.pairs) - 1, pairs).round().astype(int))
        kept = []
        for pair in (self.pairs[i] for i in places):
            chosen = np.random.default_rng(0).permutation(len(pair.uv_a))[:queries]
            kept.append(
                Pair(
                    pair.image_a,
                    pair.image_b,
                    pair.uv_a[chosen],
                    pair.uv_b[chosen],
                    pair.centre_b,
                )
            )
        return ValidationSet(self.origin, self.images, kept, self.negatives)


@dataclass(frozen=True)
class Validation:
    """The accuracy on a validation set, and the similarity of peaks: object shown, and absent."""

    accuracy: Accuracy
    present: NDArray[np.float32]
    absent: NDArray[np.float32]


PRESENT_QUANTILE, ABSENT_QUANTILE = 0.02, 0.995


@dataclass(frozen=True)
class Threshold:
    """The similarity below which a peak is no match, and the quantiles that it comes from."""

    value: float
    present: float  # the PRESENT_QUANTILE of matches
    absent: float | None  # the ABSENT_QUANTILE of peaks where there is nothing to match

    @classmethod
    def choose(cls, present: Scores, absent: Scores) -> Threshold:
        """Choose the middle between the weakest 2 % of matches and the strongest .5 % of others.

        present: similarity of peaks in pictures that show the object; absent: in pictures that
        don't. Where the two overlap the latter decide: what is missed is looked for again, but
        what is not there must not be grasped. Without any of those, the weakest matches decide.
        """
        lowest = float(np.quantile(present, PRESENT_QUANTILE))
        if np.size(absent) == 0:
            return cls(lowest, lowest, None)
        highest = float(np.quantile(absent, ABSENT_QUANTILE))
        return cls(max((lowest + highest) / 2, highest), lowest, highest)


def from_folder(
    folder: ImageFolder, correspondences: Correspondences, negatives: list[Image]
) -> ValidationSet:
    """Read a held folder with its true correspondences."""
    samples = list(folder.samples())
    pairs = []
    for a, b, uv_a, uv_b in zip(
        correspondences.image_a,
        correspondences.image_b,
        correspondences.uv_a,
        correspondences.uv_b,
        strict=True,
    ):
        known = np.isfinite(uv_a).all(axis=1) & np.isfinite(uv_b).all(axis=1)
        if known.any():
            centre = _centre(samples[b].mask)
            pairs.append(Pair(int(a), int(b), uv_a[known], uv_b[known], centre))
    images = [sample.image for sample in samples]
    own = [read_image(path) for path in folder.negatives]
    return ValidationSet(
        f'{len(pairs)} pairs of {len(images)} held pictures with true correspondences',
        images,
        pairs,
        own or negatives,
    )


def synthetic(
    samples: list[Sample],
    configuration: ViewConfiguration,
    backgrounds: list[Image],
    negatives: list[Image],
    pairs: int,
    queries: int,
    seed: int,
    held: bool,
) -> ValidationSet:
    """Pair pictures with random views of themselves; their homographies are the truth."""
    sources = [prepare(sample, _SIDE, oversampling=1.0) for sample in samples]
    sampler = ViewSampler(configuration, sources, backgrounds)
    images = [source.image for source in sources]
    result = []
    for number in range(pairs):
        index = number % len(sources)
        source = sources[index]
        rng = np.random.default_rng((seed, 1, number))
        size = (source.image.shape[1], source.image.shape[0])
        homography = random_homography(source.centre, 1.0, size, configuration.warp, rng)
        view = sampler.view(source, homography, size, rng)
        uv_a = source.object_uv
        uv_b = project(homography, uv_a)
        seen = np.all((uv_b >= 0) & (uv_b <= np.array(size) - 1), axis=1)
        u, v = np.rint(uv_b[seen]).astype(int).T
        seen[seen] &= view.mask[v, u] > 127
        places = np.flatnonzero(seen)
        if len(places) == 0:
            continue
        places = rng.choice(places, min(queries, len(places)), replace=False)
        images.append(view.image)
        result.append(Pair(index, len(images) - 1, uv_a[places], uv_b[places], _centre(view.mask)))
    kind = 'held pictures' if held else 'the training pictures (too few to hold any)'
    return ValidationSet(f'{len(result)} random views of {kind}', images, result, negatives)


def validate(model: DescriptorModel, data: ValidationSet) -> Validation:
    """Match every pair's points and compare with the truth."""
    maps: dict[int, Tensor] = {}
    absent_maps: dict[int, Tensor] = {}
    errors, present, absent = [], [], []
    for number, pair in enumerate(data.pairs):
        for index in (pair.image_a, pair.image_b):
            if index not in maps:
                maps[index] = model.describe(data.images[index])
        a, b = maps[pair.image_a], maps[pair.image_b]
        size_a, size_b = _size(data.images[pair.image_a]), _size(data.images[pair.image_b])
        found = transfer(a, b, pair.uv_a, size_a, size_b)
        errors.append(pixel_errors(found.uv, pair.uv_b, size_b[1]))
        present.append(found.score)
        for k in range(min(_ABSENT_PER_PAIR, len(data.negatives))):
            index = (number * _ABSENT_PER_PAIR + k) % len(data.negatives)
            negative = data.negatives[index]
            if index not in absent_maps:
                absent_maps[index] = model.describe(negative)
            absent.append(
                transfer(a, absent_maps[index], pair.uv_a, size_a, _size(negative)).score
            )
    return Validation(
        Accuracy.of(np.concatenate(errors)),
        np.concatenate(present),
        np.concatenate(absent) if absent else np.zeros(0, np.float32),
    )


def centroid_accuracy(data: ValidationSet) -> Accuracy:
    """Measure the constant guess: every point lies at the centre of the object."""
    return Accuracy.of(
        np.concatenate(
            [
                pixel_errors(
                    np.broadcast_to(pair.centre_b, pair.uv_b.shape),
                    pair.uv_b,
                    data.images[pair.image_b].shape[1],
                )
                for pair in data.pairs
            ]
        )
    )


def _size(image: Image) -> tuple[int, int]:
    return image.shape[0], image.shape[1]


def _centre(mask: Image) -> NDArray[np.float64]:
    moments = cv2.moments(mask, binaryImage=True)
    area = max(moments['m00'], 1.0)
    return np.array([moments['m10'] / area, moments['m01'] / area])
