"""The keypoint head: the place and depth of each of N keypoints (paper 1, fig. 2)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from don_kp_ros.configuration import within

MOST_KEYPOINTS = 4096  # of a network
_FIRST_SCALE, _LARGEST_SCALE = 20.0, 100.0


@dataclass(frozen=True)
class KeypointConfiguration:
    """The keypoints that are predicted on top of the descriptors."""

    number: int = 32  # N
    head: Literal['similarity', 'linear'] = 'similarity'  # linear: a 1x1 convolution, paper 1
    depth: bool = False  # predict each keypoint's depth too
    kinds: tuple[str, ...] = ()  # of object: each has an equal share of them, one after another;
    # none: all are of any object

    def __post_init__(self) -> None:
        within('number', self.number, 2, MOST_KEYPOINTS)
        if self.kinds and self.number % len(self.kinds):
            raise ValueError(
                f'number is {self.number}; the {len(self.kinds)} kinds have equal shares'
            )

    @property
    def kind_of_each(self) -> tuple[str, ...]:
        """The kind of object of each keypoint; '' for any."""
        kinds = self.kinds or ('',)
        return tuple(kind for kind in kinds for _ in range(self.number // len(kinds)))


class KeypointHead(nn.Module):
    """Predict logits and depths of N keypoints from the identity layer's D channels.

    The similarity head compares every cell's descriptor with one learned descriptor per keypoint.
    It can only distinguish keypoints by descriptors, so the descriptors must become distinctive.
    """

    def __init__(self, configuration: KeypointConfiguration, dimension: int) -> None:
        super().__init__()
        number = configuration.number
        self.spatial: nn.Conv2d | None = None
        if configuration.head == 'linear':
            self.spatial = nn.Conv2d(dimension, number, 1)
        else:
            self.queries = nn.Parameter(torch.randn(number, dimension))
            self.log_scale = nn.Parameter(torch.tensor(math.log(_FIRST_SCALE)))
        self.depth = nn.Conv2d(dimension, number, 1) if configuration.depth else None

    def forward(self, identity: Tensor, descriptors: Tensor) -> tuple[Tensor, Tensor | None]:
        """Compute logits (B, N, h, w) (eq. 2) and depths (B, N, h, w) (eq. 3), metres, or None.

        identity (B, D, h, w): the identity layer's output; descriptors: the same at unit length.
        """
        if self.spatial is not None:
            logits = self.spatial(identity)
        else:
            queries = functional.normalize(self.queries, dim=1)
            scale = self.log_scale.exp().clamp_max(_LARGEST_SCALE)
            logits = (scale * queries @ descriptors.flatten(2)).unflatten(2, descriptors.shape[2:])
        depths = None if self.depth is None else functional.softplus(self.depth(identity))
        return logits, depths
