"""The models that perception runs, and their cards: what a descriptor's values come from."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node

from don_kp.msg import Model
from don_kp_ros.database.errors import StoreError, UnavailableError
from don_kp_ros.database.records import loaded
from don_kp_ros.database.text import shortened
from don_kp_ros.errors import RefusedError
from don_kp_ros.nodes.descriptor_database.link import DatabaseLink
from don_kp_ros.nodes.kit.guard import guarded
from don_kp_ros.nodes.kit.qos import LATCHED

_RETRY_S, _TELL_S = 5.0, 60.0


class RunningModels:
    """Hears which models run, and stores their cards as soon as the database answers."""

    def __init__(
        self, node: Node, link: DatabaseLink, on_models: Callable[[frozenset[str]], None]
    ) -> None:
        """Subscribe on a node that others spin; ``on_models`` gets their fingerprints."""
        self._node, self._link, self._on_models = node, link, on_models
        self._newest: Model | None = None
        self._heard: list[str] = []  # fingerprints, the newest last
        self._waiting: dict[str, Model] = {}  # by fingerprint
        group = MutuallyExclusiveCallbackGroup()
        node.create_subscription(
            Model, 'don_kp/model', self._on_model, LATCHED, callback_group=group
        )
        node.create_timer(_RETRY_S, self._keep_cards, callback_group=group)

    @property
    def newest(self) -> Model | None:
        """The model that perception started with last."""
        return self._newest

    def fingerprint(self, given: str) -> str:
        """Return the fingerprint that a request gives, or that of the running model."""
        if given:
            return given
        if self._newest is None:
            raise RefusedError(
                "no model is known to run yet; give the model's fingerprint, or start perception"
            )
        return str(self._newest.fingerprint)

    @guarded
    def _on_model(self, message: Model) -> None:
        self._newest = message
        if message.fingerprint in self._heard:
            self._heard.remove(message.fingerprint)
        self._heard.append(message.fingerprint)
        # Of nodes that have ended, the publishers are gone.
        running = max(1, self._node.count_publishers('don_kp/model'))
        self._on_models(frozenset(self._heard[-running:]))
        self._waiting[message.fingerprint] = message
        self._keep_cards()

    @guarded
    def _keep_cards(self) -> None:
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
