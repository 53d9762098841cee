"""The lines of an export's file: what each kind holds, and how it is encoded and checked.

Each has ``sha256``, the checksum of its other content in canonical form (keys sorted, no spaces,
UTF-8). The end also has the checksum of all checksums before it. Values are base64 of float32,
little endian.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import typing
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from don_kp_ros import configuration
from don_kp_ros.database import records, rows
from don_kp_ros.database.object_records import StoredGrasp
from don_kp_ros.database.records import Observation, StoredDescriptor, StoredModel
from don_kp_ros.database.text import shown
from don_kp_ros.errors import RefusedError

FORMAT = 'don_kp descriptors'
VERSION = 4  # 1 had no taught objects, 2 no grasps of them, 3 no meshes
_READ = range(1, VERSION + 1)
LONGEST_LINE = 1 << 20  # bytes; what records allow stays far below
AGAIN = 'export again, or copy the file again in full'


class ExchangeError(RefusedError):
    """A file that cannot be written or read; the message names it, the line and the remedy."""


@dataclass(frozen=True)
class HeaderLine:
    """The first line."""

    format: str
    version: int
    created: str


@dataclass(frozen=True)
class MeshPlace:
    """The mesh of a taught object; so many pieces follow the object's points."""

    fingerprint: str
    position: tuple[float, float, float]
    orientation: tuple[float, float, float, float]
    pieces: int


@dataclass(frozen=True)
class ObjectLine:
    """A taught object; so many points follow it."""

    name: str
    model: str
    points: int
    views: int
    created: str
    updated: str
    grasps: tuple[StoredGrasp, ...] = ()
    mesh: MeshPlace | None = None


@dataclass(frozen=True)
class PointLine:
    """A point of a taught object."""

    position: tuple[float, float, float]
    values: str
    weight: float


@dataclass(frozen=True)
class PieceLine:
    """A piece of the bytes of a taught object's mesh."""

    data: str


@dataclass(frozen=True)
class EndLine:
    """The last line: the numbers of what came before."""

    models: int
    descriptors: int
    all: str
    objects: int = 0


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


ModelLine = _line_of(StoredModel, 'ModelLine', 'descriptors')
DescriptorLine = _line_of(StoredDescriptor, 'DescriptorLine', 'deleted')
ObservationLine = _line_of(Observation, 'ObservationLine')
_LINES = (
    HeaderLine, ModelLine, DescriptorLine, ObservationLine, ObjectLine, PointLine, PieceLine,
    EndLine,
)  # fmt: skip
_KIND_OF = {line: line.__name__.removesuffix('Line').lower() for line in _LINES}
_KINDS = {kind: line for line, kind in _KIND_OF.items()}
COUNTED = {'models': ModelLine, 'descriptors': DescriptorLine, 'objects': ObjectLine}


class LineWriter:
    """Writes lines, each with its checksum, and counts them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._all = file, hashlib.sha256()
        self._written: Counter[Any] = Counter()
        self.write(HeaderLine, {'format': FORMAT, 'version': VERSION, 'created': records.now()})

    def write(self, line: Any, content: Mapping[str, Any]) -> None:
        """Write a line of a kind; further content is left out."""
        fields = {'kind': _KIND_OF[line], **encoded(line, content)}
        checksum = _checksum(fields)
        self._all.update(checksum.encode())
        self._file.write(_canonical({**fields, 'sha256': checksum}) + b'\n')
        self._written[line] += 1

    def end(self) -> tuple[int, int, int]:
        """Write the last line; return the number of models, descriptors and objects."""
        numbers = tuple(self._written[line] for line in COUNTED.values())
        counts = dict(zip(COUNTED, numbers, strict=True))
        self.write(EndLine, {**counts, 'all': self._all.hexdigest()})
        return numbers  # type: ignore[return-value]


class LineReader:
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
        if content.get('version') not in _READ:
            found = shown(str(content.get('version')))
            told = f'it is of version {found}, this don_kp reads 1 to {VERSION}'
            raise self.error(told, 'update don_kp')
        self._checked(content, HeaderLine)

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
        if isinstance(line, EndLine):
            if line.all != self._all.hexdigest():
                raise ValueError('lines before it are missing, doubled, or in another order')
            if self._file.read(1):
                raise ValueError('something follows this end')
        self._all.update(str(checksum).encode())
        return line


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(content)).hexdigest()


def _canonical(content: Mapping[str, Any]) -> bytes:
    text = json.dumps(
        content, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(',', ':')
    )
    return text.encode('utf-8')


def encoded(line: type, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a line as JSON takes them."""
    return {each.name: _json_value(content[each.name]) for each in dataclasses.fields(line)}


def _json_value(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = rows.blob(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple):
        return [dataclasses.asdict(one) if isinstance(one, StoredGrasp) else one for one in value]
    if isinstance(value, MeshPlace):
        return dataclasses.asdict(value)
    return dict(value) if isinstance(value, Mapping) else value


def decoded(line: Any, dimension: int) -> dict[str, Any]:
    """Return the fields of a line as the record has them."""
    content = dict(vars(line))
    for name in content.keys() & {'created', 'updated'}:
        content[name] = datetime.fromisoformat(content[name])
    for name in content.keys() & {'values', 'patch'}:
        if content[name] is not None:
            content[name] = base64.b64decode(content[name], validate=True)
    if 'values' in content:
        values = np.frombuffer(content['values'], '<f4').astype(np.float32)
        if len(values) != dimension:
            raise ValueError(f'it has {len(values)} values, those of its model {dimension}')
        content['values'] = values
    return content
