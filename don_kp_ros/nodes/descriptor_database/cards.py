"""Keeps the cards of the models that run: what a descriptor's values come from."""

from __future__ import annotations

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node

from don_kp.msg import Model
from don_kp_ros.database.records import (
    RefusedError,
    StoreError,
    UnavailableError,
    loaded,
    shortened,
)
from don_kp_ros.nodes.descriptor_database.link import DatabaseLink
from don_kp_ros.nodes.kit.guard import guarded
from don_kp_ros.nodes.kit.qos import LATCHED

_RETRY_S, _TELL_S = 5.0, 60.0


class ModelCards:
    """Stores what perception tells of its model, as soon as the database answers."""

    def __init__(self, node: Node, link: DatabaseLink) -> None:
        """Subscribe on a node that others spin."""
        self._node, self._link = node, link
        self._waiting: dict[str, Model] = {}  # by fingerprint
        group = MutuallyExclusiveCallbackGroup()
        node.create_subscription(
            Model, '/don_kp/model', self._on_model, LATCHED, callback_group=group
        )
        node.create_timer(_RETRY_S, self._keep, callback_group=group)

    @guarded
    def _on_model(self, message: Model) -> None:
        self._waiting[message.fingerprint] = message
        self._keep()

    @guarded
    def _keep(self) -> None:
        for fingerprint, model in list(self._waiting.items()):
            try:
                self._link.store.keep_model(fingerprint, model.dimension, loaded(model.card))
            except UnavailableError:
                return  # the topic's thread says so, and opens it
            except StoreError as error:
                self._node.get_logger().warning(
                    f'the card of model {shortened(fingerprint)} is not kept yet: {error}',
                    throttle_duration_sec=_TELL_S,
                )
                continue
            except (RefusedError, ValueError, RecursionError) as error:
                self._node.get_logger().warning(
                    f'the card of model {shortened(fingerprint)} is not kept: {error}'
                )
            del self._waiting[fingerprint]
