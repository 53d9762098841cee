"""Stored descriptors and objects as tables on the terminal, and as plain values for JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from don_kp_ros.database.object_records import StoredMesh, StoredObject
from don_kp_ros.database.records import Observation, StoredDescriptor
from don_kp_ros.database.text import shortened


def grid(*headings: str) -> Table:
    """Make a table whose columns fold what is long."""
    laid = Table()
    for heading in headings:
        laid.add_column(heading, overflow='fold')
    return laid


def table(found: Sequence[StoredDescriptor], deleted: bool = False) -> Table:
    """Lay out descriptors, one per row; deleted ones with the time of deletion."""
    laid = grid('name', 'model', 'object', 'tags')
    laid.add_column('observations', justify='right')
    laid.add_column('deleted, UTC' if deleted else 'updated, UTC')
    for one in found:
        texts = one.name, shortened(one.model), one.object, ', '.join(one.tags)
        time = one.deleted if deleted else one.updated
        # As Text, because names may look like markup.
        laid.add_row(*map(Text, texts), str(one.observations), f'{time:%Y-%m-%d %H:%M}')
    return laid


def object_table(found: Sequence[StoredObject]) -> Table:
    """Lay out taught objects, one per row."""
    laid = grid('name', 'model')
    for heading in 'points', 'size, mm', 'views':
        laid.add_column(heading, justify='right')
    laid.add_column('grasps', overflow='fold')
    laid.add_column('mesh')
    laid.add_column('updated, UTC')
    for one in found:
        size = 'x'.join(f'{side:.0f}' for side in 1000 * np.ptp(one.points, axis=0))
        numbers = str(len(one.points)), size, str(one.views)
        time = f'{one.updated:%Y-%m-%d %H:%M}'
        mesh = shortened(one.mesh.fingerprint) if one.mesh else ''
        grasps = Text(', '.join(grasp.name for grasp in one.grasps))
        laid.add_row(Text(one.name), Text(shortened(one.model)), *numbers, grasps, mesh, time)
    return laid


def description(stored: StoredDescriptor, seen: Sequence[Observation]) -> Iterator[RenderableType]:
    """Yield lines about a descriptor and a table of its observations."""
    for heading, text in (
        ('name', stored.name),
        ('model', stored.model),
        ('object', stored.object),
        ('tags', ', '.join(stored.tags)),
        ('values', f'{stored.values.size}, the mean of {len(seen)} observations'),
        ('created', utc(stored.created)),
        ('updated', utc(stored.updated)),
    ):
        yield Text(f'{heading:8} {text}')
    laid = grid('', 'when, UTC', 'who', 'pixel', 'image', 'frame', 'position, m', 'patch')
    for number, each in enumerate(seen, 1):
        laid.add_row(
            str(number),
            f'{each.created:%Y-%m-%d %H:%M:%S}',
            Text(each.author),
            _numbers(each.pixel, '.1f'),
            'x'.join(map(str, each.image_size or ())),
            Text(str((each.camera or {}).get('frame', ''))),
            _numbers(each.position, '.3f'),
            f'{len(each.patch)} bytes' if each.patch else '',
        )
    yield laid


def plain(record: StoredDescriptor | Observation | StoredObject) -> dict[str, Any]:
    """Return a record for JSON; of its values or patch only the size."""
    told = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in vars(record).items()
        if name not in ('values', 'patch', 'points', 'weights')
    }
    if isinstance(record, Observation):
        return {**told, 'patch_bytes': len(record.patch or b'')}
    if isinstance(record, StoredObject):
        told['points'] = len(record.points)
        told['grasps'] = [dataclasses.asdict(grasp) for grasp in record.grasps]
        told['mesh'] = _without_data(record.mesh)
    return {**told, 'dimension': record.values.shape[-1]}


def _without_data(mesh: StoredMesh | None) -> dict[str, Any] | None:
    if mesh is None:
        return None
    return {name: value for name, value in vars(mesh).items() if name != 'data'}


def utc(time: datetime) -> str:
    """Write a time to the second."""
    return f'{time:%Y-%m-%d %H:%M:%S} UTC'


def _numbers(values: Sequence[float] | None, form: str) -> str:
    return ', '.join(format(value, form) for value in values or ())
