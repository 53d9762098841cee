"""One training: its data, settings, hardware, length and output."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from don_kp_ros import configuration
from don_kp_ros.configuration import ConfigurationError
from don_kp_ros.training.budget import Budget
from don_kp_ros.training.settings import TrainingConfiguration

# What is learned is the same; of folders, the content counts.
_INDIFFERENT = (
    'minutes', 'data', 'backgrounds', 'workers', 'threads', 'pictures', 'masks.trust'
)  # fmt: skip


@dataclass(frozen=True)
class Hardware:
    """What a training runs on, in Lightning's terms; devices are those of each machine."""

    accelerator: str = 'auto'
    devices: int = 1
    nodes: int = 1
    strategy: str = 'auto'

    def __post_init__(self) -> None:
        for name in ('devices', 'nodes'):
            if getattr(self, name) < 1:
                raise ConfigurationError(f'{name} is {getattr(self, name)}; at least 1 is needed')


@dataclass(frozen=True)
class Job:
    """One training: its data, settings, hardware, length and output."""

    folder: Path
    output: Path
    settings: TrainingConfiguration
    budget: Budget
    seed: int = 0
    command: str = ''
    hardware: Hardware = Hardware()

    @property
    def state_folder(self) -> Path:
        """Where the state of an unfinished training lies."""
        return self.output.with_name(f'{self.output.stem}.training')

    @property
    def resume_path(self) -> Path:
        """The state file from which an unfinished training continues."""
        return self.state_folder / 'last.ckpt'

    @property
    def log_folder(self) -> Path:
        """Where TensorBoard finds the losses, the figures and the pictures."""
        return self.output.with_name(f'{self.output.stem}.tensorboard')

    @property
    def sheet_path(self) -> Path:
        """A picture of the masks over their pictures."""
        return self.output.with_name(f'{self.output.stem}.masks.jpg')

    def identity(self) -> dict[str, Any]:
        """The values, by key, that must be equal for a training to continue."""
        identity = {
            'seed': self.seed,
            'budget': [self.budget.clock, self.budget.amount],
            'processes': self.hardware.devices * self.hardware.nodes,
            **_flat(configuration.plain(self.settings)),
        }
        for key in _INDIFFERENT:
            del identity[key]
        return identity


def _flat(settings: dict[str, Any], above: str = '') -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        name = f'{above}{key}'
        flat |= _flat(value, f'{name}.') if isinstance(value, dict) else {name: value}
    return flat
