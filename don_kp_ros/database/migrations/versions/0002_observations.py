"""Objects, observations, tags, soft deletion and the counter of changes.

Every descriptor keeps its values, as those of its first observation; also one that is damaged.
"""

from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = '0002'
down_revision = '0001'


def upgrade() -> None:
    """Make the new tables and move what the old ones hold."""
    # The first schema was of SQLite alone: elsewhere its tables are new, and empty.
    moved = op.get_bind().dialect.name == 'sqlite'
    for table in 'descriptors', 'models':
        if moved:
            op.rename_table(table, f'{table}_0001')
        else:
            op.drop_table(table)
    _create()
    if moved:
        _move(op.get_bind())
        for table in 'descriptors', 'models':
            op.drop_table(f'{table}_0001')
    op.execute('UPDATE schema_version SET version = 2')


def downgrade() -> None:
    """Refuse: the first schema has no place for what this one holds."""
    raise NotImplementedError('schema 0001 has no place for observations; restore a backup')


def _create() -> None:
    sqlite = op.get_bind().dialect.name == 'sqlite'
    time = sa.String(26) if sqlite else sa.TIMESTAMP(timezone=True)
    name = sa.String(128) if sqlite else sa.String(128, collation='C')
    counter = op.create_table(
        'revision',
        sa.Column('id', sa.Integer, nullable=False),
        sa.Column('number', sa.BigInteger, nullable=False),
        sa.CheckConstraint('id = 1', name=op.f('ck_revision_one')),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_revision')),
    )
    op.bulk_insert(counter, [{'id': 1, 'number': 0}])
    op.create_table(
        'objects',
        sa.Column('id', sa.Integer, nullable=False),
        sa.Column('name', name, nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_objects')),
        sa.UniqueConstraint('name', name=op.f('uq_objects_name')),
    )
    op.create_table(
        'models',
        sa.Column('id', sa.Integer, nullable=False),
        sa.Column('fingerprint', name, nullable=False),
        sa.Column('dimension', sa.Integer, nullable=False),
        sa.Column('card', sa.Text, nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_models')),
        sa.UniqueConstraint('fingerprint', name=op.f('uq_models_fingerprint')),
    )
    op.create_table(
        'descriptors',
        sa.Column('id', sa.Integer, nullable=False),
        sa.Column('model_id', sa.Integer, nullable=False),
        sa.Column('object_id', sa.Integer, nullable=False),
        sa.Column('name', name, nullable=False),
        sa.Column('values', sa.LargeBinary, nullable=False),
        sa.Column('observations', sa.Integer, nullable=False),
        sa.Column('created', time, nullable=False),
        sa.Column('updated', time, nullable=False),
        sa.Column('deleted', time),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_descriptors')),
        sa.ForeignKeyConstraint(['model_id'], ['models.id'], name=op.f('fk_descriptors_model_id')),
        sa.ForeignKeyConstraint(
            ['object_id'], ['objects.id'], name=op.f('fk_descriptors_object_id')
        ),
    )
    for index, columns, unique, where in (
        ('live', ['model_id', 'name'], True, 'deleted IS NULL'),
        ('live_name', ['name'], False, 'deleted IS NULL'),
        ('live_object', ['object_id', 'name'], False, 'deleted IS NULL'),
        ('deleted', ['model_id', 'name'], False, 'deleted IS NOT NULL'),
    ):
        op.create_index(
            f'ix_descriptors_{index}',
            'descriptors',
            columns,
            unique=unique,
            sqlite_where=sa.text(where),
            postgresql_where=sa.text(where),
        )
    op.create_table(
        'observations',
        sa.Column('id', sa.Integer, nullable=False),
        sa.Column('descriptor_id', sa.Integer, nullable=False),
        sa.Column('values', sa.LargeBinary, nullable=False),
        sa.Column('u', sa.Double),
        sa.Column('v', sa.Double),
        sa.Column('image_width', sa.Integer),
        sa.Column('image_height', sa.Integer),
        sa.Column('camera', sa.Text),
        sa.Column('x', sa.Double),
        sa.Column('y', sa.Double),
        sa.Column('z', sa.Double),
        sa.Column('patch', sa.LargeBinary),
        sa.Column('author', name, nullable=False),
        sa.Column('created', time, nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_observations')),
        sa.ForeignKeyConstraint(
            ['descriptor_id'],
            ['descriptors.id'],
            name=op.f('fk_observations_descriptor_id'),
            ondelete='CASCADE',
        ),
    )
    op.create_index(op.f('ix_observations_descriptor_id'), 'observations', ['descriptor_id'])
    op.create_table(
        'tags',
        sa.Column('descriptor_id', sa.Integer, nullable=False),
        sa.Column('tag', name, nullable=False),
        sa.PrimaryKeyConstraint('descriptor_id', 'tag', name=op.f('pk_tags')),
        sa.ForeignKeyConstraint(
            ['descriptor_id'],
            ['descriptors.id'],
            name=op.f('fk_tags_descriptor_id'),
            ondelete='CASCADE',
        ),
    )
    op.create_index('ix_tags_tag_descriptor_id', 'tags', ['tag', 'descriptor_id'])


def _move(connection: sa.Connection) -> None:
    """Copy models and descriptors. Values and times are taken as they are: they may be damaged."""
    execute = connection.exec_driver_sql
    execute(
        'INSERT INTO models (id, fingerprint, dimension, card) '
        "SELECT id, fingerprint, dimension, '{}' FROM models_0001"
    )
    objects: dict[str, int] = {}
    rows = execute('SELECT id, name, created, updated FROM descriptors_0001 ORDER BY id').all()
    for number, name, created, updated in rows:
        object_name = name.rpartition('/')[0].strip() or name
        if object_name not in objects:
            objects[object_name] = len(objects) + 1
            execute(
                'INSERT INTO objects (id, name) VALUES (?, ?)', (objects[object_name], object_name)
            )
        execute(
            'INSERT INTO descriptors '
            '(id, model_id, object_id, name, "values", observations, created, updated) '
            'SELECT id, model_id, ?, name, "values", 1, ?, ? FROM descriptors_0001 WHERE id = ?',
            (objects[object_name], _time(created), _time(updated), number),
        )
        execute(
            'INSERT INTO observations (descriptor_id, "values", author, created) '
            'SELECT id, "values", \'\', ? FROM descriptors_0001 WHERE id = ?',
            (_time(updated), number),
        )


def _time(seconds: Any) -> str:
    try:
        utc = datetime.fromtimestamp(seconds, timezone.utc)
    except (TypeError, ValueError, OverflowError, OSError):
        return str(seconds)
    return utc.replace(tzinfo=None).isoformat(sep=' ', timespec='microseconds')
