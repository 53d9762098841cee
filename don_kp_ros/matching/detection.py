"""Which stored objects a picture shows, and where: regions of its descriptor map.

As in Zhong et al., 2022, a cell is on the object whose descriptors it resembles by what says which
object it is (there: cos(eta_c, the template's) > 0.5). Where a network has no such part, the whole
descriptor stands for it (`DescriptorModel.which_object`): then a single stored point speaks for
its surroundings, and a taught object for what its points cover.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from don_kp_ros.matching.blocks import TIE
from don_kp_ros.matching.maps import checked_map, checked_queries

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

FEWEST_CELLS = 4  # of a region; fewer are chance
_EXTENT = 0.6  # similarity down to which a region goes on from where it reaches the threshold
_LIKE = 0.8  # of the better half of an object's descriptors, on average, or it is something else
_PRODUCTS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Detection:
    """A region of a map that looks like an object.

    owner: which of the objects; confidence: mean similarity, -1..1; mask (h, w): its cells.
    """

    owner: int
    confidence: float
    mask: Mask

    def pixels(self, size: tuple[int, int]) -> tuple[tuple[int, int], Mask]:
        """Return its box's first pixel (u, v) in a picture of size (H, W), and its mask there.

        The mask (b, a), as large as the box, holds the pixels whose nearest cell is one of the
        region. It is empty where a picture is too small to show the region.
        """
        rows, columns = (
            ((np.arange(pixels) + 0.5) * (cells / pixels)).astype(np.intp)
            for pixels, cells in zip(size, self.mask.shape, strict=True)
        )
        v = np.flatnonzero(np.logical_or.reduce(self.mask, axis=1)[rows])
        u = np.flatnonzero(np.logical_or.reduce(self.mask, axis=0)[columns])
        if not (len(v) and len(u)):
            return (0, 0), np.zeros((0, 0), dtype=np.bool_)
        rows, columns = rows[v[0] : v[-1] + 1], columns[u[0] : u[-1] + 1]
        return (int(u[0]), int(v[0])), self.mask[np.ix_(rows, columns)]


class Nearest:
    """How similar a map's cells are to the nearest descriptor of each object.

    It is told the cosines of the descriptors with the cells, a few descriptors at a time, as they
    are matched (`find_candidates`).
    """

    def __init__(self, owner: NDArray[np.intp]) -> None:
        """Begin; owner (Q,): which of the objects each descriptor is of, at least one each."""
        self._owner, self._objects = owner, int(owner.max(initial=-1)) + 1
        self._best: Tensor | None = None

    def __call__(self, first: int, cosines: Tensor) -> None:
        """Take the cosines (q, h, w) of the descriptors from a first one on."""
        if self._best is None:
            self._best = cosines.new_full((self._objects, *cosines.shape[1:]), -torch.inf)
        owner = self._owner[first : first + len(cosines)]
        ends = [*(np.flatnonzero(np.diff(owner)) + 1).tolist(), len(owner)]
        for start, end in itertools.pairwise([0, *ends]):
            best = self._best[owner[start]]
            torch.maximum(best, cosines[start:end].amax(dim=0), out=best)

    def similarity(self) -> NDArray[np.float32]:
        """Return the similarities (G, h, w) of all objects; none where nothing is stored."""
        none = np.zeros((0, 1, 1), dtype=np.float32)
        return none if self._best is None else self._best.cpu().numpy()


def nearest(descriptor_map: Tensor, queries: Tensor, owner: NDArray[np.intp]) -> Nearest:
    """Compare a map (D, h, w) with descriptors (Q, D), all of unit length, of objects (Q,)."""
    descriptor_map = checked_map(descriptor_map)
    queries = checked_queries(queries, descriptor_map)
    found, cells = Nearest(owner), descriptor_map.flatten(1)
    together = max(1, _PRODUCTS_AT_ONCE // cells.shape[1])
    for start in range(0, len(queries), together):
        products = queries[start : start + together] @ cells
        found(start, products.unflatten(1, descriptor_map.shape[1:]))
    return found


def detect(
    descriptor_map: Tensor,
    queries: Tensor,
    owner: NDArray[np.intp],
    similarity: NDArray[np.float32],
    threshold: float,
    confidence: Tensor | None = None,
) -> list[Detection]:
    """Find the regions of a map that look like objects, the surest first.

    descriptor_map (D, h, w), its cells of unit length; queries (Q, D) of unit length; owner (Q,):
    which of the G objects each of them describes; similarity (G, h, w): of the cells with the
    nearest descriptor of each object (`Nearest`).

    A cell may be on the object that it is most similar to; on several if they are equal except for
    rounding, as where one object is stored under two names. A region is such cells of an object
    that touch, also by a corner: `FEWEST_CELLS` or more, one of which reaches the ``threshold``,
    and the others 0.6, as an edge goes on below the threshold where it begins (Canny, 1986).

    Its confidence is the mean, over the better half of the object's descriptors, of how similar
    each is to its most similar cell in the region: half, since the object hides its other side.
    Where a network has a ``confidence`` (h, w) of its own, above 0, it is the weight of the cells.
    Regions below 0.8 are something else, or below the threshold if that is lower.
    """
    best = similarity.max(axis=0, initial=-1) - TIE[torch.float32]
    own = (similarity >= min(_EXTENT, threshold)) & (similarity >= best)  # not of NaN
    certain = own & (similarity >= threshold)
    found = []
    for which in np.flatnonzero(certain.any(axis=(1, 2))).tolist():
        described = queries[torch.from_numpy(owner == which)]
        for mask in _regions(own[which], certain[which]):
            told = _confidence(descriptor_map, described, mask, confidence)
            if told >= min(_LIKE, threshold):
                found.append(Detection(which, told, mask))
    return sorted(found, key=lambda one: -one.confidence)


def _regions(own: Mask, certain: Mask) -> Iterator[Mask]:
    """Part an object's cells (h, w) into regions that have certain ones among them."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(own.astype(np.uint8))
    for label in np.unique(labels[certain]).tolist():
        if statistics[label, cv2.CC_STAT_AREA] >= FEWEST_CELLS:
            yield labels == label


def _confidence(
    descriptor_map: Tensor, queries: Tensor, mask: Mask, confidence: Tensor | None
) -> float:
    inside = torch.from_numpy(mask).to(descriptor_map.device)
    best, where = (queries.to(descriptor_map) @ descriptor_map[:, inside]).max(dim=1)
    better = best.argsort(descending=True)[: -(-len(best) // 2)]
    weight = torch.ones_like(best) if confidence is None else confidence[inside][where]
    weight, best = weight[better].double(), best[better].double()
    return min(float(weight @ best / weight.sum()), 1.0)  # without the rounding of products
