"""DATA, or rendered caps in its place, made once."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.report import OUTPUT
from don_kp_ros.data.folder import ImageFolder, Sample, write_samples
from don_kp_ros.simulation import command


def caps() -> Path:
    """Make a folder of caps/, backgrounds/ and caps_real/."""
    folder = OUTPUT / 'rendered'
    if not folder.is_dir():
        partial = _partial(folder)
        views = ('--object', 'cap', '--views', '15', '--instances', '5', '--negatives', '40')
        _render(partial / 'caps', *views)
        (partial / 'backgrounds').symlink_to('caps/negatives')
        (partial / 'caps_real').symlink_to(photos(0).resolve())
        partial.rename(folder)
    return folder


def photos(seed: int) -> Path:
    """Make a folder of pictures in the place of photos, one of them also turned by 180 degrees."""
    folder = OUTPUT / f'rendered-photos-{seed}'
    if not folder.is_dir():
        partial = _partial(folder)
        views = ('--object', 'cap', '--views', '3', '--negatives', '0')
        options = (*views, '--seed', str(seed))
        _render(partial / 'rendered', *options)
        samples = list(ImageFolder.open(partial / 'rendered').samples())
        first = samples[0]
        turned = Path(f'{first.path.stem}-turned.png')
        samples.append(Sample(turned, first.image[::-1, ::-1], first.mask[::-1, ::-1]))
        write_samples(partial, samples)
        partial.rename(folder)
    return folder


def data_folder(stand_in: Callable[[], Path] = caps) -> Path:
    """Return DATA, or what takes its place where it names none, and say so."""
    if data := os.environ.get('DATA'):
        return Path(data)
    print('DATA names no folder: rendered caps take its place.')
    return stand_in()


def _partial(folder: Path) -> Path:
    partial = folder.with_suffix('.partial')
    shutil.rmtree(partial, ignore_errors=True)
    return partial


def _render(folder: Path, *options: str) -> None:
    if command.main([str(folder), *options]):
        sys.exit(1)
