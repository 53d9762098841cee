"""The training module: one step of a training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from torch.utils.checkpoint import checkpoint

from don_kp_ros.data.loader import Batch
from don_kp_ros.networks.checkpoint import Checkpoint
from don_kp_ros.networks.descriptor_network import DescriptorNetwork
from don_kp_ros.networks.initialisation import initialise
from don_kp_ros.networks.model import autocast, channels_last, normalise
from don_kp_ros.training.budget import learning_rate_factor
from don_kp_ros.training.lightning_import import lightning
from don_kp_ros.training.losses import segmentation
from don_kp_ros.training.muon import Muon
from don_kp_ros.training.objective import Parts, objective
from don_kp_ros.training.settings import TrainingConfiguration


class TrainingError(Exception):
    """Training cannot go on; the message says why."""


class DescriptorTraining(lightning.LightningModule):
    """Train a descriptor network on view pairs by the configured losses.

    fraction: returns the completed part of the training, which sets the learning rate. A batch
    with a loss that is not finite is written to `state_folder`. objects: how many there are for
    loss.segmentation to tell apart. initialisation: says where the weights come from; where it is
    given, they are loaded later, from the state of an interrupted training.
    """

    def __init__(
        self,
        configuration: TrainingConfiguration,
        fraction: Callable[[], float],
        state_folder: Path,
        objects: int = 0,
        initialisation: str | None = None,
    ) -> None:
        super().__init__()
        self.configuration = configuration
        self._fraction = fraction
        self._state_folder = state_folder
        self._last: tuple[Parts, Batch] = ({}, {})
        self.network = DescriptorNetwork(configuration.network)
        self.initialisation = initialisation or initialise(self.network, configuration.weights)
        channels_last(self.network)
        self.network.lower(configuration.frozen).requires_grad_(False)
        averaging = _averaging(configuration.optimiser.average)
        self.segmentation: torch.nn.Conv2d | None = None
        if configuration.loss.segmentation:
            self.segmentation = torch.nn.Conv2d(self.network.identity.in_channels, objects + 1, 1)
        self.average = AveragedModel(self.network, multi_avg_fn=averaging, use_buffers=True)
        self.average.requires_grad_(False)
        self.train()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Make the optimiser; its learning rate is set before each step."""
        settings = self.configuration.optimiser
        options: dict[str, Any] = {
            'lr': settings.learning_rate,
            'weight_decay': settings.weight_decay,
        }
        body = list(self.network.lower(len(self.network.stages)).parameters())
        known = set(body)
        beside = [] if self.segmentation is None else [*self.segmentation.parameters()]
        rest = [p for p in self.network.parameters() if p not in known]
        groups = [
            {'params': [*rest, *beside], 'share': 1.0},
            {'params': body, 'share': self.configuration.body},
        ]
        if settings.kind == 'muon':
            return Muon(groups, **options)
        kind = torch.optim.Adam if settings.kind == 'adam' else torch.optim.AdamW
        return kind(groups, **options, fused=True)

    def train(self, mode: bool = True) -> DescriptorTraining:
        """Go into the mode of training, or out of it; what is frozen stays out of it."""
        super().train(mode)
        self.network.lower(self.configuration.frozen).eval()
        return self

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set the learning rate."""
        settings = self.configuration.optimiser
        factor = 1.0
        if settings.schedule == 'cosine':
            factor = learning_rate_factor(self._fraction(), settings.warmup)
        for group in cast(torch.optim.Optimizer, self.optimizers()).param_groups:
            group['lr'] = settings.learning_rate * factor * group['share']

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Compute the losses of a batch of view pairs (don_kp_ros.data.loader.collate).

        Everything after the features is computed again in the backward pass. It costs little
        compared with the backbone, and so nothing of it is kept, for any number of dimensions,
        keypoints or correspondences.
        """
        pixels = batch['images']
        if 'lone' in batch:
            pixels = torch.cat([pixels, batch['lone']])
        images = normalise(pixels, self.configuration.preprocessing)
        with autocast(self.device):
            features = self.network.features(images)
        parts = checkpoint(self.losses, features, batch, use_reentrant=False)
        loss = torch.stack(list(parts.values())).sum()
        if not torch.isfinite(loss):
            raise TrainingError(self._refuse('loss', parts, batch))
        self._last = (parts, batch)
        return {'loss': loss, 'parts': {name: part.detach() for name, part in parts.items()}}

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Refuse a gradient that is not finite: it would ruin the weights permanently."""
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        if not torch.isfinite(torch.nn.utils.get_total_norm(gradients)):
            raise TrainingError(self._refuse('gradient', self._last[0], self._last[1]))

    def _refuse(self, what: str, parts: Parts, batch: Batch) -> str:
        """Save the batch that gave a value that is not finite; return the error."""
        path = self._state_folder / f'batch-{self.global_step}-{self.global_rank}.pt'
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(dict(batch), path)
        values = ', '.join(f'{name} {part.item():.3g}' for name, part in parts.items())
        return (
            f'the {what} is not finite at step {self.global_step} ({values}); its batch was saved '
            f'to {path}: look at it, or lower optimiser.learning_rate'
        )

    def losses(self, features: Tensor, batch: Batch) -> Parts:
        """Compute the weighted losses by name from features (2B or 3B, channels, h, w)."""
        with autocast(self.device):
            identity = self.network.identity(features)
            logits = None if self.segmentation is None else self.segmentation(features)
        configuration = self.configuration
        parts = objective(
            self.network, identity, batch, configuration.loss, configuration.keypoints_alone
        )
        if logits is not None:
            # Both views of a pair count (paper 4, eq. 5); the objects alone have no classes.
            views = logits[: len(batch['classes'])].float()
            weight = 2 * configuration.loss.segmentation
            parts['segmentation'] = weight * segmentation(views, batch['classes'])
        return parts

    def optimizer_step(self, *arguments: Any, **options: Any) -> None:
        """Take a step, and update the averaged weights."""
        super().optimizer_step(*arguments, **options)
        self.average.update_parameters(self.network)

    def to_checkpoint(
        self,
        match_threshold: float,
        card: dict[str, Any],
        weights: dict[str, Tensor] | None = None,
    ) -> Checkpoint:
        """Make a checkpoint of the averaged weights, or of other ones."""
        if weights is None:
            weights = {
                name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
                for name, tensor in self.average.module.state_dict().items()
            }
        configuration = self.configuration
        return Checkpoint(
            configuration.network, configuration.preprocessing, weights, match_threshold, card
        )


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
