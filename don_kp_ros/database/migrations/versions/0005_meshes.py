"""Meshes of taught objects, and where each is in its object's frame."""

import sqlalchemy as sa
from alembic import op

revision = '0005'
down_revision = '0004'


def upgrade() -> None:
    """Add the table and the columns."""
    name = sa.String(128).with_variant(sa.String(128, collation='C'), 'postgresql')
    op.create_table(
        'meshes',
        sa.Column('id', sa.Integer, nullable=False),
        sa.Column('fingerprint', name, nullable=False),
        sa.Column('data', sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint('id', name='pk_meshes'),
        sa.UniqueConstraint('fingerprint', name='uq_meshes_fingerprint'),
    )
    op.add_column('taught_objects', sa.Column('mesh', name))
    op.add_column('taught_objects', sa.Column('mesh_pose', sa.Text))


def downgrade() -> None:
    """Refuse: the former schema has no place for what this one holds."""
    raise NotImplementedError('schema 0004 has no place for meshes; restore a backup')
