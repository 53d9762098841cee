"""The files that evaluations write, and their messages on the terminal."""

from __future__ import annotations

import json
import math
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from don_kp_ros.configuration import ConfigurationError


def write(output: Path, results: dict[str, Any], page: str) -> None:
    """Write results.json and report.html into a folder."""
    output.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1, allow_nan=False) + '\n'
    (output / 'results.json').write_text(text, encoding='utf-8')
    (output / 'report.html').write_text(page, encoding='utf-8')


def say_where(output: Path, console: Console) -> None:
    """Tell where the results lie."""
    console.print(f'results: {output / "results.json"}', highlight=False, soft_wrap=True)
    console.print(f'report:  {output / "report.html"}', highlight=False, soft_wrap=True)


def without_nan(value: Any) -> Any:
    """Replace what JSON can't hold by null: NaN and infinities."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def versions() -> dict[str, str]:
    """List the versions that figures may depend on."""
    try:
        own = version('don_kp')
    except PackageNotFoundError:
        own = 'not installed'
    return {
        'don_kp': own,
        'python': platform.python_version(),
        'torch': torch.__version__,
        'numpy': np.__version__,
        'opencv': cv2.__version__,
    }


def device_name(device: str) -> str:
    """Name what networks run on."""
    if torch.device(device).type == 'cuda':
        return torch.cuda.get_device_name(device)
    return f'{device} ({platform.machine()})'


def check_device(name: str) -> None:
    """Raise ConfigurationError where torch cannot use a device."""
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigurationError(f'--device {name} cannot be used ({reason}); cpu can') from error


def progress_bar(console: Console) -> Progress:
    """Make a bar of counted things, where there is a terminal; field: what."""
    return Progress(
        TextColumn('{task.fields[what]:14}'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
