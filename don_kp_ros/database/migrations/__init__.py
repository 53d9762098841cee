"""Brings a descriptor database to the schema of this don_kp, with Alembic.

A change of schema.py needs a new file in versions/ and its name in `schema.REVISION`. Never edit a
migration that users may have run. A migration also keeps damaged rows. A new database needs none:
`schema.create` makes it.
"""

from __future__ import annotations

import threading

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from don_kp_ros.database.schema import REVISION

# Alembic keeps the environment of a migration in its modules: one at a time.
_running = threading.Lock()


def upgrade(connection: sa.Connection, revision: str) -> None:
    """Migrate a database from a revision, within the open transaction."""
    config = _config()
    config.attributes['connection'] = connection
    with _running:
        command.stamp(config, revision)
        command.upgrade(config, REVISION)


def steps(revision: str | None) -> list[tuple[str, str]]:
    """List the steps of `upgrade` from a revision: each revision and what it adds."""
    scripts = ScriptDirectory.from_config(_config()).iterate_revisions('head', revision or 'base')
    return [(script.revision, script.doc) for script in scripts][::-1]


def _config() -> Config:
    config = Config()
    config.set_main_option('script_location', 'don_kp_ros.database:migrations')
    config.set_main_option('path_separator', 'os')
    return config
