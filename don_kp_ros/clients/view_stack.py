"""What the page asks of a running stack, as `page.port` names it: services and the action."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point
from numpy.typing import NDArray
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from std_msgs.msg import Header
from std_srvs.srv import SetBool

from don_kp.srv import (
    ChangeDescriptor,
    DeleteDescriptor,
    DeleteObject,
    GetDescriptor,
    ListDescriptors,
    ListObjects,
    ProposeMask,
    RankDescriptors,
    RenameObject,
    RestoreDescriptor,
    StoreDescriptor,
    TeachObject,
)
from don_kp.srv import Scene as SceneService
from don_kp_ros.clients.asking import Services
from don_kp_ros.clients.stack import TEACHING_S, Stack
from don_kp_ros.clients.view_goals import Goals
from don_kp_ros.clients.view_sight import PAST_S, Sight
from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.frames import OBJECTS
from don_kp_ros.nodes.kit.conversions import (
    image_array,
    image_message,
    points_from_cloud,
    rgb_image,
)
from don_kp_ros.nodes.kit.transforms import TransformListener
from don_kp_ros.page.activity import Activity
from don_kp_ros.page.canvas import Canvas, Stamp
from don_kp_ros.page.port import Array, Existing, Proposed, Scene, StoredObject, StoredPoint

_RADIUS = 10.0  # pixels about the pointer in which a stored point may be
_RANKED = 3
_PAGE, _MOST = 1000, 5000  # stored points asked for at a time, and shown at most
_TAUGHT_S = 6.0  # how long the points that were taught are marked
_VOXEL_M, _HIGHEST_M, _REACH_M = 0.01, 1.0, 1.5


class ViewedStack:
    """The stack as the page asks it."""

    def __init__(
        self, stack: Stack, canvas: Canvas, activity: Activity, camera_namespace: str
    ) -> None:
        """Ask beside a stack whose node others spin."""
        self._stack, self._canvas = stack, canvas
        self._services = Services(stack)
        self._services.meet(SetBool, 'enable')  # a stop is not to wait until both have met
        self.sight = Sight(stack, canvas, camera_namespace)
        self.goals = Goals(stack, activity)
        self.grasp, self.release, self.cancel = (
            self.goals.grasp,
            self.goals.release,
            self.goals.cancel,
        )
        self._frames: TransformListener | None = None

    async def store(
        self,
        name: str,
        stamp: Stamp,
        uv: tuple[int, int],
        tags: Sequence[str],
        existing: Existing,
    ) -> str:
        """Store the point at a pixel of the picture of a stamp."""
        answer = await self._services.ask(
            StoreDescriptor,
            'store_descriptor',
            name=name,
            stamp=_time(stamp),
            u=uv[0],
            v=uv[1],
            tags=list(tags),
            replace=existing == 'replace',
            add=existing == 'add',
        )
        return str(answer.message)

    async def propose(
        self, stamp: Stamp, uv: tuple[int, int], outline: Sequence[tuple[float, float]]
    ) -> Proposed:
        """Return what perception takes for the object, in the picture of a stamp."""
        answer = await self._services.ask(
            ProposeMask,
            'perception/propose_mask',
            TEACHING_S,
            stamp=_time(stamp),
            u=uv[0],
            v=uv[1],
            outline=[x for corner in outline for x in corner],
        )
        try:
            pixels, mask = rgb_image(answer.image), image_array(answer.mask)
        except ValueError as error:
            raise RefusedError(f'perception proposes no mask: {error}') from error
        if mask.shape != pixels.shape[:2]:
            raise RefusedError(
                f'perception proposes a mask of shape {mask.shape} for a picture of shape '
                f'{pixels.shape}; see its log'
            )
        of = answer.image.header.stamp
        return Proposed(Stamp(of.sec, of.nanosec), pixels, np.asarray(mask, np.uint8))

    async def teach(
        self, name: str, stamp: Stamp, mask: NDArray[np.uint8], existing: Existing
    ) -> str:
        """Teach what a mask shows, and mark the points taught."""
        answer = await self._services.ask(
            TeachObject,
            'teach_object',
            TEACHING_S,
            name=name,
            stamp=_time(stamp),
            mask=image_message(mask, 'mono8', Header()),
            replace=existing == 'replace',
            add=existing == 'add',
        )
        self.sight.show_taught(answer.object, answer.pose)
        asyncio.get_running_loop().call_later(_TAUGHT_S, self._canvas.mark, 'taught', [])
        return str(answer.message)

    async def rank(self, uv: tuple[float, float]) -> str:
        """Return which stored points are like a place, in the newest picture that was examined."""
        examined = self._canvas.examined
        answer = await self._services.ask(
            RankDescriptors,
            'rank_descriptors',
            stamp=Time() if examined is None else _time(examined.stamp),
            u=uv[0],
            v=uv[1],
            radius=_RADIUS,
            limit=_RANKED,
        )
        return ', '.join(f'{one.name} {one.score:.3f}' for one in answer.ranking)

    async def points(self, deleted: bool) -> list[StoredPoint]:
        """List the stored points, or those that can be restored."""
        found: list[StoredPoint] = []
        after = ''
        while len(found) < _MOST:
            page = await self._services.ask(
                ListDescriptors, 'list_descriptors', deleted=deleted, limit=_PAGE, after=after
            )
            found += [
                StoredPoint(
                    one.name, one.model, known.object, tuple(known.tags), known.observations
                )
                for one, known in zip(page.descriptors, page.details, strict=True)
            ]
            after = page.next
            if not after:
                break
        return found

    async def patch(self, point: StoredPoint) -> bytes:
        """Return a stored point's picture as PNG; empty where there is none."""
        answer = await self._services.ask(
            GetDescriptor, 'get_descriptor', name=point.name, model=point.model
        )
        return bytes(answer.patch)

    async def delete_point(self, point: StoredPoint) -> str:
        """Delete a stored point."""
        return await self._said(
            DeleteDescriptor, 'delete_descriptor', name=point.name, model=point.model
        )

    async def restore_point(self, point: StoredPoint) -> str:
        """Restore a deleted point."""
        return await self._said(
            RestoreDescriptor, 'restore_descriptor', name=point.name, model=point.model
        )

    async def change_point(self, point: StoredPoint, name: str, tags: Sequence[str] | None) -> str:
        """Give a stored point a name and tags."""
        return await self._said(
            ChangeDescriptor,
            'change_descriptor',
            name=point.name,
            model=point.model,
            new_name=name,
            replace_tags=tags is not None,
            tags=list(tags or ()),
        )

    async def objects(self) -> list[StoredObject]:
        """List the taught objects."""
        answer = await self._services.ask(ListObjects, 'list_objects')
        return [
            StoredObject(
                one.name,
                one.model,
                one.views,
                len(one.weights),
                tuple(grasp.name for grasp in one.grasps),
            )
            for one in answer.objects
        ]

    async def delete_object(self, taught: StoredObject) -> str:
        """Delete a taught object."""
        return await self._said(
            DeleteObject, 'delete_object', name=taught.name, model=taught.model
        )

    async def rename_object(self, taught: StoredObject, name: str) -> str:
        """Give a taught object another name."""
        return await self._said(
            RenameObject, 'rename_object', name=taught.name, model=taught.model, new_name=name
        )

    async def show_heatmap(self, name: str) -> None:
        """Show the heatmap of a stored point; perception draws one, for all who look."""
        if name:
            value = Parameter('heatmap_of', value=name).to_parameter_msg()
            answer = await self._services.ask_any(
                SetParameters, 'perception/set_parameters', parameters=[value]
            )
            if answer is None:
                raise RefusedError('perception did not answer in time; see its log')
            if not answer.results[0].successful:
                raise RefusedError(f'perception refused: {answer.results[0].reason}')
        self.sight.show_heatmap(bool(name))

    async def enable(self, on: bool) -> str:
        """Let the arm move, or stop it and keep it still."""
        return await self._said(SetBool, 'enable', data=on)

    async def scene(self) -> Scene:
        """Return where everything is, in the frame that the camera's hangs on.

        Objects are where they were in the picture that told of them, for some seconds.
        """
        if self._frames is None:
            self._frames = TransformListener(self._stack.node)
        parents = self._frames.parents()
        if self.sight.frame not in parents:
            raise RefusedError('no frames have come on /tf yet, or no picture of the camera')
        root = self.sight.frame
        while root in parents:
            root = parents[root]
        frames: dict[str, Array] = {root: np.eye(4)}
        for name in parents:
            stamp = self._frames.newest(name) if name.startswith(OBJECTS) else None
            if stamp is not None and abs(self.sight.shown_s - stamp) > PAST_S:
                continue  # it is seen no more
            with contextlib.suppress(RefusedError):
                frames[name] = self._frames.lookup(root, name, stamp)
        bones = [
            (child, parent) for child, parent in parents.items() if {child, parent} <= {*frames}
        ]
        grasp = None
        if self.sight.grasp is not None and self.sight.grasp[0] in frames:
            frame, T_frame_tcp = self.sight.grasp
            grasp = frames[frame] @ T_frame_tcp
        frame, points = self.sight.path
        path = rigid.apply(frames[frame], points) if frame in frames else points[:0]
        try:
            return Scene(frames, bones, await self._cloud(root), grasp, path)
        except RefusedError as error:
            return Scene(frames, bones, grasp=grasp, path=path, lacks=str(error))

    async def _cloud(self, frame: str) -> Array:
        """Return the points that the camera saw last, in a frame."""
        answer = await self._services.ask(
            SceneService,
            'perception/scene',
            frame=frame,
            voxel=_VOXEL_M,
            lowest=Point(x=-_REACH_M, y=-_REACH_M, z=-_HIGHEST_M),
            highest=Point(x=_REACH_M, y=_REACH_M, z=_HIGHEST_M),
        )
        return points_from_cloud(answer.cloud)

    async def _said(self, kind: type, name: str, /, **fields: Any) -> str:
        return str((await self._services.ask(kind, name, **fields)).message)


def _time(stamp: Stamp) -> Time:
    return Time(sec=stamp.sec, nanosec=stamp.nanosec)
