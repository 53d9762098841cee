"""Faults of a SQLite file under a real node: no space, no right, a lock, damage, the future."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.database_node import DIMENSION, MODEL, Finding, Place, unit_vectors
from benchmarks.report import Target
from don_kp_ros.database.store import DescriptorStore


def full(place: Place) -> Finding | None:
    """Store until the disk is full, free some, store again."""
    with _tmpfs(place.folder / 'small', '3m') as folder:
        if folder is None:
            return None
        path, filler = folder / 'descriptors.sqlite', folder / 'filler'
        filler.write_bytes(bytes(1 << 20))
        with place.running(database=path):
            kept, refusals = _fill(place, 20)
            filler.unlink()
            again = place.store('again', unit_vectors(place.rng, 1, DIMENSION)[0])
        missing = lost(path, kept)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            verdict = connection.execute('PRAGMA integrity_check').fetchone()[0]
    clear = [_is_clear(message, path, 'space') for message in refusals]
    return Finding(
        [
            place.row(
                'disk full', tried=len(refusals), kept=len(kept), lost=missing, seen=refusals[-1]
            )
        ],
        [
            Target('disk full: refusals that name file and remedy', _share(clear), 1, True),
            Target('disk full: acknowledged stores lost', missing, 0),
            Target('disk full: the file is whole', verdict == 'ok', 1, True),
            Target('disk full: stores again with space', again.success, 1, True),
        ],
    )


def _fill(place: Place, refused: int) -> tuple[dict[str, NDArray[np.float32]], list[str]]:
    """Store until so many stores in a row are refused; return what was kept, and the refusals."""
    kept: dict[str, NDArray[np.float32]] = {}
    refusals: list[str] = []
    for number, values in enumerate(unit_vectors(place.rng, 50_000, DIMENSION)):
        name = f'kept/{number}'
        response = place.store(name, values)
        if not response.success:
            refusals.append(response.message)
            if len(refusals) == refused:
                break
        else:
            kept[name] = values
    return kept, refusals


def read_only(place: Place) -> Finding | None:
    """Start on a file system that cannot be written; then on the same that can."""
    with _tmpfs(place.folder / 'frozen', '8m') as folder:
        if folder is None:
            return None
        path = folder / 'descriptors.sqlite'
        with place.running(database=path):
            kept = _keep(place, 50)
        before = _bytes(path)
        _mount('-o', 'remount,ro', folder)
        said = _refused_start(place, path)
        untouched = _bytes(path) == before
        _mount('-o', 'remount,rw', folder)
        with place.running(database=path):
            again = place.store('again', unit_vectors(place.rng, 1, DIMENSION)[0])
        missing = lost(path, kept)
    return Finding(
        [place.row('read-only folder', tried=1, kept=len(kept), lost=missing, seen=said)],
        [
            Target(
                'read-only: the start names file and remedy',
                _is_clear(said, path, 'writable'),
                1,
                True,
            ),
            Target('read-only: the old content is untouched', untouched, 1, True),
            Target('read-only: serves once it is writable', again.success, 1, True),
        ],
    )


def locked(place: Place) -> Finding:
    """Hold a lock on the file for a time."""
    path = place.folder / 'descriptors.sqlite'
    (values,) = unit_vectors(place.rng, 1, DIMENSION)
    with place.running(database=path):
        kept = _keep(place, 50)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as holder:
            holder.execute('BEGIN IMMEDIATE')
            began = time.monotonic()
            response = place.store('locked', values)
            seconds = time.monotonic() - began
            holder.execute('ROLLBACK')
        again = place.store('again', values)
    missing = lost(path, kept)
    return Finding(
        [
            place.row(
                'locked file',
                tried=1,
                kept=len(kept),
                lost=missing,
                seen=f'after {seconds:.1f} s: {response.message}',
            )
        ],
        [
            Target(
                'locked: the answer names file and remedy',
                not response.success and _is_clear(response.message, path, 'process'),
                1,
                True,
            ),
            Target('locked: acknowledged stores lost', missing, 0),
            Target('locked: stores again afterwards', again.success, 1, True),
        ],
    )


def damaged(place: Place) -> Finding:
    """Overwrite pages in the middle of the file; start; let the doctor set it aside; start."""
    path = place.folder / 'descriptors.sqlite'
    with place.running(database=path):
        kept = _keep(place, 500)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute('PRAGMA wal_checkpoint(TRUNCATE)')
        pages, size = (
            connection.execute(f'PRAGMA {name}').fetchone()[0]
            for name in ('page_count', 'page_size')
        )
    with path.open('r+b') as file:
        file.seek(size * (pages // 2))
        file.write(place.rng.bytes(4 * size))
    before = path.read_bytes()
    said = _refused_start(place, path)
    untouched = path.read_bytes() == before
    doctor = subprocess.run(
        [
            *(sys.executable, '-m', 'don_kp_ros.cli', 'db'),
            *('doctor', '--set-aside', '--database', str(path)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    aside = [each for each in path.parent.glob('*.damaged-*') if each.read_bytes() == before]
    with place.running(database=path):
        again = place.store('again', unit_vectors(place.rng, 1, DIMENSION)[0])
    missing = lost(path, kept)
    return Finding(
        [place.row('damaged file', tried=1, kept=len(kept), lost=missing, seen=said)],
        [
            Target(
                'damaged: the start names file and remedy',
                _is_clear(said, path, 'don_kp db doctor'),
                1,
                True,
            ),
            Target('damaged: untouched until it is set aside', untouched, 1, True),
            Target('damaged: set aside as it was', len(aside), 1, True),
            Target('damaged: descriptors salvaged of 500', 500 - missing, 400, True),
            Target('damaged: the doctor ends well', doctor.returncode, 1),
            Target('damaged: serves afterwards', again.success, 1, True),
        ],
    )


def newer(place: Place) -> Finding:
    """Start on a file that a newer don_kp has migrated."""
    path = place.folder / 'descriptors.sqlite'
    with place.running(database=path):
        kept = _keep(place, 50)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute('PRAGMA wal_checkpoint(TRUNCATE)')
    before = path.read_bytes()
    said = _refused_start(place, path)
    untouched = path.read_bytes() == before
    return Finding(
        [place.row('newer schema', tried=1, kept=len(kept), lost=0, seen=said)],
        [
            Target(
                'newer: the start names file and remedy',
                _is_clear(said, path, 'update don_kp'),
                1,
                True,
            ),
            Target('newer: the file is untouched', untouched, 1, True),
        ],
    )


def _keep(place: Place, count: int) -> dict[str, NDArray[np.float32]]:
    kept = {}
    for number, values in enumerate(unit_vectors(place.rng, count, DIMENSION)):
        response = place.store(f'kept/{number}', values)
        if not response.success:
            raise RuntimeError(f'a store was refused: {response.message}')
        kept[f'kept/{number}'] = values
    return kept


def lost(database: Path | str, kept: Mapping[str, NDArray[np.float32]]) -> int:
    """Count the descriptors that a database does not have as they were acknowledged."""
    with DescriptorStore(database) as store:
        names, values = store.matrix(MODEL)
    found = dict(zip(names, values, strict=True))
    return sum(name not in found or bool((found[name] != kept[name]).any()) for name in kept)


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


def _share(verdicts: list[bool]) -> float:
    return sum(verdicts) / max(1, len(verdicts))


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
