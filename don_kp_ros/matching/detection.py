"""Which stored objects a picture shows, and where: regions of its descriptor map.

As in Zhong et al., 2022, a cell is on the object whose descriptors it resembles by what says which
object it is (there: cos(eta_c, the template's) > 0.5). Where a network has no such part, the whole
descriptor stands for it (`DescriptorModel.which_object`): then a single stored point speaks for
its neighbourhood, and a taught object for as much as its points cover.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from don_kp_ros.matching.blocks import TIE
from don_kp_ros.matching.maps import checked_map, checked_queries

Mask = NDArray[np.bool_]

FEWEST_CELLS = 4  # of a region; fewer are chance


@dataclass(frozen=True)
class Detection:
    """A region of a map that looks like an object.

    owner: which of the objects; instance: 0 the surest region of it, 1 the next ...; confidence:
    -1..1; mask (h, w): the region's cells.
    """

    owner: int
    instance: int
    confidence: float
    mask: Mask

    def pixels(self, size: tuple[int, int]) -> tuple[tuple[int, int], Mask]:
        """Return the box of the region in a picture of size (H, W), and its mask there.

        The box's first pixel (u, v) and the mask (b, a) of the box: the pixels whose nearest cell
        is one of the region. It is empty where a picture is too small to show the region.
        """
        rows, columns = (
            ((np.arange(pixels) + 0.5) * (cells / pixels)).astype(np.intp)
            for pixels, cells in zip(size, self.mask.shape, strict=True)
        )
        v = np.flatnonzero(self.mask.any(axis=1)[rows])
        u = np.flatnonzero(self.mask.any(axis=0)[columns])
        if not (len(v) and len(u)):
            return (0, 0), np.zeros((0, 0), dtype=np.bool_)
        inside = slice(v[0], v[-1] + 1), slice(u[0], u[-1] + 1)
        return (int(u[0]), int(v[0])), self.mask[np.ix_(rows[inside[0]], columns[inside[1]])]


def nearest(descriptor_map: Tensor, queries: Tensor, owner: NDArray[np.intp]) -> Tensor:
    """Compute the cosine of every cell with the nearest descriptor of each object: (G, h, w).

    descriptor_map (D, h, w), its cells of unit length; queries (Q, D) of unit length; owner (Q,):
    which of the G objects each describes, each at least one.
    """
    descriptor_map = checked_map(descriptor_map)
    queries = checked_queries(queries, descriptor_map)
    order = np.argsort(owner, kind='stable')
    products = queries[torch.from_numpy(order).to(queries.device)] @ descriptor_map.flatten(1)
    best = [some.amax(dim=0) for some in products.split(np.bincount(owner).tolist())]
    shape = (-1, *descriptor_map.shape[1:])
    return torch.stack(best).view(shape) if best else products.new_zeros((0, *shape[1:]))


def detect(
    similarity: NDArray[np.float32],
    threshold: float,
    confidence: NDArray[np.float32] | None = None,
) -> list[Detection]:
    """Find the regions of a map that look like objects, the surest first.

    similarity (G, h, w): of its cells with the nearest descriptor of each object (`nearest`). A
    cell is on the object that it is most similar to, from the ``threshold`` on; on several if they
    are equal except for rounding, as where one object is stored under two names. Cells that touch,
    also by a corner, are a region, from `FEWEST_CELLS` on.

    The confidence of a region is the mean of its cells' similarity, weighted by the network's
    ``confidence`` (h, w), above 0, where it has one: sum(c s) / sum(c).
    """
    best = similarity.max(axis=0, initial=-1)
    own = (similarity >= threshold) & (similarity >= best - TIE[torch.float32])  # not of NaN
    weight = np.ones_like(best) if confidence is None else confidence
    found = [
        region
        for owner in np.flatnonzero(own.any(axis=(1, 2))).tolist()
        for region in _regions(owner, own[owner], similarity[owner], weight)
    ]
    return sorted(found, key=lambda region: -region.confidence)


def _regions(
    owner: int, own: Mask, similarity: NDArray[np.float32], weight: NDArray[np.float32]
) -> list[Detection]:
    """Part the cells of an object (h, w) into regions, the surest first."""
    _, labels, statistics, _ = cv2.connectedComponentsWithStats(own.astype(np.uint8))
    of_cell, weight = labels[own], weight[own]
    mass = np.bincount(of_cell, weight)
    mass[0] = 1  # of the rest of the map, which has no cell here
    mean = np.bincount(of_cell, weight * similarity[own]) / mass
    large = np.flatnonzero(statistics[1:, cv2.CC_STAT_AREA] >= FEWEST_CELLS) + 1
    order = large[np.argsort(-mean[large], kind='stable')].tolist()
    return [
        Detection(owner, instance, float(mean[label]), labels == label)
        for instance, label in enumerate(order)
    ]
