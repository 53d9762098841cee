"""Keep a node alive when a callback fails: the error is logged, and the next message is taken."""

from __future__ import annotations

import functools
import inspect
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, TypeVar

from rclpy.node import Node

from don_kp_ros.errors import RefusedError

_QUIET_S = 10.0
_QUIET_REFUSAL_S = 1.0
Callback = TypeVar('Callback', bound=Callable[..., Any])


def guarded(callback: Callback) -> Callback:
    """Log an exception of a method with its traceback and return None.

    The method is a node's, or that of an object which keeps its node as ``_node``. The same error
    of the same method is logged at most every 10 s, with the number of repeats.
    """
    report = _Report(callback.__name__)

    @functools.wraps(callback)
    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        try:
            return callback(self, *arguments, **named)
        except Exception as error:
            report(getattr(self, '_node', self), error)
            return None

    return call  # type: ignore[return-value]


def guarded_service(
    callback: Callback, refusals: tuple[type[Exception], ...] = (RefusedError,)
) -> Callback:
    """Answer a service call that fails with success = False and the reason.

    The method is a node's, or that of an object which keeps its node as ``_node``; it may be
    async. The message of a refusal is the answer, and one line of the log; any other error is
    logged as `guarded` does.
    """
    report = _Report(callback.__name__)

    # rclpy awaits an answer wherever the callback is async; what is not is done in one go.
    @functools.wraps(callback)
    async def answer(self: Any, request: Any, response: Any) -> Any:
        node = getattr(self, '_node', self)
        try:
            answered = callback(self, request, response)
            return await answered if inspect.isawaitable(answered) else answered
        except refusals as error:
            report.refusal(node, str(error))
            return type(response)(success=False, message=str(error))
        except Exception as error:
            report(node, error)
            if hasattr(response, 'message'):
                response.success = False
                response.message = (
                    f'internal error: {error!r}; the log of the node has the details'
                )
            return response

    return answer  # type: ignore[return-value]


class _Report:
    def __init__(self, callback: str) -> None:
        self._callback = callback
        self._lock = threading.Lock()
        self._logged: dict[str, tuple[float, int]] = {}
        self._refused = -_QUIET_REFUSAL_S

    def refusal(self, node: Node, reason: str) -> None:
        """Log a reason, unless one was logged just before: clients may ask again and again."""
        now = time.monotonic()
        with self._lock:
            quiet = now - self._refused < _QUIET_REFUSAL_S
            self._refused = self._refused if quiet else now
        if not quiet:
            node.get_logger().warning(reason)

    def __call__(self, node: Node, error: Exception) -> None:
        if not node.context.ok():
            return  # on the way out everything fails
        kind, now = type(error).__name__, time.monotonic()
        with self._lock:
            last, repeats = self._logged.get(kind, (-_QUIET_S, 0))
            quiet = now - last < _QUIET_S
            self._logged[kind] = (last, repeats + 1) if quiet else (now, 0)
        if quiet:
            return
        again = f' ({repeats} more times since the last report)' if repeats else ''
        node.get_logger().error(
            f'{self._callback} failed{again}, the node goes on:\n'
            + ''.join(traceback.format_exception(error)).rstrip()
        )
