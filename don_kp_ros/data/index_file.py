"""What the indices of data folders have in common: JSON with a camera, a depth unit and poses."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from don_kp_ros.data.depth_view import Matrix
from don_kp_ros.data.picture_file import DataError
from don_kp_ros.geometry.camera import Camera
from don_kp_ros.outputs import replacing

DEPTH_UNIT = 0.0001  # metres; 16 bits reach 6.5 m

_FIELDS = ('width', 'height', 'fx', 'fy', 'cx', 'cy')


def read_json(path: Path, form: str, what: str) -> dict[str, Any]:
    """Read an index of a form; raises DataError. what: it is an index of, in words."""
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError as error:
        raise DataError(f'{path}: missing; it holds the poses (docs/data.md)') from error
    except (OSError, ValueError) as error:
        raise DataError(f'{path}: cannot be read as JSON ({error})') from error
    if not isinstance(content, dict) or content.get('format') != form:
        raise DataError(f'{path}: not an index of {what}; "format" must be "{form}"')
    return content


def write_json(path: Path, content: Any, indent: int | None = None) -> None:
    """Write JSON; a reader sees no file, the one before or the whole one."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=indent) + '\n', encoding='utf-8')


def is_number(value: Any) -> bool:
    """Tell whether a value of JSON is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def read_unit(path: Path, content: dict[str, Any]) -> float:
    """Read and check the metres per step of depth pictures; raises DataError."""
    unit: Any = content.get('depth_unit_m')
    if not is_number(unit) or not 0 < unit <= 0.01:
        raise DataError(f'{path}: depth_unit_m is {unit}; allowed is above 0, up to 0.01 m')
    return float(unit)


def read_camera(path: Path, entry: Any) -> Camera:
    """Read and check the camera of all views; raises DataError."""
    if not isinstance(entry, dict) or set(entry) != set(_FIELDS):
        raise DataError(f'{path}: "camera" must have the numbers {", ".join(_FIELDS)}')
    for name in _FIELDS:
        if not is_number(entry[name]):
            raise DataError(f'{path}: camera {name} is {entry[name]}; it must be a finite number')
    try:
        fx, fy, cx, cy = (float(entry[name]) for name in _FIELDS[2:])
        return Camera(int(entry['width']), int(entry['height']), fx, fy, cx, cy)
    except ValueError as error:
        raise DataError(f'{path}: {error}') from error


def camera_entry(camera: Camera) -> dict[str, float]:
    """Return what `read_camera` reads."""
    return {name: getattr(camera, name) for name in _FIELDS}


def check_file_name(path: Path, name: str) -> None:
    """Raise DataError for a view's name that would lead out of its folder."""
    if Path(name).name != name:
        raise DataError(f'{path}: view name {name!r} must be a file name without folder')


def read_pose(path: Path, what: str, entry: Any) -> Matrix:
    """Read and check a rigid transform (4, 4); raises DataError. what: its name in the error."""
    try:
        T = np.array(entry, dtype=np.float64)
    except (TypeError, ValueError):
        T = np.empty(0)
    if T.shape != (4, 4) or not np.isfinite(T).all():
        raise DataError(f'{path}: {what} must be 4x4 finite numbers')
    R = T[:3, :3]
    off = max(np.abs(R @ R.T - np.eye(3)).max(), np.abs(T[3] - [0, 0, 0, 1]).max())
    if off > 1e-4 or np.linalg.det(R) < 0:
        raise DataError(
            f'{path}: {what} is not rigid: a rotation without scale or '
            f'mirroring and the last row 0 0 0 1 are needed (off by {off:.2g})'
        )
    return T
