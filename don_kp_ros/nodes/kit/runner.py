"""Run a node as a process: start, spin, stop."""

from __future__ import annotations

import contextlib
import faulthandler
import inspect
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import rclpy
from rclpy.context import Context
from rclpy.exceptions import InvalidHandle, ParameterException
from rclpy.executors import (
    ConditionReachedException,
    Executor,
    ExternalShutdownException,
    MultiThreadedExecutor,
    ShutdownException,
    SingleThreadedExecutor,
    TimeoutException,
    TimeoutObject,
)
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Task

from don_kp_ros.configuration import ConfigurationError
from don_kp_ros.resources import config_path

_LONGEST_WAIT_S = 0.2
_LAST_WORDS_S = 0.2
_TEARDOWN_S = 8.0  # less than `launch` and `don_kp bringup` give
_LACKS = (ConfigurationError, ParameterException, FileNotFoundError, ModuleNotFoundError)


class StartupError(Exception):
    """A node cannot start, or go on; the message is all that its user needs."""


class EndedError(Exception):
    """A node was told to end before it had started."""


def told_to_end() -> bool:
    """Tell what waits long in a node's start whether it should raise EndedError."""
    return _Ending.present is not None and _Ending.present.came()


def run_node(
    factory: Callable[[], Node], args: Sequence[str] | None = None, threads: int = 2
) -> int:
    """Make a node, spin it until SIGINT, SIGTERM or shutdown, destroy it; return the exit status.

    A node may have a method ``end()``: it is called once while messages still flow, before
    anything is torn down, and must return within 5 s. Threads of the node must end in its
    destroy_node(). Where that, or a callback, has not ended 8 s after ``end()``, the process tells
    where on standard error, and ends with status 1. To be called from the main thread, last of
    all: the signals stay caught. ``args`` are the command line's, sys.argv where None. A
    StartupError, also one of a callback, is one fatal line and status 1; so is, at the start, a
    wrong configuration or parameter, or a missing file or package.
    """
    _use_large_shared_memory()
    faulthandler.register(signal.SIGQUIT)  # tells where a node hangs
    with _Ending() as ending:
        try:
            # Not rclpy's handlers: they end the context, and all that a node could still say.
            rclpy.init(
                args=None if args is None else [sys.argv[0], *args],
                signal_handler_options=SignalHandlerOptions.NO,
            )
        except RuntimeError as error:
            print(f'cannot start: {_one_line(error)}', file=sys.stderr)
            return 1
        try:
            try:
                node = factory()
            except _LACKS as error:
                raise StartupError(str(error)) from error
            ending.catch_signals()  # what the node has started may have taken them: rclcpp does
            _spin(node, threads, ending)
            return 0
        except EndedError:
            return 0
        except StartupError as error:
            get_logger('don_kp').fatal(_one_line(error))
            return 1
        finally:
            rclpy.try_shutdown()
            faulthandler.cancel_dump_traceback_later()


class _Ending:
    """The end of a node, which SIGINT or SIGTERM brings, or the node itself.

    Waited for at a socket that Python's handler in C writes to: handlers in Python run in the main
    thread alone, and do not end a wait that begins as a signal comes, or another thread gets it.
    """

    present: ClassVar[_Ending | None] = None

    def __enter__(self) -> _Ending:
        self._told, self._tell = socket.socketpair()
        self._tell.setblocking(False)
        signal.set_wakeup_fd(self._tell.fileno(), warn_on_full_buffer=False)
        self.catch_signals()
        _Ending.present = self
        return self

    def __exit__(self, *_: object) -> None:
        _Ending.present = None
        signal.set_wakeup_fd(-1)
        self._told.close()
        self._tell.close()

    def catch_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)

    def bring(self) -> None:
        self._tell.send(b'.')

    def came(self) -> bool:
        return bool(select.select([self._told], [], [], 0)[0])

    def wait(self) -> None:
        self._told.recv(1)


class ThreadedExecutor(MultiThreadedExecutor):
    """Gives each callback to its threads once, and one that awaits something when it may go on.

    rclpy's own goes round and gives them the same one again, until one of them has begun with it,
    or until what it awaits has come: that takes what time there is.
    """

    def __init__(self, threads: int, context: Context | None = None) -> None:
        """Make the threads."""
        super().__init__(threads, context=context)
        self._awaiting: list[tuple[Task, Any, Node]] = []
        self._ended = 0  # callbacks; both under the tasks' lock

    def wake(self) -> None:
        """Look again at what can be done, callbacks that await something included."""
        with self._tasks_lock:
            self._tasks += self._awaiting
            self._awaiting = []
        super().wake()

    def _spin_once_impl(
        self,
        timeout_sec: float | TimeoutObject | None = None,
        wait_condition: Callable[[], bool] = lambda: False,
    ) -> None:
        work: tuple[Task, Any, Node]
        try:
            work = self.wait_for_ready_callbacks(timeout_sec, None, wait_condition)
        except TimeoutException:
            if self._awaiting:
                self.wake()  # a thread of somebody else may have brought it, who tells nobody
            return
        except (ConditionReachedException, ExternalShutdownException, ShutdownException):
            return
        task = work[0]
        with self._tasks_lock:
            self._tasks = [one for one in self._tasks if one[0] is not task]
        self._executor.submit(self._work, work)
        self._futures.append(task)
        ended = [one for one in self._futures if one.done()]
        self._futures = [one for one in self._futures if not one.done()]
        for one in ended:
            one.result()  # raises what the callback has raised

    def _work(self, work: tuple[Task, Any, Node]) -> None:
        task, before = work[0], self._ended
        task()
        with self._tasks_lock:
            if task.done():
                self._ended += 1
            else:
                self._awaiting.append(work)
            moved = self._awaiting and self._ended != before
        if moved:  # what has ended meanwhile may be what was awaited
            self.wake()

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """End the threads first, which rclpy leaves at work with what it then destroys.

        What waits for a thread is not done any more.
        """
        self._executor.shutdown(cancel_futures=True)
        for task in self._futures:
            work = task._handler
            if (
                inspect.iscoroutine(work)
                and inspect.getcoroutinestate(work) == inspect.CORO_CREATED
            ):
                work.close()  # or Python warns of it
        return bool(super().shutdown(timeout_sec))


def _spin(node: Node, threads: int, ending: _Ending) -> None:
    executor: Executor = SingleThreadedExecutor() if threads == 1 else ThreadedExecutor(threads)
    executor.add_node(node)
    over = threading.Event()

    def spin() -> None:
        with contextlib.suppress(ExternalShutdownException):
            # Not executor.spin(): the one wake-up that rclpy sends on a shutdown may come between
            # two waits, and the second would last for ever.
            while rclpy.ok() and not over.is_set():
                # What a callback destroys may be about to be waited for: look again without it.
                with contextlib.suppress(InvalidHandle):
                    executor.spin_once(timeout_sec=_LONGEST_WAIT_S)

    with ThreadPoolExecutor(1, 'spin') as pool:
        spinning = pool.submit(spin)
        spinning.add_done_callback(lambda _: ending.bring())
        try:
            ending.wait()
            end = getattr(node, 'end', None)
            if end is not None and rclpy.ok():
                end()
                time.sleep(_LAST_WORDS_S)  # e.g. the result of the action that it ended
        finally:
            faulthandler.dump_traceback_later(_TEARDOWN_S, exit=True)
            # Spinning ends first: rclpy cannot prepare to wait in a context that has ended. Then
            # the context: what callbacks and threads still publish is dropped silently.
            over.set()
            spinning.exception()
            rclpy.try_shutdown()
            executor.shutdown()
            node.destroy_node()
    spinning.result()


def _use_large_shared_memory() -> None:
    # Fast DDS's default segment is smaller than one colour image: best effort would lose half.
    if 'FASTRTPS_DEFAULT_PROFILES_FILE' not in os.environ:
        with contextlib.suppress(FileNotFoundError):
            os.environ['FASTRTPS_DEFAULT_PROFILES_FILE'] = str(config_path('fastdds.xml'))


def _one_line(error: BaseException) -> str:
    return ' '.join(str(error).split())
