"""Opens recordings: rosbag2's folders of MCAP or SQLite files, or one such file."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rosbags.interfaces import Connection, ConnectionExtRosbag2, Qos
from rosbags.rosbag2 import Reader

from don_kp_ros.errors import RefusedError


class Message(NamedTuple):
    """A message: its topic's connection, when it came in nanoseconds, and its bytes (CDR)."""

    connection: Connection
    stamp: int
    data: bytes


class Bag:
    """A recording that is open."""

    def __init__(self, path: Path, reader: Reader) -> None:
        """path: for errors."""
        self._path, self._reader = path, reader

    @property
    def connections(self) -> list[Connection]:
        """What was recorded: topics with their types."""
        return [one for one in self._reader.connections if one.msgcount]

    def messages(self, connections: Collection[Connection]) -> Iterator[Message]:
        """Yield messages in the order of when they came; raises RefusedError."""
        if not connections:
            return
        try:
            for connection, stamp, data in self._reader.messages(connections):
                yield Message(connection, stamp, bytes(data))
        except Exception as error:  # whatever a damaged file makes of a reader
            raise _unreadable(self._path, error) from error


def offered(connection: Connection) -> list[Qos]:
    """Return the qualities of service of a topic's publishers; none where they are not known."""
    assert isinstance(connection.ext, ConnectionExtRosbag2)
    return connection.ext.offered_qos_profiles


@contextmanager
def open_bag(path: Path) -> Iterator[Bag]:
    """Open a recording; raises RefusedError."""
    if not path.exists():
        raise RefusedError(f'{path}: no such recording')
    if path.suffix == '.bag':
        raise RefusedError(f'{path}: is of ROS 1; `rosbags-convert` makes a rosbag2 of it')
    reader = None
    try:
        reader = Reader(path)
        reader.open()
    except Exception as error:  # whatever a damaged file makes of a reader
        raise _unreadable(path, error) from error
    try:
        yield Bag(path, reader)
    finally:
        reader.close()


def _unreadable(path: Path, error: Exception) -> RefusedError:
    told = str(error) or type(error).__name__
    return RefusedError(
        f'{path}: cannot be read as a recording of rosbag2 ({told}); `mcap recover` repairs the '
        'file of a recorder that was killed, and `ros2 bag reindex` makes a metadata.yaml'
    )
