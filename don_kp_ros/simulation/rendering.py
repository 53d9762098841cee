"""Many pictures at once, in processes of their own, onto the disk."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm


def render_all(
    jobs: list[tuple[Callable[..., object], tuple[object, ...]]], workers: int
) -> list[Any]:
    """Run functions with their arguments in processes, with a progress bar; list the results."""
    # Spawned, not forked: a graphics context does not survive a fork.
    with multiprocessing.get_context('spawn').Pool(workers) as pool:
        return list(
            tqdm(pool.imap(_run, jobs, chunksize=4), total=len(jobs), desc='render', unit='scene')
        )


def _run(job: tuple[Callable[..., object], tuple[object, ...]]) -> object:
    function, arguments = job
    return function(*arguments)


def write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write a picture (H, W, 3) RGB or (H, W), as its suffix says; raises OSError."""
    bgr = picture[..., ::-1] if picture.ndim == 3 else picture
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if path.suffix == '.jpg' else []
    if not cv2.imwrite(str(path), bgr, options):
        raise OSError(f'{path} could not be written')
