"""Watches a descriptor database for changes by any process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from don_kp_ros.database.errors import StoreError
from don_kp_ros.database.store import DescriptorStore

PERIOD_S = 0.5  # between two looks at a file, and before a lost server is asked again
_logger = logging.getLogger(__name__)


class Watcher:
    """Calls back, from a thread of its own, after every change of a database, also by others.

    Changes that come together may be reported together. SQLite is polled every `PERIOD_S`.
    PostgreSQL reports immediately, and listening resumes when a lost server comes back. An
    exception in the callback is logged and does not end the thread.
    """

    def __init__(self, store: DescriptorStore, on_change: Callable[[], None]) -> None:
        """Start watching. Raises StoreError where the database cannot be read."""
        self._store, self._on_change = store, on_change
        self._told = store.revision()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name='descriptor changes', daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching; no call begins after this returns."""
        self._stopped.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                with self._store.listening() as hears:
                    # Also changes from before it listened, for example while a server was away.
                    self._look()
                    while not self._stopped.is_set():
                        if hears(PERIOD_S) and not self._stopped.is_set():
                            self._look()
            except StoreError as error:
                _logger.debug('%s', error)  # whoever stores or reads is told of it
                self._stopped.wait(PERIOD_S)

    def _look(self) -> None:
        revision = self._store.revision()
        if revision == self._told:
            return
        self._told = revision
        try:
            self._on_change()
        except Exception:
            _logger.exception('what was to follow a change of the descriptor database failed')
