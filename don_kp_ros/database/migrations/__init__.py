"""Brings a descriptor database to the schema of this don_kp, with Alembic.

A change of schema.py needs a new file in versions/, never an edit of one that users may have run,
and the new name in `schema.REVISION`. A migration keeps what is damaged, too. A new database needs
none: `schema.create` makes it.
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
    """List what `upgrade` would do from a revision: the revisions and what each brings."""
    scripts = ScriptDirectory.from_config(_config()).iterate_revisions('head', revision or 'base')
    return [(script.revision, script.doc) for script in scripts][::-1]


def _config() -> Config:
    config = Config()
    config.set_main_option('script_location', 'don_kp_ros.database:migrations')
    config.set_main_option('path_separator', 'os')
    return config
