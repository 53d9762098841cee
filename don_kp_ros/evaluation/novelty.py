"""How long a network's descriptors are on the object that it has learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional

from don_kp_ros.evaluation.pairs import PairSet
from don_kp_ros.networks.checkpoint import Checkpoint
from don_kp_ros.networks.model import DescriptorModel

_PICTURES = 24


def with_familiar_length(
    checkpoint: Checkpoint, data: PairSet, share: float, device: str | torch.device
) -> Checkpoint:
    """Let a network with `novelty` know how short descriptors on the object are at most.

    It is the length that a share of them do not reach in the pictures B of some pairs. Other
    networks stay as they are.
    """
    if not checkpoint.network.novelty:
        return checkpoint
    model, lengths = DescriptorModel(checkpoint, device), []
    for number in range(0, len(data.pairs), -(-len(data.pairs) // _PICTURES)):
        found = model.lengths(data.pictures(number)[1])
        mask = torch.from_numpy(data.mask_b(number)).to(found)
        shown = functional.interpolate(mask[None, None], size=found.shape, mode='area')[0, 0]
        lengths.append(found[shown > 127].cpu().numpy())
    quantile = np.quantile(np.concatenate(lengths), share)
    length = torch.tensor(quantile, dtype=torch.float32)
    return replace(checkpoint, weights={**checkpoint.weights, 'familiar_length': length})
