"""A pixel of one picture, queried in another (paper 1, section 4.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from don_kp_ros.data.picture_file import bits_used
from don_kp_ros.matching.candidates import find_candidates
from don_kp_ros.matching.heatmap import heatmaps
from don_kp_ros.matching.lookup import described, drawn_at
from don_kp_ros.matching.maps import describe_at
from don_kp_ros.matching.pictures import heatmap_overlay
from don_kp_ros.matching.view import View
from don_kp_ros.networks.model import DescriptorModel

TEMPERATURE = 1.1  # paper 1, figure 4
COLDEST, HOTTEST = -4.0, 2.0
SHARE = 0.9
_LEAST_COSINE = 1e-3  # `find_candidates` takes thresholds above 0
_DRAWN_FROM = 0.3  # `heatmap_overlay` draws what is above


@dataclass(frozen=True)
class Mode:
    """A maximum of the heatmap: pixel of picture B, similarity, and its probability's share.

    The share is the probability over that of the best mode. drawn: where B's drawn copy shows it.
    """

    uv: tuple[float, float]
    drawn: tuple[float, float]
    similarity: float
    share: float


@dataclass(frozen=True)
class Found:
    """What a pixel of picture A is in picture B.

    uv: the pixel of A; drawn: of its drawn copy; modes: the best first; ambiguity: the share of
    the second, 0 where there is none above the least cosine; spread: how much of the picture the
    probability covers, as the exponential of its entropy over the number of pixels, 0..1; heatmap:
    B's drawn copy with the probability over it, from its least value to its largest.
    """

    uv: tuple[float, float]
    drawn: tuple[float, float]
    modes: tuple[Mode, ...]
    ambiguity: float
    spread: float
    heatmap: NDArray[np.uint8]


class Inspection:
    """Two pictures as a model describes them."""

    def __init__(self, path_a: Path, path_b: Path, model: DescriptorModel) -> None:
        """Describe both; raises DataError or OSError for files that are no pictures."""
        self.model = model
        bits = bits_used((path_a, path_b))
        self._map_a, self._size_a, self.left = described(path_a, model, bits)
        self._map_b, self._size_b, self.right = described(path_b, model, bits)

    def look(self, drawn: tuple[float, float], temperature: float, share: float) -> Found:
        """Query a pixel of A's drawn copy in B; show the modes from a share of the best on.

        The probability of a pixel is exp(-(distance / exp(temperature))^2) of its descriptor's
        distance, over the sum (eq. 8, where the maximum must be meant).
        """
        u, v = _original(drawn, self._size_a, self.left.shape[:2])
        query = describe_at(self._map_a, torch.tensor([[u, v]]), self._size_a)
        with torch.inference_mode():
            size = self.right.shape[:2]
            cosines = heatmaps(self._map_b, query, (size[0], size[1]))[0].cpu().numpy()
        found = find_candidates(self._map_b, query, View(self._size_b), _LEAST_COSINE)
        best = float(found.score[0])
        shares = np.exp(_exponent(found.score, temperature) - _exponent(best, temperature))
        modes = [
            Mode(
                (float(at[0]), float(at[1])),
                drawn_at((float(at[0]), float(at[1])), self._size_b, self.right),
                float(similarity),
                float(part),
            )
            for at, similarity, part in zip(found.uv, found.score, shares, strict=True)
        ]
        return Found(
            (u, v),
            drawn,
            tuple(one for one in modes if one.share >= share),
            modes[1].share if len(modes) > 1 else 0.0,
            _spread(_exponent(cosines, temperature)),
            heatmap_overlay(self.right, _stretched(_exponent(cosines, temperature))),
        )


def _exponent(cosines: NDArray[np.floating] | float, temperature: float) -> NDArray[np.float64]:
    """Return -(distance / exp(t))^2 of unit vectors: the distance squared is 2 - 2 cos."""
    return -(2.0 - 2.0 * np.asarray(cosines, dtype=np.float64)) * math.exp(-2.0 * temperature)


def _spread(exponents: NDArray[np.float64]) -> float:
    kernel = np.exp(exponents - exponents.max())
    p = kernel / kernel.sum()
    entropy = -float((p * np.log(np.maximum(p, np.finfo(float).tiny))).sum())
    return math.exp(entropy) / p.size


def _stretched(exponents: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the probabilities, from the least at which nothing is drawn to the largest at 1."""
    kernel = np.exp(exponents - exponents.max())
    least = float(kernel.min())
    part = (kernel - least) / max(1.0 - least, np.finfo(float).tiny)
    return np.asarray(_DRAWN_FROM + (1 - _DRAWN_FROM) * part, dtype=np.float32)


def _original(
    drawn: tuple[float, float], size: tuple[int, int], shown: tuple[int, ...]
) -> tuple[float, float]:
    """Return the pixel of a picture of a size (H, W) that a pixel of its drawn copy shows."""
    u = (drawn[0] + 0.5) * size[1] / shown[1] - 0.5
    v = (drawn[1] + 0.5) * size[0] / shown[0] - 0.5
    return min(max(u, 0.0), size[1] - 1.0), min(max(v, 0.0), size[0] - 1.0)
