"""Steps of training to weigh and to time: methods at paper 1's sizes.

ResNet-34, dilated to stride 8, one pair of 256x256 pictures, N = 128 keypoints or correspondences.
The backbone's own forward and backward pass, up to the features below the identity layer, is what
every method needs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from don_kp_ros import configuration
from don_kp_ros.data.loader import Batch
from don_kp_ros.networks.model import autocast, normalise
from don_kp_ros.training.module import DescriptorTraining
from don_kp_ros.training.settings import TrainingConfiguration

DIMENSIONS = (3, 16, 64, 256, 512)
_SIZE, _NUMBER = 256, 128
_KEYPOINTS = {'number': _NUMBER, 'head': 'similarity'}
_METHODS: dict[str, tuple[str, dict[str, object] | None, dict[str, object]]] = {
    'nt_xent': ('nt_xent', None, {}),
    'nt_xent_sampled': ('nt_xent_sampled', None, {}),
    'contrastive': ('contrastive', None, {}),
    'mined': ('none', _KEYPOINTS, {}),
    'joint': ('nt_xent', _KEYPOINTS, {}),
    'paper': (
        'none',
        {'number': _NUMBER, 'head': 'linear', 'depth': True},
        {'truth': 'camera', 'pose': 1.0, 'units': 'pixels', 'margin': 2.0},
    ),
}
METHODS = tuple(_METHODS)


def training(method: str, dimension: int) -> DescriptorTraining:
    """Make the module that trains by a method."""
    descriptors, keypoints, losses = _METHODS[method]
    settings = configuration.read(
        TrainingConfiguration,
        {
            'weights': None,
            'network': {
                'backbone': 'resnet34',
                'last_layer': 'layer4',
                'stride': 8,
                'neck': 'dilated',
                'dimension': dimension,
                'keypoints': keypoints,
            },
            'loss': {'descriptors': descriptors, 'negatives': 512, 'keypoints': losses},
        },
        method,
    )
    torch.manual_seed(0)
    return DescriptorTraining(settings, lambda: 0.5, Path('output'))


def batch() -> Batch:
    """Make one pair of random pictures that share their object and a homography."""
    rng = np.random.default_rng(0)
    masks = np.zeros((2, _SIZE, _SIZE), np.uint8)
    masks[:, 64:192, 64:192] = 255
    uv = rng.uniform(70, 185, (1, _NUMBER, 2)).repeat(2, axis=0)
    T = np.eye(4)[None]
    K = np.array([[300.0, 0, 127.5], [0, 300, 127.5], [0, 0, 1]])[None]
    arrays = {
        'images': rng.integers(0, 255, (2, 3, _SIZE, _SIZE), dtype=np.uint8),
        'masks': masks,
        'kinds': np.zeros(2, dtype=np.int64),
        'uv': uv.astype(np.float32),
        'homographies': np.eye(3, dtype=np.float32)[None],
        'K': K.repeat(2, axis=0).astype(np.float32),
        'T_b_a': T.astype(np.float32),
        'T_world_view': T.repeat(2, axis=0).astype(np.float32),
    }
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def features(module: DescriptorTraining, pairs: Batch) -> Tensor:
    """Compute what every method needs: the backbone's features."""
    images = normalise(pairs['images'], module.configuration.preprocessing)
    with autocast(module.device):
        return module.network.features(images)


def backbone_step(module: DescriptorTraining, pairs: Batch) -> None:
    """Go forward and backward through the backbone alone."""
    result = features(module, pairs)
    result.backward(torch.ones_like(result))


def step(module: DescriptorTraining, pairs: Batch) -> None:
    """Go forward and backward as a training does."""
    module.training_step(pairs, 0)['loss'].backward()


def saved_bytes(function: Callable[[], object]) -> int:
    """Count the bytes that a function's forward pass keeps for the backward pass.

    Every storage once, parameters not at all. What is computed anew in the backward pass is not
    kept, and not counted.
    """
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        result = function()
    total = sum(storages.values())
    del result  # until here: a storage that is freed may be given out again
    return total
