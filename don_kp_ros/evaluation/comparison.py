"""A model beside what anyone has: every figure is given for all of them, on the same pairs.

Beside it are an untrained network of the same architecture, the centre of the object, a random
pixel of the object, and two descriptors that are not learned.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from don_kp_ros.data.folder import Image
from don_kp_ros.evaluation import statistics
from don_kp_ros.evaluation.baselines import Baseline, ColourPatches, DenseSift
from don_kp_ros.evaluation.keypoints import measure_keypoints
from don_kp_ros.evaluation.modality import peaks
from don_kp_ros.evaluation.pairs import Pair, PairSet
from don_kp_ros.evaluation.pck import THRESHOLDS, Accuracy, ErrorTable, pixel_errors
from don_kp_ros.evaluation.protocols.protocol import Condition
from don_kp_ros.evaluation.space import SpaceErrors, space_errors
from don_kp_ros.evaluation.transfer import transfer
from don_kp_ros.matching.maps import describe_at
from don_kp_ros.networks.checkpoint import Checkpoint
from don_kp_ros.networks.model import DescriptorModel

Array = NDArray[np.float64]
Pixels = NDArray[np.float32]
Matcher = Callable[[PairSet, int], Pixels]  # pairs, and the number of one: its points in B (Q, 2)

MODEL = 'model'
INTERVALS: dict[str, statistics.Statistic] = {
    'auc': statistics.AUC,
    'pck_5': statistics.pck_at(5),
    'pck_10': statistics.pck_at(10),
    'mean_px': statistics.MEAN,
    'median_px': statistics.MEDIAN,
    'q75_px': statistics.QuantileOf(0.75),
}
AMBIGUOUS = 0.95  # second peak over first
_MAPS = 16  # kept; one of 160x120 cells and D = 64 takes 5 MB
_PEAK_QUERIES = 16  # of each pair: whole heatmaps are costly


class Learned:
    """Matches with a network's descriptors; remembers the maps of the last pictures."""

    def __init__(self, model: DescriptorModel) -> None:
        self.model = model
        self._maps: OrderedDict[int, tuple[Image, Tensor]] = OrderedDict()

    def __call__(self, data: PairSet, number: int) -> Pixels:
        """Find the points of A of a pair in B: (Q, 2)."""
        pair, image_a, image_b = _pictures(data, number)
        maps = self.describe(image_a), self.describe(image_b)
        return transfer(*maps, pair.uv_a, _size(image_a), _size(image_b)).uv

    def describe(self, image: Image) -> Tensor:
        """Describe a picture, or take what is remembered."""
        key = id(image)
        if key not in self._maps:
            self._maps[key] = (image, self.model.describe(image))  # the picture keeps its id
            if len(self._maps) > _MAPS:
                self._maps.popitem(last=False)
        self._maps.move_to_end(key)
        return self._maps[key][1]

    def peak_ratio(self, data: PairSet, number: int) -> NDArray[np.float32]:
        """Compute the second peak over the first of a pair's first points in B: (q,)."""
        pair, image_a, image_b = _pictures(data, number)
        uv = torch.as_tensor(pair.uv_a[:_PEAK_QUERIES], dtype=torch.float32)
        map_a, map_b = self.describe(image_a), self.describe(image_b)
        with torch.inference_mode():
            queries = describe_at(map_a, uv.to(map_a.device), _size(image_a))
        return peaks(map_b, queries, _size(image_b)).ratio


def matchers(
    checkpoint: Checkpoint, device: str | torch.device, step: int, seed: int
) -> dict[str, Matcher]:
    """Make the model and what is held against it; the model comes first."""
    return {
        MODEL: Learned(DescriptorModel(checkpoint, device)),
        'untrained': Learned(DescriptorModel(checkpoint.untrained(seed), device)),
        'centroid': centroid,
        'random pixel': RandomPixel(seed),
        'dense SIFT': NotLearned(DenseSift(step=step)),
        'colour patches': NotLearned(ColourPatches(step=step)),
    }


def centroid(data: PairSet, number: int) -> Pixels:
    """Guess the centre of the object in B for every point: (Q, 2)."""
    pair = data.pairs[number]
    return np.broadcast_to(pair.centre_b.astype(np.float32), pair.uv_b.shape)


@dataclass(frozen=True)
class RandomPixel:
    """Guesses any pixel of the object; the same seed guesses the same."""

    seed: int

    def __call__(self, data: PairSet, number: int) -> Pixels:
        """Guess for every point of a pair: (Q, 2)."""
        pair = data.pairs[number]
        if pair.mask_b is None:
            raise ValueError(f'{data.origin}: pair {number} has no mask of B')
        v, u = np.nonzero(pair.mask_b > 127)
        chosen = np.random.default_rng((self.seed, 4, number)).integers(
            len(u), size=len(pair.uv_b)
        )
        return np.stack([u[chosen], v[chosen]], axis=1).astype(np.float32)


@dataclass(frozen=True)
class NotLearned:
    """Matches with a descriptor that is not learned."""

    baseline: Baseline

    def __call__(self, data: PairSet, number: int) -> Pixels:
        """Find the points of A of a pair in B: (Q, 2)."""
        pair, image_a, image_b = _pictures(data, number)
        return self.baseline.match(image_a, image_b, pair.uv_a)


@dataclass
class Found:
    """What a matcher found in the pairs of a condition.

    uv, errors: of every pair, pixels (Q, 2) of B and (Q,) of a 640-pixel-wide picture; peaks:
    second peak over first of some queries (q,), of networks.
    """

    uv: list[Pixels]
    errors: list[Array]
    peaks: list[NDArray[np.float32]]


def match_all(condition: Condition, matcher: Matcher, advance: Callable[[], None]) -> Found:
    """Match every pair of a condition; `advance` is called after each."""
    data = condition.data
    found = Found([], [], [])
    for number, pair in enumerate(data.pairs):
        uv = matcher(data, number)
        width = data.width or data.images[pair.image_b].shape[1]
        found.uv.append(uv)
        found.errors.append(pixel_errors(uv, pair.uv_b, width))
        if isinstance(matcher, Learned):
            found.peaks.append(matcher.peak_ratio(data, number))
        advance()
    return found


def joined(parts: Iterable[Found]) -> Found:
    """Put what was found in several conditions together."""
    whole = Found([], [], [])
    for part in parts:
        whole.uv += part.uv
        whole.errors += part.errors
        whole.peaks += part.peaks
    return whole


def summed_up(conditions: Sequence[Condition]) -> list[int]:
    """Choose the conditions that are summed up: those of no curve, else all of the curves."""
    whole = [i for i, condition in enumerate(conditions) if not condition.curve]
    return whole or list(range(len(conditions)))


def independent(conditions: Sequence[Condition]) -> list[Hashable] | None:
    """Name a group of each pair: those of one picture A go together (none: each on its own).

    Curves show the same pictures at each of their values.
    """
    if len(conditions) == 1:
        return None
    data = [condition.data for condition in conditions]
    return [id(own.images[pair.image_a]) for own in data for pair in own.pairs]


def by_name(names: Sequence[Sequence[str]], found: Found) -> dict[str, Found]:
    """Part what was found by the names of each pair's points, where they have any."""
    parts: dict[str, Found] = {}
    for named, uv, errors in zip(names, found.uv, found.errors, strict=True):
        for name in dict.fromkeys(named):
            own = np.array([other == name for other in named])
            part = parts.setdefault(name, Found([], [], []))
            part.uv.append(uv[own])
            part.errors.append(errors[own])
    return parts


def figures(
    found: Found, seed: int, resamples: int, groups: Sequence[Hashable] | None = None
) -> dict[str, Any]:
    """Summarise errors: figures, and bootstrap intervals over pairs (none of a single pair).

    groups: one of each pair; pairs of one group are no independent ones, and resampled together.
    """
    every = np.concatenate(found.errors)
    result: dict[str, Any] = {**Accuracy.of(every).rounded(), **ErrorTable.of(every).rounded()}
    together: dict[Hashable, list[Array]] = {}
    names: Sequence[Hashable] = range(len(found.errors)) if groups is None else groups
    for group, errors in zip(names, found.errors, strict=True):
        together.setdefault(group, []).append(errors)
    independent = [np.concatenate(parts) for parts in together.values()]
    intervals = {
        name: [round(end, 2 if name.endswith('_px') else 4) for end in interval]
        for name, statistic in INTERVALS.items()
        if (interval := statistics.bootstrap(independent, statistic, resamples, seed)) is not None
    }
    result['interval_95'] = intervals or None
    if found.peaks:
        ratios = np.concatenate(found.peaks)
        result['second_peak'] = {
            'queries': len(ratios),
            'median_ratio': round(float(np.median(ratios)), 3),
            f'share_above_{AMBIGUOUS:g}': round(float(np.mean(ratios >= AMBIGUOUS)), 4),
        }
    return result


def curve(found: Found) -> list[float]:
    """Compute PCK@k for k = 1..100."""
    ordered = np.sort(np.concatenate(found.errors))
    below = np.searchsorted(ordered, THRESHOLDS, side='left') / len(ordered)
    return [round(float(share), 4) for share in below]


def space_figures(condition: Condition, found: Found) -> dict[str, Any] | None:
    """Summarise errors in millimetres; None where the depth isn't known anywhere."""
    if not condition.views:
        return None
    parts = []
    for pair, uv in zip(condition.data.pairs, found.uv, strict=True):
        view = condition.views[pair.image_b]
        depth = np.where(view.mask > 127, view.depth, np.float32(np.nan))
        parts.append(space_errors(uv, pair.uv_b, depth, view.camera))
    errors = SpaceErrors.joined(parts)
    if len(errors.known_mm) == 0:
        return None
    return {
        **errors.summary(),
        'within_5_mm': round(errors.within(5), 4),
        'within_10_mm': round(errors.within(10), 4),
    }


def keypoint_figures(model: DescriptorModel, condition: Condition) -> dict[str, float] | None:
    """Measure keypoints; None for a model without, or pairs that aren't views of one picture."""
    pairs = condition.data.pairs
    if not model.number_of_keypoints or all(pair.homography is None for pair in pairs):
        return None
    return measure_keypoints(model, condition.data).rounded()


def fingerprint(conditions: Sequence[Condition]) -> str:
    """Hash the pictures and points of conditions: 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for condition in conditions:
        for pair in condition.data.pairs:
            for array in (
                condition.data.images[pair.image_a],
                condition.data.images[pair.image_b],
                pair.uv_a,
                pair.uv_b,
            ):
                digest.update(f'{array.dtype} {array.shape}'.encode())
                digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _pictures(data: PairSet, number: int) -> tuple[Pair, Image, Image]:
    pair = data.pairs[number]
    return pair, data.images[pair.image_a], data.images[pair.image_b]


def _size(image: Image) -> tuple[int, int]:
    return image.shape[0], image.shape[1]
