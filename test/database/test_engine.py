"""One SQLite file: durable, checked when opened, and left as it is where anything is wrong."""

import contextlib
import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from samples import MODEL, add, change, mesh, names, taught, unit

from don_kp_ros.database import exchange, sqlite
from don_kp_ros.database.doctor import State, examine
from don_kp_ros.database.errors import DamagedError, DamagedFileError, SchemaError, StoreError
from don_kp_ros.database.opened import connect
from don_kp_ros.database.records import Observation
from don_kp_ros.database.store import DescriptorStore

NOBODY = 65534
ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / 'd.sqlite'


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """Give up root's rights, which no file's mode restricts; yield a folder of nobody's."""
    folder = Path(tempfile.mkdtemp())
    if os.geteuid() != 0:
        yield folder
    else:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
        yield folder
        os.seteuid(0)
    folder.chmod(0o700)
    shutil.rmtree(folder)


def test_the_file_is_set_up_to_lose_nothing(path, monkeypatch):
    monkeypatch.undo()  # as it is for users
    with DescriptorStore(path) as store, store._database.transaction() as connection:
        wanted = {'journal_mode': 'wal', 'foreign_keys': 1, 'synchronous': 2, 'busy_timeout': 5000}
        for name, value in wanted.items():
            assert connection.exec_driver_sql(f'PRAGMA {name}').scalar() == value


def test_folders_are_made_and_any_path_will_do(tmp_path):
    path = tmp_path / 'deep' / "it's 100% ?mode=ro#🧢" / 'd.sqlite'
    with DescriptorStore(path) as store:
        store.put('a', MODEL, unit(0))
        assert store.location == str(path)
    assert path.stat().st_size > 0
    with DescriptorStore(f'sqlite:///{tmp_path}/by url.sqlite') as store:
        assert store.location == f'{tmp_path}/by url.sqlite'
    assert (tmp_path / 'by url.sqlite').exists()


def test_an_acknowledged_write_survives_kill(path):
    script = (
        'import os, signal, sys\n'
        'from don_kp_ros.database.store import DescriptorStore\n'
        'DescriptorStore(sys.argv[1]).put("cap/brim", "m", [1.0, 0.0])\n'
        'os.kill(os.getpid(), signal.SIGKILL)\n'
    )
    subprocess.run([sys.executable, '-c', script, str(path)], cwd=ROOT, check=False)
    with DescriptorStore(path) as store:
        assert store.get('cap/brim', 'm').values.tolist() == [1.0, 0.0]


def killed_before_a_checkpoint(path: Path) -> None:
    """Store a point, then die with another one in the journal."""
    script = (
        'import os, signal, sys\n'
        'from don_kp_ros.database.store import DescriptorStore\n'
        'with DescriptorStore(sys.argv[1]) as store, store.transaction():\n'
        '    for number in range(200):\n'
        '        store.put(f"point {number}", "m", [1.0] * 64)\n'
        'DescriptorStore(sys.argv[1]).put("cap/brim", "m", [1.0] * 64)\n'
        'os.kill(os.getpid(), signal.SIGKILL)\n'
    )
    subprocess.run([sys.executable, '-c', script, str(path)], cwd=ROOT, check=False)


def test_two_processes_that_add_to_one_name_lose_nothing(database):
    context = multiprocessing.get_context('spawn')
    ready = context.Barrier(2)
    processes = [context.Process(target=add, args=(database, n, ready)) for n in (0, 40)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        process.kill()
    assert [process.exitcode for process in processes] == [0, 0]
    with DescriptorStore(database) as store:
        stored = store.get('cap/brim', 'm')
        seen = [int(seen.values.argmax()) for seen in store.observations('cap/brim', 'm')]
    assert sorted(seen) == list(range(80))
    assert stored.observations == 80
    np.testing.assert_allclose(stored.values, np.full(80, 80**-0.5), atol=1e-7)


def text(path: Path) -> None:
    path.write_bytes(b'my diary, ' * 1000)


def of_something_else(path: Path) -> None:
    change(path, 'CREATE TABLE diary (day TEXT)')


def of_something_else_that_uses_alembic(path: Path) -> None:
    change(path, 'CREATE TABLE alembic_version (version_num TEXT)')


def large(path: Path) -> int:
    with DescriptorStore(path) as store, store.transaction():
        for i in range(200):
            store.put(f'point {i}', MODEL, unit(i, 64))
    return path.stat().st_size


def damaged(path: Path) -> None:
    assert large(path) > 40000
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 8] = np.random.default_rng(0).bytes(4096 * 5)
    path.write_bytes(content)


def cut(path: Path) -> None:
    os.truncate(path, large(path) // 8192 * 4096)


def a_table_too_few(path: Path) -> None:
    DescriptorStore(path).close()
    change(path, 'DROP TABLE tags')


class TestWhatIsNoDatabaseIsLeftAlone:
    @pytest.mark.parametrize(
        ('make', 'error', 'message'),
        [
            (text, DamagedFileError, r'd\.sqlite is damaged.*don_kp db doctor'),
            (of_something_else, SchemaError, r"not one of descriptors.*'diary'.*choose another"),
            (of_something_else_that_uses_alembic, SchemaError, 'not one of descriptors'),
            (damaged, DamagedFileError, r'd\.sqlite is damaged'),
            (cut, DamagedFileError, r'd\.sqlite is damaged'),
            (a_table_too_few, SchemaError, "lacks the table 'tags'"),
        ],
    )
    def test_a_file(self, path, make, error, message):
        make(path)
        before = path.read_bytes()
        with pytest.raises(error, match=message):
            DescriptorStore(path)
        assert path.read_bytes() == before

    def test_a_damaged_file_whose_journal_waits_to_be_written_into_it(self, path):
        killed_before_a_checkpoint(path)
        content = bytearray(path.read_bytes())
        content[4096 * 3 : 4096 * 8] = np.random.default_rng(0).bytes(4096 * 5)
        path.write_bytes(content)
        wal = path.with_name('d.sqlite-wal')
        journal = wal.read_bytes()
        assert journal

        def store() -> None:
            DescriptorStore(path)

        def migrate() -> None:
            with contextlib.closing(connect(path)) as place:
                place.revision()

        for look in store, migrate:
            with pytest.raises(DamagedFileError, match=r'd\.sqlite is damaged'):
                look()
            assert path.read_bytes() == content
            assert wal.read_bytes() == journal
        assert [found.what for found in examine(path) if found.state is State.WRONG] == [
            'integrity'
        ]
        assert path.read_bytes() == content
        assert wal.read_bytes() == journal

    def test_a_backup_is_in_place_of_it_by_the_documented_steps(self, tmp_path):
        path, backup = tmp_path / 'descriptors.sqlite', tmp_path / 'backup.sqlite'
        with DescriptorStore(backup) as store:
            store.put('mug/rim', MODEL, unit(0))
        killed_before_a_checkpoint(path)
        text(path)
        with pytest.raises(DamagedFileError, match='with its -wal and -shm'):
            DescriptorStore(path)
        lines = [line.strip() for line in (ROOT / 'docs/database.md').read_text().splitlines()]
        steps = lines[lines.index('mkdir damaged') :][:3]
        for step in steps:
            subprocess.run(['sh', '-c', step], cwd=tmp_path, check=True)
        with DescriptorStore(path) as store:
            assert names(store) == ['mug/rim']
        aside = {file.name for file in (tmp_path / 'damaged').iterdir()}
        assert aside == {f'descriptors.sqlite{ending}' for ending in ('', '-wal', '-shm')}

    @pytest.mark.parametrize(
        ('place', 'message'),
        [
            ('.', r'test_no_file'),
            ('file/d.sqlite', r'cannot make.*file/d\.sqlite.*choose another'),
            ('a\0b', 'cannot make'),
            ('x' * 300, 'cannot make'),
        ],
    )
    def test_no_file(self, tmp_path, place, message):
        (tmp_path / 'file').touch()
        with pytest.raises(StoreError, match=message) as raised:
            DescriptorStore(tmp_path / place)
        assert str(raised.value).isprintable()


class TestFaults:
    def test_a_read_only_folder_is_named(self, as_nobody):
        as_nobody.chmod(0o500)
        with pytest.raises(StoreError, match=r'cannot make.*d\.sqlite: Permission denied.*folder'):
            DescriptorStore(as_nobody / 'd.sqlite')

    def test_a_read_only_file_is_read_and_named(self, as_nobody):
        path = as_nobody / 'd.sqlite'
        DescriptorStore(path).close()
        path.chmod(0o400)
        before = path.read_bytes()
        with DescriptorStore(path) as store:
            assert store.list() == []
            told = r'd\.sqlite cannot be written .*readonly.*folder'
            with pytest.raises(StoreError, match=told):
                store.put('cap/brim', MODEL, unit(0))
        assert path.read_bytes() == before

    def test_a_locked_file_is_named(self, path, monkeypatch):
        monkeypatch.setattr('don_kp_ros.database.sqlite.BUSY_TIMEOUT_S', 0.1)
        with DescriptorStore(path) as store:
            with contextlib.closing(sqlite3.connect(path)) as other:
                other.execute('BEGIN IMMEDIATE')
                locked = r'd\.sqlite has been locked.*for 0\.1 s'
                with pytest.raises(StoreError, match=locked) as told:
                    store.put('cap/brim', MODEL, unit(0))
                # It may be this process: to end it would lose the import.
                assert 'others are writing, perhaps an import; try again' in str(told.value)
                assert 'end ' not in str(told.value)
                assert store.list() == []
                other.rollback()
            store.put('cap/brim', MODEL, unit(0))

    def test_a_full_disk_is_named_and_costs_nothing(self, path):
        with DescriptorStore(path) as store:
            store.put('cap/brim', MODEL, unit(0))
            # Of every connection, SQLite's own limit stands for the disk's.
            with store._database.transaction() as connection:
                connection.exec_driver_sql('PRAGMA max_page_count = 1')

            def fill() -> None:
                for seed in range(1000):
                    store.put(f'cap/{seed}', MODEL, unit(seed))

            with pytest.raises(StoreError, match=r'no space is left for .*d\.sqlite; free some'):
                fill()
            kept = names(store)
        assert 'cap/brim' in kept
        with DescriptorStore(path) as store:
            assert names(store) == kept
            store.put('cap/then', MODEL, unit(0))

    @pytest.mark.parametrize('then', ['moved', 'replaced'])
    def test_a_file_that_vanishes_while_open_is_named(self, tmp_path, then):
        path = tmp_path / 'folder' / 'd.sqlite'
        with DescriptorStore(path) as store:
            store.put('a', MODEL, unit(0))
            path.parent.rename(tmp_path / 'elsewhere')
            if then == 'replaced':
                DescriptorStore(path).close()
            for call in store.list, lambda: store.put('b', MODEL, unit(0)):
                with pytest.raises(StoreError, match=r'd\.sqlite was moved, deleted or replaced'):
                    call()
        with DescriptorStore(tmp_path / 'elsewhere' / 'd.sqlite') as store:
            assert names(store) == ['a']

    @pytest.mark.parametrize('when', ['before', 'while it is opened'])
    def test_what_lay_in_its_place_is_not_written_to_when_it_is_back(
        self, tmp_path, monkeypatch, when
    ):
        path, aside, wrong = (tmp_path / name for name in ('d', 'aside', 'wrong'))
        for folder in path, wrong:
            DescriptorStore(folder / 'd.sqlite').close()
        open_file = sqlite.open_file

        def swap() -> None:
            path.rename(aside)
            wrong.rename(path)

        def open_another(*arguments):
            monkeypatch.setattr(sqlite, 'open_file', open_file)
            swap()
            return open_file(*arguments)

        with DescriptorStore(path / 'd.sqlite') as store:
            store.put('before', MODEL, unit(0))
            with store.snapshot():  # so that another thread needs a connection of its own
                if when == 'before':
                    swap()
                else:
                    monkeypatch.setattr(sqlite, 'open_file', open_another)
                with ThreadPoolExecutor(1) as thread:
                    refused = thread.submit(store.revision).exception()
                assert 'moved, deleted or replaced' in str(refused)
                path.rename(wrong)
                aside.rename(path)
                with ThreadPoolExecutor(1) as thread:
                    thread.submit(store.put, 'after', MODEL, unit(1)).result()
        with DescriptorStore(path / 'd.sqlite') as store:
            assert names(store) == ['after', 'before']
        with DescriptorStore(wrong / 'd.sqlite') as store:
            assert names(store) == []


@pytest.mark.parametrize(
    ('damage', 'reason'),
    [
        ('"values" = 7', 'it holds 1 bytes, not 32'),
        ('"values" = \'text\'', 'it holds 4 bytes, not 32'),
        ("created = 'yesterday'", 'its times cannot be read'),
        ('updated = 1e300', 'its times cannot be read'),
        ("name = CAST(x'ff2f' AS TEXT)", r'its name is no text; .*doctor'),
    ],
)
def test_what_only_sqlite_can_hold_hides_no_other_descriptor(path, damage, reason):
    with DescriptorStore(path) as store:
        for seed, name in enumerate(('cap/brim', 'cap/top', 'mug/rim')):
            store.put(name, MODEL, unit(seed))
    change(path, f"UPDATE descriptors SET {damage} WHERE name = 'cap/top'")
    with DescriptorStore(path) as store:
        assert names(store) == ['cap/brim', 'mug/rim']
        assert names(store, limit=2) == ['cap/brim', 'mug/rim']
        (damaged,) = store.damaged()
        assert isinstance(damaged, DamagedError)
        with pytest.raises(DamagedError, match=reason):
            raise damaged


TEXT = "CAST(x'ff61' AS TEXT)"


@pytest.mark.parametrize(
    ('damage', 'reason'),
    [
        (f"UPDATE objects SET name = {TEXT} WHERE name = 'cap'", 'its object is no text'),
        (f'UPDATE tags SET tag = {TEXT}', 'its tags are no text'),
        (
            f"UPDATE models SET fingerprint = {TEXT} WHERE fingerprint = 'm'",
            'its model is no text',
        ),
        (f'UPDATE observations SET author = {TEXT} WHERE id = 1', 'its author is no text'),
        (
            f"""UPDATE observations SET camera = '{{"frame": "' || {TEXT} || '"}}' WHERE id = 1""",
            "can't encode",
        ),
    ],
)
def test_a_text_that_damage_made_none_is_left_out_and_told(path, tmp_path, damage, reason):
    with DescriptorStore(path) as store:
        store.put('cap/brim', 'm', Observation(unit(0), author='eve'), tags=['red'])
        store.put('mug/rim', MODEL, unit(1))
    change(path, damage)
    with DescriptorStore(path) as store:
        summary = exchange.export(store, tmp_path / 'x.jsonl')
        for one in store.list():
            for seen in one.name, one.object, one.model, *one.tags:
                seen.encode()
    left_out = [told for told in summary.left_out if reason in told]
    assert len(left_out) == 1, summary.left_out
    assert summary.descriptors == 1
    assert [finding.what for finding in examine(path) if finding.state is not State.WELL] == [
        'content'
    ]


def test_an_object_whose_mesh_has_a_fingerprint_that_is_no_text_is_told(path):
    with DescriptorStore(path) as store:
        store.objects.put_mesh(store.objects.put(taught(0)), mesh(0))
    change(path, f'UPDATE taught_objects SET mesh = {TEXT}')
    with DescriptorStore(path) as store:
        found, (damaged,) = store.objects.list()
    assert not found
    assert "the mesh's fingerprint" in str(damaged)
