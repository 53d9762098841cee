"""Files of former versions keep all that they hold; those of later ones are left as they are."""

from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from samples import MODEL, at_once, change, first_schema, grasp, mesh, read, taught, unit

from don_kp_ros.database import migrations, schema
from don_kp_ros.database.errors import SchemaError, StoreError
from don_kp_ros.database.opened import connect
from don_kp_ros.database.store import DescriptorStore

VALUES = np.random.default_rng(0).normal(size=(3, 4))
VALUES = (VALUES / np.linalg.norm(VALUES, axis=1, keepdims=True)).astype('<f4')


@pytest.fixture
def first(tmp_path) -> Path:
    """Write a file of the first version, in its journal mode, two models in it, one unused."""
    path = tmp_path / 'first.sqlite'
    models = [(1, 'm', 4), (2, 'n', 4), (3, 'unused', 7)]
    descriptors = [
        (1, 1, 'cap/brim', VALUES[0].tobytes(), 1767323045.678901, 1767323046.25),
        (2, 1, 'mug', VALUES[1].tobytes(), 1767323045.0, 1767323045.0),
        (5, 2, 'cap/brim', VALUES[2].tobytes(), 0.0, 1.5),
    ]
    first_schema(path, models, descriptors)
    return path


def test_a_file_of_the_first_version_keeps_its_content(first):
    with DescriptorStore(first) as store:
        stored = store.list()
        assert [(d.name, d.model, d.object) for d in stored] == [
            ('cap/brim', 'm', 'cap'),
            ('cap/brim', 'n', 'cap'),
            ('mug', 'm', 'mug'),
        ]
        for descriptor, values in zip(stored, VALUES[[0, 2, 1]], strict=True):
            assert descriptor.values.tobytes() == values.tobytes()
            assert (descriptor.observations, descriptor.tags, descriptor.deleted) == (1, (), None)
            (seen,) = store.observations(descriptor.name, descriptor.model)
            assert seen.values.tobytes() == values.tobytes()
            assert seen.created == descriptor.updated
            assert (seen.pixel, seen.patch, seen.author) == (None, None, '')
        brim = stored[0]
        assert brim.created == datetime(2026, 1, 2, 3, 4, 5, 678901, timezone.utc)
        assert brim.updated == datetime(2026, 1, 2, 3, 4, 6, 250000, timezone.utc)
        assert stored[1].updated == datetime(1970, 1, 1, 0, 0, 1, 500000, timezone.utc)
        models = [(model.fingerprint, model.dimension) for model in store.models()]
        assert models == [('m', 4), ('n', 4), ('unused', 7)]
        # It is used like any other.
        assert store.put('cap/brim', 'm', VALUES[1], add=True).observations == 2
        store.delete('cap/brim', 'n')
        store.put('cap/brim', 'n', VALUES[1])
    with DescriptorStore(first) as store:
        assert store.count() == 3
    # The first version refuses it now: it looks for this table, and for its own number in it.
    assert read(first, 'SELECT version FROM schema_version') == [(2,)]


def test_what_is_damaged_is_kept_too(first):
    change(first, 'UPDATE descriptors SET "values" = 7, created = \'?\' WHERE id = 1')
    with DescriptorStore(first) as store:
        assert [d.name for d in store.list()] == ['cap/brim', 'mug']
        assert len(store.damaged()) == 1
        store.delete('cap/brim', 'm')


def test_a_migration_that_fails_changes_nothing(first, monkeypatch):
    before = first.read_bytes()

    def fail(connection: sa.Connection, revision: str) -> None:
        upgrade(connection, revision)
        connection.exec_driver_sql('SELECT * FROM nowhere')

    upgrade = migrations.upgrade
    monkeypatch.setattr(migrations, 'upgrade', fail)
    with pytest.raises(StoreError, match=r'first\.sqlite failed: no such table'):
        DescriptorStore(first)
    assert first.read_bytes() == before
    monkeypatch.undo()
    with DescriptorStore(first) as store:
        assert store.count() == 3


@pytest.mark.parametrize(
    ('statements', 'found'),
    [
        (["UPDATE alembic_version SET version_num = '0099'"], "schema '0099'"),
        (["UPDATE alembic_version SET version_num = 'f00'"], "schema 'f00'"),
        (['DELETE FROM alembic_version'], "schema 'None'"),
        (['DROP TABLE alembic_version'], "schema 'of version 2'"),
        (
            ['DROP TABLE alembic_version', 'UPDATE schema_version SET version = 99'],
            "schema 'of version 99'",
        ),
    ],
)
def test_a_newer_schema_is_refused_and_untouched(tmp_path, statements, found):
    path = tmp_path / 'd.sqlite'
    DescriptorStore(path).close()
    change(path, *statements)
    before = path.read_bytes()
    with pytest.raises(SchemaError, match=rf'd\.sqlite has the {found}.*0005.*update don_kp'):
        DescriptorStore(path)
    assert path.read_bytes() == before


def test_tables_are_what_the_code_believes(database, first):
    for opened in database, first:
        with DescriptorStore(opened) as store, store._database.transaction() as connection:
            context = MigrationContext.configure(connection, opts={'compare_type': True})
            assert compare_metadata(context, schema.metadata) == []


def test_a_database_of_the_second_version_gets_a_place_for_taught_objects(database):
    with DescriptorStore(database) as store:
        store.put('cap/brim', MODEL, unit(0))
        with store._database.transaction(write=True) as connection:
            # The second version differs by these alone.
            schema.taught_objects.drop(connection)
            schema.meshes.drop(connection)
            connection.execute(schema.alembic_version.update().values(version_num='0002'))
    with DescriptorStore(database) as store:
        with store._database.transaction() as connection:
            context = MigrationContext.configure(connection, opts={'compare_type': True})
            assert compare_metadata(context, schema.metadata) == []
        assert store.objects.list() == ([], [])
        store.objects.put(taught(0))
        assert store.get('cap/brim', MODEL).values.tobytes() == unit(0).tobytes()


def test_objects_of_the_third_version_have_no_grasps_yet(database):
    with DescriptorStore(database) as store:
        store.objects.put(taught(0))
        with store._database.transaction(write=True) as connection:
            for column in 'grasps', 'mesh', 'mesh_pose':
                connection.exec_driver_sql(f'ALTER TABLE taught_objects DROP COLUMN {column}')
            schema.meshes.drop(connection)
            connection.execute(schema.alembic_version.update().values(version_num='0003'))
    with DescriptorStore(database) as store:
        assert store.objects.get('cap', MODEL).content() == taught(0).content()
        assert store.objects.put_grasp('cap', MODEL, grasp(0)) == grasp(0)


def test_objects_of_the_fourth_version_have_no_mesh_yet(database):
    with DescriptorStore(database) as store:
        store.objects.put(taught(0))
        store.objects.put_grasp('cap', MODEL, grasp(0))
        with store._database.transaction(write=True) as connection:
            for column in 'mesh', 'mesh_pose':
                connection.exec_driver_sql(f'ALTER TABLE taught_objects DROP COLUMN {column}')
            schema.meshes.drop(connection)
            connection.execute(schema.alembic_version.update().values(version_num='0004'))
    with DescriptorStore(database) as store:
        former = store.objects.get('cap', MODEL)
        assert (former.grasps, former.mesh) == ((grasp(0),), None)
        assert store.objects.put_mesh(former, mesh(0)) == mesh(0)


def test_steps_tell_what_a_migration_would_do(first):
    database = connect(first)
    before = first.read_bytes()
    assert database.revision() == '0001'
    assert first.read_bytes() == before
    told = [(revision, what.partition(',')[0]) for revision, what in migrations.steps('0001')]
    assert told == [
        ('0002', 'Objects'),
        ('0003', 'Taught objects: points with descriptors'),
        ('0004', 'Grasps of taught objects'),
        ('0005', 'Meshes of taught objects'),
    ]
    revisions = [revision for revision, _ in migrations.steps(None)]
    assert revisions == ['0001', '0002', '0003', '0004', '0005']
    assert migrations.steps(schema.REVISION) == []
    scripts = ScriptDirectory.from_config(migrations._config())
    assert scripts.get_heads() == [schema.REVISION]
    database.close()
    DescriptorStore(first).close()
    after = first.read_bytes()
    assert database.revision() == '0005'
    assert first.read_bytes() == after != before
    database.close()


@pytest.mark.parametrize('engine', ['sqlite', 'postgresql'])
def test_many_may_open_a_new_database_at_once(request, tmp_path, engine):
    where = str(tmp_path / 'd.sqlite')
    if engine == 'postgresql':
        where = request.getfixturevalue('postgresql').database()
    failures = []

    def open_it() -> None:
        try:
            DescriptorStore(where).close()
        except StoreError as error:
            failures.append(error)

    at_once(*[open_it] * 4)
    assert failures == []
    with DescriptorStore(where) as store:
        assert store.put('a', 'm', [1.0]).observations == 1
