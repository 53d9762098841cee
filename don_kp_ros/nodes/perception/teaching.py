"""The service that makes objects of what is seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import Image

from don_kp.msg import TaughtObject
from don_kp.srv import Teach
from don_kp_ros.errors import RefusedError
from don_kp_ros.nodes.kit.conversions import image_array, pose_from_matrix, seconds_from_stamp
from don_kp_ros.nodes.kit.guard import guarded_service
from don_kp_ros.nodes.kit.transforms import TransformListener
from don_kp_ros.nodes.perception.frames import Frame
from don_kp_ros.nodes.perception.parameters import PerceptionParameters
from don_kp_ros.nodes.perception.queries import (
    constellation_from_message,
    message_from_constellation,
)
from don_kp_ros.nodes.perception.search import Search
from don_kp_ros.pose.constellation import Constellation
from don_kp_ros.pose.segmentation import object_mask, table_plane
from don_kp_ros.pose.teaching import extend, teach
from don_kp_ros.robots.preset import load_preset


class TeachService:
    """Serves `~/teach`."""

    def __init__(
        self,
        node: Node,
        transforms: TransformListener,
        active: Callable[[], Search],
        settings: Callable[[], PerceptionParameters],
    ) -> None:
        """Serve on a node that others spin; ``active`` raises RefusedError where it is not."""
        self._node, self._transforms = node, transforms
        self._active, self._base = active, load_preset(settings().robot).base_frame
        node.create_service(
            Teach, '~/teach', self._on_teach, callback_group=ReentrantCallbackGroup()
        )

    @guarded_service
    def _on_teach(self, request: Teach.Request, response: Teach.Response) -> Teach.Response:
        frames = self._active().frames
        frame = frames.described(request.stamp, request.max_age)
        view = frames.view(frame)
        if view.depth is None or view.camera is None:
            raise RefusedError(f'an object is taught with depth: {view.lacks}')
        if request.mask.data:
            mask = _mask(request.mask, frame)
        else:
            plane = table_plane(view.points())
            mask = object_mask(view.depth.metres(), view.camera, plane, _click(request, frame))
        if len(request.known.weights):
            known = self._known(request.known, frame)
            taught = extend(known, frame.cells, view, mask, frame.model)
            told = f'the view agrees with the {known.views} before'
        else:
            R, told = self._axes(frame)
            taught = teach(frame.cells, view, mask, frame.model, R)
        name = request.known.name
        response.object = message_from_constellation(name, taught.constellation)
        pose = pose_from_matrix(taught.T_camera_object)
        response.pose = PoseStamped(header=frame.header, pose=pose)
        response.success, response.message = True, told
        return response

    def _known(self, known: TaughtObject, frame: Frame) -> Constellation:
        if known.model != frame.model:
            raise RefusedError(
                f'{known.name} was taught with model {known.model}, and {frame.model} runs; '
                'teach it anew'
            )
        try:
            return constellation_from_message(known, frame.cells.shape[0])
        except ValueError as error:
            raise RefusedError(f'{known.name} cannot be added to: {error}') from error

    def _axes(self, frame: Frame) -> tuple[NDArray[np.float64], str]:
        """Return the object's axes (3, 3) in the optical frame, and what they are."""
        stamp, optical = seconds_from_stamp(frame.header.stamp), frame.header.frame_id
        try:
            T = self._transforms.lookup(optical, self._base, stamp)
        except RefusedError as error:
            return np.eye(3), f'its frame has the axes of {optical}, for {error}'
        return T[:3, :3], f'its frame has the axes of {self._base}'


def _click(request: Teach.Request, frame: Frame) -> tuple[float, float]:
    height, width = frame.size
    if not (0 <= request.u < width and 0 <= request.v < height):
        raise RefusedError(
            f'pixel ({request.u}, {request.v}) is outside of the picture, which is '
            f'{width}x{height}; click on the object'
        )
    return float(request.u), float(request.v)


def _mask(message: Image, frame: Frame) -> NDArray[np.bool_]:
    try:
        mask = image_array(message)
    except ValueError as error:
        raise RefusedError(f'the mask: {error}') from error
    if mask.shape != frame.size:
        raise RefusedError(
            f'the mask has shape {mask.shape}, the picture {frame.size}; give one value a pixel'
        )
    return np.asarray(mask > 0)
