"""The descriptor network: a ResNet, a feature pyramid, and one unit vector per cell."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from don_kp_ros.networks.torchvision_import import resnet

STAGE_STRIDES = (4, 8, 16, 32)  # of ResNet's layer1 to layer4


@dataclass(frozen=True)
class NetworkConfiguration:
    """The architecture: everything that a checkpoint needs to build the network again."""

    backbone: Literal['resnet18', 'resnet34', 'resnet50'] = 'resnet18'
    last_layer: Literal['layer3', 'layer4'] = 'layer3'  # the backbone is cut after it
    stride: Literal[4, 8, 16] = 4  # image pixels per cell of the descriptor map
    channels: int = 64  # of the feature pyramid
    dimension: int = 64  # D, of the descriptors

    def __post_init__(self) -> None:
        for name in ('channels', 'dimension'):
            if not 1 <= getattr(self, name) <= 4096:
                raise ValueError(f'{name} is {getattr(self, name)}; allowed is 1 to 4096')

    @property
    def layers(self) -> tuple[str, ...]:
        """The ResNet stages that are kept."""
        return tuple(f'layer{i}' for i in range(1, int(self.last_layer[-1]) + 1))

    @property
    def coarsest_stride(self) -> int:
        """Image sides that are multiples of this have cells without a remainder."""
        return STAGE_STRIDES[len(self.layers) - 1]


class DescriptorNetwork(nn.Module):
    """Turn images into maps of unit-length descriptors.

    The backbone is torchvision's ResNet without its classifier; a top-down pyramid brings its
    stages to the output stride, and the identity layer of D channels gives the descriptors.
    """

    def __init__(self, configuration: NetworkConfiguration) -> None:
        super().__init__()
        self.configuration = configuration
        backbone = getattr(resnet, configuration.backbone)(weights=None)
        self.stem = nn.Sequential(backbone.conv1, backbone.bn1, backbone.relu, backbone.maxpool)
        stages = [getattr(backbone, name) for name in configuration.layers]
        self.stages = nn.ModuleList(stages)
        widths = (64, 128, 256, 512)
        expansion = 4 if configuration.backbone == 'resnet50' else 1
        finest = STAGE_STRIDES.index(configuration.stride)
        channels = configuration.channels
        self.laterals = nn.ModuleList(
            nn.Conv2d(widths[i] * expansion, channels, 1) for i in range(finest, len(stages))
        )
        self.smooth = nn.Conv2d(channels, channels, 3, padding=1)
        self.identity = nn.Conv2d(channels, configuration.dimension, 1)

    def features(self, images: Tensor) -> Tensor:
        """Compute the pyramid's features (B, channels, h, w) of normalised images (B, 3, H, W)."""
        features = self.stem(images)
        stages = []
        for stage in self.stages:
            features = stage(features)
            stages.append(features)
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
        return functional.normalize(self.identity(self.features(images)).float(), dim=1)

    @staticmethod
    def upsample(maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Upsample maps (B, D, h, w) to image size (H, W) bilinearly (paper 1, eq. 1).

        The result (B, D, H, W) has unit length again. It is large and rarely needed: matching
        works on the low-resolution map (don_kp_ros.matching).
        """
        upsampled = functional.interpolate(maps, size=size, mode='bilinear', align_corners=False)
        return functional.normalize(upsampled, dim=1)


def load_backbone_weights(network: DescriptorNetwork, path: Path) -> None:
    """Load a torchvision ResNet's published weights (.pth state dict) into the backbone.

    Only tensors are read. Raises ValueError naming the file if it does not hold this backbone.
    """
    name = network.configuration.backbone
    try:
        state = torch.load(path, map_location='cpu', weights_only=True)
        backbone = getattr(resnet, name)(weights=None)
        backbone.load_state_dict(state)
    except FileNotFoundError as error:
        raise ValueError(f'{path}: no such file of {name} weights') from error
    except Exception as error:
        raise ValueError(f'{path}: not the weights of a torchvision {name}: {error}') from error
    network.stem[0].load_state_dict(backbone.conv1.state_dict())
    network.stem[1].load_state_dict(backbone.bn1.state_dict())
    for stage, layer in zip(network.stages, network.configuration.layers, strict=True):
        stage.load_state_dict(getattr(backbone, layer).state_dict())
