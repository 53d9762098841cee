"""The weights of a network before training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from don_kp_ros.networks.checkpoint import CheckpointError, load
from don_kp_ros.networks.descriptor_network import DescriptorNetwork
from don_kp_ros.networks.torchvision_import import get_model_weights, resnet

IMAGENET = 'imagenet'


def initialise(network: DescriptorNetwork, weights: str | None) -> str:
    """Give the network its initial weights; return a description of them.

    weights: `imagenet` for torchvision's backbone from its cache or the internet (without both,
    the random weights stay); a torchvision state dict (.pth), from which only tensors are read; a
    model of don_kp (.safetensors), which also gives the layers above the backbone if their shapes
    agree; or None. Raises ValueError naming a file that does not hold this backbone.
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
    if Path(weights).suffix == '.safetensors':
        return _continue(network, Path(weights))
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


def _continue(network: DescriptorNetwork, path: Path) -> str:
    try:
        model = load(path)
    except CheckpointError as error:
        raise ValueError(str(error)) from error
    wanted = network.configuration
    state = network.state_dict()
    same = {
        name: tensor
        for name, tensor in model.weights.items()
        if name in state and state[name].shape == tensor.shape
    }
    other = sorted(name for name in state if name not in same)
    whole = not any(name.startswith(('stem.', 'stages.')) for name in other)
    # The smaller of two backbones may be a part of the larger one, by names and shapes.
    if model.network.backbone != wanted.backbone or not whole:
        raise ValueError(
            f'{path}: holds {model.network.backbone} to {model.network.last_layer}, the network '
            f'has {wanted.backbone} to {wanted.last_layer}; set network.backbone and '
            'network.last_layer as there, or name another file'
        )
    network.load_state_dict({**state, **same})
    random = f', but random {", ".join(other)}' if other else ''
    return f'initialised by {path} ({model.fingerprint}){random}'
