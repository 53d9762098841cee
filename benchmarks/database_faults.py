"""What the descriptor database keeps, and says, when things go wrong under a real node.

`python -m benchmarks.database_faults`: KILLS=200 kills of the node at random moments under a
stream of stores; a full disk, a read-only folder, a locked, a damaged and a newer file; STOPS=10
stops of a PostgreSQL server under a stream of stores; two nodes and eight clients with
OPERATIONS=10000 mixed operations on either engine; REQUESTS=20000 hostile requests.
FAULTS=kill,full runs only these; SEED=1 draws other moments, operations and requests. Half
an hour on two cores.

The full disk and the read-only folder are small file systems of their own, which only root can
mount; PostgreSQL must be installed. Where that is not so, those are left out, loudly.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from std_msgs.msg import Header
from tqdm import tqdm

from benchmarks import database_files, database_fleet, hostile_requests, postgresql_server
from benchmarks.database_node import (
    DIMENSION,
    MODEL,
    Caller,
    Finding,
    NodeProcess,
    Place,
    enter_a_domain,
    unit_vectors,
    wait_until,
)
from benchmarks.postgresql_server import PostgresqlServer
from benchmarks.report import Target, given, report
from don_kp.msg import DescriptorMap
from don_kp.srv import StoreDescriptor
from don_kp_ros.bringup.domain import free_domain
from don_kp_ros.database.store import DescriptorStore
from don_kp_ros.nodes.kit import conversions
from don_kp_ros.nodes.kit.qos import RESULT

IN_FLIGHT = 4  # stores that wait for an answer at any time
_ANSWER_S = 2.0  # within which a server that is away must be told
_SIZE = (48, 64)  # of the image that hostile requests are about
_URL = 'DON_KP_DATABASE_URL'


def kill(place: Place) -> Finding:
    """Kill the node at random moments under a stream of stores."""
    kills = int(os.environ.get('KILLS') or 200)
    rng, path = place.rng, place.folder / 'descriptors.sqlite'
    kept: dict[str, NDArray[np.float32]] = {}
    lost, broken, began = 0, 0, time.monotonic()
    for number in tqdm(range(kills), desc='kills', unit='kill'):
        node = place.node(database=path)
        place.caller.wait_for(node)
        added = _stream(place, node, number, rng, kept)
        broken += _verdict(path) != 'ok'
        lost += database_files.lost(path, kept)
        if added:
            with DescriptorStore(path) as store:
                observations = store.get(f'hot/{number}', MODEL).observations
            lost += max(0, added - observations)
    minutes = (time.monotonic() - began) / 60
    return Finding(
        [
            place.row(
                'kill -9 under stores',
                tried=kills,
                kept=len(kept),
                lost=lost,
                seen=f'{broken} files failed the integrity check; {minutes:.0f} min',
            )
        ],
        [
            Target('kill -9: acknowledged stores lost', lost, 0),
            Target('kill -9: files that fail the integrity check', broken, 0),
            Target('kill -9: acknowledged stores a kill', len(kept) / kills, 1, True),
        ],
    )


def _stream(
    place: Place,
    node: NodeProcess,
    number: int,
    rng: np.random.Generator,
    kept: dict[str, NDArray[np.float32]],
) -> int:
    """Store until the node is dead; note what was acknowledged, return the observations added."""
    killer = threading.Timer(rng.uniform(0.0, 1.0), node.process.kill)
    killer.start()
    waiting: dict[int, tuple[str, NDArray[np.float32], Any]] = {}
    added = sent = 0
    dead_since = None
    # What was answered before the end may still be on its way.
    while dead_since is None or (waiting and time.monotonic() - dead_since < 0.3):
        if not node.runs:
            dead_since = dead_since or time.monotonic()
        while dead_since is None and len(waiting) < IN_FLIGHT:
            (values,) = unit_vectors(rng, 1, DIMENSION)
            hot = sent % 4 == 3
            name = f'hot/{number}' if hot else f'cold/{number}/{sent}'
            fields = {'name': name, 'values': values, 'model': MODEL, 'add': hot}
            future = place.caller.send(StoreDescriptor, '/store_descriptor', **fields)
            waiting[sent] = name, values, future
            sent += 1
        for key in [key for key, (_, _, future) in waiting.items() if future.done()]:
            name, values, future = waiting.pop(key)
            if not future.result().success:
                raise RuntimeError(f'a store was refused: {future.result().message}')
            if name.startswith('hot'):
                added += 1
            else:
                kept[name] = values
        time.sleep(0.001)
    killer.join()
    node.process.wait()
    return added


def _verdict(path: Path) -> str:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        verdicts = [row[0] for row in connection.execute('PRAGMA integrity_check')]
        orphans = connection.execute('PRAGMA foreign_key_check').fetchall()
    return '; '.join([*verdicts, *(f'{row[0]} without {row[2]}' for row in orphans)])


def server(place: Place) -> Finding | None:
    """Stop a PostgreSQL server, softly and hard, and start it again, under a stream of stores."""
    if postgresql_server.programs() is None:
        return None
    stops = int(os.environ.get('STOPS') or 10)
    kept: dict[str, NDArray[np.float32]] = {}
    refusals: list[str] = []
    waits, returns = [0.0], [0.0]
    with PostgresqlServer() as private:
        url = private.database()
        with place.running({_URL: url}) as node:
            ended = threading.Event()

            def store_on() -> None:
                for number in itertools.count():
                    (values,) = unit_vectors(place.rng, 1, DIMENSION)
                    began = time.monotonic()
                    response = place.store(f'kept/{number}', values)
                    waits.append(time.monotonic() - began)
                    if response.success:
                        kept[f'kept/{number}'] = values
                    else:
                        refusals.append(response.message)
                    if ended.wait(0.02):
                        return

            stream = threading.Thread(target=store_on)
            stream.start()
            for number in range(stops):
                time.sleep(1.0)
                private.stop('immediate' if number % 2 else 'fast')
                before = len(refusals)
                wait_until(lambda before=before: len(refusals) > before)  # type: ignore[misc]
                private.start()
                began, before = time.monotonic(), len(kept)
                wait_until(lambda before=before: len(kept) > before)  # type: ignore[misc]
                returns.append(time.monotonic() - began)
            ended.set()
            stream.join()
            told = [*refusals, node.output]
        lost = database_files.lost(url, kept)
        place_told = url.partition('@')[2]  # host, port and name
        clear = [place_told in message and '; ' in message for message in refusals]
        leaks = sum(private.password in text for text in told)
    return Finding(
        [
            place.row(
                'server stopped and started',
                'PostgreSQL',
                tried=stops,
                kept=len(kept),
                lost=lost,
                seen=f'{len(refusals)} refusals, the slowest answer after {max(waits):.2f} s, '
                f'stores again {max(returns):.2f} s after the start at most: '
                + refusals[-1].replace(place_told, 'HOST/NAME'),
            )
        ],
        [
            Target('server away: acknowledged stores lost', lost, 0),
            Target('server away: the slowest answer, s', max(waits), _ANSWER_S),
            Target('server away: refusals that name it', sum(clear) / len(clear), 1, True),
            Target('server away: texts with the password', leaks, 0),
        ],
    )


def fleet(place: Place) -> Finding:
    """Let eight clients of two nodes, each in a domain of its own, work on one database."""
    operations = int(os.environ.get('OPERATIONS') or 10_000)
    rows, targets = [], []
    for engine in 'SQLite', 'PostgreSQL':
        with _database(place, engine) as database:
            if database is None:
                print('LEFT OUT: fleet on PostgreSQL: it is not installed')
                continue
            began = time.monotonic()
            logs = _fleet(place, database, operations)
            seconds = time.monotonic() - began
            with DescriptorStore(database) as store:
                found = database_fleet.faults(logs, store, MODEL)
            wrong = [message for log in logs for message in log.wrong]
        done = sum(log.operations for log in logs)
        seen = f'{done / seconds:.0f} operations a second; ' + ', '.join(
            f'{number} {what}' for what, number in found.items()
        )
        kept = sum(sum(log.added.values()) + len(log.won) for log in logs)
        rows.append(
            place.row(
                'two nodes, eight clients',
                engine,
                tried=done,
                kept=kept,
                lost=found['lost'],
                seen='; '.join([seen, *wrong[:3]]),
            )
        )
        targets += [Target(f'{engine}: {what}', number, 0) for what, number in found.items()]
        targets.append(Target(f'{engine}: operations', done, operations, True))
    return Finding(rows, targets)


def _fleet(place: Place, database: str, operations: int) -> list[database_fleet.Log]:
    here = int(os.environ['ROS_DOMAIN_ID'])
    there = next(domain for domain in iter(free_domain, here) if domain != here)
    nodes = []
    try:
        for domain in here, there:
            nodes.append(place.node({_URL: database, 'ROS_DOMAIN_ID': str(domain)}))
            with Caller(domain, 'waiting') as caller:
                caller.wait_for(nodes[-1])
        return database_fleet.run((here, there), operations, place.seed, MODEL, DIMENSION)
    finally:
        for node in nodes:
            node.end()


@contextlib.contextmanager
def _database(place: Place, engine: str) -> Iterator[str | None]:
    if engine == 'SQLite':
        yield f'sqlite:///{place.folder / "fleet.sqlite"}'
    elif postgresql_server.programs() is None:
        yield None
    else:
        with PostgresqlServer() as private:
            yield private.database()


def hostile(place: Place) -> Finding:
    """Send requests as an attacker or a broken program does; see hostile_requests."""
    number = int(os.environ.get('REQUESTS') or 20_000)
    path = place.folder / 'descriptors.sqlite'
    complaints: list[str] = []
    outcomes: Counter[tuple[bool, bool]] = Counter()
    with (
        place.running(
            database=path, exchange_folder=place.folder / 'exchange', max_map_age_s=1e6
        ) as node,
        DescriptorStore(path) as store,
    ):
        _show_a_map(place, node)
        sent = hostile_requests.requests(place.seed, MODEL, DIMENSION, _SIZE)
        for request in tqdm(itertools.islice(sent, number), 'requests', number, unit='request'):
            before = store.revision()
            response = place.caller.call(request.kind, request.service, **request.fields)
            if complaint := request.complaint(response, before, store.revision()):
                complaints.append(complaint)
            outcomes[bool(request.faults), response is not None and response.success] += 1
        alive, damaged = node.runs, len(store.damaged())
        tracebacks = node.output.count('Traceback')
    seen = (
        f'{outcomes[True, False]} of {outcomes[True, False] + outcomes[True, True]} faulty ones '
        f'refused; {outcomes[False, True]} sound ones carried out'
    )
    return Finding(
        [
            place.row(
                'hostile requests',
                tried=sum(outcomes.values()),
                kept=outcomes[False, True],
                lost=damaged,
                seen='; '.join([seen, *complaints[:3]]),
            )
        ],
        [
            Target('hostile: requests answered as they must not be', len(complaints), 0),
            Target('hostile: the node runs', int(alive), 1, True),
            Target('hostile: tracebacks in its log', tracebacks, 0),
            Target('hostile: the file is whole', int(_verdict(path) == 'ok'), 1, True),
            Target('hostile: requests', sum(outcomes.values()), number, True),
        ],
    )


def _show_a_map(place: Place, node: NodeProcess) -> None:
    """Play perception: publish a descriptor map until the node knows it."""
    cells = place.rng.standard_normal((DIMENSION, 12, 16))
    cells /= np.linalg.norm(cells, axis=0)
    publisher = place.caller.node.create_publisher(DescriptorMap, '/don_kp/descriptor_map', RESULT)

    def is_known() -> bool:
        header = Header(stamp=place.caller.node.get_clock().now().to_msg())
        publisher.publish(conversions.map_message(cells.astype(np.float16), _SIZE, MODEL, header))
        time.sleep(0.1)
        return bool(
            place.caller.call(
                StoreDescriptor, '/store_descriptor', name='known', u=1, v=1, replace=True
            ).success
        )

    wait_until(is_known)


FAULTS: dict[str, Callable[[Place], Finding | None]] = {
    'kill': kill,
    'full': database_files.full,
    'read_only': database_files.read_only,
    'locked': database_files.locked,
    'damaged': database_files.damaged,
    'newer': database_files.newer,
    'server': server,
    'fleet': fleet,
    'hostile': hostile,
}


def main() -> int:
    """Try the faults, print, write; 1 where a target is missed."""
    chosen = [name for name in (os.environ.get('FAULTS') or '').split(',') if name]
    if unknown := sorted(set(chosen) - FAULTS.keys()):
        print(f'no fault {unknown[0]!r}; there are {", ".join(FAULTS)}', file=sys.stderr)
        return 2
    seed = int(os.environ.get('SEED') or 0)
    rows: list[dict[str, Any]] = []
    targets: list[Target] = []
    with tempfile.TemporaryDirectory(prefix='don_kp-faults-') as folder:
        enter_a_domain(Path(folder))
        with Caller() as caller:
            for number, name in enumerate(FAULTS):
                if chosen and name not in chosen:
                    continue
                place = Place(Path(folder) / name, [seed, number], caller)
                place.folder.mkdir()
                finding = FAULTS[name](place)
                if finding is None:
                    print(f'LEFT OUT: {name}: not root, or PostgreSQL is not installed')
                    continue
                rows += finding.rows
                targets += finding.targets
    variables = given('FAULTS', 'KILLS', 'STOPS', 'OPERATIONS', 'REQUESTS', 'SEED')
    title = 'What the descriptor database keeps, and says, when things go wrong'
    variant = '-'.join(chosen)
    met = report('database_faults', title, rows, targets, seed, None, variables, variant)
    return 0 if met else 1


if __name__ == '__main__':
    sys.exit(main())
