"""The tables of the descriptor database, the same on SQLite and PostgreSQL.

A change here needs a migration; `test/database/test_migrations.py` compares the two.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa

from don_kp_ros.database.records import LONGEST_NAME

# The newest revision of migrations/versions: a database that has it needs no Alembic to open.
REVISION = '0005'

metadata = sa.MetaData(
    naming_convention={
        'ix': 'ix_%(table_name)s_%(column_0_N_name)s',
        'uq': 'uq_%(table_name)s_%(column_0_N_name)s',
        'ck': 'ck_%(table_name)s_%(constraint_name)s',
        'fk': 'fk_%(table_name)s_%(column_0_name)s',
        'pk': 'pk_%(table_name)s',
    }
)


class Utc(sa.types.TypeDecorator[datetime]):
    """A time in UTC to the microsecond: text on SQLite, timestamptz on PostgreSQL.

    In a damaged file, a value that is not a time is read as None.
    """

    impl = sa.TIMESTAMP(timezone=True).with_variant(sa.String(26), 'sqlite')
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> Any:
        """Write a time."""
        if value is None or dialect.name != 'sqlite':
            return value
        utc = value.astimezone(timezone.utc).replace(tzinfo=None)
        return utc.isoformat(sep=' ', timespec='microseconds')

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        """Read a time."""
        if isinstance(value, datetime):
            return value.astimezone(timezone.utc)
        try:
            return datetime.fromisoformat(value).replace(tzinfo=timezone.utc)
        except (TypeError, ValueError):
            return None


class Values(sa.LargeBinary):
    """Rows of float32, little endian; read as bytes, whatever damage made of them."""

    def column_expression(self, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
        """Choose what is read."""
        return sa.cast(column, sa.LargeBinary)


def name_type() -> sa.types.TypeEngine[str]:
    """Return the type of names: compared by code point, as Python and SQLite do."""
    return sa.String(LONGEST_NAME).with_variant(
        sa.String(LONGEST_NAME, collation='C'), 'postgresql'
    )


# One row that grows with every change. Every writer locks it first, so only one writes at a time.
revision = sa.Table(
    'revision',
    metadata,
    sa.Column('id', sa.Integer, sa.CheckConstraint('id = 1', name='one'), primary_key=True),
    sa.Column('number', sa.BigInteger, nullable=False),
)
objects = sa.Table(
    'objects',
    metadata,
    sa.Column('id', sa.Integer, primary_key=True),
    sa.Column('name', name_type(), nullable=False, unique=True),
)
models = sa.Table(
    'models',
    metadata,
    sa.Column('id', sa.Integer, primary_key=True),
    sa.Column('fingerprint', name_type(), nullable=False, unique=True),
    sa.Column('dimension', sa.Integer, nullable=False),
    sa.Column('card', sa.Text, nullable=False),  # JSON
)
descriptors = sa.Table(
    'descriptors',
    metadata,
    sa.Column('id', sa.Integer, primary_key=True),
    sa.Column('model_id', sa.ForeignKey('models.id'), nullable=False),
    sa.Column('object_id', sa.ForeignKey('objects.id'), nullable=False),
    sa.Column('name', name_type(), nullable=False),
    sa.Column('values', Values, nullable=False),
    sa.Column('observations', sa.Integer, nullable=False),
    sa.Column('created', Utc, nullable=False),
    sa.Column('updated', Utc, nullable=False),
    sa.Column('deleted', Utc),
)
_live, _gone = descriptors.c.deleted.is_(None), descriptors.c.deleted.is_not(None)
for _name, _columns, _unique, _where in (
    ('live', (descriptors.c.model_id, descriptors.c.name), True, _live),
    ('live_name', (descriptors.c.name,), False, _live),
    ('live_object', (descriptors.c.object_id, descriptors.c.name), False, _live),
    ('deleted', (descriptors.c.model_id, descriptors.c.name), False, _gone),
):
    sa.Index(
        f'ix_descriptors_{_name}',
        *_columns,
        unique=_unique,
        sqlite_where=_where,
        postgresql_where=_where,
    )
observations = sa.Table(
    'observations',
    metadata,
    sa.Column('id', sa.Integer, primary_key=True),
    sa.Column(
        'descriptor_id',
        sa.ForeignKey('descriptors.id', ondelete='CASCADE'),
        nullable=False,
        index=True,
    ),
    sa.Column('values', Values, nullable=False),
    sa.Column('u', sa.Double),  # pixels
    sa.Column('v', sa.Double),
    sa.Column('image_width', sa.Integer),
    sa.Column('image_height', sa.Integer),
    sa.Column('camera', sa.Text),  # JSON
    sa.Column('x', sa.Double),  # metres, in the optical frame
    sa.Column('y', sa.Double),
    sa.Column('z', sa.Double),
    sa.Column('patch', sa.LargeBinary),  # PNG
    sa.Column('author', name_type(), nullable=False),
    sa.Column('created', Utc, nullable=False),
)
tags = sa.Table(
    'tags',
    metadata,
    sa.Column(
        'descriptor_id', sa.ForeignKey('descriptors.id', ondelete='CASCADE'), primary_key=True
    ),
    sa.Column('tag', name_type(), primary_key=True),
    sa.Index('ix_tags_tag_descriptor_id', 'tag', 'descriptor_id'),
)
taught_objects = sa.Table(
    'taught_objects',
    metadata,
    sa.Column('id', sa.Integer, primary_key=True),
    sa.Column('model_id', sa.ForeignKey('models.id'), nullable=False),
    sa.Column('name', name_type(), nullable=False),
    sa.Column('views', sa.Integer, nullable=False),
    sa.Column('points', Values, nullable=False),  # (N, 3)
    sa.Column('values', Values, nullable=False),  # (N, D)
    sa.Column('weights', Values, nullable=False),  # (N,)
    sa.Column('grasps', sa.Text, nullable=False, server_default='[]'),  # JSON
    sa.Column('mesh', name_type()),  # the fingerprint of one in `meshes`
    sa.Column('mesh_pose', sa.Text),  # JSON
    sa.Column('created', Utc, nullable=False),
    sa.Column('updated', Utc, nullable=False),
    sa.Index('ix_taught_objects_name', 'name', 'model_id', unique=True),
)
# Those that objects have. No key of another table points here: a damaged one is no loose end.
meshes = sa.Table(
    'meshes',
    metadata,
    sa.Column('id', sa.Integer, primary_key=True),
    sa.Column('fingerprint', name_type(), nullable=False, unique=True),
    sa.Column('data', sa.LargeBinary, nullable=False),  # glTF
)
# The first schema's version table; a don_kp that knows only that schema refuses the file by it.
schema_version = sa.Table(
    'schema_version',
    metadata,
    sa.Column('version', sa.Integer, primary_key=True, autoincrement=False),
)
# Alembic's own, which says what schema a database has.
alembic_version = sa.Table(
    'alembic_version',
    sa.MetaData(),
    sa.Column('version_num', sa.String(32), nullable=False),
    sa.PrimaryKeyConstraint('version_num', name='alembic_version_pkc'),
)


def create(connection: sa.Connection) -> None:
    """Make the tables of an empty database."""
    metadata.create_all(connection)
    alembic_version.create(connection)
    connection.execute(revision.insert().values(id=1, number=0))
    connection.execute(schema_version.insert().values(version=2))
    connection.execute(alembic_version.insert().values(version_num=REVISION))
