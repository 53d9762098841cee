"""Writes a recording: an MCAP file with rosbag2's metadata.yaml beside it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from rosbags.interfaces import Connection, Qos
from rosbags.rosbag2 import StoragePlugin, Writer, WriterError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from don_kp_ros.errors import RefusedError
from don_kp_ros.recordings.definitions import definition, is_digest

_VERSION: Literal[9] = 9  # of metadata.yaml: Jazzy's
_RESERVE = 100_000_000  # bytes that stay free, of which the index takes a few
_LOOKS_EVERY = 20_000_000  # bytes


class Recording:
    """A folder that is being recorded; to be closed, whatever happens.

    What was written holds, whatever ends it; only a disk that takes nothing more, not even the
    index, leaves a file that has to be repaired (``mcap recover``).
    """

    def __init__(self, folder: Path) -> None:
        """Make the folder; raises RefusedError where it exists, cannot be made or has no room."""
        self.folder = folder
        self.counts: dict[str, int] = {}
        self._unlooked = 0
        if folder.suffix in ('.mcap', '.db3'):
            raise RefusedError(f'{folder}: name a folder; the file lies in it')
        if folder.exists():
            raise RefusedError(f'{folder}: exists; name another folder, or remove it')
        self._writer = Writer(folder, version=_VERSION, storage_plugin=StoragePlugin.MCAP)
        try:
            self._writer.open()
        except (OSError, WriterError) as error:
            raise RefusedError(f'{folder}: cannot be made ({error}); name another') from error
        try:
            self._look()
        except RefusedError:
            self._writer.abort()
            shutil.rmtree(folder)
            raise

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return sum(path.stat().st_size for path in self.folder.glob('*'))

    def add(self, topic: str, kind: str, digest: str, offered: Sequence[Qos]) -> Connection:
        """Announce a topic; raises RefusedError.

        kind: such as sensor_msgs/msg/Image; digest: of its definition, as the publishers have it;
        where that is no RIHS01, as some DDS tell none, it is that of the definition here. offered:
        of every publisher.
        """
        text = definition(kind)
        if not is_digest(digest):
            known = get_typestore(Stores.EMPTY)
            known.register(get_types_from_msg(text, kind))
            digest = known.hash_rihs01(kind)
        try:
            connection = self._writer.add_connection(
                topic, kind, msgdef=text, rihs01=digest, offered_qos_profiles=offered
            )
        except (WriterError, OSError) as error:
            raise self._failed(error) from error
        self.counts[topic] = 0
        return connection

    def write(self, connection: Connection, stamp: int, data: bytes) -> None:
        """Write a message as it came, with when it came in nanoseconds; raises RefusedError."""
        self._unlooked += len(data)
        if self._unlooked > _LOOKS_EVERY:
            self._look()
        try:
            self._writer.write(connection, stamp, data)
        except (WriterError, OSError) as error:
            raise self._failed(error) from error
        self.counts[connection.topic] += 1

    def close(self) -> None:
        """Finish the file; raises RefusedError. Where nothing came, nothing is left."""
        if self._writer.storage is None:
            return
        try:
            self._writer.close()
        except OSError as error:
            raise self._failed(error) from error
        if not any(self.counts.values()):
            shutil.rmtree(self.folder)

    def _look(self) -> None:
        self._unlooked = 0
        free = shutil.disk_usage(self.folder).free
        if free < _RESERVE:
            raise RefusedError(
                f'{self.folder}: {free / 1e6:.0f} MB are free on its disk, and '
                f'{_RESERVE / 1e6:.0f} MB stay so; make room, or record elsewhere'
            )

    def _failed(self, error: Exception) -> RefusedError:
        with suppress(OSError):
            self._writer.abort()
        return RefusedError(
            f'{self.folder}: cannot be written any more ({error}). Make room; `mcap recover` gets '
            'what was written out of the file'
        )
