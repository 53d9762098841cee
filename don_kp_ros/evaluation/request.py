"""What evaluations and studies are asked alike, and how their commands take it."""

from __future__ import annotations

import argparse
import platform
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from don_kp_ros.configuration import ConfigurationError
from don_kp_ros.data.mask_options import MaskOptions, add_mask_arguments
from don_kp_ros.networks.device import check_device


def _now() -> datetime:
    return datetime.now(timezone.utc)


@dataclass(frozen=True)
class Request:
    """The folder to measure on, and how.

    seed: of views, points, guesses and intervals; skip_broken: leave out pictures that cannot be
    read; device: that networks are measured on; command: what asked for it; masks: how they are
    read.
    """

    data: Path
    seed: int = 0
    skip_broken: bool = False
    device: str = 'cpu'
    command: str = ''
    started: datetime = field(default_factory=_now)
    masks: MaskOptions = field(default_factory=MaskOptions)

    @classmethod
    def read(cls, arguments: argparse.Namespace, prog: str, argv: Sequence[str]) -> Request:
        """Take the request from parsed arguments; raises ConfigurationError."""
        if arguments.seed < 0:
            raise ConfigurationError(f'--seed is {arguments.seed}; it must not be negative')
        check_device(arguments.device)
        return cls(
            arguments.data,
            arguments.seed,
            arguments.skip_broken,
            arguments.device,
            shlex.join([*prog.split(), *argv]),
            masks=MaskOptions.read(arguments),
        )

    def record(self) -> dict[str, Any]:
        """Say when, how long, by which command and on what it ran, now that it is over."""
        import torch  # slow to import

        device = f'{self.device} ({platform.machine()})'
        if torch.device(self.device).type == 'cuda':
            device = torch.cuda.get_device_name(self.device)
        return {
            'date': self.started.strftime('%Y-%m-%d %H:%M UTC'),
            'seconds': round((_now() - self.started).total_seconds(), 1),
            'command': self.command,
            'device': device,
        }


def add_arguments(parser: argparse.ArgumentParser, output: str) -> None:
    """Add what `Request.read` takes, and --output; `output` names its default."""
    parser.add_argument('data', metavar='DATA', type=Path, help='folder (docs/data.md)')
    parser.add_argument('--output', type=Path, help=f'folder to write to (default: {output})')
    parser.add_argument(
        '--seed', type=int, default=0, help='of views, points, guesses and intervals'
    )
    parser.add_argument(
        '--skip-broken', action='store_true', help='leave out pictures that cannot be read'
    )
    add_mask_arguments(parser)
    parser.add_argument('--device', default='cpu', help='to measure on: cpu, cuda, ...')
