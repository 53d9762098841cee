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

import itertools
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sized
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
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
    lost,
    sql,
    wait_until,
)
from benchmarks.postgresql_server import PostgresqlServer
from benchmarks.report import given, report
from benchmarks.running_nodes import SIZE, running_nodes, store_points
from don_kp.srv import StoreDescriptor
from don_kp_ros.bringup.domain import free_domain
from don_kp_ros.database.store import DescriptorStore

_Kept = dict[str, NDArray[np.float32]]
IN_FLIGHT = 4  # stores that wait for an answer at any time
_ANSWER_S = 2.0  # within which a server that is away must be told
_URL = 'DON_KP_DATABASE_URL'


def kill(place: Place) -> list[Finding]:
    """Kill the node at random moments under a stream of stores."""
    kills = int(os.environ.get('KILLS') or 200)
    kept: _Kept = {}
    missing, broken, began = 0, 0, time.monotonic()
    for number in tqdm(range(kills), desc='kills', unit='kill'):
        node = place.node(database=place.path)
        place.caller.wait_for(node)
        added = _stream(place, node, number, kept)
        broken += not _is_whole(place.path)
        missing += lost(place.path, kept)
        if added:
            with DescriptorStore(place.path) as store:
                observations = store.get(f'hot/{number}', MODEL).observations
            missing += max(0, added - observations)
    minutes = (time.monotonic() - began) / 60
    seen = f'{broken} files failed the integrity check; {minutes:.0f} min'
    holds = {
        'files that pass the integrity check': 1 - broken / kills,
        'acknowledged stores a kill': len(kept) / kills,
    }
    return [
        place.finding('kill -9 under stores', len(kept), missing, seen, holds, tried=kills),
    ]


def _stream(place: Place, node: NodeProcess, number: int, kept: _Kept) -> int:
    """Store until the node is dead; note what was acknowledged, return the observations added."""
    killer = threading.Timer(place.rng.uniform(0.0, 1.0), node.process.kill)
    killer.start()
    waiting: dict[int, tuple[str, NDArray[np.float32], Any]] = {}
    added = sent = 0
    dead_since = None
    # What was answered before the end may still be on its way.
    while dead_since is None or (waiting and time.monotonic() - dead_since < 0.3):
        if not node.runs:
            dead_since = dead_since or time.monotonic()
        while dead_since is None and len(waiting) < IN_FLIGHT:
            values = place.vector()
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


def _is_whole(path: Path) -> bool:
    orphans = sql(path, 'PRAGMA foreign_key_check')
    return not orphans and sql(path, 'PRAGMA integrity_check') == [('ok',)]


def server(place: Place) -> list[Finding]:
    """Stop a PostgreSQL server, softly and hard, and start it again, under a stream of stores."""
    if postgresql_server.programs() is None:
        return []
    stops = int(os.environ.get('STOPS') or 10)
    kept: _Kept = {}
    refusals: list[str] = []
    waits, returns = [0.0], [0.0]
    ended = threading.Event()

    def store_on() -> None:
        for number in itertools.count():
            values, began = place.vector(), time.monotonic()
            response = place.store(f'kept/{number}', values)
            waits.append(time.monotonic() - began)
            if response.success:
                kept[f'kept/{number}'] = values
            else:
                refusals.append(response.message)
            if ended.wait(0.02):
                return

    def wait_for_more(of: Sized) -> float:
        before, began = len(of), time.monotonic()
        wait_until(lambda: len(of) > before)
        return time.monotonic() - began

    with PostgresqlServer() as private:
        url = private.database()
        with place.running({_URL: url}) as node:
            stream = threading.Thread(target=store_on)
            stream.start()
            for number in range(stops):
                time.sleep(1.0)
                private.stop('immediate' if number % 2 else 'fast')
                wait_for_more(refusals)
                private.start()
                returns.append(wait_for_more(kept))
            ended.set()
            stream.join()
            told = [*refusals, node.output]
        missing = lost(url, kept)
    place_told = url.partition('@')[2]  # host, port and name
    clear = [place_told in message and '; ' in message for message in refusals]
    holds = {
        f'the slowest answer came within {_ANSWER_S:g} s': max(waits) <= _ANSWER_S,
        'refusals that name it': sum(clear) / len(clear),
        'no text has the password': not any(private.password in text for text in told),
    }
    seen = (
        f'{len(refusals)} refusals, the slowest answer after {max(waits):.2f} s, stores again '
        f'{max(returns):.2f} s after the start at most: {refusals[-1]}'
    ).replace(place_told, 'HOST/NAME')
    fault, engine = 'server stopped and started', 'PostgreSQL'
    return [place.finding(fault, len(kept), missing, seen, holds, tried=stops, engine=engine)]


def fleet(place: Place) -> list[Finding]:
    """Let eight clients of two nodes, each in a domain of its own, work on one database."""
    operations = int(os.environ.get('OPERATIONS') or 10_000)
    findings = []
    for engine in 'SQLite', 'PostgreSQL':
        with place.databases(engine) as databases:
            for database in databases:
                began = time.monotonic()
                logs = _fleet(place, database, operations)
                seconds = time.monotonic() - began
                with DescriptorStore(database) as store:
                    found = database_fleet.faults(logs, store, MODEL)
                done = sum(log.operations for log in logs)
                seen = [f'{done / seconds:.0f} operations a second']
                seen += [f'{number} {what}' for what, number in found.items()]
                seen += [message for log in logs for message in log.wrong][:3]
                kept = sum(sum(log.added.values()) + len(log.won) for log in logs)
                missing = found.pop('lost')
                holds: dict[str, float] = {f'none {what}': not n for what, n in found.items()}
                holds['operations'] = done / operations
                fault, told = 'two nodes, eight clients', '; '.join(seen)
                findings.append(
                    place.finding(fault, kept, missing, told, holds, tried=done, engine=engine)
                )
    return findings


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


def hostile(place: Place) -> list[Finding]:
    """Send requests as an attacker or a broken program does; see hostile_requests."""
    number = int(os.environ.get('REQUESTS') or 20_000)
    complaints: list[str] = []
    outcomes: Counter[tuple[bool, bool]] = Counter()
    # With perception and a camera: requests are about pixels, too.
    with running_nodes(place.folder) as nodes:
        store_points(place.caller, 1)
        with DescriptorStore(place.path) as store:
            (model,) = store.models()
            sent = hostile_requests.requests(place.seed, model.fingerprint, model.dimension, SIZE)
            for request in tqdm(
                itertools.islice(sent, number), 'requests', number, unit='request'
            ):
                before = store.revision()
                response = place.caller.call(request.kind, request.service, **request.fields)
                if complaint := request.complaint(response, before, store.revision()):
                    complaints.append(complaint)
                outcomes[bool(request.faults), response is not None and response.success] += 1
            damaged = len(store.damaged())
        alive = nodes.poll() is None
    logs = [log.read_text(errors='replace') for log in place.folder.glob('logs/*.log')]
    tried = sum(outcomes.values())
    seen = [
        f'{outcomes[True, False]} of {outcomes[True, False] + outcomes[True, True]} faulty ones '
        f'refused; {outcomes[False, True]} sound ones carried out',
        *complaints[:3],
    ]
    holds = {
        'requests answered as they must be': 1 - len(complaints) / tried,
        'the nodes run': alive,
        'no traceback in their logs': not any('Traceback' in log for log in logs),
        'the file is whole': _is_whole(place.path),
        'requests': tried / number,
    }
    kept = outcomes[False, True]
    return [
        place.finding('hostile requests', kept, damaged, '; '.join(seen), holds, tried=tried),
    ]


FAULTS: dict[str, Callable[[Place], list[Finding]]] = {
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
    findings: list[Finding] = []
    with tempfile.TemporaryDirectory(prefix='don_kp-faults-') as folder:
        enter_a_domain(Path(folder))
        with Caller() as caller:
            for number, name in enumerate(FAULTS):
                if chosen and name not in chosen:
                    continue
                found = FAULTS[name](Place(Path(folder) / name, [seed, number], caller))
                if not found:
                    print(f'LEFT OUT: {name}: not root, or PostgreSQL is not installed')
                findings += found
    rows = [finding.row for finding in findings]
    targets = [target for finding in findings for target in finding.targets]
    variables = given('FAULTS', 'KILLS', 'STOPS', 'OPERATIONS', 'REQUESTS', 'SEED')
    title = 'What the descriptor database keeps, and says, when things go wrong'
    variant = '-'.join(chosen)
    met = report('database_faults', title, rows, targets, seed, None, variables, variant)
    return 0 if met else 1


if __name__ == '__main__':
    sys.exit(main())
