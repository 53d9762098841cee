"""The training module: what happens in a step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import lightning
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel

from don_kp_ros.data.stream import Batch
from don_kp_ros.networks.checkpoint import Checkpoint
from don_kp_ros.networks.descriptor_network import DescriptorNetwork, load_backbone_weights
from don_kp_ros.networks.model import channels_last, fast_bfloat16, normalise
from don_kp_ros.training.budget import learning_rate_factor
from don_kp_ros.training.losses import nt_xent
from don_kp_ros.training.settings import TrainingConfiguration


class TrainingError(Exception):
    """Training cannot go on; the message says why."""


class DescriptorTraining(lightning.LightningModule):
    """Train a descriptor network by dense NT-Xent on view pairs.

    fraction: tells how much of the training is over; the learning rate follows it.
    """

    def __init__(
        self, configuration: TrainingConfiguration, fraction: Callable[[], float]
    ) -> None:
        super().__init__()
        self.configuration = configuration
        self._fraction = fraction
        self.network = DescriptorNetwork(configuration.network)
        if configuration.weights is not None:
            load_backbone_weights(self.network, configuration.weights)
        channels_last(self.network)
        averaging = _averaging(configuration.optimiser.average)
        self.average = AveragedModel(self.network, multi_avg_fn=averaging, use_buffers=True)
        self.average.requires_grad_(False)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Make the optimiser; its learning rate is set before each step."""
        optimiser = self.configuration.optimiser
        return torch.optim.AdamW(
            self.network.parameters(),
            lr=optimiser.learning_rate,
            weight_decay=optimiser.weight_decay,
            fused=True,
        )

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set the learning rate."""
        settings = self.configuration.optimiser
        factor = learning_rate_factor(self._fraction(), settings.warmup)
        for group in cast(torch.optim.Optimizer, self.optimizers()).param_groups:
            group['lr'] = settings.learning_rate * factor

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Compute the loss of a batch of view pairs (don_kp_ros.data.stream.collate)."""
        images = normalise(batch['images'], self.configuration.preprocessing)
        with torch.autocast(
            self.device.type, dtype=torch.bfloat16, enabled=fast_bfloat16(self.device)
        ):
            maps = self.network(images)
        settings = self.configuration.loss
        maps_a, maps_b = maps.chunk(2)
        uv_a, uv_b = batch['uv'].chunk(2)
        loss = nt_xent(
            maps_a,
            maps_b,
            uv_a,
            uv_b,
            (images.shape[2], images.shape[3]),
            settings.temperature,
            background_cells(maps, batch['masks'], settings.negatives),
        )
        if not math.isfinite(loss.item()):
            raise TrainingError(
                f'the loss is {loss.item()} at step {self.global_step}: '
                'lower optimiser.learning_rate'
            )
        return loss

    def optimizer_step(self, *arguments: Any, **options: Any) -> None:
        """Take a step, and update the averaged weights."""
        super().optimizer_step(*arguments, **options)
        self.average.update_parameters(self.network)

    def checkpoint(self, match_threshold: float, card: dict[str, Any]) -> Checkpoint:
        """Make a checkpoint of the averaged weights."""
        weights = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in self.average.module.state_dict().items()
        }
        configuration = self.configuration
        return Checkpoint(
            configuration.network, configuration.preprocessing, weights, match_threshold, card
        )


def background_cells(maps: Tensor, masks: Tensor, number: int) -> Tensor:
    """Draw descriptors of cells that show nothing of the object.

    maps (B, D, h, w); masks (B, S, S) uint8 of the object. Returns (M, D), M at most `number`.
    """
    shape = maps.shape[-2:]
    shown = functional.adaptive_max_pool2d(masks[:, None].float(), shape)[:, 0] > 0
    cells = torch.nonzero(~shown.flatten())[:, 0]
    if number == 0 or len(cells) == 0:
        return maps.new_zeros((0, maps.shape[1]))
    chosen = cells[torch.randint(len(cells), (number,), device=cells.device)]
    cells_per_map = shape[0] * shape[1]
    return maps.flatten(2)[chosen // cells_per_map, :, chosen % cells_per_map]


def _averaging(decay: float) -> Callable[[Any, Any, Any], None]:
    def update(averages: list[Tensor], current: list[Tensor], steps: Tensor | int) -> None:
        count = int(steps)
        weight = 1 - min(decay, (1 + count) / (10 + count))  # the first steps are soon forgotten
        if torch.is_floating_point(averages[0]):
            torch._foreach_lerp_(averages, current, weight)
        else:
            for average, value in zip(averages, current, strict=True):
                average.copy_(value)

    return update
