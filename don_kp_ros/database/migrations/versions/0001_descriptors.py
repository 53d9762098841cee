"""Models and descriptors.

The schema of the first version, which had no Alembic.
"""

import sqlalchemy as sa
from alembic import op

revision = '0001'
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    version = op.create_table(
        'schema_version',
        sa.Column('version', sa.Integer, primary_key=True, autoincrement=False),
    )
    op.bulk_insert(version, [{'version': 1}])
    op.create_table(
        'models',
        sa.Column('id', sa.Integer, primary_key=True),
        sa.Column('fingerprint', sa.String(128), nullable=False, unique=True),
        sa.Column('dimension', sa.Integer, nullable=False),
    )
    op.create_table(
        'descriptors',
        sa.Column('id', sa.Integer, primary_key=True),
        sa.Column('model_id', sa.Integer, sa.ForeignKey('models.id'), nullable=False),
        sa.Column('name', sa.String(128), nullable=False),
        sa.Column('values', sa.LargeBinary, nullable=False),
        sa.Column('created', sa.Float, nullable=False),  # seconds since 1970, UTC
        sa.Column('updated', sa.Float, nullable=False),
        sa.UniqueConstraint('model_id', 'name'),
    )


def downgrade() -> None:
    """Refuse: there is nothing before."""
    raise NotImplementedError('there is no schema before the first')
