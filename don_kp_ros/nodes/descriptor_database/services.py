"""The services that store descriptors, read, list, change, delete, restore and rank them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from don_kp.srv import (
    ChangeDescriptor,
    DeleteDescriptor,
    GetDescriptor,
    ListDescriptors,
    RankDescriptors,
    RestoreDescriptor,
    StoreDescriptor,
)
from don_kp_ros.database.errors import DamagedError, UnknownNameError
from don_kp_ros.database.records import Filter, Observation
from don_kp_ros.database.text import printable, shortened, shown
from don_kp_ros.errors import RefusedError
from don_kp_ros.nodes.descriptor_database.answering import answering
from don_kp_ros.nodes.descriptor_database.messages import (
    descriptor_message,
    details_message,
    observation_message,
    page_token,
    place_from_token,
)
from don_kp_ros.nodes.descriptor_database.store_services import StoreServices

_PAGE, _LARGEST_PAGE = 100, 1000
_RANKED_IN_WORDS = 3


class DescriptorServices(StoreServices):
    """What people do with stored descriptors, one by one or page by page."""

    def _services(self) -> Iterable[tuple[Any, str, Callable[..., Any]]]:
        return (
            (StoreDescriptor, 'store_descriptor', self._store),
            (GetDescriptor, 'get_descriptor', self._get),
            (ListDescriptors, 'list_descriptors', self._list),
            (ChangeDescriptor, 'change_descriptor', self._change),
            (DeleteDescriptor, 'delete_descriptor', self._delete),
            (RestoreDescriptor, 'restore_descriptor', self._restore),
            (RankDescriptors, 'rank_descriptors', self._rank),
        )

    @answering
    async def _store(
        self, request: StoreDescriptor.Request, response: StoreDescriptor.Response
    ) -> str:
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
        return self._changed(
            f'{shown(stored.name)} is stored for model {shortened(model)}, from {source}{mean}'
        )

    @answering
    def _get(self, request: GetDescriptor.Request, response: GetDescriptor.Response) -> str:
        model, store = self._models.fingerprint(request.model), self._link.store
        with store.snapshot():
            stored = store.get(request.name, model)
            seen = store.observations(request.name, model)
        response.descriptor = descriptor_message(stored)
        response.details = details_message(stored)
        response.observations = [observation_message(one) for one in seen]
        response.patch = next((one.patch for one in reversed(seen) if one.patch is not None), b'')
        return f'{shown(stored.name)}, last changed {stored.updated:%Y-%m-%d %H:%M:%S} UTC'

    @answering
    def _list(self, request: ListDescriptors.Request, response: ListDescriptors.Response) -> str:
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
        return '. '.join(
            [f'{len(page)} descriptors', *(f'left out: {error}' for error in damaged)]
        )

    @answering
    def _change(
        self, request: ChangeDescriptor.Request, response: ChangeDescriptor.Response
    ) -> str:
        if request.tags and not request.replace_tags:
            raise RefusedError('tags were given without replace_tags: true, which replaces them')
        if not (request.new_name or request.object or request.replace_tags):
            raise RefusedError(
                'nothing is to be changed; give a new_name, an object, or replace_tags: true'
            )
        stored = self._link.store.change(
            request.name,
            self._models.fingerprint(request.model),
            request.new_name or None,
            request.object or None,
            request.tags if request.replace_tags else None,
        )
        response.descriptor = descriptor_message(stored)
        called = f', now called {shown(stored.name)},' if stored.name != request.name else ''
        tags = f'tags {", ".join(map(shown, stored.tags))}' if stored.tags else 'no tags'
        return self._changed(
            f'{shown(request.name)}{called} is on {shown(stored.object)} and has {tags}, for '
            f'model {shortened(stored.model)}'
        )

    @answering
    def _delete(
        self, request: DeleteDescriptor.Request, response: DeleteDescriptor.Response
    ) -> str:
        model = self._models.fingerprint(request.model)
        self._link.store.delete(request.name, model)
        return self._changed(
            f'{shown(request.name)} is deleted for model {shortened(model)}; '
            f'{self._node.resolve_service_name("restore_descriptor")} brings it back'
        )

    @answering
    def _restore(
        self, request: RestoreDescriptor.Request, response: RestoreDescriptor.Response
    ) -> str:
        stored = self._link.store.restore(request.name, self._models.fingerprint(request.model))
        response.descriptor = descriptor_message(stored)
        return self._changed(f'{shown(stored.name)} is back for model {shortened(stored.model)}')

    @answering
    async def _rank(
        self, request: RankDescriptors.Request, response: RankDescriptors.Response
    ) -> str:
        store = self._link.store
        seen = await self._perception.rank(request, self._topic.publish())
        if seen.total == 0 and store.count(Filter(model=seen.model)):
            raise RefusedError('perception has not been told yet what is stored; try again')
        if seen.total == 0:
            raise RefusedError(
                f'nothing is stored for model {shortened(seen.model)}; store it with '
                f'{self._node.resolve_service_name("store_descriptor")}'
            )
        left_out = []
        for ranked in seen.ranking:
            try:
                ranked.object = store.get(ranked.name, seen.model).object
            except UnknownNameError:
                continue  # deleted meanwhile
            except DamagedError as error:
                left_out.append(f'left out: {error}')
                continue
            response.ranking.append(ranked)
        response.header, response.model = seen.header, seen.model
        best = (f'{shown(m.name)} {m.score:.3f}' for m in response.ranking[:_RANKED_IN_WORDS])
        return '. '.join([f'of {seen.total}: {", ".join(best)}', *left_out])

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
