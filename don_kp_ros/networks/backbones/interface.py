"""What a descriptor network asks of its backbone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

# What every backbone's input is normalised by, of colours in [0, 1]; one that was published for
# another input begins with the conversion.
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


class Body(nn.Module):
    """A stem, and stages of which each takes the output of the one before."""

    def __init__(self, stem: nn.Sequential, stages: Sequence[nn.Module]) -> None:
        super().__init__()
        self.stem = stem
        self.stages = nn.ModuleList(stages)


@dataclass(frozen=True)
class Published:
    """Published weights by their published names, and their source and licence in words."""

    weights: Mapping[str, Tensor]
    source: str


class Backbone(ABC):
    """An architecture, and its weights that others have published.

    strides: input pixels per cell of each stage's output; channels: of these outputs.
    dilates: whether there is `dilate`. places: how the published names of weights begin, and how
    those in the body do instead; None for the classifier's, which are left out.
    """

    strides: tuple[int, ...] = (4, 8, 16, 32)
    channels: tuple[int, ...]
    dilates = False
    places: Mapping[str, str | None]

    @abstractmethod
    def build(self) -> Body:
        """Build it with random weights. Its input (B, 3, H, W) is normalised (MEAN, DEVIATION)."""

    def dilate(self, stage: nn.Module, first: int) -> None:
        """Replace a stage's stride by dilation; `first` is that of the stage before."""
        raise NotImplementedError

    @abstractmethod
    def imagenet(self) -> Published:
        """Get the weights learned on ImageNet; ValueError says why they cannot be had."""

    def filled(self, published: Mapping[str, Tensor]) -> Body:
        """Build it with all of the published weights; RuntimeError names those that do not fit."""
        weights = {}
        for name, tensor in published.items():
            place = next((place for place in self.places if name.startswith(place)), '')
            own = self.places.get(place, '')
            if own is not None:
                weights[own + name.removeprefix(place)] = tensor
        body = self.build()
        body.load_state_dict(weights)
        return body
