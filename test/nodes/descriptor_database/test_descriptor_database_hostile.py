"""Hostile requests to a real node; benchmarks/database_faults.py sends many more of them."""

import itertools
from collections import Counter

import numpy as np
import pytest

from benchmarks import hostile_requests
from don_kp.srv import StoreDescriptor
from don_kp_ros.database.store import DescriptorStore

REQUESTS = 400


def test_hostile_requests_are_refused_with_a_reason_and_change_nothing(open_desk, tmp_path):
    path = tmp_path / 'd.sqlite'
    desk = open_desk(database=path, exchange_folder=tmp_path / 'exchange', max_map_age_s=1e6)
    desk.look()
    desk.store_pixel('cap/brim', 3, 4)
    complaints, outcomes = [], Counter()
    hostile = hostile_requests.requests(
        seed=0, model=desk.MODEL, dimension=desk.DIMENSION, size=desk.SIZE
    )
    with DescriptorStore(path) as store:
        for request in itertools.islice(hostile, REQUESTS):
            before = store.revision()
            response = desk.peer.call(request.kind, request.service, **request.fields)
            complaints.append(request.complaint(response, before, store.revision()))
            outcomes[bool(request.faults), response.success] += 1
            if request.kind is StoreDescriptor and response.success:
                stored = store.get(request.fields['name'], desk.MODEL)
                np.testing.assert_array_equal(stored.values, response.descriptor.values)
    assert [complaint for complaint in complaints if complaint] == []
    assert min(outcomes[True, False], outcomes[False, True]) > REQUESTS / 4, outcomes
    assert desk.node.process.poll() is None
    assert 'Traceback' not in desk.node.output
    assert not [line for line in desk.node.output.splitlines() if not line.isprintable()]
    assert {entry.suffix for entry in tmp_path.iterdir()} <= {
        '',
        '.sqlite',
        '.sqlite-wal',
        '.sqlite-shm',
    }


@pytest.mark.parametrize(
    ('name', 'sound'), [('cap', True), ("it's; DROP TABLE", True), ('a\nb', False), ('', False)]
)
def test_the_complaints_see_what_they_look_for(name, sound):
    """A node that carries out, or refuses, everything must not pass."""
    fields = {'name': name}
    faults = () if sound else ('name',)
    request = hostile_requests.HostileRequest(StoreDescriptor, '/store', fields, faults)
    done = StoreDescriptor.Response(success=True, message='done as you asked me to')
    refused = StoreDescriptor.Response(message='not done, for a good reason')
    assert bool(request.complaint(done, 1, 2)) == (not sound)
    assert bool(request.complaint(refused, 1, 1)) == sound
    assert request.complaint(refused, 1, 2)
    assert request.complaint(None, 1, 1)
    assert request.complaint(StoreDescriptor.Response(message='no'), 1, 1)
    assert request.complaint(
        StoreDescriptor.Response(message='internal error: of the worst kind'), 1, 1
    )
    assert request.complaint(
        StoreDescriptor.Response(message='one line\nand then another one'), 1, 1
    )
