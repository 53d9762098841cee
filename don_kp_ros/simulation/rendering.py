"""Many pictures at once, in processes of their own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import Any

from tqdm import tqdm

from don_kp_ros.data.folder import DataError


def render_all(
    jobs: list[tuple[Callable[..., object], tuple[object, ...]]], workers: int
) -> list[Any]:
    """Run functions with their arguments in processes, with a progress bar; list the results.

    Raises DataError if a process dies.
    """
    # Spawned, not forked: a graphics context does not survive a fork.
    context = multiprocessing.get_context('spawn')
    watched, own = context.Pipe(duplex=False)
    with own, ProcessPoolExecutor(workers, context, _end_with, (watched,)) as pool:
        try:
            done = pool.map(_run, jobs, chunksize=4)
            return list(tqdm(done, total=len(jobs), desc='render', unit='scene'))
        except BrokenProcessPool as error:
            raise DataError(
                f'one of {workers} processes that render died, as where memory runs out; render '
                'again with fewer --workers'
            ) from error
        except BaseException:
            own.close()
            raise


def _end_with(command: Connection) -> None:
    """Have a worker end where the command is interrupted or killed, whatever is still to do."""

    def watch() -> None:
        with contextlib.suppress(EOFError):
            command.recv()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _run(job: tuple[Callable[..., object], tuple[object, ...]]) -> object:
    function, arguments = job
    return function(*arguments)
