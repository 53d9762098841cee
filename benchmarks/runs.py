"""Trainings of the benchmarks: run once, gone on with after an interruption, and kept.

A run is known by its pictures, configuration, seed and length. It lies under output/bench/runs;
removing it there runs it again. What was trained keeps the commit it was trained at.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmarks.report import OUTPUT, commit
from don_kp_ros import configuration
from don_kp_ros.data.folder import Image, Sample
from don_kp_ros.networks import checkpoint
from don_kp_ros.networks.checkpoint import Checkpoint
from don_kp_ros.training.settings import TrainingConfiguration

_RUNS = OUTPUT / 'runs'
_TRAINED = 0.93  # of the minutes; the rest is for start, measuring and writing


@dataclass(frozen=True)
class Run:
    """A training that was done: the model, processor minutes in all, and the commit."""

    checkpoint: Checkpoint
    cpu_minutes: float
    commit: str


def trained(
    name: str,
    samples: list[Sample],
    config: Path,
    minutes: float | None,
    seed: int,
    overrides: tuple[str, ...] = (),
    backgrounds: tuple[Image, ...] = (),
    steps: int | None = None,
    log: Path | None = None,
) -> Run:
    """Train on pictures for some processor minutes on one thread, or take what was trained before.

    minutes: of this process's children in all, from start to end; without them the training takes
    `steps`, on a GPU where there is one. log: where it prints to; trainings may run side by side.
    """
    amount: float | None = steps
    unit, option, device = 'steps', '--steps', 'auto'
    if minutes is not None:
        amount = _TRAINED * minutes
        unit, option, device = 'processor minutes', '--cpu-minutes', 'cpu'
    mapping = configuration.override(configuration.load(config), overrides)
    settings = configuration.plain(configuration.read(TrainingConfiguration, mapping, str(config)))
    known_by = [seed, amount, settings]
    digest = hashlib.sha256(json.dumps(known_by, sort_keys=True).encode())
    for sample in samples:
        digest.update(sample.image.tobytes() + sample.mask.tobytes())
    for image in backgrounds:
        digest.update(image.tobytes())
    if settings['weights'] is not None and Path(settings['weights']).is_file():
        digest.update(Path(settings['weights']).read_bytes())
    work = _RUNS / f'{name}-{seed}-{digest.hexdigest()[:10]}'
    output, measured = work / 'model.safetensors', work / 'run.json'
    if output.is_file() and measured.is_file():
        print(f'{name}, seed {seed}: run before, {work}')
        record = json.loads(measured.read_text())
        return Run(checkpoint.load(output), float(record['cpu_minutes']), record['commit'])
    output.unlink(missing_ok=True)  # its record is missing: it was being written
    print(f'{name}, seed {seed}: {amount:g} {unit}, {work}')
    shutil.rmtree(work / 'pictures', ignore_errors=True)
    write_pictures(work / 'pictures', samples)
    options = ['--output', str(output), '--config', str(config), '--seed', str(seed)]
    options += [option, str(amount), f'--accelerator={device}', '--threads=1']
    options += ['--validation.times=1', '--validation.final_pairs=10', *overrides]
    if backgrounds:
        folder = work / 'backgrounds'
        folder.mkdir(exist_ok=True)
        for number, image in enumerate(backgrounds):
            cv2.imwrite(str(folder / f'{number:03}.png'), image[:, :, ::-1])
        options += [f'--backgrounds={folder}']
    command = [sys.executable, '-m', 'don_kp_ros.training.command', str(work / 'pictures')]
    cpu_seconds = _run([*command, *options], log)
    model = checkpoint.load(output)
    # An interrupted training's card knows what was used before it went on; the system does not.
    used = max(cpu_seconds / 60, float(model.card['cpu_minutes']))
    record = {'cpu_minutes': used, 'commit': commit()}
    measured.write_text(json.dumps(record))
    for folder in (work / 'pictures', work / 'backgrounds'):
        shutil.rmtree(folder, ignore_errors=True)
    return Run(model, used, record['commit'])


def write_pictures(folder: Path, samples: list[Sample]) -> None:
    """Write pictures and masks as a training folder."""
    for name in ('rgbs', 'masks'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for sample in samples:
        stem = sample.path.stem.removesuffix('_rgb')
        image = np.ascontiguousarray(sample.image[:, :, ::-1])
        cv2.imwrite(str(folder / 'rgbs' / f'{stem}.png'), image)
        cv2.imwrite(str(folder / 'masks' / f'{stem}.png'), sample.mask)


def _run(command: list[str], log: Path | None) -> float:
    """Run a command; return its seconds of processor time, its own children's included."""
    with nullcontext() if log is None else log.open('a') as output:
        process = subprocess.Popen(command, stdout=output)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return usage.ru_utime + usage.ru_stime
