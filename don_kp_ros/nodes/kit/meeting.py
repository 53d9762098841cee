"""Wait until a server knows who asks it: an answer before would be lost."""

from __future__ import annotations

import time

from rcl_interfaces.srv import GetParameterTypes
from rclpy.client import Client
from rclpy.node import Node
from rclpy.task import Future

from don_kp_ros.nodes.kit.graph import servers

_AGAIN_S = 0.5  # without an answer, which may have been lost
_WITHOUT_S = 2.0  # after which a server is taken to have no parameters


class Meeting:
    """Asks the server of a service for nothing, until it answers.

    A client knows its server at once, and a server learns of a new client a moment later; on a
    busy machine it gives up an answer before. What it has answered was asked by the same process,
    after the client of the service was made: it knows that one, too.
    """

    def __init__(self, node: Node, service: str) -> None:
        """Begin on a node that others spin, once a client of a service, by full name, is made."""
        self._node, self._service = node, service
        self._client: Client | None = None
        self._sent: list[Future] = []
        self._begun = time.monotonic()
        self._asked = -_AGAIN_S

    def over(self) -> bool:
        """Tell whether the server knows this process; to be called again and again."""
        if self._client is None:
            found = servers(self._node, self._service)
            if not found:
                return False
            name = f'{found[0]}/get_parameter_types'
            self._client = self._node.create_client(GetParameterTypes, name)
        if not self._client.service_is_ready():
            return time.monotonic() > self._begun + _WITHOUT_S
        if time.monotonic() > self._asked + _AGAIN_S:
            self._asked = time.monotonic()
            self._sent.append(self._client.call_async(GetParameterTypes.Request()))
        return any(future.done() for future in self._sent)

    def close(self) -> None:
        """Leave."""
        if self._client is not None:
            self._node.destroy_client(self._client)
