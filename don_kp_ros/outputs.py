"""What commands write, and where: looked at before the work, whole or not at all."""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from don_kp_ros.errors import RefusedError


def check_writable(path: Path) -> None:
    """Raise RefusedError, naming the folder and the cause, where a file cannot be written.

    Folders above it may be missing: whoever writes the file makes them.
    """
    folder = path.parent
    try:
        if path.is_dir():
            raise RefusedError(f'{path}: is a folder; name a file in it')
        while not folder.exists():
            folder = folder.parent
        # Tried, not asked: permissions say nothing of read-only or full disks, nor of root.
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b'?')
    except OSError as error:
        raise RefusedError(
            f'{path}: cannot be written into {folder} ({error.strerror}); choose another folder'
        ) from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield where to write a file, which then takes the place of the one before, if there is one.

    So a reader sees that one or the whole new one. Its folder must exist. Where writing fails, the
    one before stays.
    """
    partial = path.with_name(f'{path.name}.partial')
    try:
        yield partial
        os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


def without_nan(value: Any) -> Any:
    """Replace what JSON can't hold by null: NaN and infinities."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
