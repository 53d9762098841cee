"""What the benchmark of many clients counts as lost, doubled and wrong."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from benchmarks import database_fleet, database_node
from benchmarks.database_fleet import Log
from benchmarks.database_node import MODEL, lost, unit_vectors
from don_kp_ros.database.store import DescriptorStore

A, B, C = unit_vectors(np.random.default_rng(0), 3, 8)


def logs() -> list[Log]:
    one = Log(added=Counter(hot=2), won={'first': A}, tried={'first'}, own={'own/1': C})
    two = Log(added=Counter(hot=1), tried={'first'}, own={'own/2': None})
    return [one, two]


@pytest.fixture
def store(tmp_path: Path):
    """Hold what the logs tell of."""
    with DescriptorStore(tmp_path / 'd.sqlite') as opened:
        for values in A, B, C:
            opened.put('hot', MODEL, values, add=True)
        opened.put('first', MODEL, A)
        opened.put('own/1', MODEL, C)
        opened.put('own/2', MODEL, B)
        opened.delete('own/2', MODEL)
        yield opened


def test_what_fits_is_no_fault(store: DescriptorStore) -> None:
    found = database_fleet.faults(logs(), store, MODEL)
    assert found == {'lost': 0, 'doubled': 0, 'unanswered': 0, 'wrong': 0}


@pytest.mark.parametrize(
    ('change', 'what'),
    [
        (lambda store: store.put('hot', MODEL, A, add=True), 'lost'),
        (lambda store: store.delete('hot', MODEL), 'lost'),
        (lambda store: store.put('first', MODEL, B, replace=True), 'lost'),
        (lambda store: store.delete('own/1', MODEL), 'lost'),
        (lambda store: store.restore('own/2', MODEL), 'lost'),
    ],
)
def test_what_does_not_fit_is_counted(
    change: Callable[[DescriptorStore], object], what: str, store: DescriptorStore
) -> None:
    change(store)
    assert database_fleet.faults(logs(), store, MODEL)[what] > 0


def test_two_winners_and_none_are_doubled(store: DescriptorStore) -> None:
    both, none = logs(), logs()
    both[1].won['first'] = A
    none[0].won.clear()
    for told in both, none:
        assert database_fleet.faults(told, store, MODEL)['doubled'] == 1
    none[0].unanswered, none[1].wrong = 2, ['no']
    found = database_fleet.faults(none, store, MODEL)
    assert (found['unanswered'], found['wrong']) == (2, 1)


def test_lost_ones_are_those_not_as_they_were(store: DescriptorStore, tmp_path: Path) -> None:
    path = tmp_path / 'd.sqlite'
    assert lost(path, {'first': A, 'own/1': C}) == 0
    assert lost(path, {'first': B, 'own/1': C, 'own/2': B}) == 2


def test_what_is_lost_or_damaged_is_told_as_that(tmp_path: Path) -> None:
    place = database_node.Place(tmp_path / 'fault', [0], cast(Any, None))
    found = place.finding('hostile requests', 10, 2, 'seen', {})
    assert found.row['lost or damaged'] == 2
    (target,) = found.targets
    assert 'stores lost or damaged' in target.name and not target.met
