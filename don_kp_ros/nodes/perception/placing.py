"""The service that finds out where a mesh is in the frame of a taught object."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import torch
from numpy.typing import NDArray
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from don_kp.srv import PlaceMesh
from don_kp_ros.errors import RefusedError
from don_kp_ros.matching.candidates import find_candidates
from don_kp_ros.matching.view import View
from don_kp_ros.nodes.kit.conversions import matrix_from_pose, pose_from_matrix
from don_kp_ros.nodes.kit.guard import guarded_service
from don_kp_ros.nodes.kit.waiting import pause
from don_kp_ros.nodes.perception.frames import Frame
from don_kp_ros.nodes.perception.parameters import PerceptionParameters
from don_kp_ros.nodes.perception.queries import constellation_from_message
from don_kp_ros.nodes.perception.running import Running
from don_kp_ros.nodes.perception.search import Search
from don_kp_ros.pose.constellation import Constellation
from don_kp_ros.pose.instances import SIMILAR, find_instances
from don_kp_ros.pose.symmetry import form_of

_PAUSE_S = 0.05
Seen = tuple[NDArray[np.float64], Frame, View]


class PlacingService:
    """Serves `~/place_mesh`. It takes seconds, in a thread of its own."""

    def __init__(
        self,
        node: Node,
        active: Callable[[], Search],
        running: Callable[[], Running],
        settings: Callable[[], PerceptionParameters],
    ) -> None:
        """Serve on a node that others spin; ``active`` and ``running`` may raise RefusedError."""
        self._node, self._active = node, active
        self._running, self._settings = running, settings
        self._pool, self._ending = ThreadPoolExecutor(1, 'placing'), Event()
        node.create_service(
            PlaceMesh, '~/place_mesh', self._on_place, callback_group=ReentrantCallbackGroup()
        )

    def close(self) -> None:
        """End the thread, with what it does and what waits for it."""
        self._ending.set()
        self._pool.shutdown(cancel_futures=True)

    @guarded_service
    async def _on_place(
        self, request: PlaceMesh.Request, response: PlaceMesh.Response
    ) -> PlaceMesh.Response:
        running = self._running()
        known = request.known
        if known.model != running.model.fingerprint:
            raise RefusedError(
                f'{known.name} was taught with model {known.model}, and '
                f'{running.model.fingerprint} runs; teach it anew'
            )
        try:
            constellation = constellation_from_message(known, running.model.dimension)
            given = matrix_from_pose(request.pose) if request.placed else None
        except ValueError as error:
            raise RefusedError(f'the mesh of {known.name}: {error}') from error
        frames = self._active().frames
        frame = frames.described(request.stamp, request.max_age) if given is None else None
        if frame is not None and frame.model != running.model.fingerprint:
            raise RefusedError('another model has just been loaded; try again')
        view = frames.view(frame) if frame is not None else None
        job = self._pool.submit(
            self._place, request, running, constellation, given, frame, view, response
        )
        while not job.done():
            await pause(self._node, _PAUSE_S)
        job.result()
        return response

    def _place(
        self,
        request: PlaceMesh.Request,
        running: Running,
        constellation: Constellation,
        given: NDArray[np.float64] | None,
        frame: Frame | None,
        view: View | None,
        response: PlaceMesh.Response,
    ) -> None:
        # Only now: what draws meshes takes seconds to import, and many robots have none.
        from don_kp_ros.meshes.packing import packed
        from don_kp_ros.meshes.reading import decoded
        from don_kp_ros.pose.mesh_descriptors import Subject
        from don_kp_ros.pose.placement import MOST, Sight, checked, place

        name = f'the mesh of {request.known.name}'
        mesh = decoded(bytes(request.data), request.format, name).in_metres(request.unit or 1.0)
        response.data = packed(mesh)
        subject = Subject.of(mesh)
        if given is not None:
            found = checked(subject, constellation, given)
            told = 'where it was said to be'
        else:
            assert frame is not None and view is not None
            T = self._seen(request.known.name, constellation, frame, view)
            cells, nothing = frame.cells.cpu().numpy(), running.model.nothing
            sight = Sight.of(T, frame.picture, view, cells, nothing)
            found = place(subject, constellation, sight, running.model, self._ending)
            told = f'and {found.like:.0%} of what it shows is like it in this image'
        response.pose, response.residual = pose_from_matrix(found.T_object_mesh), found.residual
        response.success = True
        response.message = (
            f'{MOST:.0%} of the points lie within {1000 * found.residual:.1f} mm of it, {told}; '
            f'it is {mesh.look}'
        )

    def _seen(
        self, name: str, constellation: Constellation, frame: Frame, view: View
    ) -> NDArray[np.float64]:
        """Return the pose (4, 4) of an object that is in view; raises RefusedError."""
        vectors = torch.tensor(constellation.descriptors)
        least = torch.full((len(vectors),), SIMILAR)
        found = find_candidates(frame.cells, vectors, view, least, self._settings().depth_window)
        form = form_of(constellation)
        pose, *_ = find_instances(constellation, frame.cells, found, view, form=form)
        if pose.refused:
            raise RefusedError(
                f'{name} is not seen ({pose.refused}); show it to the camera, or give the pose '
                'of the mesh in its frame'
            )
        if pose.ambiguous:
            raise RefusedError(
                f'this image fits another turn of {name} as well; show it from another side, or '
                'give the pose of the mesh in its frame'
            )
        return pose.T_camera_object
