"""The files that evaluations write, and their messages on the terminal."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from don_kp_ros.errors import RefusedError


@dataclass(frozen=True)
class Target:
    """A figure that must be reached."""

    name: str
    measured: float
    limit: float
    at_least: bool = False  # else at most

    @property
    def met(self) -> bool:
        """Tell whether the figure is reached."""
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    @property
    def sense(self) -> str:
        """Say on which side of the limit it must be."""
        return 'at least' if self.at_least else 'at most'

    def record(self) -> dict[str, Any]:
        """Return it as results hold it."""
        plain = {'name': self.name, 'measured': self.measured, 'limit': self.limit}
        return {**plain, 'sense': self.sense, 'met': self.met}

    def text(self) -> str:
        """Write it as a line."""
        verdict = 'reached' if self.met else 'missed'
        return f'{self.name}: {text(self.measured)}, {self.sense} {text(self.limit)}: {verdict}'


def write(output: Path, results: dict[str, Any], page: str) -> None:
    """Write results.json and report.html into a folder."""
    output.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1, allow_nan=False) + '\n'
    (output / 'results.json').write_text(text, encoding='utf-8')
    (output / 'report.html').write_text(page, encoding='utf-8')


def refuse_others(output: Path, own: Mapping[tuple[str, str], str], told: str) -> None:
    """Raise RefusedError where results lie that differ in something that is own; told: names it.

    own: values, by the part of the results and the key in it.
    """
    file = output / 'results.json'
    if not file.exists():
        return
    try:
        earlier = json.loads(file.read_text(encoding='utf-8'))
        same = all(earlier[part][key] == value for (part, key), value in own.items())
    except (ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise RefusedError(
            f'{file}: holds other results than those of {told}; give another folder with '
            '--output, or this one to write over them'
        )


def say_where(output: Path, console: Console) -> None:
    """Tell where the results lie."""
    say(console, f'results: {output / "results.json"}')
    say(console, f'report:  {output / "report.html"}')


def say(console: Console, line: str) -> None:
    """Print a line as it is: paths are not cut, and brackets are no colours."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


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


def commit() -> str:
    """Return the commit of the package's checkout; where files differ, with a digest of how.

    It is 'unknown' where the checkout does not have this file: outside of one, and in an
    installation within another's. The working directory may be another one.
    """
    if not _git('ls-files', __file__):
        return 'unknown'
    digest = hashlib.sha256()
    changes = _git('diff', '--no-ext-diff', '--full-index', 'HEAD')
    code = (':/benchmarks/*.py', ':/don_kp_ros/*.py')
    new = _git('ls-files', '--others', '--exclude-standard', '-z', *code).split('\0')
    digest.update(changes.encode(errors='surrogateescape'))
    for name in filter(None, new):
        content = (Path(__file__).parent / name).read_bytes()
        digest.update(f'{name} {len(content)}\n'.encode() + content)
    head = _git('rev-parse', '--short=12', 'HEAD') or 'unknown'
    return f'{head}-dirty-{digest.hexdigest()[:12]}' if changes or any(new) else head


def _git(*arguments: str) -> str:
    """Return what git prints of the folder of this file; '' where it fails, or there is none."""
    try:
        printed = subprocess.run(
            ['git', *arguments],
            capture_output=True,
            text=True,
            errors='surrogateescape',
            check=False,
            cwd=Path(__file__).parent,
        )
    except FileNotFoundError:
        return ''
    return printed.stdout.strip()


def print_table(rows: Sequence[Mapping[str, Any]], title: str, console: Console) -> None:
    """Print rows of the same keys as a table; columns of numbers stand to the right."""
    table = Table(title=title)
    for column in rows[0]:
        numeric = all(isinstance(row[column], (int, float)) for row in rows)
        table.add_column(column, justify='right' if numeric else 'left')
    for row in rows:
        table.add_row(*map(text, row.values()))
    console.print(table)


def method_row(own: dict[str, Any]) -> dict[str, str]:
    """Write a method's figures as the terminal shows them."""
    interval = own['interval_95']
    return {
        'AUC': f'{own["auc"]:.3f}',
        '95 %': ' to '.join(f'{end:.3f}' for end in interval['auc']) if interval else '',
        'PCK@5': f'{own["pck_5"]:.3f}',
        'PCK@10': f'{own["pck_10"]:.3f}',
        'median px': f'{own["median_px"]:.1f}',
    }


def text(value: Any) -> str:
    """Write a figure as tables do."""
    return f'{value:.3g}' if isinstance(value, float) else str(value)
