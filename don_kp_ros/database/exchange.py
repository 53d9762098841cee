"""Moves descriptors and objects between databases by a file: a backup, or to share them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Literal

from don_kp_ros.database.errors import DamagedError, StoreError, UnknownNameError
from don_kp_ros.database.exchange_file import Entry, Item, read, write
from don_kp_ros.database.exchange_lines import ExchangeError
from don_kp_ros.database.object_records import StoredObject
from don_kp_ros.database.records import ALL, Filter, StoredModel
from don_kp_ros.database.store import DescriptorStore
from don_kp_ros.database.text import shortened, shown

_PAGE = 500
_MOST_NAMED = 10


class ConflictError(ExchangeError):
    """The file has other content for stored names; nothing was imported."""


@dataclass(frozen=True)
class Summary:
    """What an export wrote, or what an import did with a file's descriptors and objects."""

    models: int = 0
    descriptors: int = 0
    objects: int = 0
    added: int = 0
    replaced: int = 0
    kept: int = 0  # stored with other content, and left as they are
    unchanged: int = 0
    left_out: tuple[str, ...] = ()  # damaged: why, and the remedy


def export(store: DescriptorStore, file: Path | str, wanted: Filter = ALL) -> Summary:
    """Write descriptors and objects as they are at one moment.

    An existing file is replaced once everything is written. Raises ExchangeError, also where
    nothing is as wanted, and StoreError.
    """
    left_out: list[str] = []

    def items() -> Iterator[Item]:
        yield from (m for m in store.models() if wanted.model in (None, m.fingerprint))
        after = None
        while page := store.list(wanted, after=after, limit=_PAGE):
            for stored in page:
                try:
                    seen = store.observations(stored.name, stored.model)
                except DamagedError as error:
                    left_out.append(str(error))
                else:
                    yield Entry(stored, seen)
            after = page[-1].name, page[-1].model
        for taught in objects:
            try:
                yield store.objects.with_mesh(taught)
            except (DamagedError, UnknownNameError) as error:
                left_out.append(f'the mesh of {shown(taught.name)}: {error}')
                yield dataclasses.replace(taught, mesh=None)

    with store.snapshot():
        objects, damaged = store.objects.list(wanted)
        if wanted != ALL and not (objects or damaged or store.count(wanted)):
            raise ExchangeError(
                f'nothing in {store.location} has {_named(wanted)}; {file} was left as it is: '
                'list what is stored, or leave the filter out'
            )
        damaged = [*store.damaged(wanted), *store.damaged_cards(wanted.model), *damaged]
        left_out += map(str, damaged)
        numbers = write(file, items())
    return Summary(*numbers, left_out=tuple(left_out))


def _named(wanted: Filter) -> str:
    """Name what a filter asks for."""
    told = {name: getattr(wanted, name) for name in ('model', 'object', 'tag', 'prefix')}
    return ' and '.join(
        f'the {name} {shown(text)}' for name, text in told.items() if text != getattr(ALL, name)
    )


def load(
    store: DescriptorStore,
    file: Path | str,
    existing: Literal['refuse', 'replace', 'keep'] = 'refuse',
    ending: Event | None = None,
) -> Summary:
    """Store the content of a file in one transaction, or nothing if there is an error.

    The file is checked to its end before anything is written. Equal content that is already stored
    stays as it is; `existing` says what to do with names that are stored with other content.
    Raises ExchangeError (ConflictError for such names), StoreError, also where `ending` comes.
    """
    path = Path(file)
    for _ in _read(path, ending):
        pass
    counts: Counter[str] = Counter()
    conflicts: list[str] = []
    with store.transaction():
        known = {model.fingerprint: model for model in store.models()}
        for item in _read(path, ending):
            if not isinstance(item, StoredModel):
                kind = 'descriptors' if isinstance(item, Entry) else 'objects'
                outcome = _load(store, item, existing)
                counts.update((kind, outcome))
                if outcome == 'conflict':
                    name, model = item.key
                    conflicts.append(f'{shown(name)} of model {shortened(model)}')
                continue
            counts['models'] += 1
            stored = known.get(item.fingerprint)
            if stored is not None and stored.dimension != item.dimension:
                raise ExchangeError(
                    f'{path}: descriptors of model {shortened(item.fingerprint)} have '
                    f'{item.dimension} values, those in {store.location} {stored.dimension}; it '
                    'is not the same model: import into another database'
                )
            if stored is None or (item.card and (existing == 'replace' or not stored.card)):
                store.keep_model(item.fingerprint, item.dimension, item.card)
        if conflicts:
            more = len(conflicts) - _MOST_NAMED
            listed = ', '.join(conflicts[:_MOST_NAMED]) + (f' and {more} more' if more > 0 else '')
            raise ConflictError(
                f'{path}: {listed}: stored with other content in {store.location}; nothing was '
                'imported: choose to replace them, or to keep them'
            )
    return Summary(**dict(counts))  # type: ignore[arg-type]


def _read(path: Path, ending: Event | None) -> Iterator[Item]:
    for item in read(path):
        if ending is not None and ending.is_set():
            raise StoreError(
                'the node ends; nothing was imported: import again once the database node runs'
            )
        yield item


def _load(store: DescriptorStore, given: Entry | StoredObject, existing: str) -> str:
    """Store an item of a file; return what became of it: a field of Summary, or conflict."""
    place = store if isinstance(given, Entry) else store.objects
    if not place.has(*given.key):
        _put_back(store, given)
        return 'added'
    try:
        if _stored(store, given).content() == given.content():
            return 'unchanged'
    except (DamagedError, UnknownNameError):
        pass  # damaged, or a mesh without its data: counts as other content
    if existing == 'replace':
        _put_back(store, given)
        return 'replaced'
    return 'kept' if existing == 'keep' else 'conflict'


def _stored(store: DescriptorStore, given: Entry | StoredObject) -> Entry | StoredObject:
    if isinstance(given, StoredObject):
        return store.objects.with_mesh(store.objects.get(*given.key))
    return Entry(store.get(*given.key), store.observations(*given.key))


def _put_back(store: DescriptorStore, given: Entry | StoredObject) -> None:
    if isinstance(given, StoredObject):
        store.objects.put_back(given)
    else:
        store.put_back(given.descriptor, given.observations)
