"""The descriptor store as a node has it: perhaps not there yet, and changed by others, too."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from don_kp_ros.database.changes import Watcher
from don_kp_ros.database.errors import DamagedError, StoreError, UnavailableError
from don_kp_ros.database.location import (
    URL_VARIABLE,
    check_folder,
    default_path,
    has_password,
    without_password,
)
from don_kp_ros.database.object_records import StoredObject
from don_kp_ros.database.records import Filter
from don_kp_ros.database.store import DescriptorStore
from don_kp_ros.nodes.kit.runner import StartupError

_MOST_KEPT = 4  # models

Contents = tuple[Sequence[str], NDArray[np.float32]]  # names, values (N, D)
Objects = tuple[Sequence[StoredObject], Sequence[DamagedError]]
Read = TypeVar('Read')


def chosen_database(file: str, url: str) -> str:
    """Return the database that is named: by a parameter, or else by the environment.

    Raises StartupError for a password in a parameter, which everyone could read, and for a folder
    that does not exist.
    """
    for name, given in (('database', file), ('database_url', url)):
        try:
            if given and has_password(given):
                raise StartupError(
                    f'{name} holds a password, which every node can read: give '
                    f'{without_password(given)}, and the password in ~/.pgpass or PGPASSWORD, or '
                    f'the whole URL in the environment variable {URL_VARIABLE}'
                )
        except StoreError as error:
            raise StartupError(f'{name}: {error}') from error
    for name, given in (
        ('database_url', url),
        ('database', file),
        (URL_VARIABLE, os.environ.get(URL_VARIABLE, '')),
    ):
        if given:
            try:
                check_folder(given)
            except StoreError as error:
                raise StartupError(f'{name}: {error}') from error
            return given
    return str(default_path())


class DatabaseLink:
    """The store, opened as soon as its server answers. Thread-safe.

    Its methods raise StoreError where the database fails; UnavailableError while its server has
    not answered yet.
    """

    def __init__(
        self,
        database: str,
        on_change: Callable[[], None],
        service: Callable[[str], str] = '/{}'.format,
    ) -> None:
        """Take the place of a database; `on_change` is called, in some thread, when it changes.

        ``service`` tells the full name of a service.
        """
        self._database, self._on_change, self._service = database, on_change, service
        self._store: DescriptorStore | None = None
        self._watcher: Watcher | None = None
        self._reason = 'the descriptor database is not open yet; try again'
        self._descriptors = _LastRead[Contents](lambda store, model: store.matrix(model))
        self._objects = _LastRead[Objects](
            lambda store, model: store.objects.list(Filter(model=model))
        )

    def open(self) -> DescriptorStore:
        """Open the database, unless it is open. To be called from one thread at a time."""
        if self._store is None:
            try:
                store = DescriptorStore(self._database, self._service)
                try:
                    self._watcher = Watcher(store, self._on_change)
                except BaseException:
                    store.close()
                    raise
            except StoreError as error:
                self._reason = str(error)
                raise
            self._store = store
        return self._store

    def close(self) -> None:
        """Close the database."""
        if self._watcher is not None:
            self._watcher.stop()
        if self._store is not None:
            self._store.close()

    @property
    def store(self) -> DescriptorStore:
        """The open store; raises UnavailableError, with what was found last, where it is not."""
        if self._store is None:
            raise UnavailableError(self._reason)
        return self._store

    def contents(self, model: str) -> Contents:
        """Return a model's descriptors; they are read again only when the database has changed."""
        return self._descriptors.read(self.store, model)

    def objects(self, model: str) -> Objects:
        """Return a model's objects; they are read again only when the database has changed."""
        return self._objects.read(self.store, model)


class _LastRead(Generic[Read]):
    """What was read last of some models, with the revision of the database."""

    def __init__(self, read: Callable[[DescriptorStore, str], Read]) -> None:
        self._read, self._kept = read, dict[str, tuple[int, Read]]()

    def read(self, store: DescriptorStore, model: str) -> Read:
        with store.snapshot():
            revision, kept = store.revision(), self._kept.get(model)
            if kept is None or kept[0] != revision:
                if len(self._kept) >= _MOST_KEPT:
                    self._kept.clear()
                kept = self._kept[model] = revision, self._read(store, model)
        return kept[1]
