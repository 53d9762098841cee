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
    jobs = [(n, domains[n % len(domains)], share, seed, model, D) for n in range(CLIENTS)]
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


def _work(number: int, domain: int, operations: int, seed: int, model: str, D: int) -> Log:
    with Caller(domain, f'client_{number}') as caller:
        client = _Client(caller, number, np.random.default_rng([seed, number]), model)
        for each in range(operations):
            (values,) = unit_vectors(client.rng, 1, D)
            operation = client.rng.choice(list(_SHARES), p=list(_SHARES.values()))
            getattr(client, operation)(each, values)
            client.log.operations += 1
    return client.log


class _Client:
    """Calls the services of one model, and notes what it is told."""

    def __init__(self, caller: Caller, number: int, rng: np.random.Generator, model: str) -> None:
        self._caller, self._number, self.rng, self._model = caller, number, rng, model
        self.log = Log()

    def add(self, number: int, values: _Values) -> None:
        """Add an observation to a name that all add to."""
        name = f'hot/{self.rng.integers(HOT)}'
        if self._is(True, self._call(StoreDescriptor, 'store', name, values=values, add=True)):
            self.log.added[name] += 1

    def contend(self, number: int, values: _Values) -> None:
        """Store under a name that all clients are about at about the same time."""
        name = f'first/{number}'
        answer = self._call(StoreDescriptor, 'store', name, values=values)
        self.log.tried.add(name)
        if answer is not None and answer.success:
            self.log.won[name] = values
        elif answer is not None and 'already stored' not in answer.message:
            self.log.wrong.append(answer.message)

    def own(self, number: int, values: _Values) -> None:
        """Replace, delete or restore what no other client touches."""
        name, own = self._own_name(), self.log.own
        present = own.get(name)
        deleted = self.log.deleted.setdefault(name, [])
        choice = self.rng.choice(['replace', 'delete', 'restore'], p=[0.6, 0.2, 0.2])
        if choice == 'replace':
            answer = self._call(StoreDescriptor, 'store', name, values=values, replace=True)
            if self._is(True, answer):
                own[name] = values
        elif choice == 'delete':
            answer = self._call(DeleteDescriptor, 'delete', name)
            if self._is(present is not None, answer) and present is not None:
                deleted.append(present)
                own[name] = None
        else:
            possible = present is None and bool(deleted)
            answer = self._call(RestoreDescriptor, 'restore', name)
            if self._is(possible, answer) and possible:
                own[name] = deleted.pop()

    def get(self, number: int, values: _Values) -> None:
        """Read an own name back."""
        name = self._own_name()
        present = self.log.own.get(name)
        answer = self._call(GetDescriptor, 'get', name)
        as_told = self._is(present is not None, answer)
        if (
            as_told
            and present is not None
            and (np.asarray(answer.descriptor.values) != present).any()
        ):
            self.log.wrong.append(f'{name} has other values than those stored last')

    def list(self, number: int, values: _Values) -> None:
        """List the own names."""
        request = {'prefix': f'own/{self._number}/', 'model': self._model}
        answer = self._answer(ListDescriptors, '/list_descriptors', request)
        if self._is(True, answer):
            names = [descriptor.name for descriptor in answer.descriptors]
            if names != sorted(name for name, kept in self.log.own.items() if kept is not None):
                self.log.wrong.append(f'own names are listed as {names}')

    def _own_name(self) -> str:
        return f'own/{self._number}/{self.rng.integers(OWN)}'

    def _call(self, kind: Any, verb: str, name: str, **fields: Any) -> Any:
        request = {'name': name, 'model': self._model, **fields}
        return self._answer(kind, f'/{verb}_descriptor', request)

    def _answer(self, kind: Any, service: str, request: dict[str, Any]) -> Any:
        answer = self._caller.call(kind, service, **request)
        if answer is None:
            self.log.unanswered += 1
        return answer

    def _is(self, success: bool, answer: Any) -> bool:
        """Tell whether a call was answered so; note an answer that must not be."""
        if answer is not None and answer.success != success:
            self.log.wrong.append(answer.message)
        return answer is not None and answer.success == success
