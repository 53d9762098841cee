"""Faults of a SQLite file under a real node: no space, no right, a lock, damage, the future."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.database_node import Finding, Place, lost, sql

_Kept = dict[str, NDArray[np.float32]]


def full(place: Place) -> list[Finding]:
    """Store until the disk is full, free some, store again."""
    with _tmpfs(place.folder / 'small', '3m') as folder:
        if folder is None:
            return []
        path, filler = folder / 'descriptors.sqlite', folder / 'filler'
        filler.write_bytes(bytes(1 << 20))
        with place.running(database=path):
            kept, refusals = _stored(place, 50_000, refused=20)
            filler.unlink()
            again = place.store('again', place.vector())
        missing = lost(path, kept)
        whole = sql(path, 'PRAGMA integrity_check') == [('ok',)]
    clear = [_is_clear(message, path, 'space') for message in refusals]
    holds = {
        'refusals that name file and remedy': sum(clear) / len(clear),
        'the file is whole': whole,
        'stores again with space': again.success,
    }
    tried = len(refusals)
    return [place.finding('disk full', len(kept), missing, refusals[-1], holds, tried=tried)]


def read_only(place: Place) -> list[Finding]:
    """Start on a file system that cannot be written; then on the same that can."""
    with _tmpfs(place.folder / 'frozen', '8m') as folder:
        if folder is None:
            return []
        path = folder / 'descriptors.sqlite'
        with place.running(database=path):
            kept, _ = _stored(place, 50)
        before = _bytes(path)
        _mount('-o', 'remount,ro', folder)
        said = _refused_start(place, path)
        holds = {
            'the start names file and remedy': _is_clear(said, path, 'writable'),
            'the old content is untouched': _bytes(path) == before,
        }
        _mount('-o', 'remount,rw', folder)
        with place.running(database=path):
            holds['serves once it is writable'] = place.store('again', place.vector()).success
        missing = lost(path, kept)
    return [place.finding('read-only folder', len(kept), missing, said, holds)]


def locked(place: Place) -> list[Finding]:
    """Hold a lock on the file for a time."""
    path, values = place.path, place.vector()
    with place.running(database=path):
        kept, _ = _stored(place, 50)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder:
            holder.execute('BEGIN IMMEDIATE')
            began = time.monotonic()
            response = place.store('locked', values)
            seconds = time.monotonic() - began
            holder.execute('ROLLBACK')
        again = place.store('again', values)
    clear = not response.success and _is_clear(response.message, path, 'try again')
    holds = {
        'the answer names file and remedy': clear,
        'stores again afterwards': again.success,
    }
    seen = f'after {seconds:.1f} s: {response.message}'
    return [place.finding('locked file', len(kept), lost(path, kept), seen, holds)]


def damaged(place: Place) -> list[Finding]:
    """Overwrite pages in the middle of the file; start; let the doctor set it aside; start."""
    path = place.path
    with place.running(database=path):
        kept, _ = _stored(place, 500)
    sql(path, 'PRAGMA wal_checkpoint(TRUNCATE)')
    (pages,), (size,) = sql(path, 'PRAGMA page_count') + sql(path, 'PRAGMA page_size')
    with path.open('r+b') as file:
        file.seek(size * (pages // 2))
        file.write(place.rng.bytes(4 * size))
    before = path.read_bytes()
    said = _refused_start(place, path)
    untouched = path.read_bytes() == before
    doctor = [sys.executable, '-m', 'don_kp_ros.cli', 'db', 'doctor', '--set-aside']
    done = subprocess.run([*doctor, '--database', path], capture_output=True, check=False)
    aside = [each for each in path.parent.glob('*.damaged-*') if each.read_bytes() == before]
    with place.running(database=path):
        again = place.store('again', place.vector())
    holds = {
        'the start names file and remedy': _is_clear(said, path, 'don_kp db doctor'),
        'untouched until it is set aside': untouched,
        'set aside as it was': len(aside),
        'the doctor ends well': done.returncode <= 1,
        'serves afterwards': again.success,
    }
    missing = lost(path, kept)
    return [place.finding('damaged file', len(kept), missing, said, holds, most_lost=100)]


def newer(place: Place) -> list[Finding]:
    """Start on a file that a newer don_kp has migrated."""
    path = place.path
    with place.running(database=path):
        kept, _ = _stored(place, 50)
    sql(path, "UPDATE alembic_version SET version_num = '9999'")
    sql(path, 'PRAGMA wal_checkpoint(TRUNCATE)')
    before = path.read_bytes()
    said = _refused_start(place, path)
    holds = {
        'the start names file and remedy': _is_clear(said, path, 'update don_kp'),
        'the file is untouched': path.read_bytes() == before,
    }
    return [place.finding('newer schema', len(kept), 0, said, holds)]


def _stored(place: Place, number: int, refused: int = 0) -> tuple[_Kept, list[str]]:
    """Store so many, or until as many are refused as may be; return what was kept, and refusals.

    Raises RuntimeError where none may be refused.
    """
    kept: _Kept = {}
    refusals: list[str] = []
    for each in range(number):
        name, values = f'kept/{each}', place.vector()
        response = place.store(name, values)
        if response.success:
            kept[name] = values
            continue
        refusals.append(response.message)
        if not refused:
            raise RuntimeError(f'a store was refused: {response.message}')
        if len(refusals) == refused:
            break
    return kept, refusals


def _refused_start(place: Place, path: Path) -> str:
    """Start a node that must not run; return what it says."""
    node = place.node(database=path)
    try:
        status = node.process.wait(60)
    except subprocess.TimeoutExpired:
        node.end(signal.SIGKILL)
        return f'the node runs: {node.output}'
    return node.output if status == 1 else f'exit status {status}: {node.output}'


def _is_clear(message: str, path: Path, remedy: str) -> bool:
    return str(path) in message and remedy in message and 'Traceback' not in message


def _bytes(path: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in sorted(path.parent.iterdir())}


@contextlib.contextmanager
def _tmpfs(folder: Path, size: str) -> Iterator[Path | None]:
    """Mount a small file system; None where one may not."""
    folder.mkdir()
    mounted = _mount('-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', folder)
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(['umount', '--lazy', folder], check=True)


def _mount(*arguments: str | Path) -> bool:
    return subprocess.run(['mount', *arguments], capture_output=True, check=False).returncode == 0
