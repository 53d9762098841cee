"""What the descriptor database costs when it is full.

`python -m benchmarks.database_load`: DESCRIPTORS=100000 of D = 512, 1000 of each model, on either
engine. A page of 100 and a single descriptor are timed REPEATS=300 times at random places, beside
the same statements through the engine's driver alone. Then a real node is started STARTS=5 times:
how long until it answers, and from the news that a model runs until what perception needs of it
has come; beside a node with an empty database. SEED=1 draws other places. About two minutes on two
cores.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import sqlalchemy as sa
from tqdm import tqdm

from benchmarks.database_node import Caller, Place, enter_a_domain, unit_vectors, wait_until
from benchmarks.report import Target, given, report
from don_kp.msg import Descriptors, Model
from don_kp_ros.database import records, schema
from don_kp_ros.database.store import DescriptorStore
from don_kp_ros.nodes.kit.qos import LATCHED

DIMENSION = 512
OF_EACH = 1000  # descriptors of a model
PAGE = 100
_OVER_MS, _START_S = 5.0, 2.0


def main() -> int:
    """Measure, print, write; 1 where a target is missed."""
    number = int(os.environ.get('DESCRIPTORS') or 100_000)
    repeats = int(os.environ.get('REPEATS') or 300)
    starts = int(os.environ.get('STARTS') or 5)
    seed = int(os.environ.get('SEED') or 0)
    rows: list[dict[str, Any]] = []
    targets: list[Target] = []
    with tempfile.TemporaryDirectory(prefix='don_kp-load-') as folder:
        enter_a_domain(Path(folder))
        with Caller() as caller:
            for engine in 'SQLite', 'PostgreSQL':
                place = Place(Path(folder) / engine, [seed], caller)
                with place.databases(engine, 2) as databases:
                    if not databases:
                        continue
                    for database in databases:
                        DescriptorStore(database).close()
                    full, empty = databases
                    filled = _fill(full, number, place.rng)
                    taken = _reading(full, number, repeats, place.rng)
                    taken |= _starting(place, full, empty, starts)
                rows.append({'engine': engine, 'filled in s': filled, **taken})
                targets += [
                    Target(f'{engine}: page, ms over the engine', taken['page over ms'], _OVER_MS),
                    Target(f'{engine}: get, ms over the engine', taken['get over ms'], _OVER_MS),
                    Target(f'{engine}: start, s', taken['start s'], _START_S),
                    Target(f'{engine}: published of a model', taken['published'], OF_EACH, True),
                ]
    title = f'{number} descriptors of D = {DIMENSION}, {OF_EACH} of each model; medians'
    variables = given('DESCRIPTORS', 'REPEATS', 'STARTS', 'SEED')
    return 0 if report('database_load', title, rows, targets, seed, None, variables) else 1


def _model(number: int) -> str:
    return f'{number:016x}'


def _fill(url: str, number: int, rng: np.random.Generator) -> float:
    """Write descriptors of one observation each, past the store; return the seconds taken."""
    engine = sa.create_engine(url)
    now, began = records.now(), time.monotonic()
    with engine.begin() as connection:
        for start in tqdm(range(0, number, OF_EACH), 'models', unit='model'):
            model = start // OF_EACH + 1
            count = min(OF_EACH, number - start)
            blobs = [values.tobytes() for values in unit_vectors(rng, count, DIMENSION)]
            ids = range(start + 1, start + count + 1)
            fields = {'fingerprint': _model(model), 'dimension': DIMENSION, 'card': '{}'}
            connection.execute(schema.models.insert().values(id=model, **fields))
            connection.execute(schema.objects.insert().values(id=model, name=f'object {model}'))
            common: dict[str, Any] = {'model_id': model, 'object_id': model, 'observations': 1}
            common |= {'created': now, 'updated': now, 'deleted': None}
            connection.execute(
                schema.descriptors.insert(),
                [
                    {'id': each, 'name': f'object {model}/point {each - start:05}', **common}
                    | {'values': blob}
                    for each, blob in zip(ids, blobs, strict=True)
                ],
            )
            connection.execute(
                schema.observations.insert(),
                [
                    {'descriptor_id': each, 'values': blob, 'author': '', 'created': now}
                    for each, blob in zip(ids, blobs, strict=True)
                ],
            )
        connection.execute(schema.revision.update().values(number=number))
    if engine.dialect.name == 'postgresql':  # what its autovacuum does after a while
        with engine.connect().execution_options(isolation_level='AUTOCOMMIT') as connection:
            connection.exec_driver_sql('VACUUM ANALYZE')
    engine.dispose()
    return round(time.monotonic() - began, 1)


def _reading(url: str, number: int, repeats: int, rng: np.random.Generator) -> dict[str, float]:
    """Time pages and single descriptors by the store, and its statements by the driver alone."""
    places = [
        (f'object {(at // OF_EACH) + 1}/point {at % OF_EACH + 1:05}', _model(at // OF_EACH + 1))
        for at in rng.integers(0, number, repeats).tolist()
    ]
    said: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, values: Any, *___: Any) -> None:
        if statement.startswith('SELECT'):
            said.append((statement, values))

    sa.event.listen(sa.Engine, 'before_cursor_execute', note)
    try:
        with DescriptorStore(url) as store, _driver(url) as ask:
            readings: dict[str, Callable[[str, str], Sequence[Any]]] = {
                'page': lambda name, model: store.list(after=(name, model), limit=PAGE),
                'get': lambda name, model: [store.get(name, model)],
            }
            times: dict[str, list[tuple[float, float]]] = {what: [] for what in readings}
            for name, model in places:
                for what, reading in readings.items():
                    said.clear()
                    began = time.perf_counter()
                    found = reading(name, model)
                    between = time.perf_counter()
                    alone = [ask(statement, values) for statement, values in said]
                    ended = time.perf_counter()
                    if sum(map(len, alone)) != len(found):
                        raise RuntimeError(f'{what}: the driver alone read something else')
                    times[what].append((1000 * (between - began), 1000 * (ended - between)))
    finally:
        sa.event.remove(sa.Engine, 'before_cursor_execute', note)
    medians = {what: np.median(taken, axis=0) for what, taken in times.items()}
    return {
        f'{what}{told} ms': round(float(figure), 2)
        for what, (whole, alone) in medians.items()
        for told, figure in (('', whole), (' over', whole - alone))
    }


@contextlib.contextmanager
def _driver(url: str) -> Iterator[Callable[[str, Any], list[Any]]]:
    """Ask the engine through its own driver."""
    parsed = sa.make_url(url)
    if parsed.drivername == 'sqlite':
        with contextlib.closing(sqlite3.connect(str(parsed.database))) as file:
            yield lambda statement, values: file.execute(statement, values).fetchall()
        return
    plain = parsed.set(drivername='postgresql').render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as server:
        yield lambda statement, values: server.execute(statement, values).fetchall()


def _starting(place: Place, full: str, empty: str, starts: int) -> dict[str, float]:
    """Start nodes; return how long until they answer, and until a model's descriptors come.

    Medians of starts turn by turn, the longest beside, and the least that was published.
    """
    full_s: list[float] = []
    empty_s: list[float] = []
    told_s: list[float] = []
    published: list[int] = []
    for _ in tqdm(range(starts), 'starts'):
        for seconds, url in ((empty_s, empty), (full_s, full)):
            began = time.monotonic()
            with place.running({'DON_KP_DATABASE_URL': url}):
                seconds.append(time.monotonic() - began)
                if url == full:
                    number, told = _published(place, _model(2))
                    published.append(number)
                    told_s.append(told)
    return {
        'start s': round(float(np.median(full_s)), 2),
        'longest s': round(max(full_s), 2),
        'start, empty s': round(float(np.median(empty_s)), 2),
        'publish s': round(float(np.median(told_s)), 2),
        'published': min(published),
    }


def _published(place: Place, model: str) -> tuple[int, float]:
    """Say that a model runs until its descriptors come; return their number and the seconds."""
    heard: list[Descriptors] = []
    node = place.caller.node
    subscription = node.create_subscription(
        Descriptors, '/don_kp/descriptors', heard.append, LATCHED
    )
    publisher = node.create_publisher(Model, '/don_kp/model', LATCHED)
    began = time.monotonic()
    publisher.publish(Model(fingerprint=model, dimension=DIMENSION, card='{}'))

    def whole() -> list[Descriptors]:
        return [each for each in heard if {one.model for one in each.descriptors} == {model}]

    number = len(wait_until(whole)[-1].descriptors)
    taken = time.monotonic() - began
    node.destroy_subscription(subscription)
    node.destroy_publisher(publisher)
    return number, taken


if __name__ == '__main__':
    sys.exit(main())
