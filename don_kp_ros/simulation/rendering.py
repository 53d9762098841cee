"""Many pictures at once, in processes of their own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

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
