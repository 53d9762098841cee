"""The file of an export: JSON Lines with checksums, read and written line by line.

A line is a JSON object: a header, models, descriptors each followed by its observations, taught
objects each followed by its points and the pieces of its mesh, an end. docs/database.md describes
the fields.
"""

from __future__ import annotations

import base64
import contextlib
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from don_kp_ros.database import records
from don_kp_ros.database.exchange_lines import (
    AGAIN,
    COUNTED,
    DescriptorLine,
    EndLine,
    ExchangeError,
    LineReader,
    LineWriter,
    MeshPlace,
    ModelLine,
    ObjectLine,
    ObservationLine,
    PieceLine,
    PointLine,
    decoded,
    encoded,
)
from don_kp_ros.database.object_records import (
    LARGEST_MESH,
    MOST_POINTS,
    StoredMesh,
    StoredObject,
    checked_object,
)
from don_kp_ros.database.records import Observation, StoredDescriptor, StoredModel
from don_kp_ros.database.text import shown

_DATABASE = b'SQLite format 3\0'  # which such a file begins with
_PIECE = 1 << 19  # bytes of a mesh in a line
_TOLERANCE = 1e-5  # by which a mean computed on another machine may differ


@dataclass(frozen=True, eq=False)
class Entry:
    """A descriptor of a file, with its observations, oldest first."""

    descriptor: StoredDescriptor
    observations: Sequence[Observation]

    @property
    def key(self) -> tuple[str, str]:
        """The name and the model."""
        return self.descriptor.name, self.descriptor.model

    def content(self) -> tuple[object, ...]:
        """Return what makes two entries the same; the descriptor's times do not count."""
        one = self.descriptor
        seen = [encoded(ObservationLine, vars(each)) for each in self.observations]
        return *self.key, one.object, one.tags, seen


Item = StoredModel | Entry | StoredObject


def write(file: Path | str, items: Iterator[Item]) -> tuple[int, int, int]:
    """Write models, then their descriptors and objects; return how many of each.

    The file appears when it is whole; one of that name is replaced, but no database. Raises
    ExchangeError.
    """
    path = Path(file)
    partial = path.parent / f'.{uuid.uuid4().hex}.partial'
    try:
        if _is_database(path):
            raise ExchangeError(
                f'{path} is a database, and was left as it is; choose another file for the export'
            )
        with partial.open('xb') as output:
            written = _write(output, items)
            output.flush()
            os.fsync(output.fileno())
        os.replace(partial, path)
        return written
    except OSError as error:
        raise ExchangeError(
            f'{path} cannot be written ({error.strerror}); choose another file, or make its '
            'folder writable and free some space'
        ) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def read(file: Path | str) -> Iterator[Item]:
    """Yield the models, descriptors and objects of a file, each checked.

    The file is known to be complete only after the last one. Raises ExchangeError.
    """
    path = Path(file)
    try:
        with path.open('rb') as lines:
            reader = LineReader(path, lines)
            try:
                yield from _items(reader)
            except ExchangeError:
                raise
            except (ValueError, TypeError, OverflowError, RecursionError) as error:
                raise reader.error(str(error), AGAIN) from error
    except OSError as error:
        raise ExchangeError(
            f'{path} cannot be read ({error.strerror}); give a file that `don_kp db export` wrote'
        ) from error


def _is_database(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open('rb') as there:
        return there.read(len(_DATABASE)) == _DATABASE


def _write(file: BinaryIO, items: Iterable[Item]) -> tuple[int, int, int]:
    lines = LineWriter(file)
    for item in items:
        if isinstance(item, StoredModel):
            lines.write(ModelLine, vars(item))
        elif isinstance(item, StoredObject):
            pieces = _pieces(item.mesh)
            mesh = item.mesh and MeshPlace(
                item.mesh.fingerprint, item.mesh.position, item.mesh.orientation, len(pieces)
            )
            lines.write(ObjectLine, {**vars(item), 'points': len(item.points), 'mesh': mesh})
            for place, values, weight in zip(item.points, item.values, item.weights, strict=True):
                point = {'position': place.tolist(), 'values': values, 'weight': float(weight)}
                lines.write(PointLine, point)
            for piece in pieces:
                lines.write(PieceLine, {'data': piece})
        else:
            number = len(item.observations)
            lines.write(DescriptorLine, {**vars(item.descriptor), 'observations': number})
            for seen in item.observations:
                lines.write(ObservationLine, vars(seen))
    return lines.end()


def _items(reader: LineReader) -> Iterator[Item]:
    reader.header()
    dimensions: dict[str, int] = {}
    names: dict[Any, set[tuple[str, str]]] = {DescriptorLine: set(), ObjectLine: set()}
    while not isinstance(line := reader.next(ModelLine, *names, EndLine), EndLine):
        if isinstance(line, ModelLine):
            model = StoredModel(**vars(line), descriptors=0)
            records.check_model(model.fingerprint, model.dimension)
            records.json_text(model.card, records.CARD)
            if model.fingerprint in dimensions:
                raise ValueError('that model came before')
            dimensions[model.fingerprint] = model.dimension
            yield model
            continue
        if line.model not in dimensions:
            raise ValueError(f'model {shown(line.model)} did not come before')
        former = names[type(line)]
        if (line.name, line.model) in former:
            raise ValueError('that name came before for the same model')
        former.add((line.name, line.model))
        build = _object if isinstance(line, ObjectLine) else _entry
        yield build(line, reader, dimensions[line.model])
    here = len(dimensions), len(names[DescriptorLine]), len(names[ObjectLine])
    if (told := tuple(getattr(line, name) for name in COUNTED)) != here:
        raise ValueError(
            '{} models, {} descriptors and {} objects were written, '.format(*told)
            + 'but {}, {} and {} are here'.format(*here)
        )


def _entry(line: Any, reader: LineReader, size: int) -> Entry:
    descriptor = StoredDescriptor(**decoded(line, size), deleted=None)
    descriptor = records.checked_descriptor(descriptor)
    looks = (reader.next(ObservationLine) for _ in range(line.observations))
    seen = [records.checked(Observation(**decoded(look, size))) for look in looks]
    mean = records.unit_mean(np.stack([observation.values for observation in seen]))
    if np.abs(mean - descriptor.values).max() > _TOLERANCE:
        raise ValueError('the values are not the mean of the observations')
    return Entry(descriptor, seen)


def _object(line: ObjectLine, reader: LineReader, size: int) -> StoredObject:
    number = min(line.points, MOST_POINTS + 1)  # which are too many
    points = [decoded(reader.next(PointLine), size) for _ in range(number)]
    arrays = {
        'points': [point['position'] for point in points],
        'values': [point['values'] for point in points],
        'weights': [point['weight'] for point in points],
    }
    mesh = line.mesh and _mesh(line.mesh, reader)
    return checked_object(StoredObject(**{**decoded(line, size), **arrays, 'mesh': mesh}))


def _mesh(place: MeshPlace, reader: LineReader) -> StoredMesh:
    number = min(place.pieces, -(-LARGEST_MESH // _PIECE) + 1)  # which are too many
    pieces = [reader.next(PieceLine).data for _ in range(number)]
    data = b''.join(base64.b64decode(piece, validate=True) for piece in pieces)
    if not data:
        raise ValueError('the mesh is empty')
    return StoredMesh(place.fingerprint, place.position, place.orientation, data)


def _pieces(mesh: StoredMesh | None) -> list[bytes]:
    data = mesh.data if mesh is not None else b''
    return [data[first : first + _PIECE] for first in range(0, len(data), _PIECE)]
