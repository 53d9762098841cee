"""Objects, observations, tags, soft deletion and the counter of changes.

Every descriptor keeps its values, as those of its first observation; also one that is damaged.
"""

from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = '0002'
down_revision = '0001'


# As they were then, which is not to be touched by what schema.py becomes. The first schema was of
# SQLite alone, and so is this.
_TABLES = """
CREATE TABLE revision (
    id INTEGER NOT NULL,
    number BIGINT NOT NULL,
    CONSTRAINT pk_revision PRIMARY KEY (id),
    CONSTRAINT ck_revision_one CHECK (id = 1)
);
INSERT INTO revision VALUES (1, 0);
CREATE TABLE objects (
    id INTEGER NOT NULL,
    name VARCHAR(128) NOT NULL,
    CONSTRAINT pk_objects PRIMARY KEY (id),
    CONSTRAINT uq_objects_name UNIQUE (name)
);
CREATE TABLE models (
    id INTEGER NOT NULL,
    fingerprint VARCHAR(128) NOT NULL,
    dimension INTEGER NOT NULL,
    card TEXT NOT NULL,
    CONSTRAINT pk_models PRIMARY KEY (id),
    CONSTRAINT uq_models_fingerprint UNIQUE (fingerprint)
);
CREATE TABLE descriptors (
    id INTEGER NOT NULL,
    model_id INTEGER NOT NULL,
    object_id INTEGER NOT NULL,
    name VARCHAR(128) NOT NULL,
    "values" BLOB NOT NULL,
    observations INTEGER NOT NULL,
    created VARCHAR(26) NOT NULL,
    updated VARCHAR(26) NOT NULL,
    deleted VARCHAR(26),
    CONSTRAINT pk_descriptors PRIMARY KEY (id),
    CONSTRAINT fk_descriptors_model_id FOREIGN KEY (model_id) REFERENCES models (id),
    CONSTRAINT fk_descriptors_object_id FOREIGN KEY (object_id) REFERENCES objects (id)
);
CREATE UNIQUE INDEX ix_descriptors_live ON descriptors (model_id, name) WHERE deleted IS NULL;
CREATE INDEX ix_descriptors_live_name ON descriptors (name) WHERE deleted IS NULL;
CREATE INDEX ix_descriptors_live_object ON descriptors (object_id, name) WHERE deleted IS NULL;
CREATE INDEX ix_descriptors_deleted ON descriptors (model_id, name) WHERE deleted IS NOT NULL;
CREATE TABLE observations (
    id INTEGER NOT NULL,
    descriptor_id INTEGER NOT NULL,
    "values" BLOB NOT NULL,
    u DOUBLE,
    v DOUBLE,
    image_width INTEGER,
    image_height INTEGER,
    camera TEXT,
    x DOUBLE,
    y DOUBLE,
    z DOUBLE,
    patch BLOB,
    author VARCHAR(128) NOT NULL,
    created VARCHAR(26) NOT NULL,
    CONSTRAINT pk_observations PRIMARY KEY (id),
    CONSTRAINT fk_observations_descriptor_id FOREIGN KEY (descriptor_id)
        REFERENCES descriptors (id) ON DELETE CASCADE
);
CREATE INDEX ix_observations_descriptor_id ON observations (descriptor_id);
CREATE TABLE tags (
    descriptor_id INTEGER NOT NULL,
    tag VARCHAR(128) NOT NULL,
    CONSTRAINT pk_tags PRIMARY KEY (descriptor_id, tag),
    CONSTRAINT fk_tags_descriptor_id FOREIGN KEY (descriptor_id)
        REFERENCES descriptors (id) ON DELETE CASCADE
);
CREATE INDEX ix_tags_tag_descriptor_id ON tags (tag, descriptor_id);
UPDATE schema_version SET version = 2
"""


def upgrade() -> None:
    """Make the new tables and move what the old ones hold."""
    former = 'descriptors', 'models'
    for table in former:
        op.rename_table(table, f'{table}_0001')
    for statement in _TABLES.split(';'):
        op.execute(statement)
    _move(op.get_bind())
    for table in former:
        op.drop_table(f'{table}_0001')


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
