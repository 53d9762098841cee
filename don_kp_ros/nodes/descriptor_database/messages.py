"""Stored descriptors and objects as messages, and the tokens by which a list goes on."""

from __future__ import annotations

import base64
import contextlib
import json
import math
from array import array
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose

from don_kp.msg import (
    Descriptor,
    DescriptorDetails,
    DescriptorObservation,
    TaughtGrasp,
    TaughtMesh,
    TaughtObject,
)
from don_kp_ros.database.object_records import (
    StoredGrasp,
    StoredMesh,
    StoredObject,
    fingerprint_of,
)
from don_kp_ros.database.records import Observation, StoredDescriptor, could_be_name
from don_kp_ros.database.text import shown
from don_kp_ros.errors import RefusedError
from don_kp_ros.nodes.kit.conversions import point_message

_LONGEST_TOKEN = 4096  # characters; two names of the longest, escaped, take less
_LAST_SECOND = 2**31 - 1
_FIRST = datetime(1970, 1, 1, tzinfo=timezone.utc)
_SECOND = timedelta(seconds=1)


def descriptor_message(stored: StoredDescriptor) -> Descriptor:
    """Make the message of a stored descriptor."""
    message = Descriptor(name=stored.name, model=stored.model)
    message.values = array('f', stored.values.tobytes())
    return message


def object_message(stored: StoredObject) -> TaughtObject:
    """Make the message of a taught object."""
    message = TaughtObject(name=stored.name, model=stored.model, views=stored.views)
    for name in 'points', 'values', 'weights':
        setattr(message, name, array('f', getattr(stored, name).tobytes()))
    message.grasps = [grasp_message(grasp) for grasp in stored.grasps]
    if stored.mesh is not None:
        message.mesh = mesh_message(stored.mesh)
    return message


def mesh_message(stored: StoredMesh) -> TaughtMesh:
    """Make the message of a mesh, which leaves out its data."""
    message = TaughtMesh(fingerprint=stored.fingerprint)
    message.pose.position = point_message(stored.position)
    q = message.pose.orientation
    q.x, q.y, q.z, q.w = stored.orientation
    return message


def mesh_from_message(data: bytes, pose: Pose) -> StoredMesh:
    """Make a mesh of its bytes and its place; `checked_mesh` checks it."""
    p, q = pose.position, pose.orientation
    return StoredMesh(fingerprint_of(data), (p.x, p.y, p.z), (q.x, q.y, q.z, q.w), data)


def grasp_message(stored: StoredGrasp) -> TaughtGrasp:
    """Make the message of a grasp."""
    message = TaughtGrasp(name=stored.name, width=stored.width)
    message.pose.position = point_message(stored.position)
    q = message.pose.orientation
    q.x, q.y, q.z, q.w = stored.orientation
    return message


def grasp_from_message(message: TaughtGrasp) -> StoredGrasp:
    """Read a grasp; `checked_grasp` checks it."""
    p, q = message.pose.position, message.pose.orientation
    return StoredGrasp(message.name, (p.x, p.y, p.z), (q.x, q.y, q.z, q.w), message.width)


def object_from_message(message: TaughtObject) -> StoredObject:
    """Read a taught object but for its grasps and its mesh; `checked_object` checks it.

    Raises RefusedError if it is ragged.
    """
    number = len(message.weights)
    if not number or len(message.points) != 3 * number or len(message.values) % number:
        raise RefusedError(
            f'the object has {len(message.points)} coordinates, {len(message.values)} values and '
            f'{number} weights; for N points there are 3 N, D N and N'
        )
    points, values, weights = (
        np.asarray(numbers, dtype=np.float32).reshape(number, -1)
        for numbers in (message.points, message.values, message.weights)
    )
    return StoredObject(message.name, message.model, points, values, weights[:, 0], message.views)


def details_message(stored: StoredDescriptor) -> DescriptorDetails:
    """Make the message of what is kept beside the values."""
    message = DescriptorDetails(
        object=stored.object, tags=list(stored.tags), observations=stored.observations
    )
    message.created = stamp_from_time(stored.created)
    message.updated = stamp_from_time(stored.updated)
    if stored.deleted is not None:
        message.deleted = stamp_from_time(stored.deleted)
    return message


def observation_message(seen: Observation) -> DescriptorObservation:
    """Make the message of an observation; NaN, 0 and '' where something is not known."""
    camera = seen.camera or {}
    message = DescriptorObservation(author=seen.author, patch=seen.patch is not None)
    message.stamp = stamp_from_time(seen.created)
    message.u, message.v = seen.pixel or (math.nan, math.nan)
    message.image_width, message.image_height = seen.image_size or (0, 0)
    frame = camera.get('frame')
    message.frame = frame if isinstance(frame, str) else ''
    for name in 'fx', 'fy', 'cx', 'cy':
        setattr(message, name, _number(camera, name))
    message.position = point_message(seen.position or [math.nan] * 3)
    return message


def time_from_stamp(stamp: Time) -> datetime:
    """Read a stamp as a time, in UTC to the microsecond."""
    return _FIRST + timedelta(seconds=stamp.sec, microseconds=stamp.nanosec // 1000)


def stamp_from_time(time: datetime) -> Time:
    """Make the stamp of a time; of one beyond 2038, the last that there is."""
    seconds, rest = divmod(time - _FIRST, _SECOND)
    if seconds > _LAST_SECOND:
        return Time(sec=_LAST_SECOND)
    return Time(sec=seconds, nanosec=rest.microseconds * 1000)


def page_token(last: StoredDescriptor) -> str:
    """Say where a list goes on that was read up to a descriptor."""
    return base64.urlsafe_b64encode(json.dumps([last.name, last.model]).encode()).decode()


def place_from_token(token: str) -> tuple[str, str] | None:
    """Read the (name, model) that a list goes on after; None for its beginning.

    Raises RefusedError for what is no token.
    """
    if not token:
        return None
    if len(token) <= _LONGEST_TOKEN:
        with contextlib.suppress(ValueError, RecursionError):
            place = json.loads(base64.urlsafe_b64decode(token))
            if isinstance(place, list) and len(place) == 2 and all(map(could_be_name, place)):
                return place[0], place[1]
    raise RefusedError(
        f'after is {shown(token)}, which no list ended with; give next of the page before, or '
        'leave it empty to begin'
    )


def _number(camera: Mapping[str, Any], key: str) -> float:
    value = camera.get(key)
    return float(value) if isinstance(value, (int, float)) else math.nan
