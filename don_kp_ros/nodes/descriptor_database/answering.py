"""How the database node's services answer what they do not carry out."""

from __future__ import annotations

import functools
from typing import Any

from don_kp_ros.database.records import RefusedError, StoreError
from don_kp_ros.nodes.kit.guard import Callback, guarded_service


def answering(callback: Callback) -> Callback:
    """Answer a request that is refused, or that the database fails at, with the reason.

    The method is that of an object which keeps its node as ``_node``. Other errors: see
    `guarded_service`.
    """

    @functools.wraps(callback)
    def answer(self: Any, request: Any, response: Any) -> Any:
        try:
            return callback(self, request, response)
        except (RefusedError, StoreError) as error:
            self._node.get_logger().warning(str(error))
            return type(response)(success=False, message=str(error))

    return guarded_service(answer)  # type: ignore[return-value]
