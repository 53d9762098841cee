"""The SQL of the descriptor store: what is asked and written on a connection."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from don_kp_ros.database import records
from don_kp_ros.database.records import (
    InvalidDescriptorError,
    Observation,
    UnknownNameError,
    shortened,
    shown,
)
from don_kp_ros.database.schema import descriptors, models, objects, observations, tags

# Also where damage made them a number. `values` is a method of rows.
VALUES = sa.cast(descriptors.c['values'], sa.LargeBinary).label('values_')
OBSERVED = sa.cast(observations.c['values'], sa.LargeBinary).label('values_')
_joined = descriptors.join(models).join(objects)
_columns = (
    descriptors.c.id,
    descriptors.c.name,
    models.c.fingerprint,
    objects.c.name.label('object'),
    models.c.dimension,
    VALUES,
    # No tag has a newline.
    sa.select(sa.func.aggregate_strings(tags.c.tag, '\n'))
    .where(tags.c.descriptor_id == descriptors.c.id)
    .scalar_subquery()
    .label('tags'),
    descriptors.c.observations,
    descriptors.c.created,
    descriptors.c.updated,
    descriptors.c.deleted,
)
Row: TypeAlias = sa.Row
LIVE = descriptors.c.deleted.is_(None)


@dataclass(frozen=True)
class Filter:
    """Which descriptors are meant; see `DescriptorStore.list`."""

    prefix: str
    model: str | None
    object: str | None
    tag: str | None
    deleted: bool

    def impossible(self) -> bool:
        """Tell whether it asks for what no name can be."""
        texts = (self.prefix, self.model or '', self.object or '', self.tag or '')
        return not all(map(is_text, texts))

    def conditions(self) -> Iterator[sa.ColumnElement[bool]]:
        """Yield conditions of descriptors alone, so that their indexes serve."""
        yield (last_deleted() if self.deleted else LIVE)
        if self.prefix:
            # Not LIKE, which ignores the case of ASCII letters in SQLite, and needs escapes.
            yield descriptors.c.name >= self.prefix
            yield descriptors.c.name < self.prefix + '\U0010ffff'  # in no name: not printable
        if self.model is not None:
            yield descriptors.c.model_id == _id_of(models, models.c.fingerprint, self.model)
        if self.object is not None:
            yield descriptors.c.object_id == _id_of(objects, objects.c.name, self.object)
        if self.tag is not None:
            tagged = sa.select(tags.c.descriptor_id).where(tags.c.tag == self.tag)
            yield descriptors.c.id.in_(tagged)


def select(wanted: Filter) -> sa.Select[Any]:
    """Select descriptors with all that a record holds, ordered by name and model."""
    query = sa.select(*_columns).select_from(_joined).where(*wanted.conditions())
    # A model's fingerprint is one: leaving it out lets the index give the order.
    order = [descriptors.c.name] if wanted.model else [descriptors.c.name, models.c.fingerprint]
    return query.order_by(*order)


def find(
    connection: sa.Connection, name: str, model: str, state: sa.ColumnElement[bool]
) -> Row | None:
    """Read the id, name and dimension of a descriptor in a state; it may be damaged."""
    if not (is_text(name) and is_text(model)):
        return None
    query = sa.select(descriptors.c.id, descriptors.c.name, models.c.dimension)
    query = query.select_from(descriptors.join(models)).where(state)
    query = query.where(descriptors.c.name == name, models.c.fingerprint == model)
    return connection.execute(query).one_or_none()


def last_deleted() -> sa.ColumnElement[bool]:
    """Choose, of the deleted descriptors of every name and model, the one deleted last."""
    later = descriptors.alias()
    # Each was made after the one before was deleted.
    superseded = sa.exists().where(
        later.c.deleted.is_not(None),
        later.c.model_id == descriptors.c.model_id,
        later.c.name == descriptors.c.name,
        later.c.id > descriptors.c.id,
    )
    return descriptors.c.deleted.is_not(None) & ~superseded


def _id_of(table: sa.Table, column: sa.Column[str], name: str) -> sa.ScalarSelect[int]:
    return sa.select(table.c.id).where(column == name).scalar_subquery()


def model_id(connection: sa.Connection, model: str, dimension: int) -> int:
    """Return the id of a model, stored if need be. Raises InvalidDescriptorError."""
    query = sa.select(models.c.id, models.c.dimension).where(models.c.fingerprint == model)
    row = connection.execute(query).one_or_none()
    if row is None:
        insert = models.insert().values(fingerprint=model, dimension=dimension, card='{}')
        return int(connection.execute(insert.returning(models.c.id)).scalar_one())
    if row.dimension != dimension:
        raise InvalidDescriptorError(
            f'{dimension} values were given; descriptors of model {shortened(model)} have '
            f'{row.dimension}'
        )
    return int(row.id)


def object_id(connection: sa.Connection, name: str) -> int:
    """Return the id of an object, stored if need be."""
    number = connection.scalar(sa.select(objects.c.id).where(objects.c.name == name))
    if number is None:
        insert = objects.insert().values(name=name).returning(objects.c.id)
        number = connection.execute(insert).scalar_one()
    return int(number)


def observe(
    connection: sa.Connection, number: int, seen: Observation, labels: Sequence[str]
) -> None:
    """Write an observation and new tags of a descriptor."""
    u, v = seen.pixel or (None, None)
    width, height = seen.image_size or (None, None)
    x, y, z = seen.position or (None, None, None)
    insert = observations.insert().values(
        descriptor_id=number,
        values=blob(seen.values),
        u=u,
        v=v,
        image_width=width,
        image_height=height,
        camera=None if seen.camera is None else records.camera_text(seen.camera),
        x=x,
        y=y,
        z=z,
        patch=seen.patch,
        author=seen.author,
        created=seen.created,
    )
    connection.execute(insert)
    if labels:
        rows = [{'descriptor_id': number, 'tag': label} for label in labels]
        connection.execute(tags.insert(), rows)


def unknown(connection: sa.Connection, name: str, model: str) -> UnknownNameError:
    """Make the error of a name that is not there; it tells what to do."""
    names: Sequence[str] = []
    if is_text(model):
        query = sa.select(descriptors.c.name).select_from(descriptors.join(models))
        query = query.where(models.c.fingerprint == model, LIVE).order_by(descriptors.c.name)
        names = connection.scalars(query.limit(1000)).all()
    if find(connection, name, model, last_deleted()) is not None:
        return UnknownNameError(
            f'{shown(name)} was deleted for model {shortened(model)}; bring it back with '
            '/restore_descriptor, or store it anew with /store_descriptor'
        )
    if not names:
        return UnknownNameError(
            f'{shown(name)} is not stored: nothing is, for model {shortened(model)}; store it '
            'with /store_descriptor'
        )
    longest = records.LONGEST_NAME
    nearest = difflib.get_close_matches(name[:longest], names, n=3, cutoff=0.4) or names[:3]
    return UnknownNameError(
        f'{shown(name)} is not stored for model {shortened(model)}; nearest names: '
        + ', '.join(shown(near) for near in nearest)
    )


def is_text(text: str) -> bool:
    """Tell whether both engines can hold a text; no name that is stored is any other."""
    try:
        return '\0' not in text and len(text.encode()) <= 4 * records.LONGEST_NAME
    except UnicodeEncodeError:
        return False


def blob(values: NDArray[np.float32]) -> bytes:
    """Turn values (D,) into what is stored."""
    return values.astype('<f4').tobytes()


def vector(blob: bytes, dimension: int) -> NDArray[np.float32]:
    """Read values (D,). Raises TypeError, ValueError."""
    if len(blob) != 4 * dimension:
        raise ValueError(f'it holds {len(blob)} bytes, not {4 * dimension}')
    values = np.frombuffer(blob, '<f4').astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError('not all of its values are finite')
    return values
