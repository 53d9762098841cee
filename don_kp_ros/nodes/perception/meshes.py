"""The meshes of what perception looks for: asked of the database once, and kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from rclpy.node import Node

from don_kp.msg import TaughtObject
from don_kp.srv import GetMesh
from don_kp_ros.errors import RefusedError
from don_kp_ros.nodes.kit.client import PATIENCE_S, ServiceClient
from don_kp_ros.nodes.kit.conversions import matrix_from_pose

if TYPE_CHECKING:
    from don_kp_ros.pose.mesh_descriptors import Subject

_AGAIN_S = 10.0  # after a mesh could not be had

Key = tuple[object, ...]


class Meshes:
    """Subjects in the frames of their objects. Thread-safe, but for `load`."""

    def __init__(self, node: Node) -> None:
        """Ask from a node that others spin."""
        self._node = node
        self._client = ServiceClient(
            node, GetMesh, 'get_mesh', 'is the descriptor database running?'
        )
        self._kept: dict[Key, Subject] = {}
        self._failed: dict[Key, float] = {}

    def get(self, taught: TaughtObject) -> Subject | None:
        """Return an object's mesh, in the object's frame, if it is here."""
        return self._kept.get(_key(taught))

    def keep(self, objects: Collection[TaughtObject]) -> None:
        """Forget the meshes of all other objects."""
        kept = set(map(_key, objects))
        self._kept = {key: one for key, one in list(self._kept.items()) if key in kept}

    def load(self, taught: TaughtObject, ending: threading.Event) -> Subject | None:
        """Return an object's mesh, asking for it if need be; for one thread, not the executor's.

        None where it has none, or it cannot be had; that is logged, and tried again after 10 s.
        """
        key = _key(taught)
        if not taught.mesh.fingerprint or (known := self._kept.get(key)) is not None:
            return known if taught.mesh.fingerprint else None
        if time.monotonic() < self._failed.get(key, 0.0):
            return None
        try:
            subject = self._asked(taught, ending)
        except RefusedError as error:
            self._failed[key] = time.monotonic() + _AGAIN_S
            if not ending.is_set():
                self._node.get_logger().warning(f'{taught.name} is not refined: {error}')
            return None
        self._kept[key] = subject
        return subject

    def _asked(self, taught: TaughtObject, ending: threading.Event) -> Subject:
        # Only now: what draws meshes takes seconds to import, and many robots have none.
        from don_kp_ros.meshes.packing import FORMAT
        from don_kp_ros.meshes.reading import decoded
        from don_kp_ros.pose.mesh_descriptors import Subject

        future = self._client.send(GetMesh.Request(fingerprint=taught.mesh.fingerprint))
        end = time.monotonic() + PATIENCE_S
        while not (future.done() or ending.is_set() or time.monotonic() > end):
            ending.wait(0.01)
        data = bytes(self._client.answer(future).data)
        mesh = decoded(data, FORMAT, f'the mesh of {taught.name}').in_metres()
        return Subject.of(mesh.moved(matrix_from_pose(taught.mesh.pose)))


def _key(taught: TaughtObject) -> Key:
    p, q = taught.mesh.pose.position, taught.mesh.pose.orientation
    return str(taught.mesh.fingerprint), p.x, p.y, p.z, q.x, q.y, q.z, q.w
