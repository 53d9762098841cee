"""Results as a table on the terminal and as JSON in output/bench/."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shlex
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from don_kp_ros.evaluation.results import Target, commit, print_table

OUTPUT = Path('output/bench')
# Taken once, for files may change while a benchmark runs. What is kept of code that nobody knows
# is for this run alone.
COMMIT = commit().replace('unknown', f'unknown-{time.time_ns()}')

Row = Mapping[str, Any]


def report(
    name: str,
    title: str,
    rows: Sequence[Row],
    targets: Sequence[Target] = (),
    seed: int | None = None,
    details: Mapping[str, Any] | None = None,
    variables: Mapping[str, object] | None = None,
    variant: str = '',
) -> bool:
    """Print rows and targets, write them to output/bench/NAME.json; tell whether all are met.

    ``variables`` are the environment variables that make the command this run. A ``variant`` goes
    to NAME-VARIANT.json.
    """
    console = Console()
    if not console.is_terminal:
        console = Console(width=140)
    print_table(rows, title, console)
    for target in targets:
        console.print(target.text(), highlight=False)
    path = OUTPUT / (f'{name}-{variant}.json' if variant else f'{name}.json')
    path.parent.mkdir(parents=True, exist_ok=True)
    given = [f'{key}={shlex.quote(str(value))}' for key, value in (variables or {}).items()]
    result = {
        'name': path.stem,
        'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'command': ' '.join([*given, f'python -m benchmarks.{name}']),
        'commit': COMMIT,
        'seed': seed,
        'hardware': hardware(),
        'rows': list(rows),
        'targets': [target.record() for target in targets],
        **(details or {}),
    }
    path.write_text(json.dumps(result, indent=2) + '\n', encoding='utf-8')
    console.print(f'Written to {path}', highlight=False)
    return all(target.met for target in targets)


def done(path: Path, name: str, work: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Do some work and keep what it gave in a folder, or read what it gave before."""
    file = path / f'{name}.json'
    if not file.is_file():
        rows = work()
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix('.partial')
        partial.write_text(json.dumps(rows), encoding='utf-8')
        partial.replace(file)
    result: list[dict[str, Any]] = json.loads(file.read_text(encoding='utf-8'))
    return result


def kept(name: str, *parts: object, data: Iterable[Path] = ()) -> Path:
    """Name the folder for what a benchmark has `done`, at this commit and with these inputs.

    data: files; all that their folders hold counts, for meshes name materials and textures.
    """
    digest = hashlib.sha256()
    for folder in sorted({one.parent for one in data}):
        for file in sorted(other for other in folder.rglob('*') if other.is_file()):
            content, place = file.read_bytes(), file.relative_to(folder.parent).as_posix()
            digest.update(f'{place} {len(content)}\n'.encode() + content)
    return OUTPUT / name / '-'.join(map(str, (COMMIT, digest.hexdigest()[:12], *parts)))


def number_given(name: str, default: int) -> int:
    """Read how many from an environment variable; ends the program where it is not one or more."""
    text = os.environ.get(name) or str(default)
    if not text.isdecimal() or int(text) < 1:
        raise SystemExit(f"{name} is '{text}'; give a whole number, 1 or more")
    return int(text)


def given(*names: str) -> dict[str, str]:
    """Read those of some environment variables that are set."""
    return {name: os.environ[name] for name in names if os.environ.get(name)}


def in_turn(
    alone: Callable[[], object],
    whole: Callable[[], object],
    repeats: int,
    after: Callable[[], object] = lambda: None,
) -> tuple[float, float, float]:
    """Time two functions in turn, processor seconds; return both medians and that of the ratios.

    The ratios are of neighbours; ``after`` follows each two and is not timed.
    """
    seconds: list[list[float]] = []
    for _ in range(repeats):
        times = [time.process_time()]
        for function in (alone, whole):
            function()
            times.append(time.process_time())
        seconds.append([times[1] - times[0], times[2] - times[1]])
        after()
    ratio = statistics.median(of_whole / of_alone for of_alone, of_whole in seconds)
    of_alone, of_whole = (statistics.median(own) for own in zip(*seconds, strict=True))
    return of_alone, of_whole, ratio


def hardware() -> dict[str, Any]:
    """Describe the machine and the versions that matter for timings."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path('/proc/cpuinfo')
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding='utf-8').splitlines():
            if line.startswith('model name'):
                processor = line.partition(':')[2].strip()
                break
    return {
        'processor': processor,
        'threads': torch.get_num_threads(),
        'gpu': torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        'python': platform.python_version(),
        'torch': torch.__version__,
    }
