"""Two nodes on one database, as on two robots, with eight clients: is an update ever lost?"""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.database_node import Caller, unit_vectors
from don_kp.srv import (
    DeleteDescriptor,
    GetDescriptor,
    ListDescriptors,
    RestoreDescriptor,
    StoreDescriptor,
)
from don_kp_ros.database.store import DescriptorStore

CLIENTS = 8
HOT = 4  # names that all clients add observations to
OWN = 6  # names that one client alone replaces, deletes and restores
_SHARES = {'add': 0.3, 'contend': 0.2, 'own': 0.3, 'get': 0.1, 'list': 0.1}
_Values = NDArray[np.float32]


@dataclass
class Log:
    """What a client was told."""

    operations: int = 0
    added: Counter[str] = field(default_factory=Counter)  # observations, by name
    won: dict[str, _Values] = field(default_factory=dict)  # names stored before all others
    tried: set[str] = field(default_factory=set)  # names contended for
    own: dict[str, _Values | None] = field(default_factory=dict)  # None: deleted
    deleted: dict[str, list[_Values]] = field(default_factory=dict)  # own ones, the newest last
    unanswered: int = 0
    wrong: list[str] = field(default_factory=list)  # answers that must not be


def run(domains: Sequence[int], operations: int, seed: int, model: str, D: int) -> list[Log]:
    """Let eight clients work at once, spread over the nodes' domains."""
    share = operations // CLIENTS
    jobs = [
        (client, domains[client % len(domains)], share, seed, model, D)
        for client in range(CLIENTS)
    ]
    # Not forked: threads of ROS do not survive that.
    with multiprocessing.get_context('spawn').Pool(CLIENTS) as pool:
        return pool.starmap(_work, jobs)


def faults(logs: Sequence[Log], store: DescriptorStore, model: str) -> dict[str, int]:
    """Compare what clients were told with what is stored; count what does not fit."""
    names, values = store.matrix(model)
    stored = dict(zip(names, values, strict=True))
    lost = 0
    for name in {name for log in logs for name in log.added}:
        observed = store.get(name, model).observations if name in stored else 0
        lost += abs(observed - sum(log.added[name] for log in logs))
    winners = Counter(name for log in logs for name in log.won)
    contended = {name for log in logs for name in log.tried}
    for log in logs:
        for name, expected in [*log.won.items(), *log.own.items()]:
            found = stored.get(name)
            if expected is None or found is None:
                lost += found is not expected
            else:
                lost += bool((found != expected).any())
    return {
        'lost': lost,
        'doubled': len(names) - len(stored) + sum(winners[name] != 1 for name in contended),
        'unanswered': sum(log.unanswered for log in logs),
        'wrong': sum(len(log.wrong) for log in logs),
    }


def _work(client: int, domain: int, operations: int, seed: int, model: str, D: int) -> Log:
    log, rng = Log(), np.random.default_rng([seed, client])
    with Caller(domain, f'client_{client}') as caller:
        for number in range(operations):
            (values,) = unit_vectors(rng, 1, D)
            operation = rng.choice(list(_SHARES), p=list(_SHARES.values()))
            _OPERATIONS[operation](_Call(caller, log, model), client, number, values, rng)
            log.operations += 1
    return log


class _Call:
    """Calls the services of one model, and notes what is not answered."""

    def __init__(self, caller: Caller, log: Log, model: str) -> None:
        self._caller, self.log, self._model = caller, log, model

    def __call__(self, kind: Any, service: str, **fields: Any) -> Any:
        answer = self._caller.call(kind, service, model=self._model, **fields)
        if answer is None:
            self.log.unanswered += 1
        return answer

    def expect(self, answer: Any, success: bool = True) -> bool:
        """Note an answer that must not be."""
        if answer is not None and answer.success != success:
            self.log.wrong.append(answer.message)
        return answer is not None and answer.success == success


def _add(call: _Call, client: int, number: int, values: _Values, rng: np.random.Generator) -> None:
    name = f'hot/{rng.integers(HOT)}'
    answer = call(StoreDescriptor, '/store_descriptor', name=name, values=values, add=True)
    if call.expect(answer):
        call.log.added[name] += 1


def _contend(
    call: _Call, client: int, number: int, values: _Values, rng: np.random.Generator
) -> None:
    # All clients are about here at about the same time.
    name = f'first/{number}'
    answer = call(StoreDescriptor, '/store_descriptor', name=name, values=values)
    call.log.tried.add(name)
    if answer is not None and answer.success:
        call.log.won[name] = values
    elif answer is not None and 'already stored' not in answer.message:
        call.log.wrong.append(answer.message)


def _own(call: _Call, client: int, number: int, values: _Values, rng: np.random.Generator) -> None:
    name, log = f'own/{client}/{rng.integers(OWN)}', call.log
    present = log.own.get(name)
    deleted = log.deleted.setdefault(name, [])
    choice = rng.choice(['replace', 'delete', 'restore'], p=[0.6, 0.2, 0.2])
    if choice == 'replace':
        answer = call(StoreDescriptor, '/store_descriptor', name=name, values=values, replace=True)
        if call.expect(answer):
            log.own[name] = values
    elif choice == 'delete':
        answer = call(DeleteDescriptor, '/delete_descriptor', name=name)
        if call.expect(answer, present is not None) and present is not None:
            deleted.append(present)
            log.own[name] = None
    else:
        answer = call(RestoreDescriptor, '/restore_descriptor', name=name)
        possible = present is None and bool(deleted)
        if call.expect(answer, possible) and possible:
            log.own[name] = deleted.pop()


def _get(call: _Call, client: int, number: int, values: _Values, rng: np.random.Generator) -> None:
    name = f'own/{client}/{rng.integers(OWN)}'
    present = call.log.own.get(name)
    answer = call(GetDescriptor, '/get_descriptor', name=name)
    if (
        call.expect(answer, present is not None)
        and present is not None
        and (np.asarray(answer.descriptor.values) != present).any()
    ):
        call.log.wrong.append(f'{name} has other values than those stored last')


def _list(
    call: _Call, client: int, number: int, values: _Values, rng: np.random.Generator
) -> None:
    answer = call(ListDescriptors, '/list_descriptors', prefix=f'own/{client}/')
    if not call.expect(answer):
        return
    names = [descriptor.name for descriptor in answer.descriptors]
    if names != sorted(name for name, kept in call.log.own.items() if kept is not None):
        call.log.wrong.append(f'own names are listed as {names}')


_OPERATIONS = {'add': _add, 'contend': _contend, 'own': _own, 'get': _get, 'list': _list}
