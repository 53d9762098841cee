"""The SQL of the descriptor store."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from don_kp_ros.database import records
from don_kp_ros.database.errors import InvalidDescriptorError, UnknownNameError
from don_kp_ros.database.records import Filter
from don_kp_ros.database.rows import is_text
from don_kp_ros.database.schema import descriptors, models, objects, observations, tags
from don_kp_ros.database.text import shortened, shown

LIVE = descriptors.c.deleted.is_(None)
_records = sa.select(
    descriptors,
    models.c.fingerprint.label('model'),
    models.c.dimension,
    objects.c.name.label('object'),
    # No tag has a newline.
    sa.select(sa.func.aggregate_strings(tags.c.tag, '\n'))
    .where(tags.c.descriptor_id == descriptors.c.id)
    .scalar_subquery()
    .label('tags'),
).select_from(descriptors.join(models).join(objects))


def conditions(wanted: Filter) -> Iterator[sa.ColumnElement[bool]]:
    """Yield conditions on the table of descriptors alone, so that its indexes are used."""
    texts = wanted.prefix, wanted.model, wanted.object, wanted.tag
    if not all(is_text(text or '') for text in texts):
        yield sa.false()  # nothing stored has such a name, and no engine would take the question
        return
    yield (last_deleted() if wanted.deleted else LIVE)
    if wanted.prefix:
        yield from begins_with(descriptors.c.name, wanted.prefix)
    if wanted.model is not None:
        yield descriptors.c.model_id == _id_of(models.c.fingerprint, wanted.model)
    if wanted.object is not None:
        yield descriptors.c.object_id == _id_of(objects.c.name, wanted.object)
    if wanted.tag is not None:
        yield descriptors.c.id.in_(sa.select(tags.c.descriptor_id).where(tags.c.tag == wanted.tag))


def begins_with(column: sa.Column[str], prefix: str) -> Iterator[sa.ColumnElement[bool]]:
    """Yield the conditions for a beginning of names."""
    # Not LIKE, which ignores the case of ASCII letters in SQLite, and needs escapes.
    yield column >= prefix
    yield column < prefix + '\U0010ffff'  # in no name: not printable


def select(wanted: Filter, after: tuple[str, str] | None = None) -> sa.Select[Any]:
    """Select descriptors with all that a record holds, in order of name and model."""
    query = _records.where(*conditions(wanted))
    if after is not None:
        # Both engines walk the index of names from here; a row value would prevent that.
        name, fingerprint = after
        query = query.where(descriptors.c.name >= name).where(
            (descriptors.c.name > name) | (models.c.fingerprint > fingerprint)
        )
    # A model's fingerprint is one: leaving it out lets the index give the order.
    order = [descriptors.c.name] if wanted.model else [descriptors.c.name, models.c.fingerprint]
    return query.order_by(*order)


def find(
    connection: sa.Connection, name: str, model: str, state: sa.ColumnElement[bool] = LIVE
) -> sa.Row | None:
    """Read a descriptor in a state, with all that a record holds; it may be damaged."""
    if not (is_text(name) and is_text(model)):
        return None
    query = _records.where(descriptors.c.name == name, models.c.fingerprint == model, state)
    return connection.execute(query).one_or_none()


def last_deleted() -> sa.ColumnElement[bool]:
    """Choose the last deleted descriptor of every name and model."""
    later = descriptors.alias()
    # Each was created after the previous one was deleted.
    superseded = sa.exists().where(
        later.c.deleted.is_not(None),
        later.c.model_id == descriptors.c.model_id,
        later.c.name == descriptors.c.name,
        later.c.id > descriptors.c.id,
    )
    return descriptors.c.deleted.is_not(None) & ~superseded


def model_id(connection: sa.Connection, model: str, dimension: int) -> int:
    """Return the id of a model, stored if need be. Raises InvalidDescriptorError."""
    query = sa.select(models.c.id, models.c.dimension).where(models.c.fingerprint == model)
    row = connection.execute(query).one_or_none()
    if row is None:
        return insert(connection, models, fingerprint=model, dimension=dimension, card='{}')
    if row.dimension != dimension:
        raise InvalidDescriptorError(
            f'{dimension} values were given; descriptors of model {shortened(model)} have '
            f'{row.dimension}'
        )
    return int(row.id)


def insert(connection: sa.Connection, table: sa.Table, **content: object) -> int:
    """Write a row; return its id."""
    statement = table.insert().values(content).returning(table.c.id)
    return int(connection.execute(statement).scalar_one())


def update(connection: sa.Connection, number: int, **changes: object) -> None:
    """Change columns of a descriptor."""
    same = descriptors.c.id == number
    connection.execute(descriptors.update().where(same).values(changes))


def rename(connection: sa.Connection, number: int, name: str) -> int:
    """Give a descriptor a name that none has; return its new id.

    It is new because ids tell which of a name's descriptors was deleted last (`last_deleted`):
    one that gets the name comes after those that had it.
    """
    kept = [column.name for column in descriptors.c if column.name not in ('id', 'name')]
    same = sa.select(sa.literal(name), *(descriptors.c[column] for column in kept))
    copy = descriptors.insert().from_select(
        ['name', *kept], same.where(descriptors.c.id == number)
    )
    renamed = int(connection.execute(copy.returning(descriptors.c.id)).scalar_one())
    for table in observations, tags:
        moved = table.update().where(table.c.descriptor_id == number)
        connection.execute(moved.values(descriptor_id=renamed))
    connection.execute(descriptors.delete().where(descriptors.c.id == number))
    return renamed


def forget(connection: sa.Connection, table: sa.Table, number: int) -> None:
    """Delete the rows that a table has of a descriptor."""
    connection.execute(table.delete().where(table.c.descriptor_id == number))


def add_tags(connection: sa.Connection, number: int, labels: Sequence[str]) -> None:
    """Write tags that a descriptor does not have yet."""
    if labels:
        connection.execute(
            tags.insert(), [{'descriptor_id': number, 'tag': label} for label in labels]
        )


def object_id(connection: sa.Connection, name: str) -> int:
    """Return the id of an object, stored if need be."""
    number = connection.scalar(sa.select(objects.c.id).where(objects.c.name == name))
    return insert(connection, objects, name=name) if number is None else int(number)


def unknown(
    connection: sa.Connection, name: str, model: str, service: Callable[[str], str]
) -> UnknownNameError:
    """Make the error for an unknown name; it says what to do, by the names of services."""
    names: Sequence[str] = []
    if is_text(model):
        query = sa.select(descriptors.c.name).select_from(descriptors.join(models))
        query = query.where(models.c.fingerprint == model, LIVE).order_by(descriptors.c.name)
        names = connection.scalars(query.limit(1000)).all()
    of_model = f'for model {shortened(model)}'
    if find(connection, name, model, last_deleted()) is not None:
        return UnknownNameError(
            f'{shown(name)} was deleted {of_model}; bring it back with '
            f'{service("restore_descriptor")}, or store it anew with {service("store_descriptor")}'
        )
    if not names:
        return UnknownNameError(
            f'{shown(name)} is not stored: nothing is, {of_model}; store it with '
            f'{service("store_descriptor")}'
        )
    return UnknownNameError(f'{shown(name)} is not stored {of_model}; {nearest(name, names)}')


def nearest(name: str, names: Sequence[str]) -> str:
    """Say which names are the nearest."""
    longest = records.LONGEST_NAME
    near = difflib.get_close_matches(name[:longest], names, n=3, cutoff=0.4) or names[:3]
    return f'nearest names: {", ".join(map(shown, near))}'


def _id_of(column: sa.Column[str], name: str) -> sa.ScalarSelect[int]:
    return sa.select(column.table.c.id).where(column == name).scalar_subquery()
