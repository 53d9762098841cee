"""The services that store descriptors, and that read, list, delete and restore them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node

from don_kp.srv import (
    DeleteDescriptor,
    GetDescriptor,
    ListDescriptors,
    RestoreDescriptor,
    StoreDescriptor,
)
from don_kp_ros.database.records import Filter, Observation
from don_kp_ros.database.text import printable, shortened, shown
from don_kp_ros.errors import RefusedError
from don_kp_ros.nodes.descriptor_database.answering import answering
from don_kp_ros.nodes.descriptor_database.link import DatabaseLink
from don_kp_ros.nodes.descriptor_database.messages import (
    descriptor_message,
    details_message,
    observation_message,
    page_token,
    place_from_token,
)
from don_kp_ros.nodes.descriptor_database.models import RunningModels
from don_kp_ros.nodes.descriptor_database.perception import PerceptionClient

_PAGE, _LARGEST_PAGE = 100, 1000


class DescriptorServices:
    """What people do with stored descriptors, one by one or page by page."""

    def __init__(
        self,
        node: Node,
        link: DatabaseLink,
        models: RunningModels,
        perception: PerceptionClient,
        changed: Callable[[], None],
        group: CallbackGroup,
    ) -> None:
        """Offer the services on a node that others spin; ``changed`` is called after a change."""
        self._node, self._link = node, link
        self._models, self._perception, self._changed = models, perception, changed
        for kind, name, callback in (
            (StoreDescriptor, 'store_descriptor', self._on_store),
            (GetDescriptor, 'get_descriptor', self._on_get),
            (ListDescriptors, 'list_descriptors', self._on_list),
            (DeleteDescriptor, 'delete_descriptor', self._on_delete),
            (RestoreDescriptor, 'restore_descriptor', self._on_restore),
        ):
            node.create_service(kind, name, callback, callback_group=group)

    @answering
    async def _on_store(
        self, request: StoreDescriptor.Request, response: StoreDescriptor.Response
    ) -> StoreDescriptor.Response:
        model, seen, source = await self._requested(request)
        stored = self._link.store.put(
            request.name,
            model,
            seen,
            replace=request.replace,
            add=request.add,
            object=request.object or None,
            tags=request.tags,
        )
        response.descriptor = descriptor_message(stored)
        mean = f', the mean of {stored.observations} looks' if stored.observations > 1 else ''
        return self._done(
            response,
            f'{shown(stored.name)} is stored for model {shortened(model)}, from {source}{mean}',
        )

    @answering
    def _on_get(
        self, request: GetDescriptor.Request, response: GetDescriptor.Response
    ) -> GetDescriptor.Response:
        model, store = self._models.fingerprint(request.model), self._link.store
        with store.snapshot():
            stored = store.get(request.name, model)
            seen = store.observations(request.name, model)
        response.descriptor = descriptor_message(stored)
        response.details = details_message(stored)
        response.observations = [observation_message(one) for one in seen]
        response.patch = next((one.patch for one in reversed(seen) if one.patch is not None), b'')
        response.success = True
        response.message = (
            f'{shown(stored.name)}, last changed {stored.updated:%Y-%m-%d %H:%M:%S} UTC'
        )
        return response

    @answering
    def _on_list(
        self, request: ListDescriptors.Request, response: ListDescriptors.Response
    ) -> ListDescriptors.Response:
        limit, after = request.limit or _PAGE, place_from_token(request.after)
        if limit > _LARGEST_PAGE:
            raise RefusedError(f'limit is {limit}; at most {_LARGEST_PAGE} are listed at a time')
        wanted = Filter(
            request.prefix,
            request.model or None,
            request.object or None,
            request.tag or None,
            request.deleted,
        )
        store = self._link.store
        with store.snapshot():
            found, damaged = store.page(wanted, after=after, limit=limit + 1)
            page, whole = found[:limit], len(found) <= limit
            response.total = store.count(wanted)
        response.descriptors = [descriptor_message(stored) for stored in page]
        response.details = [details_message(stored) for stored in page]
        response.next = '' if whole else page_token(page[-1])
        told = [f'{len(page)} descriptors', *(f'left out: {error}' for error in damaged)]
        response.success, response.message = True, '. '.join(told)
        return response

    @answering
    def _on_delete(
        self, request: DeleteDescriptor.Request, response: DeleteDescriptor.Response
    ) -> DeleteDescriptor.Response:
        model = self._models.fingerprint(request.model)
        self._link.store.delete(request.name, model)
        return self._done(
            response,
            f'{shown(request.name)} is deleted for model {shortened(model)}; /restore_descriptor '
            'brings it back',
        )

    @answering
    def _on_restore(
        self, request: RestoreDescriptor.Request, response: RestoreDescriptor.Response
    ) -> RestoreDescriptor.Response:
        stored = self._link.store.restore(request.name, self._models.fingerprint(request.model))
        response.descriptor = descriptor_message(stored)
        return self._done(
            response, f'{shown(stored.name)} is back for model {shortened(stored.model)}'
        )

    async def _requested(self, request: StoreDescriptor.Request) -> tuple[str, Observation, str]:
        """Return model and observation that a request asks to store, and where it comes from."""
        running = self._models.newest
        if running is not None and request.model not in ('', running.fingerprint):
            raise RefusedError(
                f'model {shortened(request.model)} was given, but '
                f'{shortened(running.fingerprint)} is running; leave the model out, or start '
                'perception with the other one'
            )
        if len(request.values) == 0:
            pixel = (request.u, request.v)
            model, seen, lacks = await self._perception.look(pixel, request.stamp, request.author)
            without = f', without a position: {printable(lacks)}' if lacks else ''
            return model, seen, f'pixel {pixel}{without}'
        if not request.model:
            raise RefusedError(
                "values were given without their model; give the model's fingerprint"
            )
        values = np.asarray(request.values, dtype=np.float32)
        if running is not None and len(values) != running.dimension:
            raise RefusedError(
                f'{len(values)} values were given; descriptors of model '
                f'{shortened(request.model)} have {running.dimension}'
            )
        return request.model, Observation(values, author=request.author), f'{len(values)} values'

    def _done(self, response: Any, message: str) -> Any:
        self._changed()
        self._node.get_logger().info(message)
        response.success, response.message = True, message
        return response
