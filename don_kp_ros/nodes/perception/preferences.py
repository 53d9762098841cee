"""Where an object is best grasped: the service, and the map that it and the picture share."""

from __future__ import annotations

from array import array
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from don_kp.srv import Preference
from don_kp_ros.database.records import object_of
from don_kp_ros.errors import RefusedError, did_you_mean
from don_kp_ros.matching.maps import cell_centres
from don_kp_ros.matching.preference import grasp_preference
from don_kp_ros.matching.view import View, lift
from don_kp_ros.nodes.kit.conversions import point_message
from don_kp_ros.nodes.kit.guard import guarded_service
from don_kp_ros.nodes.perception.frames import Frame, Frames
from don_kp_ros.nodes.perception.parameters import PerceptionParameters
from don_kp_ros.nodes.perception.queries import Queries
from don_kp_ros.nodes.perception.running import Running

_BEST, _MOST = 10, 1000


def preference_map(
    name: str, queries: Queries, frame: Frame, view: View, eta: float
) -> NDArray[np.float32]:
    """Compute the preference (h, w), 0..1, of an image's cells for grasping a named object.

    Raises RefusedError where nothing of the object is stored, or depth is missing.
    """
    objects = [object_of(point) for point in queries.names]
    rows = [row for row, of in enumerate(objects) if of == name]
    if not rows:
        raise RefusedError(
            f'no point of {name or "no object"} is stored for the model that runs; store some, '
            f'as {name or "cap"}/brim{did_you_mean(name, objects)}'
        )
    if view.depth is None or view.camera is None:
        raise RefusedError(f'where fingers fit is seen by depth: {view.lacks}')
    return grasp_preference(frame.cells, queries.vectors[rows], view, eta)


class PreferenceService:
    """Serves `~/preference`."""

    def __init__(
        self,
        node: Node,
        frames: Callable[[], Frames],
        running: Callable[[], Running],
        settings: Callable[[], PerceptionParameters],
    ) -> None:
        """Serve on a node that others spin; ``frames`` and ``running`` may raise RefusedError."""
        self._node = node
        self._frames, self._running, self._settings = frames, running, settings
        node.create_service(
            Preference,
            '~/preference',
            self._on_preference,
            callback_group=ReentrantCallbackGroup(),
        )

    @guarded_service
    def _on_preference(
        self, request: Preference.Request, response: Preference.Response
    ) -> Preference.Response:
        limit = request.limit or _BEST
        if limit > _MOST:
            raise RefusedError(f'limit is {limit}; at most {_MOST} places are told')
        frames, queries = self._frames(), self._running().queries
        frame = frames.described(request.stamp, request.max_age)
        if frame.model != queries.model:
            raise RefusedError('another model has just been loaded; try again')
        view, settings = frames.view(frame), self._settings()
        values = preference_map(request.object, queries, frame, view, settings.preference_eta)
        best = np.argsort(-values, axis=None, kind='stable')[:limit]
        best = best[values.ravel()[best] > 0]
        if not len(best):
            raise RefusedError(f'fingers fit nowhere near the stored points of {request.object}')
        us, vs = cell_centres((values.shape[0], values.shape[1]), frame.size)
        rows, columns = np.unravel_index(best, values.shape)
        uv = np.stack([us[columns], vs[rows]], axis=1)
        positions, _ = lift(view, uv, settings.depth_window)
        known = np.isfinite(positions).all(axis=1)
        if not known.any():
            raise RefusedError(
                f'no depth is known where fingers fit near the points of {request.object}, in '
                f'windows of {settings.depth_window} pixels (depth_window)'
            )
        best, uv, positions = best[known], uv[known], positions[known]
        response.header = frame.header
        response.u, response.v = array('f', uv[:, 0]), array('f', uv[:, 1])
        response.values = array('f', values.ravel()[best])
        response.positions = [point_message(position) for position in positions]
        response.success = True
        return response
