"""The services that teach objects, that keep their grasps, and that list and delete both."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from don_kp.msg import TaughtObject
from don_kp.srv import (
    DeleteGrasp,
    DeleteObject,
    ListObjects,
    RenameObject,
    StoreGrasp,
    TeachObject,
)
from don_kp_ros.database.objects import taken
from don_kp_ros.database.records import Filter, check_name
from don_kp_ros.database.text import printable, shortened, shown
from don_kp_ros.errors import RefusedError
from don_kp_ros.nodes.descriptor_database.answering import answering
from don_kp_ros.nodes.descriptor_database.messages import (
    grasp_from_message,
    grasp_message,
    object_from_message,
    object_message,
)
from don_kp_ros.nodes.descriptor_database.store_services import StoreServices


class ObjectServices(StoreServices):
    """Objects as perception sees them, kept under names."""

    def _services(self) -> Iterable[tuple[Any, str, Callable[..., Any]]]:
        return (
            (TeachObject, 'teach_object', self._teach),
            (ListObjects, 'list_objects', self._list),
            (RenameObject, 'rename_object', self._rename),
            (DeleteObject, 'delete_object', self._delete),
            (StoreGrasp, 'store_grasp', self._store_grasp),
            (DeleteGrasp, 'delete_grasp', self._delete_grasp),
        )

    @answering
    async def _teach(self, request: TeachObject.Request, response: TeachObject.Response) -> str:
        name, objects = request.name, self._link.store.objects
        check_name(name, 'name')
        if request.add and request.replace:
            raise RefusedError('add and replace were both given; choose one')
        # Perception is asked before the model is: where it does not run, that is said.
        model = self._models.newest and str(self._models.newest.fingerprint)
        former = None
        if model is not None and not request.replace and objects.has(name, model):
            if not request.add:
                raise taken(name, model)
            former = objects.get(name, model)
        known = object_message(former) if former else TaughtObject(name=name, model=model or '')
        seen = await self._perception.teach(request, known)
        taught = dataclasses.replace(object_from_message(seen.object), name=name)
        if former is not None and taught.model != former.model:
            raise RefusedError(
                f'perception now runs model {shortened(taught.model)}, not '
                f'{shortened(former.model)}; teach the view again'
            )
        stored = objects.put(taught, request.replace, former)
        response.object, response.pose = object_message(stored), seen.pose
        views = '1 view' if stored.views == 1 else f'{stored.views} views'
        return self._changed(
            f'{shown(name)} is taught for model {shortened(stored.model)}: {len(stored.points)} '
            f'points, from {views}; {printable(seen.message)}'
        )

    @answering
    def _list(self, request: ListObjects.Request, response: ListObjects.Response) -> str:
        wanted = Filter(model=request.model or None, object=request.name or None)
        found, damaged = self._link.store.objects.list(wanted)
        response.objects = [object_message(one) for one in found]
        return '. '.join([f'{len(found)} objects', *(f'left out: {error}' for error in damaged)])

    @answering
    def _rename(self, request: RenameObject.Request, response: RenameObject.Response) -> str:
        model = self._models.fingerprint(request.model)
        self._link.store.objects.rename(request.name, model, request.new_name)
        return self._changed(
            f'{shown(request.name)} is now called {shown(request.new_name)}, for model '
            f'{shortened(model)}'
        )

    @answering
    def _delete(self, request: DeleteObject.Request, response: DeleteObject.Response) -> str:
        model = self._models.fingerprint(request.model)
        self._link.store.objects.delete(request.name, model)
        return self._changed(
            f'{shown(request.name)} is deleted for model {shortened(model)}, for good'
        )

    @answering
    def _store_grasp(self, request: StoreGrasp.Request, response: StoreGrasp.Response) -> str:
        model, asked = self._models.fingerprint(request.model), grasp_from_message(request.grasp)
        stored = self._link.store.objects.put_grasp(request.object, model, asked, request.replace)
        response.grasp = grasp_message(stored)
        return self._changed(
            f'grasp {shown(stored.name)} of {shown(request.object)} is stored for model '
            f'{shortened(model)}: the fingers hold {1000 * stored.width:.0f} mm'
        )

    @answering
    def _delete_grasp(self, request: DeleteGrasp.Request, response: DeleteGrasp.Response) -> str:
        model = self._models.fingerprint(request.model)
        self._link.store.objects.delete_grasp(request.object, model, request.name)
        return self._changed(f'grasp {shown(request.name)} of {shown(request.object)} is deleted')
