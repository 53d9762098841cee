"""The descriptor store: what is acknowledged is there, what is wrong is refused with a reason."""

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from don_kp_ros.database.store import (
    DamagedError,
    DescriptorStore,
    InvalidDescriptorError,
    InvalidNameError,
    NameTakenError,
    StoreError,
    UnknownNameError,
    default_path,
)

MODEL = 'ab12cd34ef56ab12'


def unit(seed: int, dimension: int = 8) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=dimension)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


@pytest.fixture
def store(tmp_path):
    with DescriptorStore(tmp_path / 'd.sqlite') as opened:
        yield opened


def test_what_is_put_is_read_back_bit_for_bit_after_reopening(tmp_path):
    path = tmp_path / 'deep' / 'er' / 'd.sqlite'
    with DescriptorStore(path) as store:
        stored = store.put('cap/brim', MODEL, unit(0))
    with DescriptorStore(path) as store:
        read = store.get('cap/brim', MODEL)
    assert read.values.tobytes() == unit(0).tobytes() == stored.values.tobytes()
    assert read.values.dtype == np.float32
    assert (read.name, read.model) == ('cap/brim', MODEL)
    assert read.created == read.updated == stored.created
    assert read.created.tzinfo is not None


def test_the_file_is_set_up_to_lose_nothing(store):
    store.put('cap/brim', MODEL, unit(0))
    with store._engine.connect() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f'PRAGMA {name}').scalar()
            for name in ('journal_mode', 'foreign_keys', 'synchronous', 'busy_timeout')
        }
    assert pragmas == {
        'journal_mode': 'wal',
        'foreign_keys': 1,
        'synchronous': 2,
        'busy_timeout': 5000,
    }


def test_a_taken_name_is_refused_unless_replaced(store):
    store.put('cap/brim', MODEL, unit(0))
    with pytest.raises(NameTakenError, match=r"'cap/brim' is already stored.*replace: true"):
        store.put('cap/brim', MODEL, unit(1))
    np.testing.assert_array_equal(store.get('cap/brim', MODEL).values, unit(0))
    replaced = store.put('cap/brim', MODEL, unit(1), replace=True)
    np.testing.assert_array_equal(store.get('cap/brim', MODEL).values, unit(1))
    assert replaced.created < replaced.updated


def test_names_are_unique_per_model(store):
    store.put('cap/brim', MODEL, unit(0))
    store.put('cap/brim', 'other', unit(1, 3))
    assert [d.model for d in store.list()] == [MODEL, 'other']
    store.delete('cap/brim', MODEL)
    assert [d.model for d in store.list()] == ['other']


def test_unknown_names_come_with_near_ones(store):
    with pytest.raises(UnknownNameError, match=r'nothing is, for model.*/store_descriptor'):
        store.get('cap/brim', MODEL)
    store.put('cap/brim', MODEL, unit(0))
    for call in store.get, store.delete:
        with pytest.raises(UnknownNameError, match=r"'cap/brm' is not stored.*'cap/brim'"):
            call('cap/brm', MODEL)


def test_list_filters_by_prefix_with_case_and_by_model(store):
    for name in ('cap/brim', 'Cap/brim', 'cap/top', 'c%p/x', 'mug/handle'):
        store.put(name, MODEL, unit(0))
    store.put('cap/else', 'other', unit(0))
    assert [d.name for d in store.list('cap/', MODEL)] == ['cap/brim', 'cap/top']
    assert [d.name for d in store.list('c%p')] == ['c%p/x']
    assert [d.name for d in store.list('cap/')] == ['cap/brim', 'cap/else', 'cap/top']
    assert store.list('\ud800') == []
    assert store.list('cap/brim and more') == []


@pytest.mark.parametrize('name', ['', ' ', 'x' * 129, 'a\nb', 'a\0b', ' a', 'a\ud800', '\u202ea'])
def test_unusable_names_are_refused(store, name):
    with pytest.raises(InvalidNameError):
        store.put(name, MODEL, unit(0))
    with pytest.raises(InvalidNameError):
        store.put('cap/brim', name, unit(0))
    assert store.list() == []


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ([], 'shape'),
        ([[1.0, 0.0]], 'shape'),
        ([1.0, float('nan')], 'value 1 of 2 is nan'),
        ([float('inf'), 0.0], 'value 0 of 2 is inf'),
        ([1e300, 0.0], 'finite'),
        ([0.0, 0.0], 'length 0'),
        (['a', 'b'], 'not numbers'),
    ],
)
def test_unusable_values_are_refused(store, values, message):
    with pytest.raises(InvalidDescriptorError, match=message):
        store.put('cap/brim', MODEL, values)
    assert store.list() == []


def test_a_wrong_dimension_for_the_model_is_refused(store):
    store.put('cap/brim', MODEL, unit(0))
    with pytest.raises(InvalidDescriptorError, match=r'9 values.*ab12cd34ef56… have 8'):
        store.put('cap/top', MODEL, unit(0, 9))
    assert len(store.list()) == 1


def test_values_are_scaled_to_unit_length(store):
    assert store.put('a', MODEL, [3.0, 4.0]).values.tolist() == pytest.approx([0.6, 0.8])


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.text(max_size=140) | st.sampled_from(["'; DROP TABLE descriptors; --", '../x', '🧢']),
    values=hnp.arrays(np.float32, st.integers(0, 6), elements=st.floats(width=32)),
)
def test_any_request_is_stored_exactly_or_refused(store, name, values):
    before = [d.name for d in store.list()]
    refusal = None
    try:
        stored = store.put(name, f'model of {values.size}', values, replace=True)
    except (InvalidNameError, InvalidDescriptorError) as error:
        refusal = str(error)
    if refusal is not None:
        assert refusal.isprintable()
        assert [d.name for d in store.list()] == before
        return
    read = store.get(name, stored.model)
    assert read.name == name
    assert read.values.tobytes() == stored.values.tobytes()
    assert np.linalg.norm(read.values) == pytest.approx(1, abs=2e-4)
    assert name in [d.name for d in store.list(name)]


def test_two_connections_see_each_other_and_never_both_win(tmp_path):
    path = tmp_path / 'd.sqlite'
    wins = []
    barrier = threading.Barrier(2)

    def put_all() -> None:
        with DescriptorStore(path) as store:
            barrier.wait()
            for i in range(25):
                try:
                    store.put(f'point {i}', MODEL, unit(i))
                    wins.append(i)
                except NameTakenError:
                    pass

    threads = [threading.Thread(target=put_all) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(wins) == list(range(25))
    with DescriptorStore(path) as store:
        assert len(store.list()) == 25


def test_an_acknowledged_write_survives_kill(tmp_path):
    path = tmp_path / 'd.sqlite'
    script = (
        'import os, signal, sys\n'
        'from don_kp_ros.database.store import DescriptorStore\n'
        'DescriptorStore(sys.argv[1]).put("cap/brim", "m", [1.0, 0.0])\n'
        'os.kill(os.getpid(), signal.SIGKILL)\n'
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, '-c', script, str(path)], cwd=root, check=False)
    with DescriptorStore(path) as store:
        assert store.get('cap/brim', 'm').values.tolist() == [1.0, 0.0]


def test_a_file_that_is_no_database_is_left_alone(tmp_path):
    path = tmp_path / 'd.sqlite'
    path.write_bytes(b'my diary, ' * 1000)
    with pytest.raises(StoreError, match=r'd\.sqlite is damaged.*move it away'):
        DescriptorStore(path)
    assert path.read_bytes() == b'my diary, ' * 1000


def test_a_foreign_database_is_left_alone(tmp_path):
    path = tmp_path / 'd.sqlite'
    with sqlite3.connect(path) as connection:
        connection.execute('CREATE TABLE diary (day TEXT)')
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r'd\.sqlite .*not one of descriptors.*another file'):
        DescriptorStore(path)
    assert path.read_bytes() == before


def test_a_damaged_database_is_left_alone(tmp_path):
    path = tmp_path / 'd.sqlite'
    with DescriptorStore(path) as store:
        for i in range(200):
            store.put(f'point {i}', MODEL, unit(i, 64))
    damaged = bytearray(path.read_bytes())
    assert len(damaged) > 40000
    damaged[4096 * 3 : 4096 * 8] = os.urandom(4096 * 5)
    path.write_bytes(damaged)
    with pytest.raises(StoreError, match=r'd\.sqlite is damaged'):
        DescriptorStore(path)
    assert path.read_bytes() == damaged


@pytest.mark.parametrize(
    ('damage', 'reason'),
    [
        ('"values" = x\'0000\'', 'it holds 2 bytes, not 32'),
        ('"values" = 7', 'it holds 1 bytes, not 32'),
        ('"values" = \'text\'', 'it holds 4 bytes, not 32'),
        ('"values" = x\'' + '0000c07f' * 8 + "'", 'not all .* finite'),
        ("created = 'yesterday'", 'str'),
        ('updated = 1e300', 'out of range'),
    ],
)
def test_a_damaged_descriptor_is_left_out_and_can_be_deleted(tmp_path, damage, reason):
    path = tmp_path / 'd.sqlite'
    with DescriptorStore(path) as store:
        for seed, name in enumerate(('cap/brim', 'cap/top', 'mug/rim')):
            store.put(name, MODEL, unit(seed))
        with sqlite3.connect(path) as connection:
            connection.execute(f"UPDATE descriptors SET {damage} WHERE name = 'cap/top'")
        connection.close()
    with DescriptorStore(path) as store:
        assert [d.name for d in store.list()] == ['cap/brim', 'mug/rim']
        remedy = rf"'cap/top' of model '{MODEL}' is damaged.*{reason}.*delete it"
        with pytest.raises(DamagedError, match=remedy) as raised:
            store.get('cap/top', MODEL)
        for listed in store.damaged(), store.damaged('cap/', MODEL):
            assert [str(error) for error in listed] == [str(raised.value)]
        assert store.damaged('mug/') == store.damaged(model='other') == []
        store.delete('cap/top', MODEL)
        assert store.damaged() == []
        store.put('cap/top', MODEL, unit(1))
        assert [d.name for d in store.list('cap/')] == ['cap/brim', 'cap/top']


def test_a_name_that_is_no_text_hides_no_other(store):
    store.put('cap/brim', MODEL, unit(0))
    store.put('cap/top', MODEL, unit(1))
    with store._transaction(write=True) as connection:
        update = "UPDATE descriptors SET name = CAST(x'ff2f' AS TEXT) WHERE name = 'cap/top'"
        connection.exec_driver_sql(update)
    assert [d.name for d in store.list()] == ['cap/brim', '\ufffd/']


def test_a_newer_schema_is_left_alone(tmp_path):
    path = tmp_path / 'd.sqlite'
    DescriptorStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute('UPDATE schema_version SET version = 99')
    connection.close()
    with pytest.raises(StoreError, match=r'schema version 99.*update don_kp'):
        DescriptorStore(path)


def test_a_folder_in_the_place_of_the_file_is_named(tmp_path):
    with pytest.raises(StoreError, match=tmp_path.name):
        DescriptorStore(tmp_path)
    (tmp_path / 'file').touch()
    with pytest.raises(StoreError, match='cannot make the folder'):
        DescriptorStore(tmp_path / 'file' / 'd.sqlite')


def test_a_locked_database_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr('don_kp_ros.database.store._BUSY_TIMEOUT_S', 0.1)
    path = tmp_path / 'd.sqlite'
    with DescriptorStore(path) as store:
        other = sqlite3.connect(path)
        other.execute('BEGIN IMMEDIATE')
        with pytest.raises(StoreError, match=r'd\.sqlite has been locked'):
            store.put('cap/brim', MODEL, unit(0))
        other.rollback()
        other.close()
        store.put('cap/brim', MODEL, unit(0))


def test_a_file_that_vanishes_while_open_fails_with_its_name(tmp_path):
    folder = tmp_path / 'folder'
    with DescriptorStore(folder / 'd.sqlite') as store:
        store.close()
        shutil.rmtree(folder)
        with pytest.raises(StoreError, match=r'd\.sqlite'):
            store.list()


def test_the_default_file_lies_in_the_data_folder(monkeypatch):
    monkeypatch.setenv('XDG_DATA_HOME', '/data')
    assert default_path() == Path('/data/don_kp/descriptors.sqlite')
    monkeypatch.setenv('XDG_DATA_HOME', 'relative')
    monkeypatch.setenv('HOME', '/home/somebody')
    assert default_path() == Path('/home/somebody/.local/share/don_kp/descriptors.sqlite')
