"""The services that keep the meshes of taught objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from don_kp.srv import DeleteMesh, GetMesh, StoreMesh
from don_kp_ros.database.object_records import LARGEST_MESH
from don_kp_ros.database.objects import mesh_taken
from don_kp_ros.database.text import printable, shortened, shown
from don_kp_ros.errors import RefusedError
from don_kp_ros.nodes.descriptor_database.answering import answering
from don_kp_ros.nodes.descriptor_database.messages import (
    mesh_from_message,
    mesh_message,
    object_message,
)
from don_kp_ros.nodes.descriptor_database.store_services import StoreServices


class MeshServices(StoreServices):
    """Meshes come as bytes, so that a database may be anywhere; perception places them."""

    def _services(self) -> Iterable[tuple[Any, str, Callable[..., Any]]]:
        return (
            (StoreMesh, 'store_mesh', self._store),
            (GetMesh, 'get_mesh', self._get),
            (DeleteMesh, 'delete_mesh', self._delete),
        )

    @answering
    async def _store(self, request: StoreMesh.Request, response: StoreMesh.Response) -> str:
        objects, model = self._link.store.objects, self._models.fingerprint(request.model)
        if not 0 < len(request.data) <= LARGEST_MESH:
            raise RefusedError(
                f'the mesh has {len(request.data)} bytes; from 1 to {LARGEST_MESH} are taken: '
                '`don_kp teach mesh` sends any file with fewer faces and smaller textures'
            )
        former = objects.get(request.object, model)
        if former.mesh is not None and not request.replace:
            raise mesh_taken(former.name)  # no look is wasted
        placed = await self._perception.place(request, object_message(former))
        mesh = mesh_from_message(bytes(placed.data), placed.pose)
        stored = objects.put_mesh(former, mesh, request.replace)
        response.mesh, response.residual = mesh_message(stored), placed.residual
        return self._changed(
            f'the mesh of {shown(former.name)} is stored for model {shortened(model)}, '
            f'{len(stored.data) / 1000:.0f} kB: {printable(placed.message)}'
        )

    @answering
    def _get(self, request: GetMesh.Request, response: GetMesh.Response) -> str:
        data = self._link.store.objects.mesh_data(request.fingerprint)
        response.data = data
        return f'{len(data)} bytes'

    @answering
    def _delete(self, request: DeleteMesh.Request, response: DeleteMesh.Response) -> str:
        model = self._models.fingerprint(request.model)
        self._link.store.objects.delete_mesh(request.object, model)
        return self._changed(f'the mesh of {shown(request.object)} is deleted')
