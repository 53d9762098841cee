"""The file of an export: JSON Lines with checksums, read and written line by line.

A line is a JSON object: a header, models, descriptors each followed by its observations, an end.
Each has ``sha256``, the checksum of its other content in canonical form (keys sorted, no spaces,
UTF-8). The end also has the checksum of all checksums before it. Values are base64 of float32,
little endian. docs/database.md describes the fields.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import json
import os
import typing
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from don_kp_ros import configuration
from don_kp_ros.database import records, rows
from don_kp_ros.database.records import Observation, StoredDescriptor, StoredModel
from don_kp_ros.database.text import shown
from don_kp_ros.errors import RefusedError

FORMAT, VERSION = 'don_kp descriptors', 1
LONGEST_LINE = 1 << 20  # bytes; what records allow stays far below
_AGAIN = 'export again, or copy the file again in full'
_TOLERANCE = 1e-5  # by which a mean computed on another machine may differ


class ExchangeError(RefusedError):
    """A file that cannot be written or read; the message names it, the line and the remedy."""


@dataclass(frozen=True, eq=False)
class Entry:
    """A descriptor of a file, with its observations, oldest first."""

    descriptor: StoredDescriptor
    observations: Sequence[Observation]

    def content(self) -> tuple[object, ...]:
        """Return what makes two entries the same; the descriptor's times do not count."""
        one = self.descriptor
        seen = [_encoded(_Observation, vars(each)) for each in self.observations]
        return one.name, one.model, one.object, one.tags, seen


def write(file: Path | str, items: Iterator[StoredModel | Entry]) -> tuple[int, int]:
    """Write models, and descriptors after their models; return how many of each.

    The file appears when it is whole; one of that name is replaced. Raises ExchangeError.
    """
    path = Path(file)
    partial = path.parent / f'.{uuid.uuid4().hex}.partial'
    try:
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


def read(file: Path | str) -> Iterator[StoredModel | Entry]:
    """Yield the models and descriptors of a file, each checked.

    The file is known to be complete only after the last one. Raises ExchangeError.
    """
    path = Path(file)
    try:
        with path.open('rb') as lines:
            reader = _Reader(path, lines)
            try:
                yield from _items(reader)
            except ExchangeError:
                raise
            except (ValueError, TypeError, OverflowError, RecursionError) as error:
                raise reader.error(str(error), _AGAIN) from error
    except OSError as error:
        raise ExchangeError(
            f'{path} cannot be read ({error.strerror}); give a file that `don_kp db export` wrote'
        ) from error


# The lines, as they stand in a file.


@dataclass(frozen=True)
class _Header:
    format: str
    version: int
    created: str


@dataclass(frozen=True)
class _End:
    models: int
    descriptors: int
    all: str


# What JSON has no form for; all else stands in a line as in its record.
_TEXTS: dict[str, Any] = {
    'values': str,
    'patch': str | None,
    'created': str,
    'updated': str,
    'card': Any,  # a mapping
    'camera': Any,  # a mapping or None
}


def _line_of(record: type, name: str, left_out: str = '') -> Any:
    """Make the dataclass of a record's line."""
    hints = typing.get_type_hints(record).items()
    fields = [(each, _TEXTS.get(each, hint)) for each, hint in hints if each != left_out]
    return dataclasses.make_dataclass(name, fields, frozen=True)


_Model = _line_of(StoredModel, '_Model', 'descriptors')
_Descriptor = _line_of(StoredDescriptor, '_Descriptor', 'deleted')
_Observation = _line_of(Observation, '_Observation')
_LINES = (_Header, _Model, _Descriptor, _Observation, _End)
_KIND_OF = {line: line.__name__.strip('_').lower() for line in _LINES}
_KINDS = {kind: line for line, kind in _KIND_OF.items()}


def _write(file: BinaryIO, items: Iterable[StoredModel | Entry]) -> tuple[int, int]:
    checksums = hashlib.sha256()
    written: Counter[Any] = Counter()

    def write(line: Any, content: Mapping[str, Any]) -> None:
        fields = {'kind': _KIND_OF[line], **_encoded(line, content)}
        checksum = _checksum(fields)
        checksums.update(checksum.encode())
        file.write(_canonical({**fields, 'sha256': checksum}) + b'\n')
        written[line] += 1

    write(_Header, {'format': FORMAT, 'version': VERSION, 'created': records.now()})
    for item in items:
        if isinstance(item, StoredModel):
            write(_Model, vars(item))
            continue
        number = len(item.observations)
        write(_Descriptor, {**vars(item.descriptor), 'observations': number})
        for seen in item.observations:
            write(_Observation, vars(seen))
    numbers = written[_Model], written[_Descriptor]
    write(_End, {'models': numbers[0], 'descriptors': numbers[1], 'all': checksums.hexdigest()})
    return numbers


class _Reader:
    """Reads lines, and checks each. What is wrong is a ValueError, of the line read last."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path, self._file = path, file
        self._number = 0
        self._all = hashlib.sha256()

    def header(self) -> None:
        """Read the first line, which tells whether the file is one of these."""
        foreign = f'it is no file of {FORMAT}', 'give a file that `don_kp db export` wrote'
        try:
            content = self._content()
        except ValueError as error:
            raise self.error(*foreign) from error
        if content.get('format') != FORMAT:
            raise self.error(*foreign)
        if content.get('version') != VERSION:
            found = shown(str(content.get('version')))
            told = f'it is of version {found}, this don_kp reads {VERSION}'
            raise self.error(told, 'update don_kp')
        self._checked(content, _Header)

    def next(self, *kinds: type) -> Any:
        """Read a line of one of these kinds."""
        return self._checked(self._content(), *kinds)

    def error(self, reason: str, remedy: str) -> ExchangeError:
        """Name file and line in what is wrong."""
        reason = records.printable(reason)
        return ExchangeError(f'{self._path}, line {self._number}: {reason}; {remedy}')

    def _content(self) -> dict[str, Any]:
        self._number += 1
        line = self._file.readline(LONGEST_LINE + 1)
        if not line:
            raise ValueError('the file ends here, before its end line')
        if len(line) > LONGEST_LINE:
            raise ValueError(f'it is longer than {LONGEST_LINE >> 20} MiB')
        try:
            content = json.loads(line.decode('utf-8'))
        except (ValueError, RecursionError) as error:
            raise ValueError(f'it is no JSON: {error}') from error
        if not isinstance(content, dict):
            raise ValueError('it is no object')
        return content

    def _checked(self, content: dict[str, Any], *kinds: type) -> Any:
        checksum = content.pop('sha256', None)
        if checksum != _checksum(content):
            raise ValueError('its content does not fit its checksum')
        kind = str(content.pop('kind', None))
        if _KINDS.get(kind) not in kinds:
            expected = ' or '.join(_KIND_OF[each] for each in kinds)
            raise ValueError(f'it is of kind {shown(kind)}; here must come {expected}')
        line: Any = configuration.read(_KINDS[kind], content, kind)
        if isinstance(line, _End):
            if line.all != self._all.hexdigest():
                raise ValueError('lines before it are missing, doubled, or in another order')
            if self._file.read(1):
                raise ValueError('something follows this end')
        self._all.update(str(checksum).encode())
        return line


def _items(reader: _Reader) -> Iterator[StoredModel | Entry]:
    reader.header()
    dimensions: dict[str, int] = {}
    names: set[tuple[str, str]] = set()
    while not isinstance(line := reader.next(_Model, _Descriptor, _End), _End):
        if isinstance(line, _Model):
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
        size = dimensions[line.model]
        descriptor = StoredDescriptor(**_decoded(line, size), deleted=None)
        descriptor = records.checked_descriptor(descriptor)
        if (descriptor.name, descriptor.model) in names:
            raise ValueError('that name came before for the same model')
        names.add((descriptor.name, descriptor.model))
        looks = (reader.next(_Observation) for _ in range(line.observations))
        seen = [records.checked(Observation(**_decoded(look, size))) for look in looks]
        mean = records.unit_mean(np.stack([observation.values for observation in seen]))
        if np.abs(mean - descriptor.values).max() > _TOLERANCE:
            raise ValueError('the values are not the mean of the observations')
        yield Entry(descriptor, seen)
    if (line.models, line.descriptors) != (len(dimensions), len(names)):
        raise ValueError(
            f'{line.models} models and {line.descriptors} descriptors were written, but '
            f'{len(dimensions)} and {len(names)} are here'
        )


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(content)).hexdigest()


def _canonical(content: Mapping[str, Any]) -> bytes:
    text = json.dumps(
        content, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(',', ':')
    )
    return text.encode('utf-8')


def _encoded(line: type, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a line as JSON takes them."""
    return {each.name: _json_value(content[each.name]) for each in dataclasses.fields(line)}


def _json_value(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = rows.blob(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.isoformat()
    return dict(value) if isinstance(value, Mapping) else value


def _decoded(line: Any, dimension: int) -> dict[str, Any]:
    """Return the fields of a line as the record has them."""
    content = dict(vars(line))
    for name in content.keys() & {'created', 'updated'}:
        content[name] = datetime.fromisoformat(content[name])
    for name in content.keys() & {'values', 'patch'}:
        if content[name] is not None:
            content[name] = base64.b64decode(content[name], validate=True)
    values = np.frombuffer(content['values'], '<f4').astype(np.float32)
    if len(values) != dimension:
        raise ValueError(f'it has {len(values)} values, those of its model {dimension}')
    return {**content, 'values': values}
