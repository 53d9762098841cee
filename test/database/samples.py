"""What tests of the database store, and how they reach past the store."""

import contextlib
import io
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
from PIL import Image

from don_kp_ros.database import sqlite
from don_kp_ros.database.object_records import (
    StoredGrasp,
    StoredMesh,
    StoredObject,
    fingerprint_of,
)
from don_kp_ros.database.records import Filter
from don_kp_ros.database.store import DescriptorStore

MODEL, OTHER = 'ab12cd34ef567890', '0123456789abcdef'
# What the first version of the store wrote, word for word.
FIRST_SCHEMA = """
CREATE TABLE schema_version (
	version INTEGER NOT NULL,
	PRIMARY KEY (version)
);
CREATE TABLE models (
	id INTEGER NOT NULL,
	fingerprint VARCHAR(128) NOT NULL,
	dimension INTEGER NOT NULL,
	PRIMARY KEY (id),
	UNIQUE (fingerprint)
);
CREATE TABLE descriptors (
	id INTEGER NOT NULL,
	model_id INTEGER NOT NULL,
	name VARCHAR(128) NOT NULL,
	"values" BLOB NOT NULL,
	created FLOAT NOT NULL,
	updated FLOAT NOT NULL,
	PRIMARY KEY (id),
	UNIQUE (model_id, name),
	FOREIGN KEY(model_id) REFERENCES models (id)
);
INSERT INTO schema_version VALUES (1);
"""


def unit(seed: int, dimension: int = 8) -> np.ndarray:
    """Draw a descriptor (D,)."""
    vector = np.random.default_rng(seed).standard_normal(dimension)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def taught(seed: int, number: int = 4, dimension: int = 8, **fields) -> StoredObject:
    """Draw an object of so many points, seen once unless fields say otherwise."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-0.2, 0.2, (number, 3)).astype(np.float32)
    values = np.stack([unit(seed + n, dimension) for n in range(number)])
    weights = rng.integers(1, 9, number).astype(np.float32)
    return StoredObject(
        **{'name': 'cap', 'model': MODEL, 'views': 1, **fields},
        points=points,
        values=values,
        weights=weights,
    )


def grasp(seed: int, **fields) -> StoredGrasp:
    """Draw a grasp, called brim unless fields say otherwise."""
    rng = np.random.default_rng(seed)
    x, y, z = rng.uniform(-0.1, 0.1, 3).tolist()
    a, b, c, d = map(float, unit(seed, 4).astype(np.float64) / np.linalg.norm(unit(seed, 4)))
    length = float(np.linalg.norm((a, b, c, d)))
    turn = (a / length, b / length, c / length, d / length)
    return StoredGrasp(
        **{'name': 'brim', 'position': (x, y, z), 'orientation': turn, 'width': 0.05, **fields}
    )


def mesh(seed: int, size: int = 100) -> StoredMesh:
    """Draw the bytes of a mesh, which are none, and its place."""
    data = np.random.default_rng(seed).bytes(size)
    given = grasp(seed)
    return StoredMesh(fingerprint_of(data), given.position, given.orientation, data)


def png(width: int = 64, height: int = 48, shade: int = 255) -> bytes:
    """Draw a picture of one colour."""
    file = io.BytesIO()
    Image.new('RGB', (width, height), (shade, 0, 0)).save(file, 'PNG')
    return file.getvalue()


def names(store: DescriptorStore, after=None, limit=None, **wanted) -> list[str]:
    """List the names of the descriptors that are wanted."""
    return [found.name for found in store.list(Filter(**wanted), after, limit)]


def change(path: Path, *statements: str, values: tuple = ()) -> None:
    """Write to a file behind the store's back."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement, values)


def read(path: Path, query: str) -> list[tuple]:
    """Read a file past the store."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def first_schema(path: Path, models: list[tuple], descriptors: list[tuple]) -> None:
    """Write a file as the first version did."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute('PRAGMA journal_mode = WAL')
        connection.executescript(FIRST_SCHEMA)
        connection.executemany('INSERT INTO models VALUES (?, ?, ?)', models)
        rows = 'INSERT INTO descriptors VALUES (?, ?, ?, ?, ?, ?)'
        connection.executemany(rows, descriptors)


def add(database: str, first: int, ready: Barrier) -> None:
    """Add forty of eighty directions to one name, from when all are ready."""
    sqlite.BUSY_TIMEOUT_S = 60.0  # this is a process of its own
    with DescriptorStore(database) as store:
        ready.wait(60)
        for vector in np.eye(80)[first : first + 40]:
            store.put('cap/brim', 'm', vector, add=True)


def at_once(*calls: Callable[[], object]) -> None:
    """Call from a thread each, and wait for all."""
    with ThreadPoolExecutor(len(calls)) as threads:
        for done in [threads.submit(call) for call in calls]:
            done.result()
