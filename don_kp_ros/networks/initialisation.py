"""What a network's weights are before it is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from don_kp_ros.networks.descriptor_network import DescriptorNetwork
from don_kp_ros.networks.torchvision_import import get_model_weights, resnet

IMAGENET = 'imagenet'


def initialise(network: DescriptorNetwork, weights: str | None) -> str:
    """Give the backbone torchvision's ImageNet weights; return in words what it was given.

    weights: `imagenet`, which torchvision loads from its cache or the network, and without both
    leaves the random weights; a file (.pth) of a state dict, of which only tensors are read; or
    None. Raises ValueError naming a file that does not hold this backbone.
    """
    name = network.configuration.backbone
    if weights is None:
        return f'{name}: random initialisation'
    if weights == IMAGENET:
        published = get_model_weights(name).DEFAULT
        try:
            _load(network, published.get_state_dict(progress=False, check_hash=True))
        except (OSError, RuntimeError) as error:  # no network, or a broken download
            return f'{name}: random initialisation, ImageNet weights cannot be had ({error})'
        return f'{name}: initialised by {published}'
    try:
        _load(network, torch.load(Path(weights), map_location='cpu', weights_only=True))
    except FileNotFoundError as error:
        raise ValueError(f'{weights}: no such file of {name} weights') from error
    except Exception as error:
        raise ValueError(f'{weights}: not the weights of a torchvision {name}: {error}') from error
    return f'{name}: initialised by {weights}'


def _load(network: DescriptorNetwork, state: Any) -> None:
    backbone = getattr(resnet, network.configuration.backbone)(weights=None)
    backbone.load_state_dict(state)
    network.stem[0].load_state_dict(backbone.conv1.state_dict())
    network.stem[1].load_state_dict(backbone.bn1.state_dict())
    for stage, layer in zip(network.stages, network.configuration.layers, strict=True):
        stage.load_state_dict(getattr(backbone, layer).state_dict())
