"""Records as rows of the tables, and back. Whoever reads rows may meet damage."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.database import records
from don_kp_ros.database.records import Observation, StoredDescriptor

Row = Mapping[Any, Any]  # by column
_AS_THEY_ARE = ('patch', 'author', 'created')  # parts of an observation that are a column
# The parts of an observation that have a column for each number; all are None without it.
_PARTS = {
    'pixel': ('u', 'v'),
    'image_size': ('image_width', 'image_height'),
    'position': ('x', 'y', 'z'),
}


def blob(values: NDArray[np.float32]) -> bytes:
    """Turn values (D,) into bytes to store."""
    return values.astype('<f4').tobytes()


def vector(blob: bytes, dimension: int) -> NDArray[np.float32]:
    """Read values (D,). Raises TypeError, ValueError."""
    if len(blob) != 4 * dimension:
        raise ValueError(f'it holds {len(blob)} bytes, not {4 * dimension}')
    values = np.frombuffer(blob, '<f4').astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError('not all of its values are finite')
    return values


def descriptor(row: Row) -> StoredDescriptor:
    """Read a descriptor, as `statements.select` asks for it. Raises TypeError, ValueError."""
    labels = tags(row['tags'])
    for what in 'name', 'model', 'object':
        _check_text(row[what], f'its {what} is')
    for label in labels:
        _check_text(label, 'its tags are')
    values = vector(row['values'], row['dimension'])
    values.flags.writeable = False
    if row['created'] is None or row['updated'] is None:
        raise ValueError('its times cannot be read')
    kept = {each.name: row[each.name] for each in dataclasses.fields(StoredDescriptor)}
    return StoredDescriptor(**{**kept, 'values': values, 'tags': labels})


def tags(joined: str | None) -> tuple[str, ...]:
    """Read tags as `statements.select` joins them."""
    return tuple(sorted(joined.split('\n'))) if joined else ()


def observation(row: Row, dimension: int) -> Observation:
    """Read an observation of a model of that dimension. Raises TypeError, ValueError."""
    if row['created'] is None:
        raise ValueError('its time cannot be read')
    kept: dict[str, Any] = {name: row[name] for name in _AS_THEY_ARE}
    for part, columns in _PARTS.items():
        numbers = tuple(row[column] for column in columns)
        kept[part] = None if numbers[0] is None else numbers
    _check_text(row['author'], 'its author is')
    camera = None if row['camera'] is None else records.loaded(row['camera'])
    return Observation(values=vector(row['values'], dimension), camera=camera, **kept)


def from_observation(seen: Observation) -> dict[str, Any]:
    """Make the row of an observation."""
    row = {name: getattr(seen, name) for name in _AS_THEY_ARE}
    row['values'] = blob(seen.values)
    row['camera'] = None if seen.camera is None else records.json_text(seen.camera, records.CAMERA)
    for part, columns in _PARTS.items():
        row.update(zip(columns, getattr(seen, part) or [None] * len(columns), strict=True))
    return row


def is_text(text: object) -> bool:
    """Tell whether both engines can hold a text; every stored name is such a text."""
    try:
        return (
            isinstance(text, str)
            and '\0' not in text
            and len(text.encode()) <= 4 * records.LONGEST_NAME
        )
    except UnicodeEncodeError:
        return False


def _check_text(text: object, told: str) -> None:
    if not is_text(text):
        raise ValueError(f'{told} no text; `don_kp db doctor` examines the database')
