"""Run a node as a process: start, spin, stop."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import (
    Executor,
    ExternalShutdownException,
    MultiThreadedExecutor,
    SingleThreadedExecutor,
)
from rclpy.logging import get_logger
from rclpy.node import Node

from don_kp_ros.configuration import ConfigurationError
from don_kp_ros.resources import config_path

_LONGEST_WAIT_S = 0.5


class StartupError(Exception):
    """A node cannot start; the message is all that its user needs."""


def run_node(
    factory: Callable[[], Node], args: Sequence[str] | None = None, threads: int = 2
) -> int:
    """Make a node, spin it until SIGINT, SIGTERM or shutdown, destroy it; return the exit status.

    ``args`` are the command line's, sys.argv where None. A StartupError, or a wrong configuration
    or parameter, is one fatal line and status 1. Threads of the node must end in its
    destroy_node().
    """
    _use_large_shared_memory()
    with _no_keyboard_interrupt():
        try:
            rclpy.init(args=None if args is None else [sys.argv[0], *args])
        except RuntimeError as error:
            print(f'cannot start: {_one_line(error)}', file=sys.stderr)
            return 1
        try:
            return _run(factory, threads)
        finally:
            rclpy.try_shutdown()


def _run(factory: Callable[[], Node], threads: int) -> int:
    try:
        # Before the node: a signal may end the context while that is made, and no executor can be
        # made without one.
        executor: Executor = (
            SingleThreadedExecutor() if threads == 1 else MultiThreadedExecutor(threads)
        )
        node = factory()
    except (StartupError, ConfigurationError, ParameterException) as error:
        get_logger('don_kp').fatal(_one_line(error))
        return 1
    except Exception:
        if not rclpy.ok():
            return 0  # told to end while starting
        raise
    try:
        executor.add_node(node)
        # Not spin(): the one wake-up that rclpy sends on a signal may come between two waits, and
        # the second would last for ever.
        while rclpy.ok():
            executor.spin_once(timeout_sec=_LONGEST_WAIT_S)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except Exception:
        if rclpy.ok():
            raise
    finally:
        executor.shutdown(timeout_sec=1.0)
        node.destroy_node()
    return 0


@contextlib.contextmanager
def _no_keyboard_interrupt() -> Iterator[None]:
    """Leave SIGINT to rclpy, which ends the spinning; Python would raise in clean-up too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _use_large_shared_memory() -> None:
    # Fast DDS's default segment is smaller than one colour image: best effort would lose half.
    if 'FASTRTPS_DEFAULT_PROFILES_FILE' not in os.environ:
        with contextlib.suppress(FileNotFoundError):
            os.environ['FASTRTPS_DEFAULT_PROFILES_FILE'] = str(config_path('fastdds.xml'))


def _one_line(error: BaseException) -> str:
    return ' '.join(str(error).split())
