"""The weights of a network before training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from don_kp_ros.networks.backbones.choice import BACKBONES
from don_kp_ros.networks.checkpoint import CheckpointError, load
from don_kp_ros.networks.descriptor_network import DescriptorNetwork

IMAGENET = 'imagenet'


def initialise(network: DescriptorNetwork, weights: str | None) -> str:
    """Give the network its initial weights; return a description of them.

    weights: `imagenet` for the backbone's published ones; their state dict in a local file (.pth),
    from which only tensors are read; a model of don_kp (.safetensors), which also gives the layers
    above the backbone if their shapes agree; or None. Raises ValueError for weights that cannot be
    had, and for a file that does not hold this backbone.
    """
    name = network.configuration.backbone
    if weights is None:
        return f'{name}: random initialisation'
    if weights == IMAGENET:
        published = BACKBONES[name].imagenet()
        _load(network, published.weights)
        return f'{name}: initialised by {published.source}'
    if Path(weights).suffix == '.safetensors':
        return _continue(network, Path(weights))
    try:
        _load(network, torch.load(Path(weights), map_location='cpu', weights_only=True))
    except FileNotFoundError as error:
        raise ValueError(f'{weights}: no such file of {name} weights') from error
    except Exception as error:
        raise ValueError(f'{weights}: not the published weights of {name}: {error}') from error
    return f'{name}: initialised by {weights}'


def _load(network: DescriptorNetwork, published: Mapping[str, Tensor]) -> None:
    body = BACKBONES[network.configuration.backbone].filled(published)
    network.stem.load_state_dict(body.stem.state_dict())
    for own, stage in zip(network.stages, body.stages, strict=False):  # it may end earlier
        own.load_state_dict(stage.state_dict())


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
    earlier = model.card.get('initialisation')
    source = f'; that was {earlier}' if earlier else ''
    return f'initialised by {path} ({model.fingerprint}){random}{source}'
