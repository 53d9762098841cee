"""Objects, observations, tags, soft deletion and the counter of changes.

Every descriptor keeps its values, as those of its first observation; also one that is damaged.
"""

from datetime import datetime, timezone
from typing import Any

from alembic import op

revision = '0002'
down_revision = '0001'


# The tables as they were then, which is not to be touched by what schema.py becomes. The first
# schema was of SQLite alone, and so is this.
_SCRIPT = """
ALTER TABLE models RENAME TO models_0001;
ALTER TABLE descriptors RENAME TO descriptors_0001;
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
INSERT INTO models SELECT id, fingerprint, dimension, '{}' FROM models_0001;
INSERT INTO objects (name) SELECT DISTINCT object_of(name) FROM descriptors_0001;
INSERT INTO descriptors
    SELECT d.id, model_id, o.id, d.name, "values", 1, utc(created), utc(updated), NULL
    FROM descriptors_0001 d JOIN objects o ON o.name = object_of(d.name);
INSERT INTO observations (descriptor_id, "values", author, created)
    SELECT id, "values", '', utc(updated) FROM descriptors_0001;
DROP TABLE descriptors_0001;
DROP TABLE models_0001;
UPDATE schema_version SET version = 2
"""


def upgrade() -> None:
    """Make the new tables and move what the old ones hold."""
    driver: Any = op.get_bind().connection.driver_connection
    driver.create_function('object_of', 1, _object_of)
    driver.create_function('utc', 1, _utc)
    for statement in _SCRIPT.split(';'):
        op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    """Refuse: the first schema has no place for what this one holds."""
    raise NotImplementedError('schema 0001 has no place for observations; restore a backup')


def _object_of(name: str) -> str:
    return name.rpartition('/')[0].strip() or name


def _utc(seconds: Any) -> str:
    """Write a time; one that is damaged as it is."""
    try:
        utc = datetime.fromtimestamp(seconds, timezone.utc)
    except (TypeError, ValueError, OverflowError, OSError):
        return str(seconds)
    return utc.replace(tzinfo=None).isoformat(sep=' ', timespec='microseconds')
