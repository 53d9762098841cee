"""The training configuration, as config/training/*.yaml hold it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from don_kp_ros.data.views import ViewConfiguration
from don_kp_ros.networks.checkpoint import Preprocessing
from don_kp_ros.networks.descriptor_network import NetworkConfiguration


@dataclass(frozen=True)
class LossConfiguration:
    """The dense NT-Xent loss."""

    temperature: float = 0.1
    negatives: int = 512  # background cells of the whole batch that every query is held against

    def __post_init__(self) -> None:
        _within('temperature', self.temperature, 0.001, 10)
        _within('negatives', self.negatives, 0, 1_000_000)


@dataclass(frozen=True)
class OptimiserConfiguration:
    """AdamW, linear warm-up, cosine to zero, and an average of the weights that is exported."""

    learning_rate: float = 0.001
    weight_decay: float = 0.0001
    warmup: float = 0.1  # fraction of the training
    clip: float = 1.0  # norm of the gradients
    average: float = 0.998  # decay of the average per step

    def __post_init__(self) -> None:
        _within('learning_rate', self.learning_rate, 0, 10)
        _within('weight_decay', self.weight_decay, 0, 10)
        _within('warmup', self.warmup, 0, 0.9)
        _within('clip', self.clip, 0, 1e6)
        _within('average', self.average, 0, 0.99999)


@dataclass(frozen=True)
class ValidationConfiguration:
    """How the model is measured on held pictures."""

    times: int = 4  # during the training, the last one at its end
    pairs: int = 24  # at most, while training
    final_pairs: int = 100  # at most, at the end
    queries: int = 64  # per pair
    held: float = 0.1  # share of pictures and negatives that are held, where nothing else is

    def __post_init__(self) -> None:
        for name in ('times', 'pairs', 'final_pairs', 'queries'):
            _within(name, getattr(self, name), 1, 100_000)
        _within('held', self.held, 0, 0.5)


@dataclass(frozen=True)
class TrainingConfiguration:
    """Everything that shapes a training besides its data, seed and length."""

    minutes: float = 10.0  # of training, unless the command line says otherwise
    pairs: int = 2  # view pairs per step
    workers: int = 1  # processes that make view pairs
    threads: int = 0  # of the processor that a step uses; 0: torch's choice
    backgrounds: Path | None = None  # folder of pictures without the object
    weights: Path | None = None  # torchvision's ImageNet weights (.pth); random without
    network: NetworkConfiguration = field(default_factory=NetworkConfiguration)
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    views: ViewConfiguration = field(default_factory=ViewConfiguration)
    loss: LossConfiguration = field(default_factory=LossConfiguration)
    optimiser: OptimiserConfiguration = field(default_factory=OptimiserConfiguration)
    validation: ValidationConfiguration = field(default_factory=ValidationConfiguration)

    def __post_init__(self) -> None:
        _within('minutes', self.minutes, 0, 1e6)
        _within('pairs', self.pairs, 1, 4096)
        _within('workers', self.workers, 0, 256)
        _within('threads', self.threads, 0, 1024)


def _within(name: str, value: float, lowest: float, highest: float) -> None:
    if not lowest <= value <= highest:
        raise ValueError(f'{name} is {value}; allowed is {lowest} to {highest}')
