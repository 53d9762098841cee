"""Who finds the points of one picture in another: a model, and what anyone has to hold against it.

Beside a trained network are an untrained one of the same architecture, the centre of the object, a
random pixel of the object, and two descriptors that are not learned.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from don_kp_ros.data.folder import Image
from don_kp_ros.evaluation.baselines import Baseline, ColourPatches, DenseSift
from don_kp_ros.evaluation.modality import peaks
from don_kp_ros.evaluation.pairs import PairSet, check, mask_centre
from don_kp_ros.evaluation.pck import Accuracy
from don_kp_ros.matching.heatmap import match
from don_kp_ros.matching.maps import describe_at
from don_kp_ros.networks.checkpoint import Checkpoint
from don_kp_ros.networks.model import DescriptorModel

Pixels = NDArray[np.float32]
Matcher = Callable[[PairSet, int], Pixels]  # pairs, and the number of one: its points in B (Q, 2)

MODEL, UNTRAINED = 'model', 'untrained'
_MAPS = 16  # kept; one of 160x120 cells and D = 64 takes 5 MB
_PEAK_QUERIES = 16  # of each pair: whole heatmaps are costly


@dataclass(frozen=True)
class Transfer:
    """Where each query was found: uv (Q, 2) pixels and cosine similarity score (Q,)."""

    uv: Pixels
    score: NDArray[np.float32]


def transfer(
    map_a: Tensor,
    map_b: Tensor,
    uv_a: ArrayLike,
    size_a: tuple[int, int],
    size_b: tuple[int, int],
) -> Transfer:
    """Match the points uv_a (Q, 2) of picture A in picture B.

    map_a, map_b (D, h, w): descriptor maps; size_a, size_b: (H, W) of the pictures.
    """
    with torch.inference_mode():
        uv = torch.as_tensor(np.asarray(uv_a, np.float32), device=map_a.device)
        found, score = match(map_b, describe_at(map_a, uv, size_a).to(map_b.device), size_b)
    return Transfer(found.cpu().numpy().astype(np.float32), score.cpu().numpy().astype(np.float32))


class Describer(Protocol):
    """Describes pictures: a trained network, or another one."""

    def describe(self, image: Image) -> Tensor:
        """Compute the map (D, h, w) of unit vectors of a picture (H, W, 3) uint8 RGB."""


class Learned:
    """Matches with a network's descriptors; remembers the maps of the last pictures.

    maps: how many it remembers (none: all until they are forgotten).
    """

    def __init__(self, model: Describer, maps: int | None = _MAPS) -> None:
        self.model = model
        self._most = maps
        self._maps: OrderedDict[int, tuple[Image, Tensor]] = OrderedDict()

    def __call__(self, data: PairSet, number: int) -> Pixels:
        """Find the points of A of a pair in B: (Q, 2)."""
        return self.find(*data.pictures(number), data.pairs[number].uv_a).uv

    def find(self, image_a: Image, image_b: Image, uv_a: ArrayLike) -> Transfer:
        """Find points (Q, 2) of picture A in picture B."""
        maps = self.describe(image_a), self.describe(image_b)
        return transfer(*maps, uv_a, _size(image_a), _size(image_b))

    def describe(self, image: Image) -> Tensor:
        """Describe a picture, or return its map if it was kept."""
        key = id(image)
        if key not in self._maps:
            self._maps[key] = (image, self.model.describe(image))  # the picture keeps its id
            if self._most is not None and len(self._maps) > self._most:
                self._maps.popitem(last=False)
        self._maps.move_to_end(key)
        return self._maps[key][1]

    def forget(self, image: Image) -> None:
        """Drop the map of a picture that will not be asked for again."""
        self._maps.pop(id(image), None)

    def peak_ratio(self, data: PairSet, number: int) -> NDArray[np.float32]:
        """Compute the second peak over the first of a pair's first points in B: (q,)."""
        image_a, image_b = data.pictures(number)
        uv = torch.as_tensor(data.pairs[number].uv_a[:_PEAK_QUERIES], dtype=torch.float32)
        map_a, map_b = self.describe(image_a), self.describe(image_b)
        with torch.inference_mode():
            queries = describe_at(map_a, uv.to(map_a.device), _size(image_a))
        return peaks(map_b, queries, _size(image_b)).ratio


def centroid(data: PairSet, number: int) -> Pixels:
    """Guess the centre of the object in B for every point: (Q, 2).

    It raises ValueError for a pair without a mask.
    """
    centre = mask_centre(data.mask_b(number))
    return np.broadcast_to(centre.astype(np.float32), data.pairs[number].uv_b.shape)


def random_pixel(generator: Callable[[int], np.random.Generator]) -> Matcher:
    """Make a matcher that guesses any pixel of the object, with the generator of a pair's number.

    It raises ValueError for a pair without a mask.
    """

    def guess(data: PairSet, number: int) -> Pixels:
        v, u = np.nonzero(data.mask_b(number) > 127)
        chosen = generator(number).integers(len(u), size=len(data.pairs[number].uv_b))
        return np.stack([u[chosen], v[chosen]], axis=1).astype(np.float32)

    return guess


def not_learned(baseline: Baseline) -> Matcher:
    """Make a matcher of a descriptor that is not learned."""
    return lambda data, number: baseline.match(*data.pictures(number), data.pairs[number].uv_a)


def matchers(
    checkpoint: Checkpoint, device: str | torch.device, step: int, seed: int
) -> dict[str, Matcher]:
    """Make the model and what is held against it; the model comes first.

    step: pixels between neighbours of the grid of descriptors that are not learned.
    """
    return {
        MODEL: Learned(DescriptorModel(checkpoint, device)),
        UNTRAINED: Learned(DescriptorModel(checkpoint.untrained(seed), device)),
        'centroid': centroid,
        'random pixel': random_pixel(lambda number: np.random.default_rng((seed, 4, number))),
        'dense SIFT': not_learned(DenseSift(step=step)),
        'colour patches': not_learned(ColourPatches(step=step)),
    }


def at_scale(checkpoint: Checkpoint, data: PairSet) -> DescriptorModel:
    """Load a model so that crops appear to it at the scale of whole pictures."""
    if data.width is not None:
        side = data.images[0].shape[1]
        size = round(checkpoint.preprocessing.input_size * side / data.width)
        preprocessing = dataclasses.replace(checkpoint.preprocessing, input_size=size)
        checkpoint = dataclasses.replace(checkpoint, preprocessing=preprocessing)
    return DescriptorModel(checkpoint)


@dataclass
class Found:
    """What a matcher found in pairs.

    uv, errors: of every pair, pixels (Q, 2) of B and (Q,) of a 640-pixel-wide picture; peaks:
    second peak over first of some queries (q,), where they were asked for.
    """

    uv: list[Pixels]
    errors: list[NDArray[np.float64]]
    peaks: list[NDArray[np.float32]]


def match_all(
    data: PairSet,
    matcher: Matcher,
    with_peaks: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> Found:
    """Match every pair; `advance` is called after each. Raises ValueError as `check` does.

    with_peaks: look for second peaks, too, where the matcher is a network.
    """
    check(data)
    found = Found([], [], [])
    for number in range(len(data.pairs)):
        uv = matcher(data, number)
        found.uv.append(uv)
        found.errors.append(data.errors(number, uv))
        if with_peaks and isinstance(matcher, Learned):
            found.peaks.append(matcher.peak_ratio(data, number))
        advance()
    return found


def accuracy(data: PairSet, matcher: Matcher) -> Accuracy:
    """Match every pair and put all errors into figures; raises ValueError as `check` does."""
    return Accuracy.of(np.concatenate(match_all(data, matcher).errors))


def _size(image: Image) -> tuple[int, int]:
    return image.shape[0], image.shape[1]
