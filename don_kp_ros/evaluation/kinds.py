"""How well points of each kind of object are found, and how often on objects of other kinds."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from don_kp_ros.evaluation.matchers import Describer, Learned
from don_kp_ros.evaluation.pairs import PairSet, shown_on
from don_kp_ros.evaluation.pck import BRIEF, Accuracy
from don_kp_ros.matching.heatmap import heatmaps
from don_kp_ros.matching.maps import describe_at

RECALL = 0.9
_OTHERS, _QUERIES = 4, 16  # pictures of other kinds for each pair, and points looked for there

Scores = NDArray[np.float32]


def measure_kinds(model: Describer, data: PairSet) -> dict[str, dict[str, Any]]:
    """Measure the points of each kind; nothing where pairs show objects of one kind alone.

    The figures of a kind are those of Accuracy and `false_finds`: the share of its points whose
    most similar pixel on an object of another kind reaches the threshold that RECALL of them reach
    on their own object.
    """
    kinds = sorted({pair.kind for pair in data.pairs})
    if len(kinds) < 2:
        return {}
    matcher = Learned(model, maps=None)
    result = {}
    for kind in kinds:
        own = [i for i, pair in enumerate(data.pairs) if pair.kind == kind]
        others = [i for i, pair in enumerate(data.pairs) if pair.kind != kind]
        errors, present, absent = [], [], []
        for place, number in enumerate(own):
            pair = data.pairs[number]
            found = matcher.find(*data.pictures(number), pair.uv_a)
            errors.append(data.errors(number, found.uv))
            hit = shown_on(found.uv, data.mask_b(number))
            present.append(np.where(hit, found.score, np.float32(-np.inf)))
            for k in range(_OTHERS):
                other = others[(place * _OTHERS + k) * len(others) // (len(own) * _OTHERS)]
                absent.append(_best_on_object(matcher, data, number, other))
        threshold = np.quantile(np.concatenate(present), 1 - RECALL, method='lower')
        false = np.concatenate(absent) >= threshold
        figures = Accuracy.of(np.concatenate(errors)).rounded(BRIEF)
        result[kind] = {**figures, 'false_finds': round(float(false.mean()), 4)}
    return result


def _best_on_object(matcher: Learned, data: PairSet, number: int, other: int) -> Scores:
    """Look for some points of a pair's A on the object in another pair's B: similarities (Q,)."""
    image_a, image_b = data.pictures(number)[0], data.pictures(other)[1]
    uv = torch.from_numpy(data.pairs[number].uv_a[:_QUERIES])
    queries = describe_at(matcher.describe(image_a), uv, (image_a.shape[0], image_a.shape[1]))
    map_b = matcher.describe(image_b)
    size = (2 * map_b.shape[1], 2 * map_b.shape[2])  # pixels would show no higher peaks
    share = cv2.resize(data.mask_b(other), size[::-1], interpolation=cv2.INTER_AREA)
    with torch.inference_mode():
        similarity = heatmaps(map_b, queries, size).cpu().numpy()
    return np.asarray(similarity[:, share > share.max() / 2].max(axis=1), np.float32)
