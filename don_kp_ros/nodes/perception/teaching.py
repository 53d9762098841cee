"""The services that make objects of what is seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import PoseStamped
from numpy.typing import NDArray
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import Image

from don_kp.msg import TaughtObject
from don_kp.srv import ProposeMask, Teach
from don_kp_ros.errors import RefusedError
from don_kp_ros.nodes.kit.conversions import (
    image_array,
    image_message,
    pose_from_matrix,
    seconds_from_stamp,
)
from don_kp_ros.nodes.kit.guard import guarded_service
from don_kp_ros.nodes.kit.transforms import TransformListener
from don_kp_ros.nodes.perception.frames import Frame
from don_kp_ros.nodes.perception.looks import HeldLooks, Look
from don_kp_ros.nodes.perception.parameters import PerceptionParameters
from don_kp_ros.nodes.perception.queries import (
    constellation_from_message,
    message_from_constellation,
)
from don_kp_ros.nodes.perception.search import Search
from don_kp_ros.pose.constellation import Constellation
from don_kp_ros.pose.teaching import TO_THE_CAMERA, extend, teach
from don_kp_ros.robots.preset import load_preset

_MOST_CORNERS = 1024  # of an outline


class TeachService:
    """Serves `~/propose_mask`, and `~/teach`, also of what a mask was proposed for."""

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
        self._held = HeldLooks(node)
        group = ReentrantCallbackGroup()
        node.create_service(
            ProposeMask, '~/propose_mask', self._on_propose_mask, callback_group=group
        )
        node.create_service(Teach, '~/teach', self._on_teach, callback_group=group)

    @guarded_service
    def _on_propose_mask(
        self, request: ProposeMask.Request, response: ProposeMask.Response
    ) -> ProposeMask.Response:
        look = self._look(request.stamp, request.max_age)
        if request.outline:
            mask = _filled(request.outline, look.frame)
        else:
            mask = look.object_at(_click(request, look.frame))
        self._held.hold(look)
        header = look.frame.header
        response.image = image_message(look.frame.picture, 'rgb8', header)
        response.mask = image_message(np.asarray(mask, np.uint8) * 255, 'mono8', header)
        response.success = True
        return response

    @guarded_service
    def _on_teach(self, request: Teach.Request, response: Teach.Response) -> Teach.Response:
        look = self._look(request.stamp, request.max_age)
        frame, view = look.frame, look.view
        if request.mask.data:
            mask = _mask(request.mask, frame)
        else:
            mask = look.object_at(_click(request, frame))
        if len(request.known.weights):
            known = self._known(request.known, frame)
            taught = extend(known, frame.cells, view, mask, frame.model)
            told = f'the view agrees with the {known.views} before'
        elif request.known.model not in ('', frame.model):
            raise RefusedError(
                f'the image was described by model {frame.model}, and {request.known.model} runs; '
                'point at the object again'
            )
        else:
            told = look.told
            taught = teach(frame.cells, view, mask, frame.model, look.axes)
        name = request.known.name
        response.object = message_from_constellation(name, taught.constellation)
        pose = pose_from_matrix(taught.T_camera_object)
        response.pose = PoseStamped(header=frame.header, pose=pose)
        response.success, response.message = True, told
        return response

    def _look(self, stamp: Time, max_age: float) -> Look:
        """Return all that is taught from an image that is held, or was described just now."""
        frames = self._active().frames
        if (held := self._held.of(stamp)) is not None:
            return held
        frame = frames.described(stamp, max_age)
        view = frames.view(frame)
        if view.depth is None or view.camera is None:
            raise RefusedError(f'an object is taught with depth: {view.lacks}')
        return Look(frame, view, *self._axes(frame))

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
            return (
                TO_THE_CAMERA,
                f'its frame has the axes of {optical}, z to the camera, for {error}',
            )
        return T[:3, :3], f'its frame has the axes of {self._base}'


def _click(request: Teach.Request | ProposeMask.Request, frame: Frame) -> tuple[float, float]:
    height, width = frame.size
    if not (0 <= request.u < width and 0 <= request.v < height):
        raise RefusedError(
            f'pixel ({request.u}, {request.v}) is outside of the picture, which is '
            f'{width}x{height}; click on the object'
        )
    return float(request.u), float(request.v)


def _filled(outline: Sequence[float], frame: Frame) -> NDArray[np.bool_]:
    """Return the pixels (H, W) within an outline: u and v by turns."""
    height, width = frame.size
    corners = np.asarray(outline, np.float64)
    if len(corners) % 2 or not 6 <= len(corners) <= 2 * _MOST_CORNERS:
        raise RefusedError(
            f'the outline has {len(corners)} numbers; it takes u and v of 3 to {_MOST_CORNERS} '
            'corners'
        )
    corners = corners.reshape(-1, 2)
    # Written so that NaN is refused.
    outside = ~((corners >= -0.5) & (corners <= [width - 0.5, height - 0.5])).all(axis=1)
    if outside.any():
        u, v = corners[outside][0]
        raise RefusedError(
            f'the outline has a corner ({u:g}, {v:g}) outside of the picture, which is '
            f'{width}x{height}; draw it within'
        )
    filled = np.zeros(frame.size, np.uint8)
    cv2.fillPoly(filled, [np.rint(corners).astype(np.int32)], (1,))
    return filled > 0


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
