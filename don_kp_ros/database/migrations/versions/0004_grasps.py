"""Grasps of taught objects, as JSON."""

import sqlalchemy as sa
from alembic import op

revision = '0004'
down_revision = '0003'


def upgrade() -> None:
    """Add the column."""
    grasps = sa.Column('grasps', sa.Text, nullable=False, server_default='[]')
    op.add_column('taught_objects', grasps)


def downgrade() -> None:
    """Refuse: the former schema has no place for what this one holds."""
    raise NotImplementedError('schema 0003 has no place for grasps; restore a backup')
