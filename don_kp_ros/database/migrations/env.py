"""Alembic's environment: it migrates the connection that it is given."""

from alembic import context

from don_kp_ros.database.schema import metadata

context.configure(
    connection=context.config.attributes['connection'],
    target_metadata=metadata,
    compare_server_default=True,
)
context.run_migrations()
