"""The services by which others ask what perception saw."""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable

import cv2
import numpy as np
import torch
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Point
from numpy.typing import NDArray
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node

from don_kp.msg import RankedDescriptor
from don_kp.srv import Describe, Rank, Scene, Transform
from don_kp_ros.errors import RefusedError
from don_kp_ros.geometry import rigid
from don_kp_ros.geometry.cloud import cropped, voxelised
from don_kp_ros.matching.maps import cell_centres, describe_at
from don_kp_ros.matching.pictures import patch_about
from don_kp_ros.matching.ranking import Region, rank
from don_kp_ros.matching.view import lift
from don_kp_ros.nodes.kit.conversions import (
    bytes_field,
    cloud_message,
    point_message,
    seconds_from_stamp,
    transform_from_matrix,
)
from don_kp_ros.nodes.kit.guard import guarded_service
from don_kp_ros.nodes.kit.transforms import TransformListener
from don_kp_ros.nodes.kit.waiting import pause
from don_kp_ros.nodes.perception.frames import Frame
from don_kp_ros.nodes.perception.parameters import PerceptionParameters
from don_kp_ros.nodes.perception.queries import Queries
from don_kp_ros.nodes.perception.running import Running
from don_kp_ros.nodes.perception.search import Search

_MOST_DESCRIBED = 5_000  # pixels; more would keep the camera's messages waiting
_LARGEST_PATCH = 512  # pixels
_BEST, _MOST_RANKED = 10, 100
_DESCRIPTORS_DELAY_S, _PAUSE_S = 1.0, 0.02


class PerceptionServices:
    """Serves `~/describe`, `~/rank`, `~/scene` and `~/transform`."""

    def __init__(
        self,
        node: Node,
        transforms: TransformListener,
        active: Callable[[], Search],
        running: Callable[[], Running],
        settings: Callable[[], PerceptionParameters],
    ) -> None:
        """Serve on a node that others spin.

        ``active`` and ``running`` return what is at present, or raise RefusedError.
        """
        self._node, self._transforms = node, transforms
        self._active, self._running, self._settings = active, running, settings
        group = ReentrantCallbackGroup()
        node.create_service(Describe, '~/describe', self._on_describe, callback_group=group)
        node.create_service(Rank, '~/rank', self._on_rank, callback_group=group)
        node.create_service(Scene, '~/scene', self._on_scene, callback_group=group)
        node.create_service(Transform, '~/transform', self._on_transform, callback_group=group)

    @guarded_service
    def _on_describe(
        self, request: Describe.Request, response: Describe.Response
    ) -> Describe.Response:
        frames = self._active().frames
        frame = frames.described(request.stamp, request.max_age)
        uv = _pixels(request, frame)
        values = describe_at(frame.cells, torch.from_numpy(uv), frame.size).cpu().numpy()
        view = frames.view(frame)
        positions, response.reasons = lift(view, uv, self._settings().depth_window)
        response.positions = [point_message(position) for position in positions]
        if request.patch_side:
            patch = cv2.cvtColor(
                patch_about(frame.picture, uv[0], request.patch_side), cv2.COLOR_RGB2BGR
            )
            response.patch = bytes_field(cv2.imencode('.png', patch)[1])
        response.header, response.model = frame.header, frame.model
        response.image_height, response.image_width = frame.size
        for name in ('fx', 'fy', 'cx', 'cy'):
            setattr(response, name, getattr(view.camera, name, math.nan))
        response.dimension = values.shape[1]
        response.u, response.v = array('f', uv[:, 0]), array('f', uv[:, 1])
        response.values = array('f', values.tobytes())
        response.success = True
        return response

    @guarded_service
    async def _on_rank(self, request: Rank.Request, response: Rank.Response) -> Rank.Response:
        limit = request.limit or _BEST
        if limit > _MOST_RANKED:
            raise RefusedError(f'limit is {limit}; at most {_MOST_RANKED} are ranked')
        queries = await self._queries_since(request.descriptors)
        frame = self._active().frames.described(request.stamp, request.max_age)
        if frame.model != queries.model:
            raise RefusedError('another model has just been loaded; try again')
        region = _region(request, frame)
        try:
            best = rank(frame.cells, queries.vectors, frame.size, limit, region)
        except ValueError as error:
            raise RefusedError(f'{error}; restart perception') from error
        for one in best:
            found = RankedDescriptor(name=queries.names[one.index], score=one.score)
            found.u, found.v = one.uv
            response.ranking.append(found)
        response.header, response.model = frame.header, frame.model
        response.total, response.success = len(queries.names), True
        return response

    async def _queries_since(self, stamp: Time) -> Queries:
        """Wait a second at most for descriptors that were published at a time or later."""
        deadline = time.monotonic() + _DESCRIPTORS_DELAY_S
        while _order((queries := self._running().queries).stamp) < _order(stamp):
            if time.monotonic() > deadline:
                raise RefusedError(
                    f'the descriptors that were published at {stamp.sec}.{stamp.nanosec:09} have '
                    'not come; check that the database node runs, then try again'
                )
            await pause(self._node, _PAUSE_S)
        return queries

    @guarded_service
    def _on_scene(self, request: Scene.Request, response: Scene.Response) -> Scene.Response:
        header, view = self._active().frames.scene(request.stamp, request.max_age)
        stamp = seconds_from_stamp(header.stamp)
        try:
            points = view.points()
            if request.frame:
                T = self._transforms.lookup(request.frame, header.frame_id, stamp)
                points = rigid.apply(T, points)
            if request.lowest != request.highest:
                points = cropped(points, _xyz(request.lowest), _xyz(request.highest))
            if request.voxel:
                points = voxelised(points, request.voxel)
        except ValueError as error:
            raise RefusedError(str(error)) from error
        response.cloud = cloud_message(points, header.stamp, request.frame or header.frame_id)
        response.success = True
        return response

    @guarded_service
    def _on_transform(
        self, request: Transform.Request, response: Transform.Response
    ) -> Transform.Response:
        stamp = None if request.stamp == Time() else seconds_from_stamp(request.stamp)
        T = self._transforms.lookup(request.target, request.source, stamp)
        response.transform, response.success = transform_from_matrix(T), True
        return response


def _pixels(request: Describe.Request, frame: Frame) -> NDArray[np.float32]:
    """Return the pixels (N, 2) that a request asks for."""
    (height, width), box = frame.size, request.box
    if len(request.u) != len(request.v):
        raise RefusedError(f'{len(request.u)} u and {len(request.v)} v were given; give pairs')
    if request.patch_side > _LARGEST_PATCH:
        raise RefusedError(
            f'patch_side is {request.patch_side} pixels; at most {_LARGEST_PATCH} are cut out'
        )
    uv = np.stack([request.u, request.v], axis=1).astype(np.float32)
    outside = ~((uv >= 0) & (uv <= [width - 1, height - 1])).all(axis=1)
    if outside.any():
        u, v = uv[outside][0]
        raise RefusedError(
            f'pixel ({u:g}, {v:g}) is outside of the picture, which is {width}x{height}; u goes '
            f'from 0 to {width - 1}, v from 0 to {height - 1}'
        )
    if box.width:
        shape = (frame.cells.shape[1], frame.cells.shape[2])
        us, vs = cell_centres(shape, frame.size)
        us = us[(us >= box.x_offset) & (us < box.x_offset + box.width)]
        vs = vs[(vs >= box.y_offset) & (vs < box.y_offset + box.height)]
        cells = np.stack(np.meshgrid(us, vs), axis=-1).reshape(-1, 2).astype(np.float32)
        uv = np.concatenate([uv, cells])
    if not 0 < len(uv) <= _MOST_DESCRIBED:
        raise RefusedError(
            f'{len(uv)} pixels were asked for; give from 1 to {_MOST_DESCRIBED}, in u and v or '
            'by a box that has cells of the map in it'
        )
    return uv


def _region(request: Rank.Request, frame: Frame) -> Region | None:
    if request.radius == 0:
        return None
    u, v, radius = request.u, request.v, request.radius
    height, width = frame.size
    # Written so that NaN is refused.
    if not (-0.5 <= u <= width - 0.5 and -0.5 <= v <= height - 0.5 and 0 < radius < math.inf):
        raise RefusedError(
            f'the place ({u:g}, {v:g}) with radius {radius:g} is not one in the picture, which is '
            f'{width}x{height}; give pixels in it and a positive radius, or radius 0 for all of it'
        )
    return Region((u, v), radius)


def _order(stamp: Time) -> tuple[int, int]:
    return stamp.sec, stamp.nanosec


def _xyz(point: Point) -> list[float]:
    return [point.x, point.y, point.z]
