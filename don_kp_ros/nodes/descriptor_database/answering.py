"""How the database node's services answer."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from don_kp_ros.database.errors import StoreError
from don_kp_ros.errors import RefusedError
from don_kp_ros.nodes.kit.guard import guarded_service


def answering(method: Callable[..., Any]) -> Callable[..., Any]:
    """Answer with the message that a method returns, or with the reason why it is not done.

    The method gets request and response, and fills the response's other fields; it may be async.
    """

    @functools.wraps(method)
    async def answer(self: Any, request: Any, response: Any) -> Any:
        told = method(self, request, response)
        response.message = await told if inspect.isawaitable(told) else told
        response.success = True
        return response

    return guarded_service(answer, refusals=(RefusedError, StoreError))
