"""Requests to the descriptor database as an attacker or a broken program sends them, by a seed.

A request is put together from sound and hostile parts. What has only sound ones must be carried
out; what has a hostile one must be refused with a reason, and change nothing.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from don_kp.srv import (
    ChangeDescriptor,
    DeleteDescriptor,
    DeleteObject,
    ExportDescriptors,
    GetDescriptor,
    ImportDescriptors,
    ListDescriptors,
    ListObjects,
    RankDescriptors,
    RenameObject,
    RestoreDescriptor,
    StoreDescriptor,
    TeachObject,
)

_SHARE_HOSTILE = 0.6  # of the requests
_NAMES = 40  # different sound ones: requests meet what former ones stored
_MIB = 1 << 20
_LONGEST_MESSAGE = 2000  # characters
_FEWEST_WORDS = 4
# Without faults these are carried out; the others perhaps lack what they ask for.
_CERTAIN = (StoreDescriptor, ListDescriptors, ListObjects, ExportDescriptors)
_READING = (GetDescriptor, ListDescriptors, ListObjects, RankDescriptors, ExportDescriptors)

# What is sound, however it looks: names that must be stored and given back as they are.
_SOUND = (
    'cap/brim',
    "Robert'); DROP TABLE descriptors;--",
    '" OR 1=1 --',
    "it's",
    '../../etc/passwd',
    'C:\\windows\\system32',
    '%s%n{0}${HOME}`id`',
    '🧢/☃',
    'Mütze/Schirm',
    '帽子/つば',
    'null',
    '<script>alert(1)</script>',
    '-1',
    'x' * 128,
    '*',
    'a_b%c',
)
_HOSTILE_NAMES: Sequence[tuple[str, Callable[[random.Random], str]]] = (
    ('empty', lambda _: ''),
    ('space', lambda _: '   '),
    ('NUL first', lambda _: '\0cap'),  # ROS ends a text at a NUL: what comes is empty
    ('newline', lambda _: 'cap\nbrim'),
    ('carriage return', lambda _: 'cap\r\n[INFO] all is well'),
    ('escape sequence', lambda _: '\x1b[2Jcap'),
    ('right to left', lambda _: 'cap\u202ebrim'),
    ('one too long', lambda _: 'x' * 129),
    ('1 MB', lambda random: random.choice('x/é🧢') * _MIB),
    ('ends with a space', lambda _: 'cap '),
    ('no character', lambda _: 'cap\ufffe'),
)


@dataclass(frozen=True)
class HostileRequest:
    """A request, and what is wrong with it."""

    kind: Any  # of the service
    service: str
    fields: Mapping[str, Any]
    faults: tuple[str, ...]

    def complaint(self, response: Any, before: int, after: int) -> str:
        """Say what is wrong with a response, given the database's revisions; '' if nothing is."""
        reason = _complaint(self, response, before, after)
        if not reason:
            return ''
        return f'{self.service}: {reason}; faults {self.faults}; {dict(self.fields)!r}'[:600]


def requests(
    seed: int, model: str, dimension: int, size: tuple[int, int]
) -> Iterator[HostileRequest]:
    """Yield requests without end: to a database whose running model is `model` of `dimension`.

    `size` (H, W) is that of the image that is shown to it.
    """
    maker = _Maker(random.Random(seed), np.random.default_rng(seed), model, dimension, size)
    while True:
        yield maker.make()


def _complaint(request: HostileRequest, response: Any, before: int, after: int) -> str:
    if response is None:
        return 'it was not answered'
    if 'internal error' in response.message:
        return f'the node failed: {response.message}'
    if len(response.message) > _LONGEST_MESSAGE or not response.message.isprintable():
        return f'the answer is no line for people: {response.message!r}'
    if request.faults and response.success:
        return 'it was carried out'
    if not response.success and len(response.message.split()) < _FEWEST_WORDS:
        return f'the refusal gives no reason: {response.message!r}'
    if not response.success and after != before:
        return f'it was refused ({response.message}), but changed the database'
    # No export is made of what nothing has.
    tagged = request.kind is ExportDescriptors and request.fields.get('tag')
    found = not (tagged and response.message.startswith('nothing in '))
    if not request.faults and not response.success and request.kind in _CERTAIN and found:
        return f'it was refused: {response.message}'
    if request.kind in _READING and after != before:
        return 'it changed the database'
    return ''


_Fields = dict[str, Any]


class _Maker:
    def __init__(
        self,
        draw: random.Random,
        numbers: np.random.Generator,
        model: str,
        dimension: int,
        size: tuple[int, int],
    ) -> None:
        self._random, self._numbers = draw, numbers
        self._model, self._dimension, self._size = model, dimension, size
        self._faults: list[str] = []
        self._hostile = 0.0

    def make(self) -> HostileRequest:
        """Make the next request."""
        self._faults.clear()
        # Half of the parts of a hostile request are hostile.
        self._hostile = 0.5 if self._random.random() < _SHARE_HOSTILE else 0.0
        asked = [
            (8, StoreDescriptor, '/store_descriptor', self._values_to_store),
            (4, StoreDescriptor, '/store_descriptor', self._pixel_to_store),
            (3, GetDescriptor, '/get_descriptor', self._named),
            (3, ListDescriptors, '/list_descriptors', self._listed),
            (2, ChangeDescriptor, '/change_descriptor', self._changed),
            (2, DeleteDescriptor, '/delete_descriptor', self._named),
            (2, RestoreDescriptor, '/restore_descriptor', self._named),
            (2, RankDescriptors, '/rank_descriptors', self._ranked),
            (1, TeachObject, '/teach_object', lambda: {'name': self._name('name')}),
            (1, ListObjects, '/list_objects', lambda: {'model': self._anything()}),
            (1, RenameObject, '/rename_object', self._renamed),
            (1, DeleteObject, '/delete_object', self._named),
            (1, ExportDescriptors, '/export_descriptors', self._exported),
            (1, ImportDescriptors, '/import_descriptors', self._imported),
        ]
        ((_, kind, service, maker),) = self._random.choices(asked, [each[0] for each in asked])
        fields = maker()
        return HostileRequest(kind, service, fields, tuple(self._faults))

    def _values_to_store(self) -> _Fields:
        return {
            'name': self._name('name'),
            'values': self._values(),
            'model': self._other_model('') if self._goes_wrong() else self._model,
            'u': self._random.choice([0, -1, 2**31 - 1]),  # nothing reads it
            **self._common(),
        }

    def _pixel_to_store(self) -> _Fields:
        height, width = self._size
        fields = {'name': self._name('name'), **self._common()}
        fields['u'] = self._random.randrange(width)
        fields['v'] = self._random.randrange(height)
        axis, side = self._random.choice([('u', width), ('v', height)])
        self._spoil(fields, axis, -1, side, -(2**31), 2**31 - 1)
        return fields

    def _common(self) -> _Fields:
        add = self._random.random() < 0.3
        fields: _Fields = {'tags': [], 'object': '', 'author': '', 'replace': not add, 'add': add}
        for key in ('object', 'author'):
            if self._random.random() < 0.3:
                fields[key] = self._name(key, optional=True)
        if self._random.random() < 0.3:
            fields['tags'] = [self._name('tag') for _ in range(self._random.randrange(4))]
        if self._goes_wrong(0.1):
            fields['tags'] = [f'tag {i}' for i in range(33)]
            self._faults.append('33 tags')
        if self._goes_wrong(0.1):
            fields['replace'] = fields['add'] = True
            self._faults.append('add and replace')
        return fields

    def _named(self) -> _Fields:
        model = self._other_model() if self._goes_wrong() else self._model
        return {'name': self._name('name'), 'model': model}

    def _changed(self) -> _Fields:
        fields = {**self._named(), 'replace_tags': True, 'tags': [self._name('tag')]}
        for key in ('new_name', 'object'):
            if self._random.random() < 0.5:
                fields[key] = self._name(key, optional=True)
        if self._goes_wrong(0.1):
            fields['replace_tags'] = False
            self._faults.append('tags that nothing is done with')
        return fields

    def _renamed(self) -> _Fields:
        return {**self._named(), 'new_name': self._name('new_name')}

    def _listed(self) -> _Fields:
        fields: _Fields = {'limit': self._random.choice([0, 1, 7, 1000])}
        for key in ('prefix', 'model', 'object', 'tag'):
            if self._random.random() < 0.3:
                fields[key] = self._anything()
        fields['deleted'] = self._random.random() < 0.3
        self._spoil(fields, 'limit', 1001, 2**32 - 1)
        self._spoil(fields, 'after', self._token())
        return fields

    def _ranked(self) -> _Fields:
        height, width = self._size
        fields: _Fields = {'limit': self._random.choice([0, 1, 100])}
        if self._random.random() < 0.5:
            fields['radius'] = self._random.choice([1e-6, 3.0, 1e30])
            fields['u'] = self._random.uniform(0, width - 1)
            fields['v'] = self._random.uniform(0, height - 1)
            key = self._random.choice(['u', 'v', 'radius'])
            self._spoil(fields, key, float('nan'), float('inf'), -1e30)
        self._spoil(fields, 'limit', 101, 2**32 - 1)
        return fields

    def _exported(self) -> _Fields:
        fields: _Fields = {'file': self._file(), 'replace': True}
        if self._random.random() < 0.5:
            fields['tag'] = self._anything()
        return fields

    def _imported(self) -> _Fields:
        # What a sound export wrote may be there; nothing else is.
        fields: _Fields = {'file': self._file(), 'keep': True}
        self._spoil(fields, 'file', 'missing.jsonl')
        return fields

    def _spoil(self, fields: _Fields, key: str, *hostile: Any) -> None:
        """Perhaps put something hostile in a field's place."""
        if self._goes_wrong():
            fields[key] = self._random.choice(hostile)
            self._faults.append(f'{key} = {fields[key]!r:.20}')

    def _goes_wrong(self, share: float = 1.0) -> bool:
        return self._random.random() < self._hostile * share

    def _name(self, what: str, optional: bool = False) -> str:
        if self._goes_wrong(0.5):
            kinds = _HOSTILE_NAMES[3:] if optional else _HOSTILE_NAMES  # none is allowed there
            kind, make = self._random.choice(kinds)
            self._faults.append(f'{what}: {kind}')
            return make(self._random)
        if self._random.random() < 0.5:
            return self._random.choice(_SOUND)
        return f'{self._random.choice(["cap", "mug"])}/{self._random.randrange(_NAMES)}'

    def _anything(self) -> str:
        """Draw a text that is looked for, not stored: anything may be."""
        if self._random.random() < 0.5:
            return self._random.choice(_SOUND)
        return self._random.choice(_HOSTILE_NAMES)[1](self._random)

    def _values(self) -> list[float]:
        values = self._numbers.standard_normal(self._dimension).astype(np.float32)
        if not self._goes_wrong():
            return values.tolist()
        kind = self._random.choice(['nan', 'inf', '-inf', 'zero', 'short', 'long', 'huge'])
        self._faults.append(f'values: {kind}')
        if kind in ('nan', 'inf', '-inf'):
            values[self._random.randrange(self._dimension)] = float(kind)
        elif kind == 'zero':
            values[:] = 0
        elif kind == 'short':
            values = values[: self._random.randrange(1, self._dimension)]
        else:
            values = np.ones(self._dimension + 1 if kind == 'long' else 100_000, np.float32)
        return values.tolist()

    def _other_model(self, *more: str) -> str:
        others = ['another', self._model + "'", self._model[:-1], '\x1b[2J', 'x' * _MIB, *more]
        model = self._random.choice(others)
        self._faults.append(f'model: {model[:20]!r}')
        return model

    def _file(self) -> str:
        if self._goes_wrong():
            hostile = ['', '.', '..', '../up.jsonl', '/tmp/absolute.jsonl', 'a/b.jsonl', 'a\\b']
            hostile += ['new\nline', 'x' * 129, '~/home/x.jsonl', 'x' * _MIB, '../' * 1000]
            name = self._random.choice(hostile)
            self._faults.append(f'file: {name[:20]!r}')
            return name
        return self._random.choice(['caps.jsonl', "it's; rm -rf.jsonl", '🧢.jsonl', '$(id)'])

    def _token(self) -> str:
        hostile = ["' OR 1=1", '\n', '🧢', '[' * 5000, 'AAAA', 'x' * _MIB]
        for content in ([1, 2], ['a'], ['a', 'b', 'c'], {'a': 'b'}, ['a\n', 'b'], None, ['', '']):
            hostile.append(base64.urlsafe_b64encode(json.dumps(content).encode()).decode())
        return self._random.choice(hostile)
