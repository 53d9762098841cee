"""What the database asks of perception, which has the images."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from builtin_interfaces.msg import Time
from rclpy.node import Node

from don_kp.msg import TaughtObject
from don_kp.srv import (
    Describe,
    PlaceMesh,
    Rank,
    RankDescriptors,
    StoreMesh,
    Teach,
    TeachObject,
)
from don_kp_ros.database.records import Observation
from don_kp_ros.errors import RefusedError
from don_kp_ros.nodes.descriptor_database.messages import time_from_stamp
from don_kp_ros.nodes.kit.client import ServiceClient
from don_kp_ros.nodes.kit.graph import two_publishers

_PATCH_SIDE = 64  # pixels
_PLACING_S = 60.0  # of which a mesh takes some seconds
_REMEDY = 'start perception and the camera, then try again'


class PerceptionClient:
    """Asks without blocking a thread; what perception refuses is a RefusedError."""

    def __init__(self, node: Node, max_age_s: Callable[[], float]) -> None:
        """Look for perception; the newest image may be ``max_age_s()`` old."""
        self._node, self._max_age_s = node, max_age_s
        self._describe = ServiceClient(node, Describe, 'perception/describe', _REMEDY)
        self._rank = ServiceClient(node, Rank, 'perception/rank', _REMEDY)
        self._place = ServiceClient(node, PlaceMesh, 'perception/place_mesh', _REMEDY, _PLACING_S)
        self._teach = ServiceClient(node, Teach, 'perception/teach', _REMEDY)

    async def look(
        self, uv: tuple[int, int], stamp: Time, author: str
    ) -> tuple[str, Observation, str]:
        """Return the model, what is known of a pixel, and why no position is, if none is."""
        if several := two_publishers(self._node, 'don_kp/descriptor_map', 'don_kp/matches'):
            raise RefusedError(str(several))
        u, v = (float(x) for x in uv)
        seen = await self._describe.ask(
            Describe.Request(
                stamp=stamp, max_age=self._max_age_s(), u=[u], v=[v], patch_side=_PATCH_SIDE
            )
        )
        if not seen.patch:
            raise RefusedError(f'perception has no picture of pixel {uv}; {_REMEDY}')
        camera: dict[str, object] = {'frame': seen.header.frame_id}
        if math.isfinite(seen.fx):
            camera.update({name: getattr(seen, name) for name in ('fx', 'fy', 'cx', 'cy')})
        (position,), (reason,) = seen.positions, seen.reasons
        observation = Observation(
            values=np.asarray(seen.values, dtype=np.float32),
            pixel=(u, v),
            image_size=(seen.image_width, seen.image_height),
            camera=camera,
            position=None if reason else (position.x, position.y, position.z),
            patch=bytes(seen.patch),
            author=author,
            created=time_from_stamp(seen.header.stamp),
        )
        return seen.model, observation, reason

    async def rank(self, asked: RankDescriptors.Request, published: Time) -> Rank.Response:
        """Rank what perception looks for, once that is what was ``published`` at that time."""
        same = {name: getattr(asked, name) for name in ('stamp', 'u', 'v', 'radius', 'limit')}
        request = Rank.Request(max_age=self._max_age_s(), descriptors=published, **same)
        answer: Rank.Response = await self._rank.ask(request)
        return answer

    async def teach(self, asked: TeachObject.Request, known: TaughtObject) -> Teach.Response:
        """Return what a view shows of an object, together with what is known of it."""
        same = {name: getattr(asked, name) for name in ('stamp', 'u', 'v', 'mask')}
        request = Teach.Request(max_age=self._max_age_s(), known=known, **same)
        answer: Teach.Response = await self._teach.ask(request)
        return answer

    async def place(self, asked: StoreMesh.Request, known: TaughtObject) -> PlaceMesh.Response:
        """Return where a mesh is in an object, and the mesh as it is kept."""
        names = ('stamp', 'format', 'data', 'unit', 'placed', 'pose')
        same = {name: getattr(asked, name) for name in names}
        request = PlaceMesh.Request(max_age=self._max_age_s(), known=known, **same)
        answer: PlaceMesh.Response = await self._place.ask(request)
        return answer
