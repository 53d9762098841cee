"""Measure a model on pairs of pictures, and where its object is absent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.evaluation.matchers import Learned
from don_kp_ros.evaluation.pairs import PairSet
from don_kp_ros.evaluation.pck import Accuracy
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


def measure(
    model: DescriptorModel, data: PairSet, advance: Callable[[], None] = lambda: None
) -> Measurement:
    """Match every pair's points and compare with the truth; `advance` is called after each."""
    matcher = Learned(model, maps=None)
    uses = Counter(index for pair in data.pairs for index in (pair.image_a, pair.image_b))
    errors, present, absent = [], [], [np.zeros(0, np.float32)]
    for number, pair in enumerate(data.pairs):
        image_a, image_b = data.pictures(number)
        found = matcher.find(image_a, image_b, pair.uv_a)
        errors.append(data.errors(number, found.uv))
        present.append(found.score)
        for k in range(min(_ABSENT_PER_PAIR, len(data.negatives))):
            negative = data.negatives[(number * _ABSENT_PER_PAIR + k) % len(data.negatives)]
            absent.append(matcher.find(image_a, negative, pair.uv_a).score)
        for index in (pair.image_a, pair.image_b):
            uses[index] -= 1
            if uses[index] == 0:  # all maps of many pictures together are large
                matcher.forget(data.images[index])
        advance()
    return Measurement(np.concatenate(errors), np.concatenate(present), np.concatenate(absent))
