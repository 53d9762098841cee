"""A folder that is made whole, or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from don_kp_ros.data.picture_file import DataError


@contextmanager
def made_whole(folder: Path) -> Iterator[Path]:
    """Give a place to write to, which becomes the folder where nothing is raised.

    Raises DataError where there is something in the folder already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f'{folder}: is there already; give a folder that is not, or that is empty')
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f'.{folder.name}-', dir=folder.parent) as part:
        whole = Path(part) / folder.name
        yield whole
        if folder.exists():
            folder.rmdir()
        whole.rename(folder)
