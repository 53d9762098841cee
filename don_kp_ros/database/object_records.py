"""The records of a taught object and of its grasps, and their checks."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from don_kp_ros import configuration
from don_kp_ros.database.errors import InvalidObjectError
from don_kp_ros.database.records import check_model, check_name, checked_time, now
from don_kp_ros.database.text import printable, shown

FEWEST_POINTS, MOST_POINTS = 3, 512
MOST_VIEWS = 4096
MOST_GRASPS = 64
LARGEST_DISTANCE = 10.0  # metres, of a point from the object's origin
LARGEST_WIDTH = 1.0  # metres
LARGEST_MESH = 8 << 20  # bytes
_UNIT_TOLERANCE = 1e-4
_EXACT = 1e-12  # off unit length, a quaternion is kept as it is


@dataclass(frozen=True)
class StoredGrasp:
    """How a hand holds an object: where its tool centre point is in the object's frame."""

    name: str
    position: tuple[float, float, float]  # metres
    orientation: tuple[float, float, float, float]  # quaternion xyzw: z reaches, y closes
    width: float  # metres between the fingers


@dataclass(frozen=True)
class StoredMesh:
    """The mesh of an object, and where its frame is in the object's."""

    fingerprint: str  # SHA-256 of its bytes
    position: tuple[float, float, float]  # metres
    orientation: tuple[float, float, float, float]  # quaternion xyzw
    # Empty where they were not asked for: they are many.
    data: bytes = field(default=b'', compare=False, repr=False)


@dataclass(frozen=True, eq=False)
class StoredObject:
    """An object as a model describes it: N points, each with its place and its descriptor."""

    name: str
    model: str  # fingerprint
    points: NDArray[np.float32]  # (N, 3), metres, in the object's own frame
    values: NDArray[np.float32]  # (N, D), unit length
    weights: NDArray[np.float32]  # (N,), positive: how often each was seen
    views: int  # from which it was taught
    created: datetime = field(default_factory=now)  # UTC
    updated: datetime = field(default_factory=now)  # UTC
    grasps: tuple[StoredGrasp, ...] = ()  # in order of name
    mesh: StoredMesh | None = None

    @property
    def key(self) -> tuple[str, str]:
        """The name and the model."""
        return self.name, self.model

    def content(self) -> tuple[object, ...]:
        """Return what makes two objects the same; their times do not count."""
        arrays = (self.points.tobytes(), self.values.tobytes(), self.weights.tobytes())
        return *self.key, self.views, *arrays, self.grasps, self.mesh


def checked_object(taught: StoredObject) -> StoredObject:
    """Return an object with arrays of float32, read-only, and times in UTC, all of it checked.

    Raises InvalidNameError, InvalidDescriptorError for D, InvalidObjectError for its points and
    views, grasps and mesh, InvalidObservationError for its times.
    """
    check_name(taught.name, 'name')
    points, values = _numbers(taught.points, 'points'), _numbers(taught.values, 'values')
    weights = _numbers(taught.weights, 'weights')
    number = weights.size
    if points.shape != (number, 3) or values.shape[:1] != (number,) or values.ndim != 2:
        raise InvalidObjectError(
            f'the points have shape {points.shape}, the values {values.shape}, the weights '
            f'{weights.shape}; of N points they are (N, 3), (N, D) and (N,)'
        )
    check_model(taught.model, values.shape[1])
    for what, found, fewest, most in (
        ('points', number, FEWEST_POINTS, MOST_POINTS),
        ('views', taught.views, 1, MOST_VIEWS),
        ('grasps', len(taught.grasps), 0, MOST_GRASPS),
    ):
        if not fewest <= found <= most:
            raise InvalidObjectError(
                f'the object has {found} {what}; allowed are {fewest} to {most}'
            )
    lengths = _lengths(values)
    for right, what, wrong, remedy in (
        (_lengths(points) < LARGEST_DISTANCE, 'place in metres', points, 'keep it within 10 m'),
        (np.abs(lengths - 1) <= _UNIT_TOLERANCE, "descriptor's length", lengths, 'scale it to 1'),
        ((weights > 0) & np.isfinite(weights), 'weight', weights, 'it must be positive'),
    ):
        if not right.all():  # nor is it with NaN
            first = int(np.argmin(right))
            raise InvalidObjectError(
                f'point {first} of {number} has the {what} {wrong[first].tolist()}; {remedy}'
            )
    grasps = tuple(sorted(map(checked_grasp, taught.grasps), key=lambda one: one.name))
    for one, following in zip(grasps, grasps[1:], strict=False):
        if one.name == following.name:
            raise InvalidObjectError(f'two grasps have the name {shown(one.name)}; rename one')
    return dataclasses.replace(
        taught,
        points=points,
        values=values,
        weights=weights,
        grasps=grasps,
        mesh=taught.mesh and checked_mesh(taught.mesh),
        created=checked_time(taught.created),
        updated=checked_time(taught.updated),
    )


def checked_grasp(grasp: StoredGrasp) -> StoredGrasp:
    """Return a grasp with a quaternion of unit length, all of it checked.

    Raises InvalidNameError, InvalidObjectError.
    """
    check_name(grasp.name, "grasp's name")
    what = f'the grasp {shown(grasp.name)}'
    if not 0 <= grasp.width < LARGEST_WIDTH:  # nor is it with NaN
        raise InvalidObjectError(f'{what} has the width in metres {grasp.width}; give 0 to 1 m')
    turn = _checked_pose(what, grasp.position, grasp.orientation)
    return dataclasses.replace(grasp, orientation=turn)


def fingerprint_of(data: bytes) -> str:
    """Return the fingerprint of a mesh's bytes."""
    return hashlib.sha256(data).hexdigest()


def checked_mesh(mesh: StoredMesh) -> StoredMesh:
    """Return a mesh with a quaternion of unit length, all of it checked; its data, if it has any.

    Raises InvalidNameError, InvalidObjectError.
    """
    check_name(mesh.fingerprint, "mesh's fingerprint")
    if len(mesh.data) > LARGEST_MESH:
        raise InvalidObjectError(
            f'the mesh has {len(mesh.data)} bytes; at most {LARGEST_MESH} are stored: give one '
            'with fewer faces, or smaller textures'
        )
    if mesh.data and fingerprint_of(mesh.data) != mesh.fingerprint:
        raise InvalidObjectError(
            f'the bytes of the mesh do not have the fingerprint {shown(mesh.fingerprint)}; send '
            'it again'
        )
    turn = _checked_pose('the mesh', mesh.position, mesh.orientation)
    return dataclasses.replace(mesh, orientation=turn)


def _checked_pose(
    what: str, position: tuple[float, ...], orientation: tuple[float, ...]
) -> tuple[float, float, float, float]:
    """Check a pose; return its quaternion, of unit length."""
    length = float(np.linalg.norm(orientation))
    for right, named, found, remedy in (
        (np.abs(position).max() < LARGEST_DISTANCE, 'position in metres', position,
         'keep it within 10 m'),
        (abs(length - 1) < 0.01, "quaternion's length", length, 'scale it to 1'),
    ):  # fmt: skip
        if not right:  # nor is it with NaN
            raise InvalidObjectError(f'{what} has the {named} {found}; {remedy}')
    scale = 1.0 if abs(length - 1) < _EXACT else length
    x, y, z, w = (number / scale for number in orientation)
    return x, y, z, w


def grasps_text(grasps: tuple[StoredGrasp, ...]) -> str:
    """Write grasps as JSON."""
    return json.dumps([dataclasses.asdict(grasp) for grasp in grasps])


def read_grasps(text: str) -> tuple[StoredGrasp, ...]:
    """Read what `grasps_text` wrote. Raises TypeError, ValueError."""
    return tuple(configuration.read(StoredGrasp, one, 'grasp') for one in json.loads(text))


def mesh_columns(mesh: StoredMesh | None) -> dict[str, str | None]:
    """Write which mesh an object has, and where, as columns of its row."""
    if mesh is None:
        return {'mesh': None, 'mesh_pose': None}
    return {'mesh': mesh.fingerprint, 'mesh_pose': json.dumps([mesh.position, mesh.orientation])}


def read_mesh(fingerprint: str | None, pose: str | None) -> StoredMesh | None:
    """Read what `mesh_columns` wrote, without the data. Raises TypeError, ValueError."""
    if fingerprint is None:
        return None
    (x, y, z), (a, b, c, w) = (
        [float(number) for number in part] for part in json.loads(pose or '')
    )
    return StoredMesh(fingerprint, (x, y, z), (a, b, c, w))


def _numbers(given: ArrayLike, what: str) -> NDArray[Any]:
    try:
        with np.errstate(over='ignore'):
            numbers = np.array(given, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidObjectError(f'the {what} are not numbers: {printable(str(error))}') from error
    numbers.flags.writeable = False
    return numbers


def _lengths(rows: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(invalid='ignore'):
        return np.linalg.norm(rows.astype(np.float64), axis=1)
