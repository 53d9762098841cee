"""Taught objects: points with descriptors, each with its place in the object's frame."""

import sqlalchemy as sa
from alembic import op

revision = '0003'
down_revision = '0002'


# The table as it was then, which is not to be touched by what schema.py becomes.
def upgrade() -> None:
    """Add the table."""
    name = sa.String(128).with_variant(sa.String(128, collation='C'), 'postgresql')
    utc = sa.TIMESTAMP(timezone=True).with_variant(sa.String(26), 'sqlite')
    op.create_table(
        'taught_objects',
        sa.Column('id', sa.Integer, nullable=False),
        sa.Column('model_id', sa.Integer, nullable=False),
        sa.Column('name', name, nullable=False),
        sa.Column('views', sa.Integer, nullable=False),
        sa.Column('points', sa.LargeBinary, nullable=False),
        sa.Column('values', sa.LargeBinary, nullable=False),
        sa.Column('weights', sa.LargeBinary, nullable=False),
        sa.Column('created', utc, nullable=False),
        sa.Column('updated', utc, nullable=False),
        sa.PrimaryKeyConstraint('id', name='pk_taught_objects'),
        sa.ForeignKeyConstraint(['model_id'], ['models.id'], name='fk_taught_objects_model_id'),
    )
    columns = ['name', 'model_id']
    op.create_index('ix_taught_objects_name', 'taught_objects', columns, unique=True)


def downgrade() -> None:
    """Refuse: the former schema has no place for what this one holds."""
    raise NotImplementedError('schema 0002 has no place for taught objects; restore a backup')
