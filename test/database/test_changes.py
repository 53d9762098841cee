"""Every change is told, also those of others; nothing else is."""

import queue
import threading

import pytest

from don_kp_ros.database import changes
from don_kp_ros.database.changes import Watcher
from don_kp_ros.database.errors import StoreError
from don_kp_ros.database.store import DescriptorStore

LONG_S = 30.0  # for what must happen; it does within a second


@pytest.fixture(autouse=True)
def _short_period(monkeypatch):
    monkeypatch.setattr(changes, 'PERIOD_S', 0.01)


def test_changes_of_all_are_told(store, other):
    told = queue.Queue()
    watcher = Watcher(store, lambda: told.put([d.name for d in store.list()]))
    other.put('a', 'm', [1.0])
    assert told.get(timeout=LONG_S) == ['a']
    store.put('b', 'm', [1.0])
    assert told.get(timeout=LONG_S) == ['a', 'b']
    other.delete('a', 'm')
    assert told.get(timeout=LONG_S) == ['b']
    watcher.stop()
    assert told.empty()


def test_nothing_is_told_of_what_changes_nothing(store, other, monkeypatch):
    told = []
    other.put('a', 'm', [1.0])
    looked = threading.Semaphore(0)
    revision = store.revision

    def look() -> int:
        looked.release()
        return revision()

    monkeypatch.setattr(store, 'revision', look)
    watcher = Watcher(store, lambda: told.append(1))
    for _ in range(2):  # when it begins to watch, and when it begins to listen
        assert looked.acquire(timeout=LONG_S)
    other.list()
    # Something is written, but no descriptor: a look, and no call.
    with other._database.transaction(write=True) as connection:
        connection.exec_driver_sql("UPDATE models SET card = '{ }'")
        if connection.dialect.name == 'postgresql':
            connection.exec_driver_sql('NOTIFY don_kp_descriptors')
    assert looked.acquire(timeout=LONG_S)
    watcher.stop()
    assert told == []


def test_no_call_begins_after_stop(store, other):
    told = []
    watcher = Watcher(store, lambda: told.append(1))
    watcher.stop()
    other.put('a', 'm', [1.0])
    assert not watcher._thread.is_alive()
    assert told == []


def test_a_callback_may_stop_the_watch(store, other):
    stopped = threading.Event()

    def stop() -> None:
        watcher.stop()
        stopped.set()

    watcher = Watcher(store, stop)
    other.put('a', 'm', [1.0])
    assert stopped.wait(LONG_S)
    watcher._thread.join(LONG_S)
    assert not watcher._thread.is_alive()


def test_a_callback_that_fails_ends_nothing(store, other, caplog):
    told = queue.Queue()

    def fail() -> None:
        told.put(1)
        raise KeyError('on purpose')

    watcher = Watcher(store, fail)
    for name in 'a', 'b':
        other.put(name, 'm', [1.0])
        told.get(timeout=LONG_S)
    watcher.stop()
    assert caplog.text.count("KeyError: 'on purpose'") == 2


def test_a_database_that_cannot_be_read_is_told_at_once(tmp_path):
    with DescriptorStore(tmp_path / 'd.sqlite') as store:
        (tmp_path / 'd.sqlite').rename(tmp_path / 'e.sqlite')
        with pytest.raises(StoreError, match='moved, deleted or replaced'):
            Watcher(store, lambda: None)


def test_a_file_that_is_away_for_a_while_is_watched_again(tmp_path, monkeypatch):
    path = tmp_path / 'd.sqlite'
    told = queue.Queue()
    with DescriptorStore(path) as store, DescriptorStore(path) as other:
        failed = threading.Event()
        revision = store.revision

        def look() -> int:
            try:
                return revision()
            except StoreError:
                failed.set()
                raise

        monkeypatch.setattr(store, 'revision', look)
        watcher = Watcher(store, lambda: told.put(1))
        with other.transaction():
            other.put('a', 'm', [1.0])
            path.rename(tmp_path / 'e.sqlite')
        assert failed.wait(LONG_S)
        (tmp_path / 'e.sqlite').rename(path)
        told.get(timeout=LONG_S)
        watcher.stop()
