"""Models and descriptors.

The schema of the first version, which had no Alembic and knew SQLite alone.
"""

revision = '0001'
down_revision = None


def upgrade() -> None:
    """Refuse: a new database begins with the newest schema."""
    raise NotImplementedError('nothing makes the first schema any more')
