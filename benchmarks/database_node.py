"""What the database benchmarks share: the real node as a process, and clients that call it."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.client import Client
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from benchmarks import postgresql_server
from benchmarks.postgresql_server import PostgresqlServer
from benchmarks.report import Target
from don_kp.srv import ListDescriptors, StoreDescriptor
from don_kp_ros.bringup.domain import free_domain
from don_kp_ros.database.store import DescriptorStore
from don_kp_ros.resources import config_path

MODEL = 'ab12cd34ef567890'
DIMENSION = 32
PATIENCE_S = 60.0  # for what takes seconds on an idle machine
_Value = TypeVar('_Value')


def enter_a_domain(folder: Path) -> int:
    """Keep this process and its children to a free ROS domain of this machine and to a folder."""
    domain = free_domain()
    os.environ.update(
        HOME=str(folder),
        ROS_DOMAIN_ID=str(domain),
        ROS_AUTOMATIC_DISCOVERY_RANGE='LOCALHOST',
        FASTRTPS_DEFAULT_PROFILES_FILE=str(config_path('fastdds.xml')),
    )
    os.environ.pop('XDG_DATA_HOME', None)
    os.environ.pop('DON_KP_DATABASE_URL', None)
    return domain


def wait_until(condition: Callable[[], _Value], seconds: float = PATIENCE_S) -> _Value:
    """Wait for a true value and return it; raises TimeoutError."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f'waited {seconds:g} s in vain')
        time.sleep(0.005)
    return value


class NodeProcess:
    """A descriptor database node, as a user starts it."""

    def __init__(
        self,
        log: Path,
        parameters: Mapping[str, object],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        command = [sys.executable, '-m', 'don_kp_ros.nodes.descriptor_database', '--ros-args']
        for name, value in parameters.items():
            command += ['-p', f'{name}:={value}']
        self._log = log
        with log.open('w') as output:
            self.process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
            )

    @property
    def output(self) -> str:
        """What it has printed."""
        return self._log.read_text(errors='replace')

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


class Caller:
    """A ROS node that calls services; what is answered late or never is None."""

    def __init__(self, domain: int | None = None, name: str = 'caller') -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        self.node: Node = rclpy.create_node(name, context=self.context)
        self._clients: dict[str, Client] = {}
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin)
        self._ended = False
        self._thread.start()

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._thread.join()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def _spin(self) -> None:
        while not self._ended:
            self._executor.spin_once(timeout_sec=0.05)

    def send(self, kind: Any, service: str, /, **fields: Any) -> Any:
        """Send a request; return the future of its response."""
        client = self._client(kind, service)
        if not client.wait_for_service(PATIENCE_S):
            raise TimeoutError(f'nobody serves {service}')
        return client.call_async(kind.Request(**fields))

    def _client(self, kind: Any, service: str) -> Client:
        if service not in self._clients:
            self._clients[service] = self.node.create_client(kind, service)
        return self._clients[service]

    def call(self, kind: Any, service: str, /, patience: float = PATIENCE_S, **fields: Any) -> Any:
        """Call a service; return its response, None where none came in time."""
        future = self.send(kind, service, **fields)
        came = threading.Event()
        future.add_done_callback(lambda _: came.set())
        if not came.wait(patience):
            future.cancel()
            return None
        return future.result()

    def wait_for(self, node: NodeProcess) -> Any:
        """Wait until a node answers; return what it said. Raises RuntimeError where it ended.

        A node that was killed stays in sight of ROS for some seconds: only an answer tells.
        """
        end = time.monotonic() + PATIENCE_S
        service = '/list_descriptors'
        client = self._client(ListDescriptors, service)
        while time.monotonic() < end:
            if not node.runs:
                raise RuntimeError(f'the node ended:\n{node.output}')
            if not client.service_is_ready():
                time.sleep(0.01)  # rclpy's own wait looks four times a second
                continue
            answer = self.call(ListDescriptors, service, patience=0.25, limit=1)
            if answer is not None:
                return answer
        raise TimeoutError(f'the node does not answer:\n{node.output}')


def unit_vectors(rng: np.random.Generator, count: int, dimension: int) -> NDArray[np.float32]:
    """Draw directions (N, D)."""
    vectors = rng.standard_normal((count, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def sql(path: Path, statement: str) -> list[tuple[Any, ...]]:
    """Read or write an SQLite file past the node."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement).fetchall()


def lost(database: Path | str, kept: Mapping[str, NDArray[np.float32]]) -> int:
    """Count the descriptors that a database does not have as they were acknowledged."""
    with DescriptorStore(database) as store:
        names, values = store.matrix(MODEL)
    found = dict(zip(names, values, strict=True))
    return sum(name not in found or bool((found[name] != kept[name]).any()) for name in kept)


@dataclass(frozen=True)
class Finding:
    """What came of a fault: a row of the table, and the figures that must be reached."""

    row: dict[str, Any]
    targets: list[Target]


@dataclass
class Place:
    """Where a fault is tried: a folder, a seed, and a caller in the domain of this process."""

    folder: Path
    seeds: Sequence[int]
    caller: Caller
    started: int = 0

    def __post_init__(self) -> None:
        """Draw the same for a fault, whichever are tried before it."""
        self.folder.mkdir()
        self.rng = np.random.default_rng(self.seeds)
        self.seed = self.seeds[0]
        self.path = self.folder / 'descriptors.sqlite'

    def node(
        self, environment: Mapping[str, str] | None = None, **parameters: object
    ) -> NodeProcess:
        """Start a node; it may end by itself."""
        self.started += 1
        log = self.folder / f'node-{self.started}.log'
        return NodeProcess(log, parameters, environment)

    @contextlib.contextmanager
    def running(
        self, environment: Mapping[str, str] | None = None, **parameters: object
    ) -> Iterator[NodeProcess]:
        """Have a node that answers."""
        node = self.node(environment, **parameters)
        try:
            self.caller.wait_for(node)
            yield node
        finally:
            if node.runs:
                node.end()

    @contextlib.contextmanager
    def databases(self, engine: str, number: int = 1) -> Iterator[list[str]]:
        """Make new databases; none, loudly, where the engine is not installed."""
        if engine == 'SQLite':
            yield [f'sqlite:///{self.folder}/{each}.sqlite' for each in range(number)]
        elif postgresql_server.programs() is None:
            print(f'LEFT OUT: {engine}: it is not installed')
            yield []
        else:
            with PostgresqlServer() as server:
                yield [server.database() for _ in range(number)]

    def vector(self) -> NDArray[np.float32]:
        """Draw a direction (D,)."""
        return unit_vectors(self.rng, 1, DIMENSION)[0]

    def store(self, name: str, values: NDArray[np.float32]) -> Any:
        """Store values by the service; return its response. Raises TimeoutError without one."""
        response = self.caller.call(
            StoreDescriptor, '/store_descriptor', name=name, values=values, model=MODEL
        )
        if response is None:
            raise TimeoutError(f'{name} was not answered')
        return response

    def finding(
        self,
        fault: str,
        kept: int,
        lost: int,
        seen: str,
        holds: Mapping[str, float],
        *,
        tried: int = 1,
        most_lost: int = 0,
        engine: str = 'SQLite',
    ) -> Finding:
        """Report a fault; of what must hold, a share of 1 must be reached."""
        row = {
            'fault': fault,
            'engine': engine,
            'tried': tried,
            'acknowledged': kept,
            'lost or damaged': lost,
            'seen': ' '.join(seen.replace(f'{self.folder}/', '').split()),
        }
        told = f'{fault}, {engine}'
        targets = [Target(f'{told}: acknowledged stores lost or damaged', lost, most_lost)]
        targets += [Target(f'{told}: {what}', share, 1, True) for what, share in holds.items()]
        return Finding(row, targets)
