"""On both engines: taught objects are kept to the last bit, or refused with a reason."""

import dataclasses
from datetime import datetime
from threading import Barrier

import numpy as np
import pytest
from samples import MODEL, OTHER, at_once, grasp, mesh, taught, unit

from don_kp_ros.database.errors import (
    DamagedError,
    InvalidDescriptorError,
    InvalidNameError,
    InvalidObjectError,
    NameTakenError,
    UnknownNameError,
)
from don_kp_ros.database.object_records import LARGEST_MESH, MOST_POINTS
from don_kp_ros.database.records import Filter, now
from don_kp_ros.database.schema import meshes, taught_objects
from don_kp_ros.database.store import DescriptorStore
from don_kp_ros.errors import RefusedError


def test_an_object_is_read_back_bit_for_bit_after_reopening(database):
    given = taught(0, MOST_POINTS, 64, views=3)
    with DescriptorStore(database) as store:
        before = store.revision()
        stored = store.objects.put(given)
        assert store.revision() > before
    with DescriptorStore(database) as store:
        read = store.objects.get('cap', MODEL)
        assert store.models()[0].dimension == 64
    assert read.content() == stored.content() == given.content()
    assert given.created <= read.created == read.updated <= now()
    for array in read.points, read.values, read.weights:
        assert array.dtype == np.float32
        assert not array.flags.writeable


def test_a_taught_name_is_replaced_by_intent_or_by_what_was_made_from_it(store, other):
    former = store.objects.put(taught(0))
    with pytest.raises(NameTakenError, match=r"'cap' is already taught.*replace: true.*add: true"):
        store.objects.put(taught(1))
    added = store.objects.put(taught(1, 6, views=2), former=former)
    assert former.created == added.created < added.updated
    assert store.objects.put(taught(2), replace=True).content() == taught(2).content()
    for change in lambda: None, lambda: other.objects.delete('cap', MODEL):
        change()
        with pytest.raises(InvalidObjectError, match=r"'cap' was changed by somebody else"):
            other.objects.put(taught(2, views=2), former=former)
    assert store.objects.list() == ([], [])


def test_of_two_teachers_one_is_told_that_the_other_was_faster(database):
    with DescriptorStore(database) as store:
        store.objects.put(taught(0))
    refused, barrier = [], Barrier(2)

    def add_views() -> None:
        with DescriptorStore(database) as store:
            for _ in range(10):
                former = store.objects.get('cap', MODEL)
                barrier.wait()
                try:
                    store.objects.put(taught(0, views=former.views + 1), former=former)
                except InvalidObjectError as error:
                    refused.append(str(error))
                barrier.wait()

    at_once(add_views, add_views)
    assert len(refused) == 10
    with DescriptorStore(database) as store:
        assert store.objects.get('cap', MODEL).views == 11


def test_a_renamed_object_keeps_all_that_it_has(store, other):
    store.objects.put(taught(0))
    store.objects.put_grasp('cap', MODEL, grasp(0))
    before = store.objects.get('cap', MODEL)
    store.objects.put_mesh(before, mesh(0))
    before = store.objects.get('cap', MODEL)
    store.objects.put(taught(1, name='mug'))
    renamed = store.objects.rename('cap', MODEL, 'hat')
    assert renamed.content() == dataclasses.replace(before, name='hat').content()
    assert before.created == renamed.created < renamed.updated
    read = other.objects.get('hat', MODEL)
    assert (read.grasps, read.mesh) == (before.grasps, before.mesh)
    assert other.objects.mesh_data(read.mesh.fingerprint) == mesh(0).data
    revision = store.revision()
    for name, new, error, message in (
        ('cap', 'hood', UnknownNameError, "'cap' is not taught.*'hat'"),
        ('hat', 'mug', NameTakenError, "'mug' is already taught.*another name"),
        ('hat', 'a\n', InvalidNameError, 'the new name'),
    ):
        with pytest.raises(error, match=message):
            store.objects.rename(name, MODEL, new)
    assert store.revision() == revision
    with pytest.raises(InvalidObjectError, match='changed by somebody else'):
        store.objects.put(taught(2, views=2), former=before)


def test_objects_are_listed_in_order_and_deleted_for_good(store):
    for name, model in (('mug', MODEL), ('cap', OTHER), ('cap', MODEL), ('cap 2', MODEL)):
        store.objects.put(taught(0, name=name, model=model))
    store.put('cap', MODEL, unit(0))  # a point of that name is something else

    def names(**wanted) -> list[tuple[str, str]]:
        return [(one.name, one.model) for one in store.objects.list(Filter(**wanted))[0]]

    assert names() == [('cap', OTHER), ('cap', MODEL), ('cap 2', MODEL), ('mug', MODEL)]
    assert names(model=OTHER) == [('cap', OTHER)]
    assert names(object='cap', model=MODEL) == [('cap', MODEL)]
    assert names(prefix='cap', model=MODEL) == [('cap', MODEL), ('cap 2', MODEL)]
    assert names(tag='any') == names(deleted=True) == names(model='a\0') == []
    store.objects.delete('cap', MODEL)
    assert not store.objects.has('cap', MODEL)
    assert store.has('cap', MODEL)
    for call in store.objects.get, store.objects.delete:
        with pytest.raises(UnknownNameError, match=r"'cap' is not taught.*nearest names: 'cap 2'"):
            call('cap', MODEL)
        with pytest.raises(UnknownNameError, match='nothing is: use /teach_object'):
            call('cap\0', 'nowhere')


def test_grasps_stay_with_their_object_as_long_as_its_frame_does(store):
    store.objects.put(taught(0))
    given = grasp(0)
    assert store.objects.put_grasp('cap', MODEL, given) == given
    with pytest.raises(NameTakenError, match=r"'cap' has a grasp 'brim' already.*replace: true"):
        store.objects.put_grasp('cap', MODEL, grasp(1))
    assert store.objects.put_grasp('cap', MODEL, grasp(1), replace=True) == grasp(1)
    numbers = [store.objects.put_grasp('cap', MODEL, grasp(n, name='')).name for n in (2, 3)]
    assert numbers == ['1', '2']
    store.objects.delete_grasp('cap', MODEL, '1')
    with pytest.raises(UnknownNameError, match=r"no grasp 'brom'.*nearest names: 'brim'"):
        store.objects.delete_grasp('cap', MODEL, 'brom')
    former = store.objects.get('cap', MODEL)
    assert former.grasps == (grasp(3, name='2'), grasp(1))
    added = store.objects.put(taught(1, 6, views=2), former=former)
    assert added.grasps == former.grasps
    assert store.objects.put(taught(2), replace=True).grasps == ()  # its frame is another
    with pytest.raises(UnknownNameError, match=r"no grasp 'brim'.*none is: use /teach_grasp"):
        store.objects.delete_grasp('cap', MODEL, 'brim')
    with pytest.raises(UnknownNameError, match="'mug' is not taught"):
        store.objects.put_grasp('mug', MODEL, given)


def test_a_mesh_stays_with_its_object_as_long_as_its_frame_does(store, other):
    former = store.objects.put(taught(0))
    assert former.mesh is None
    assert store.objects.put_mesh(former, mesh(0)) == mesh(0)
    read = other.objects.get('cap', MODEL)
    assert read.mesh == mesh(0)
    assert read.mesh.data == b''  # it is many bytes
    assert other.objects.with_mesh(read).mesh.data == mesh(0).data
    with pytest.raises(NameTakenError, match=r"'cap' has a mesh already.*replace: true"):
        store.objects.put_mesh(read, mesh(1))
    with pytest.raises(InvalidObjectError, match=r"'cap' was changed by somebody else.*the mesh"):
        store.objects.put_mesh(former, mesh(1), replace=True)
    store.objects.put_grasp('cap', MODEL, grasp(0))  # keeps it
    added = store.objects.put(taught(1, 6, views=2), former=store.objects.get('cap', MODEL))
    assert added.mesh == mesh(0)
    assert store.objects.put_mesh(added, mesh(1), replace=True) == mesh(1)
    with pytest.raises(UnknownNameError, match=r'no mesh .* is stored; /list_objects'):
        store.objects.mesh_data(mesh(0).fingerprint)  # nobody has it any longer
    assert store.objects.put(taught(2), replace=True).mesh is None  # its frame is another


def test_a_mesh_goes_with_the_last_object_that_has_it(store):
    for name in 'cap', 'mug':
        store.objects.put_mesh(store.objects.put(taught(0, name=name)), mesh(0))
    store.objects.delete('cap', MODEL)
    assert store.objects.mesh_data(mesh(0).fingerprint) == mesh(0).data
    store.objects.delete_mesh('mug', MODEL)
    assert store.objects.get('mug', MODEL).mesh is None
    with pytest.raises(UnknownNameError, match="'mug' has no mesh; /store_mesh stores one"):
        store.objects.delete_mesh('mug', MODEL)
    with pytest.raises(UnknownNameError, match='no mesh'):
        store.objects.mesh_data(mesh(0).fingerprint)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'data': b''}, "the mesh of 'cap' has no data"),
        ({'data': b'another'}, 'do not have the fingerprint'),
        ({'data': bytes(LARGEST_MESH + 1)}, r'has 8388609 bytes; at most 8388608.*fewer faces'),
        ({'position': (0.0, np.nan, 0.0)}, 'the mesh has the position in metres .*nan'),
        ({'orientation': (0.0, 0.0, 0.0, 2.0)}, "quaternion's length 2.0; scale it to 1"),
    ],
)
def test_what_cannot_be_a_mesh_is_refused(store, changes, message):
    former = store.objects.put(taught(0))
    with pytest.raises(InvalidObjectError, match=message):
        store.objects.put_mesh(former, dataclasses.replace(mesh(0), **changes))
    assert store.objects.get('cap', MODEL).content() == former.content()


def test_a_damaged_mesh_is_told_and_can_be_stored_again(store):
    store.objects.put_mesh(store.objects.put(taught(0)), mesh(0))
    with store._database.transaction(write=True) as connection:
        connection.execute(meshes.update().values(data=b'7'))
    with pytest.raises(DamagedError, match=r'is damaged; store it again with /store_mesh'):
        store.objects.mesh_data(mesh(0).fingerprint)
    store.objects.put_mesh(store.objects.get('cap', MODEL), mesh(0), replace=True)
    assert store.objects.mesh_data(mesh(0).fingerprint) == mesh(0).data


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'name': ' a'}, "the grasp's name"),
        ({'position': (0.0, np.nan, 0.0)}, 'position in metres .*nan'),
        ({'position': (0.0, -10.0, 0.0)}, 'within 10 m'),
        ({'orientation': (0.0, 0.0, 0.0, 0.0)}, "quaternion's length 0.0; scale it to 1"),
        ({'width': -0.01}, 'width in metres -0.01'),
        ({'width': np.inf}, 'width in metres inf; give 0 to 1 m'),
    ],
)
def test_what_no_grasp_has_is_refused(store, changes, message):
    store.objects.put(taught(0))
    before = store.revision()
    with pytest.raises(RefusedError, match=message):
        store.objects.put_grasp('cap', MODEL, grasp(0, **changes))
    assert store.revision() == before


def test_a_rounded_quaternion_is_scaled_to_unit_length(store):
    store.objects.put(taught(0))
    stored = store.objects.put_grasp('cap', MODEL, grasp(0, orientation=(0, 0.707, 0, 0.707)))
    assert np.linalg.norm(stored.orientation) == pytest.approx(1, abs=1e-15)


def spoilt(field: str, at, value) -> dict[str, np.ndarray]:
    array = getattr(taught(0), field).copy()
    array[at] = value
    return {field: array}


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'name': 'a\n'}, 'the name'),
        ({'model': ''}, 'the model'),
        ({'created': datetime(2026, 1, 1)}, 'time zone'),
        ({'views': 0}, '0 views; allowed are 1 to 4096'),
        ({'points': np.zeros((3, 3))}, r'shape \(3, 3\), the values \(4, 8\)'),
        ({'values': unit(0)}, r'the values \(8,\)'),
        ({'weights': np.float32(1)}, r'the weights \(\)'),
        ({'points': [['x'] * 3] * 4}, 'the points are not numbers'),
        (spoilt('points', (2, 1), np.nan), r'point 2 of 4 has the place in metres .*nan'),
        (spoilt('points', (1, 0), 10.0), r'point 1 of 4 .*within 10 m'),
        (spoilt('values', 3, 0.0), r"point 3 of 4 has the descriptor's length 0.0"),
        (spoilt('values', (0, 0), np.inf), "point 0 of 4 has the descriptor's length inf"),
        (spoilt('weights', 1, 0.0), r'point 1 of 4 has the weight 0.0; it must be positive'),
        (spoilt('weights', 1, np.inf), 'the weight inf'),
        ({name: getattr(taught(0), name)[:2] for name in ('points', 'values', 'weights')},
         'the object has 2 points; allowed are 3 to 512'),
        ({name: getattr(taught(0, 513), name) for name in ('points', 'values', 'weights')},
         'the object has 513 points'),
    ],
)  # fmt: skip
def test_what_no_object_has_is_refused(store, changes, message):
    before = store.revision()
    for put in store.objects.put, store.objects.put_back:
        with pytest.raises(RefusedError, match=message) as raised:
            put(dataclasses.replace(taught(0), **changes))
        assert str(raised.value).isprintable()
    assert store.revision() == before
    store.put('cap/brim', MODEL, unit(0))
    with pytest.raises(InvalidDescriptorError, match=r'9 values were given.* have 8'):
        store.objects.put(taught(0, 4, 9))


@pytest.mark.parametrize(
    'spoil',
    [
        {'weights': b'\0\0'},
        {'weights': b''},
        {'points': bytes(12)},
        {'values': bytes(4 * 4 * 8)},
        {'values': bytes.fromhex('0000c07f') * 4 * 8},
        {'views': -1},
        {'grasps': '[{}]'},
        {'grasps': 'brim'},
    ],
)
def test_a_damaged_object_hides_no_other_and_can_be_replaced(store, spoil):
    for name in 'cap', 'mug':
        store.objects.put(taught(0, name=name))
    with store._database.transaction(write=True) as connection:
        same = taught_objects.c.name == 'cap'
        connection.execute(taught_objects.update().where(same).values(spoil))
    found, (error,) = store.objects.list()
    assert [one.name for one in found] == ['mug']
    told = rf"the object 'cap' of model '{MODEL}' is damaged.*delete it with /delete_object"
    with pytest.raises(DamagedError, match=told) as raised:
        store.objects.get('cap', MODEL)
    assert str(error) == str(raised.value)
    assert store.objects.put(taught(1), replace=True).content() == taught(1).content()
    store.objects.delete('cap', MODEL)
