"""Measure a model on pairs of pictures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from don_kp_ros.data.folder import Image
from don_kp_ros.evaluation.pairs import PairSet
from don_kp_ros.evaluation.pck import Accuracy, pixel_errors
from don_kp_ros.evaluation.transfer import transfer
from don_kp_ros.networks.model import DescriptorModel

_ABSENT_PER_PAIR = 2


@dataclass(frozen=True)
class Measurement:
    """What was measured on a set of pairs.

    errors (E,): of all points, pixels of a 640-pixel-wide picture; present, absent: similarity of
    the peaks in pictures with the object, and without it.
    """

    errors: NDArray[np.float64]
    present: NDArray[np.float32]
    absent: NDArray[np.float32]

    @property
    def accuracy(self) -> Accuracy:
        """The errors in figures."""
        return Accuracy.of(self.errors)


def measure(model: DescriptorModel, data: PairSet) -> Measurement:
    """Match every pair's points and compare with the truth."""
    maps: dict[int, Tensor] = {}
    absent_maps: dict[int, Tensor] = {}
    uses = Counter(index for pair in data.pairs for index in (pair.image_a, pair.image_b))
    errors, present, absent = [], [], []
    for number, pair in enumerate(data.pairs):
        for index in (pair.image_a, pair.image_b):
            if index not in maps:
                maps[index] = model.describe(data.images[index])
        a, b = maps[pair.image_a], maps[pair.image_b]
        size_a, size_b = _size(data.images[pair.image_a]), _size(data.images[pair.image_b])
        found = transfer(a, b, pair.uv_a, size_a, size_b)
        errors.append(pixel_errors(found.uv, pair.uv_b, data.width or size_b[1]))
        present.append(found.score)
        for k in range(min(_ABSENT_PER_PAIR, len(data.negatives))):
            index = (number * _ABSENT_PER_PAIR + k) % len(data.negatives)
            negative = data.negatives[index]
            if index not in absent_maps:
                absent_maps[index] = model.describe(negative)
            absent.append(
                transfer(a, absent_maps[index], pair.uv_a, size_a, _size(negative)).score
            )
        for index in (pair.image_a, pair.image_b):
            uses[index] -= 1
            if uses[index] == 0:  # all maps of many pictures together are large
                del maps[index]
    return Measurement(
        np.concatenate(errors),
        np.concatenate(present),
        np.concatenate(absent) if absent else np.zeros(0, np.float32),
    )


def centroid_accuracy(data: PairSet) -> Accuracy:
    """Measure the constant guess: every point lies at the centre of the object."""
    errors = []
    for pair in data.pairs:
        guess = np.broadcast_to(pair.centre_b, pair.uv_b.shape)
        width = data.width or data.images[pair.image_b].shape[1]
        errors.append(pixel_errors(guess, pair.uv_b, width))
    return Accuracy.of(np.concatenate(errors))


def random_accuracy(data: PairSet) -> Accuracy:
    """Measure a blind guess: any pixel of the object. Pairs without a mask are left out.

    Raises ValueError where no pair has one.
    """
    errors = []
    rng = np.random.default_rng(0)
    for pair in data.pairs:
        if pair.mask_b is None:
            continue
        v, u = np.nonzero(pair.mask_b > 127)
        chosen = rng.integers(len(u), size=len(pair.uv_b))
        guess = np.stack([u[chosen], v[chosen]], axis=1)
        width = data.width or data.images[pair.image_b].shape[1]
        errors.append(pixel_errors(guess, pair.uv_b, width))
    if not errors:
        raise ValueError(f'{data.origin}: no pair has a mask to guess on')
    return Accuracy.of(np.concatenate(errors))


def _size(image: Image) -> tuple[int, int]:
    return image.shape[0], image.shape[1]
