"""The descriptor network: a backbone, a unit vector per cell, and keypoints found by them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from don_kp_ros.configuration import within
from don_kp_ros.networks.backbones.choice import BACKBONES, BackboneName
from don_kp_ros.networks.expectation import Expectation, around_peak, expect
from don_kp_ros.networks.keypoint_head import KeypointConfiguration, KeypointHead

_SMALLEST_SQUARE = 1e-24
_CERTAINTY_POWER = 8  # of a length: the odds that it is one of the object
_PEAK_RADIUS = 32  # network pixels around a keypoint's peak
_SUREST = 4.0  # confidences are within exp(+-4)


@dataclass(frozen=True)
class NetworkConfiguration:
    """The architecture: everything that a checkpoint needs to build the network again."""

    backbone: BackboneName = 'efficientnet_lite0'
    last_layer: Literal['layer3', 'layer4'] = 'layer3'  # the backbone's stage it is cut after
    stride: Literal[4, 8, 16, 32] = 4  # image pixels per cell of the descriptor map
    neck: Literal['pyramid', 'dilated'] = 'pyramid'  # dilated: layers beyond the stride, as in DON
    channels: int = 64  # of the feature pyramid
    dimension: int = 64  # D, of the descriptors
    novelty: bool = False  # the last of the D says how little a cell is like what was learned
    euclidean: bool = False  # D - 1 are learned, as a place and not as a direction (paper 4)
    inter: int = 0  # C2: how many of the D say which object a cell is on; the others say where
    confidence: bool = False  # how surely a cell is told from others of its object (paper 3)
    image_statistics: bool = False  # in use, batch norms take the statistics of the picture itself
    keypoints: KeypointConfiguration | None = field(default_factory=KeypointConfiguration)

    def __post_init__(self) -> None:
        for name in ('channels', 'dimension'):
            within(name, getattr(self, name), 1, 4096)
        if self.novelty or self.euclidean:
            within('dimension', self.dimension, 2, 4096)
        if self.euclidean and (self.novelty or self.inter):
            raise ValueError(
                'euclidean is true, and its descriptors are no directions: set novelty to false '
                'and inter to 0'
            )
        within('inter', self.inter, 0, self.learned - 1)
        last = self.strides[-1]
        if self.stride > last:
            raise ValueError(
                f'stride is {self.stride}; after {self.last_layer} it is at most {last}'
            )
        if self.neck == 'dilated' and self.stride < 8:
            raise ValueError(f'stride is {self.stride}; the neck dilated allows 8 to {last}')
        if self.neck == 'dilated' and not BACKBONES[self.backbone].dilates:
            raise ValueError(f'neck is dilated, which {self.backbone} has not; take pyramid')

    @property
    def learned(self) -> int:
        """How many of the D numbers of a descriptor are learned."""
        return self.dimension - self.novelty - self.euclidean

    @property
    def strides(self) -> tuple[int, ...]:
        """The strides of the backbone's stages that are kept."""
        return BACKBONES[self.backbone].strides[: int(self.last_layer[-1])]

    @property
    def peak_radius(self) -> float:
        """How many cells about a keypoint's peak tell its place."""
        return max(1.5, _PEAK_RADIUS / self.stride)

    @property
    def coarsest_stride(self) -> int:
        """Image sides that are multiples of this have cells without a remainder."""
        return self.stride if self.neck == 'dilated' else self.strides[-1]


class DescriptorNetwork(nn.Module):
    """Turn images into maps of unit-length descriptors, and find keypoints among them.

    A top-down pyramid brings the stages of the backbone to the output stride. Alternatively, as in
    Dense Object Nets, the stages beyond that stride are dilated instead of strided. The identity
    layer gives the descriptors. The keypoint head, if there is one, takes its output (paper 1,
    fig. 2).
    """

    familiar_length: Tensor

    def __init__(self, configuration: NetworkConfiguration) -> None:
        super().__init__()
        self.configuration = configuration
        backbone = BACKBONES[configuration.backbone]
        body = backbone.build()
        self.stem = body.stem
        stages = list(body.stages)[: len(configuration.strides)]
        widths = backbone.channels[: len(stages)]
        finest = configuration.strides.index(configuration.stride)
        channels = configuration.channels
        if configuration.neck == 'dilated':
            for number, stage in enumerate(stages[finest + 1 :]):
                backbone.dilate(stage, 2**number)
            self.laterals, self.smooth = None, None
            channels = widths[-1]
        else:
            self.laterals = nn.ModuleList(nn.Conv2d(w, channels, 1) for w in widths[finest:])
            self.smooth = nn.Conv2d(channels, channels, 3, padding=1)
        self.stages = nn.ModuleList(stages)
        self.identity = nn.Conv2d(channels, configuration.learned, 1)
        if configuration.novelty:
            self.register_buffer('familiar_length', torch.zeros(()))
        self.uncertainty: nn.Conv2d | None = None
        if configuration.confidence:
            self.uncertainty = nn.Conv2d(configuration.learned, 1, 1)
            for parameter in self.uncertainty.parameters():
                nn.init.zeros_(parameter)  # at first all cells are equally sure
        self.keypoints = (
            None
            if configuration.keypoints is None
            else KeypointHead(configuration.keypoints, configuration.learned)
        )

    def lower(self, stages: int) -> nn.ModuleList:
        """Return the lower part of the backbone, up to a number of stages; none: nothing."""
        return nn.ModuleList([self.stem, *self.stages[:stages]] if stages else [])

    def features(self, images: Tensor) -> Tensor:
        """Compute the features (B, channels, h, w) below the identity layer.

        images (B, 3, H, W): normalised.
        """
        features = self.stem(images)
        stages = []
        for stage in self.stages:
            features = stage(features)
            stages.append(features)
        if self.laterals is None or self.smooth is None:
            return features
        kept = stages[-len(self.laterals) :]
        merged = self.laterals[-1](kept[-1])
        for lateral, stage_features in zip(
            reversed(self.laterals[:-1]), reversed(kept[:-1]), strict=True
        ):
            size = stage_features.shape[-2:]
            merged = lateral(stage_features) + functional.interpolate(merged, size=size)
        return functional.relu(self.smooth(merged))

    def forward(self, images: Tensor) -> Tensor:
        """Describe normalised images (B, 3, H, W); return maps (B, D, H/stride, W/stride).

        Every cell has unit length, float32 also under autocast.
        """
        return self.descriptors(self.identity(self.features(images)).float())

    def descriptors(self, identity: Tensor) -> Tensor:
        """Make unit-length descriptors (B, D, h, w) of the identity layer's output (B, ., h, w).

        What a network has not learned gives shorter vectors than what it has (Dhamija et al.,
        2018; Vaze et al., 2022). With `novelty` this is kept: a vector of length l becomes
        (sqrt(c) x / l, sqrt(1 - c)), where c = l^8 / (l^8 + `familiar_length`^8). So a descriptor
        of the object, with c near 1, is less similar to what only points into its direction.

        With `inter`, the last of the learned numbers say which object it is, the others where on
        it. Both parts are equally long, so that a cosine is the mean of the two parts' cosines.

        With `euclidean`, see `lifted`.
        """
        if self.configuration.euclidean:
            return lifted(identity)
        unit = _whole(_parts(identity, self.configuration.inter, functional.normalize))
        if not self.configuration.novelty:
            return unit
        square = identity.square().sum(dim=1, keepdim=True).clamp_min(_SMALLEST_SQUARE)
        logit = _CERTAINTY_POWER / 2 * (square.log() - self.familiar_length.square().log())
        return torch.cat([unit * logit.sigmoid().sqrt(), (-logit).sigmoid().sqrt()], dim=1)

    def log_variance(self, identity: Tensor) -> Tensor:
        """Compute how unsure cells are, u (B, h, w); the confidence is exp(-u) (paper 3).

        identity (B, ., h, w): float32, the identity layer's output. u stays within +-4, for the
        loss that trains it (eq. 6) has no lower bound.
        """
        if self.uncertainty is None:
            raise ValueError('this network has no confidence (network.confidence)')
        with torch.autocast(identity.device.type, enabled=False):
            u = self.uncertainty(identity.square())[:, 0]
            return _SUREST * torch.tanh(u / _SUREST)

    def detect(self, images: Tensor) -> Expectation:
        """Find the keypoints of normalised images (B, 3, H, W), in their pixels.

        Places and depths are expectations (eq. 4) around the peak of each probability. The
        variance is that of the whole map, and so shows other peaks; `inside` is the probability
        about the peak. Training takes the whole map for all of them.
        """
        size = (images.shape[2], images.shape[3])
        return self.locate(self.identity(self.features(images)).float(), size)

    def locate(self, identity: Tensor, size: tuple[int, int]) -> Expectation:
        """Find the keypoints as `detect` does, in images of a size (H, W), pixels.

        identity (B, ., h, w): float32, the identity layer's output.
        """
        logits, depths = self.keypoint_logits(identity)
        with torch.autocast(identity.device.type, enabled=False):
            variance = expect(logits, size).variance
            peak = around_peak(logits, self.configuration.peak_radius)
            probabilities = logits.float().flatten(2).softmax(dim=2)
            mass = (probabilities * peak.flatten(2).isfinite()).sum(dim=2)
            return replace(expect(peak, size, depths), variance=variance, inside=mass)

    def keypoint_logits(self, identity: Tensor) -> tuple[Tensor, Tensor | None]:
        """Compute the keypoints' logits and depths (KeypointHead) of what `locate` takes."""
        if self.keypoints is None:
            raise ValueError('this network has no keypoints (network.keypoints)')
        with torch.autocast(identity.device.type, enabled=False):
            # Shorter where the picture is unlike what was learned; in training all have length 1.
            descriptors = self.descriptors(identity)[:, : self.configuration.learned]
            logits, depths = self.keypoints(identity, descriptors)
        return logits, depths


def unit_length(identity: Tensor, inter: int = 0) -> Tensor:
    """Bring the vectors of maps (B, D, h, w) to unit length, the last `inter` to that of the rest.

    As `DescriptorNetwork.descriptors` does, but with half of its gradient's work.
    """
    return _whole(unit_parts(identity, inter))


def unit_parts(identity: Tensor, inter: int) -> list[Tensor]:
    """Bring the parts of maps (B, D, h, w) to unit length each: where on an object, and which.

    There is only one if `inter` is 0.
    """
    return _parts(identity, inter, _UnitLength.apply)


def lifted(places: Tensor) -> Tensor:
    """Lift places (B, C, ...) of any length to unit vectors (B, C + 1, ...).

    The inverse stereographic projection f -> (2 f, 1 - |f|^2) / (1 + |f|^2). It keeps angles, and
    about 0, which is the last axis, doubles distances. `flattened` undoes it.
    """
    square = places.square().sum(dim=1, keepdim=True)
    return torch.cat([2 * places, 1 - square], dim=1) / (1 + square)


def flattened(descriptors: Tensor) -> Tensor:
    """Return the places (B, C, ...) that `lifted` made unit vectors (B, C + 1, ...) of."""
    return descriptors[:, :-1] / (1 + descriptors[:, -1:]).clamp_min(_SMALLEST_SQUARE)


def forget_statistics(network: nn.Module) -> None:
    """Let batch norms out of training take mean and variance of their input, in place."""
    for norm in network.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.track_running_stats = False
            norm.running_mean = norm.running_var = None


def _parts(identity: Tensor, inter: int, unit: Callable[[Tensor], Tensor]) -> list[Tensor]:
    if not inter:
        return [unit(identity)]
    return [unit(part) for part in identity.split([identity.shape[1] - inter, inter], dim=1)]


def _whole(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1) * len(parts) ** -0.5


class _UnitLength(torch.autograd.Function):
    """Normalisation with the gradient (g - y (g.y)) / |x|, y = x / |x|."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> Tensor:
        shrink = vectors.square().sum(dim=1, keepdim=True).clamp_min(_SMALLEST_SQUARE).rsqrt()
        unit = vectors * shrink
        ctx.save_for_backward(unit, shrink)
        return unit

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Tensor:
        unit, shrink = ctx.saved_tensors
        (gradient,) = gradients
        along = (gradient * unit).sum(dim=1, keepdim=True)
        across: Tensor = torch.addcmul(gradient, unit, along, value=-1).mul_(shrink)
        return across
