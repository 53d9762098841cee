"""On both engines: what is acknowledged is there, what is wrong is refused with a reason."""

import dataclasses
import functools
from datetime import datetime, timedelta, timezone
from threading import Barrier

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from samples import MODEL, at_once, names, png, unit

from don_kp_ros.database.errors import (
    DamagedError,
    InvalidDescriptorError,
    InvalidNameError,
    InvalidObservationError,
    NameTakenError,
    StoreError,
    UnknownNameError,
)
from don_kp_ros.database.records import MOST_OBSERVATIONS, Filter, Observation, now
from don_kp_ros.database.store import DescriptorStore
from don_kp_ros.errors import RefusedError


def change(store, statement, **parameters) -> None:
    """Write to the database behind the store's back."""
    with store._database.transaction(write=True) as connection:
        connection.execute(sa.text(statement), parameters)


SEEN = Observation(
    values=unit(0),
    pixel=(320.5, 0.0),
    image_size=(640, 480),
    camera={'frame': 'camera_color_optical_frame', 'fx': 615.1, 'fy': 615.2, 'cx': 320, 'cy': 240},
    position=(0.1, -0.2, 0.65),
    patch=png(),
    author='Ada "the robot" 🧢',
    created=datetime(2026, 1, 2, 3, 4, 5, 678901, timezone.utc),
)
SEEN_TWICE = SEEN, Observation(unit(1))


class TestPut:
    def test_is_read_back_bit_for_bit_after_reopening(self, database):
        with DescriptorStore(database) as store:
            stored = store.put('cap/brim', MODEL, unit(0), tags=['red', 'a b', 'red'])
        with DescriptorStore(database) as store:
            read = store.get('cap/brim', MODEL)
            (seen,) = store.observations('cap/brim', MODEL)
        assert read.values.tobytes() == unit(0).tobytes() == stored.values.tobytes()
        assert seen.values.tobytes() == unit(0).tobytes()
        assert read.values.dtype == np.float32
        assert not read.values.flags.writeable
        assert (read.name, read.model, read.object) == ('cap/brim', MODEL, 'cap')
        assert (read.tags, read.observations, read.deleted) == (('a b', 'red'), 1, None)
        assert read.created == read.updated == stored.created
        assert read.created.tzinfo == timezone.utc
        assert timedelta(0) <= now() - read.created < timedelta(minutes=1)

    def test_keeps_all_of_an_observation(self, store):
        store.put('cap/brim', MODEL, SEEN)
        bare = dataclasses.replace(
            SEEN, pixel=None, image_size=None, camera=None, position=None, patch=None, author=''
        )
        store.put('cap/brim', MODEL, bare, add=True)
        for seen, given_ in zip(store.observations('cap/brim', MODEL), (SEEN, bare), strict=True):
            for field in dataclasses.fields(Observation):
                kept, wanted = getattr(seen, field.name), getattr(given_, field.name)
                np.testing.assert_equal(kept, wanted)
        assert store.get('cap/brim', MODEL).values.tobytes() == SEEN.values.tobytes()

    def test_refuses_a_taken_name_unless_replaced(self, store):
        store.put('cap/brim', MODEL, unit(0), tags=['old'])
        with pytest.raises(NameTakenError, match=r"'cap/brim' is already stored.*replace: true"):
            store.put('cap/brim', MODEL, unit(1))
        np.testing.assert_array_equal(store.get('cap/brim', MODEL).values, unit(0))
        store.put('cap/brim', MODEL, unit(2), add=True)
        replaced = store.put('cap/brim', MODEL, unit(1), replace=True, object='hat', tags=['new'])
        np.testing.assert_array_equal(store.get('cap/brim', MODEL).values, unit(1))
        assert replaced.created < replaced.updated
        assert (replaced.observations, replaced.object, replaced.tags) == (1, 'hat', ('new',))
        assert len(store.observations('cap/brim', MODEL)) == 1
        with pytest.raises(RefusedError, match='add and replace'):
            store.put('cap/brim', MODEL, unit(0), add=True, replace=True)

    def test_averages_what_is_added(self, store):
        vectors = [unit(seed) for seed in range(5)]
        for vector in vectors:
            store.put('cap/brim', MODEL, vector, add=True, tags=['clicked'])
        mean = np.mean(np.asarray(vectors, np.float64), axis=0)
        stored = store.get('cap/brim', MODEL)
        np.testing.assert_allclose(stored.values, mean / np.linalg.norm(mean), atol=1e-7)
        assert np.linalg.norm(stored.values.astype(np.float64)) == pytest.approx(1, abs=1e-6)
        assert (stored.observations, stored.tags) == (5, ('clicked',))
        seen = [seen.values.tobytes() for seen in store.observations('cap/brim', MODEL)]
        assert seen == [vector.tobytes() for vector in vectors]

    def test_joins_tags_and_keeps_the_object_of_what_is_added_to(self, store):
        store.put('cap/brim', MODEL, unit(0), object='hat', tags=['a'])
        assert store.put('cap/brim', MODEL, unit(1), add=True, tags=['b', 'a']).object == 'hat'
        joined = store.put('cap/brim', MODEL, unit(1), add=True, object='helmet')
        assert (joined.object, joined.tags) == ('helmet', ('a', 'b'))
        with pytest.raises(InvalidNameError, match='33 tags'):
            store.put('cap/brim', MODEL, unit(1), add=True, tags=[str(i) for i in range(31)])
        assert store.get('cap/brim', MODEL).observations == 3

    def test_refuses_observations_that_cancel_each_other(self, store):
        store.put('cap/brim', MODEL, unit(0))
        with pytest.raises(InvalidDescriptorError, match='2 observations cancel'):
            store.put('cap/brim', MODEL, -unit(0), add=True)
        assert store.get('cap/brim', MODEL).observations == 1
        assert store.get('cap/brim', MODEL).values.tobytes() == unit(0).tobytes()

    def test_refuses_endless_observations(self, store, monkeypatch):
        monkeypatch.setattr('don_kp_ros.database.records.MOST_OBSERVATIONS', 2)
        assert MOST_OBSERVATIONS > 1000
        for seed in range(2):
            store.put('cap/brim', MODEL, unit(seed), add=True)
        with pytest.raises(InvalidDescriptorError, match='2 observations; allowed are 2: replace'):
            store.put('cap/brim', MODEL, unit(3), add=True)

    def test_refuses_a_wrong_dimension_for_the_model(self, store):
        store.put('cap/brim', MODEL, unit(0))
        for name in 'cap/top', 'cap/brim':
            with pytest.raises(InvalidDescriptorError, match=r'9 values.*ab12cd34ef56… have 8'):
                store.put(name, MODEL, unit(0, 9), add=True)
        assert len(store.list()) == 1

    def test_scales_values_to_unit_length(self, store):
        assert store.put('a', MODEL, [3.0, 4.0]).values.tolist() == pytest.approx([0.6, 0.8])

    @pytest.mark.parametrize(
        'name', ['', ' ', 'x' * 129, 'a\nb', 'a\0b', ' a', 'a\ud800', '\u202ea', 7]
    )
    def test_refuses_unusable_names(self, store, name):
        for request in (
            {'name': name, 'model': MODEL},
            {'name': 'cap/brim', 'model': name},
            {'name': 'cap/brim', 'model': MODEL, 'object': name},
            {'name': 'cap/brim', 'model': MODEL, 'tags': ['a', name]},
        ):
            with pytest.raises(InvalidNameError):
                store.put(values=unit(0), **request)
        assert store.list() == store.models() == []

    @pytest.mark.parametrize(
        ('values', 'message'),
        [
            ([], 'shape'),
            ([[1.0, 0.0]], 'shape'),
            ([1.0, float('nan')], 'value 1 of 2 is nan'),
            ([float('inf'), 0.0], 'value 0 of 2 is inf'),
            ([1e300, 0.0], 'finite'),
            ([10**400, 0.0], 'not numbers'),
            ([0.0, 0.0], 'length 0'),
            (['a', 'b'], 'not numbers'),
            (['\n\0' + 'x' * 1_000_000], 'not numbers'),
            (np.ones(4097), '4097 values'),
        ],
    )
    def test_refuses_unusable_values(self, store, values, message):
        for given_ in values, Observation(values):
            with pytest.raises(InvalidDescriptorError, match=message) as raised:
                store.put('cap/brim', MODEL, given_)
            assert str(raised.value).isprintable()
            assert len(str(raised.value)) < 1000
        assert store.list() == []


class TestPutBack:
    OLD = datetime(2020, 1, 1, tzinfo=timezone.utc)

    def put_back(self, store, seen=SEEN_TWICE, **changes):
        """Move a descriptor as an import does."""
        stored = store.put('other', MODEL, unit(0), object='hat', tags=['a', 'b'])
        moved = dataclasses.replace(
            stored, **{'name': 'cap/brim', 'created': self.OLD, 'updated': self.OLD, **changes}
        )
        store.put_back(moved, seen)

    def test_keeps_times_and_replaces_what_the_name_had(self, store):
        store.put('cap/brim', MODEL, unit(5), tags=['c'])
        assert store.has('cap/brim', MODEL)
        self.put_back(store)
        found = store.get('cap/brim', MODEL)
        assert (found.created, found.updated) == (self.OLD, self.OLD)
        assert (found.object, found.tags, found.observations) == ('hat', ('a', 'b'), 2)
        mean = unit(0).astype(np.float64) + unit(1)
        np.testing.assert_allclose(found.values, mean / np.linalg.norm(mean), atol=1e-7)
        np.testing.assert_equal(
            dataclasses.astuple(store.observations('cap/brim', MODEL)[0]),
            dataclasses.astuple(SEEN),
        )

    def test_refuses_what_put_refuses(self, store):
        for wrong in (
            {'name': 'a\n'},
            {'object': ''},
            {'tags': ('a\0',)},
            {'model': ' '},
            {'seen': ()},
            {'seen': (Observation(unit(0)), Observation(unit(0, 3)))},
            {'seen': (Observation(unit(0, 3)),)},
            {'seen': (Observation(unit(0)), Observation(-unit(0)))},
            {'values': unit(0, 3), 'seen': (Observation(unit(0, 3)),)},
            {'created': datetime(2026, 1, 1)},
        ):
            with pytest.raises(RefusedError):
                self.put_back(store, **wrong)
            assert names(store) == ['other']
            store.delete('other', MODEL)
        assert not store.has('cap/brim', MODEL)


class TestRead:
    def test_unknown_names_come_with_near_ones(self, store):
        with pytest.raises(UnknownNameError, match=r'nothing is, for model.*/store_descriptor'):
            store.get('cap/brim', MODEL)
        store.put('cap/brim', MODEL, unit(0))
        for call in store.get, store.delete, store.observations:
            with pytest.raises(UnknownNameError, match=r"'cap/brm' is not stored.*'cap/brim'"):
                call('cap/brm', MODEL)

    @pytest.mark.parametrize('name', ['', 'a\0', 'a\ud800', 'x' * 1_000_000, "';--", '%', '_'])
    def test_what_nothing_can_be_called_is_unknown(self, store, name):
        store.put('a?', MODEL, unit(0))
        renamed = functools.partial(store.change, new_name='b')
        for call in store.get, store.delete, store.observations, store.restore, renamed:
            for wanted in (name, MODEL), ('a?', name):
                with pytest.raises(UnknownNameError) as raised:
                    call(*wanted)
                assert str(raised.value).isprintable()
        assert names(store, prefix=name or 'x') == names(store, model=name) == []
        assert names(store, object=name) == names(store, tag=name) == []
        assert store.count(Filter(tag=name)) == store.count(Filter(model=name)) == 0
        names_, values = store.matrix(name)
        assert (names_, values.size) == ([], 0)
        assert len(store.list()) == 1

    def test_filters(self, store):
        for name in ('cap/brim', 'Cap/brim', 'cap/top', 'c%p/x', 'mug/handle'):
            store.put(name, MODEL, unit(0), tags=['all', name[:3]])
        store.put('cap/else', 'other', unit(0), object='mug')
        assert names(store, prefix='cap/', model=MODEL) == ['cap/brim', 'cap/top']
        assert names(store, prefix='c%p') == ['c%p/x']
        assert names(store, prefix='cap/') == ['cap/brim', 'cap/else', 'cap/top']
        assert names(store, object='mug') == ['cap/else', 'mug/handle']
        assert names(store, object='mug', model=MODEL) == ['mug/handle']
        assert names(store, tag='cap') == ['cap/brim', 'cap/top']
        assert names(store, tag='all', object='cap', prefix='cap/t') == ['cap/top']
        for wanted in ({}, {'prefix': 'cap/'}, {'object': 'mug'}, {'tag': 'all', 'model': MODEL}):
            assert store.count(Filter(**wanted)) == len(names(store, **wanted))

    def test_orders_names_as_python_does_on_every_engine(self, store):
        unordered = ['b', 'B', 'ä', 'a-b', 'ab', 'a b', 'Z', '🧢', 'ﬁ', '1', '_']
        for name in unordered:
            store.put(name, MODEL, unit(0))
        assert names(store) == names(store, model=MODEL) == sorted(unordered)
        assert list(store.matrix(MODEL)[0]) == sorted(unordered)

    def test_models(self, store):
        store.put('a', MODEL, unit(0))
        store.put('b', MODEL, unit(1))
        store.delete('b', MODEL)
        card = {'name': 'caps', 'size': [640, 480], 'nested': {'ä': None, 'x': 0.1}}
        store.keep_model('fresh', 16, card)
        before = store.revision()
        store.keep_model('fresh', 16, card)
        assert store.revision() == before
        assert [dataclasses.astuple(model) for model in store.models()] == [
            (MODEL, 8, {}, 1),
            ('fresh', 16, card, 0),
        ]
        store.keep_model(MODEL, 8, {'name': 'other'})
        assert store.models()[0].card == {'name': 'other'}
        assert store.revision() > before
        for wrong, message in ((7, '7 values.* have 8'), (0, 'allowed are 1 to')):
            with pytest.raises(InvalidDescriptorError, match=message):
                store.keep_model(MODEL, wrong, {})
        for bad in {'x': float('nan')}, {'x': object()}, {'x': 'y' * 300_000}, ['x'], {1: 2}:
            with pytest.raises(InvalidObservationError, match="model's card"):
                store.keep_model(MODEL, 8, bad)


class TestChange:
    def test_gives_another_name_and_keeps_all_else(self, store, other):
        before = store.put('cap/brim', MODEL, SEEN, tags=['a', 'b'])
        changed = store.change('cap/brim', MODEL, 'hat/rim')
        assert changed == dataclasses.replace(
            before, name='hat/rim', object='hat', updated=changed.updated, values=changed.values
        )
        assert changed.updated > before.updated
        assert changed.values.tobytes() == before.values.tobytes()
        (seen,) = other.observations('hat/rim', MODEL)
        np.testing.assert_equal(dataclasses.astuple(seen), dataclasses.astuple(SEEN))
        assert names(other) == list(other.matrix(MODEL)[0]) == ['hat/rim']
        with pytest.raises(UnknownNameError, match=r"'cap/brim' is not stored.*'hat/rim'"):
            store.change('cap/brim', MODEL, 'cap/brim')
        assert store.put('hat/rim', MODEL, unit(1), add=True).observations == 2

    def test_changes_tags_and_object_alone(self, store):
        store.put('cap/brim', MODEL, unit(0), tags=['a', 'b'])
        assert store.change('cap/brim', MODEL, tags=['c', 'b']).tags == ('b', 'c')
        assert names(store, tag='a') == []
        changed = store.change('cap/brim', MODEL, object='helmet')
        assert (changed.object, changed.tags) == ('helmet', ('b', 'c'))
        # An object that was not the name's is not the new name's.
        assert store.change('cap/brim', MODEL, 'hat/rim', tags=[]).object == 'helmet'
        assert store.get('hat/rim', MODEL).tags == ()

    def test_what_had_the_names_stays_restorable(self, store):
        first = store.put('a', MODEL, unit(0))
        store.put('b', MODEL, unit(1))
        store.delete('b', MODEL)
        store.change('a', MODEL, 'b')
        store.delete('b', MODEL)
        (gone,) = store.list(Filter(deleted=True))
        assert gone.values.tobytes() == first.values.tobytes()
        assert store.restore('b', MODEL).values.tobytes() == first.values.tobytes()
        store.change('b', MODEL, 'c')
        assert store.restore('b', MODEL).values.tobytes() == unit(1).tobytes()
        assert names(store) == ['b', 'c']

    @pytest.mark.parametrize(
        ('changes', 'error', 'message'),
        [
            ({'new_name': 'taken'}, NameTakenError, "'taken' is already stored.*another name"),
            ({'new_name': ''}, InvalidNameError, 'the new name is empty'),
            ({'new_name': 'a\nb'}, InvalidNameError, 'the new name'),
            ({'new_name': 'x' * 129}, InvalidNameError, 'has 129 characters'),
            ({'object': ' '}, InvalidNameError, 'the object'),
            ({'tags': ['a', 'b\0']}, InvalidNameError, 'the tag'),
            ({'tags': [str(i) for i in range(33)]}, InvalidNameError, '33 tags'),
        ],
    )
    def test_what_is_refused_changes_nothing(self, store, changes, error, message):
        before = store.put('cap/brim', MODEL, SEEN, tags=['a'])
        store.put('taken', MODEL, unit(1))
        store.put('cap/brim', 'other', unit(2))  # of another model: it is not in the way
        revision = store.revision()
        with pytest.raises(error, match=message):
            store.change('cap/brim', MODEL, **{'tags': ['new'], 'new_name': 'new', **changes})
        assert store.revision() == revision
        np.testing.assert_equal(
            dataclasses.astuple(store.get('cap/brim', MODEL)), dataclasses.astuple(before)
        )
        assert store.change('cap/brim', MODEL, 'hat').name == 'hat'

    def test_what_is_damaged_keeps_its_name(self, store):
        store.put('cap/brim', MODEL, unit(0))
        change(store, 'UPDATE descriptors SET "values" = :blob', blob=b'\0')
        with pytest.raises(DamagedError, match="'hat' of model"):
            store.change('cap/brim', MODEL, 'hat')
        assert store.has('cap/brim', MODEL) and not store.has('hat', MODEL)


class TestDelete:
    def test_is_undone_by_restore(self, store):
        store.put('cap/brim', MODEL, SEEN, tags=['a'])
        before = store.get('cap/brim', MODEL)
        store.delete('cap/brim', MODEL)
        with pytest.raises(UnknownNameError, match=r'was deleted.*restore_descriptor'):
            store.get('cap/brim', MODEL)
        assert (store.list(), store.count(), store.matrix(MODEL)[0]) == ([], 0, [])
        (gone,) = store.list(Filter(deleted=True))
        assert gone.deleted is not None
        assert store.count(Filter(deleted=True)) == 1
        restored = store.restore('cap/brim', MODEL)
        np.testing.assert_equal(dataclasses.astuple(restored), dataclasses.astuple(before))
        assert store.observations('cap/brim', MODEL)[0].patch == SEEN.patch
        with pytest.raises(NameTakenError, match='in use again'):
            store.restore('cap/brim', MODEL)
        with pytest.raises(UnknownNameError, match='nothing was deleted'):
            store.restore('cap/top', MODEL)

    def test_prune_removes_for_good_what_was_deleted_before(self, store):
        for name in ('old/a', 'old/b', 'young/c', 'live/d'):
            store.put(name, MODEL, SEEN, tags=['t'])
        for name in ('old/a', 'old/b'):
            store.delete(name, MODEL)
        between = now()
        store.delete('young/c', MODEL)
        before = store.revision()
        assert store.prune(between - timedelta(days=1)) == 0
        assert store.revision() == before
        assert store.prune(between) == 2
        assert store.revision() > before
        assert names(store, deleted=True) == ['young/c']
        with pytest.raises(UnknownNameError, match='nothing was deleted'):
            store.restore('old/a', MODEL)
        with store._database.transaction() as connection:
            left = [
                connection.exec_driver_sql(f'SELECT count(*) FROM {table}').scalar()
                for table in ('objects', 'descriptors', 'observations', 'tags')
            ]
        assert left == [2, 2, 2, 2]
        with pytest.raises(RefusedError, match='time zone'):
            store.prune(datetime(2026, 1, 1))


class TestTransactions:
    def test_revision_grows_with_every_change_and_with_nothing_else(self, store, other):
        seen = [store.revision()]

        def grown() -> bool:
            seen.append(other.revision())
            return seen[-1] > seen[-2]

        store.put('a', MODEL, unit(0))
        assert grown()
        store.get('a', MODEL)
        store.list()
        with pytest.raises(RefusedError):
            store.put('a', MODEL, unit(0))
        assert not grown()
        store.put('a', MODEL, unit(1), add=True)
        assert grown()
        store.delete('a', MODEL)
        assert grown()
        store.restore('a', MODEL)
        assert grown()

    def test_are_whole_or_nothing(self, store, other):

        def interrupted() -> None:
            with store.transaction():
                store.put('a', MODEL, unit(0))
                assert names(store) == ['a']
                assert names(other) == []
                of_another_thread = ['not asked']
                at_once(lambda: of_another_thread.__setitem__(0, names(store)))
                assert of_another_thread == [[]]
                raise KeyError

        with pytest.raises(KeyError):
            interrupted()
        assert names(store) == []
        with store.transaction():
            store.put('a', MODEL, unit(0))
            with pytest.raises(NameTakenError):  # refused, and nothing of it is left
                store.put('a', MODEL, unit(1))
            with pytest.raises(InvalidDescriptorError):
                store.put('b', MODEL, unit(1, 9))
            store.put('c', MODEL, unit(1))
        assert names(other) == ['a', 'c']

    def test_a_failure_that_is_passed_over_undoes_them(self, store):
        def failing() -> None:
            with store.transaction():
                store.put('a', MODEL, unit(0))
                with pytest.raises(StoreError):
                    change(store, 'SELECT * FROM nowhere')

        with pytest.raises(StoreError, match='nothing of it was stored'):
            failing()
        assert store.list() == []

    def test_snapshots_read_one_state(self, store, other):
        store.put('a', MODEL, unit(0))
        with store.snapshot():
            assert names(store) == ['a']
            other.put('b', MODEL, unit(0))
            assert names(store) == ['a']
            with pytest.raises(RuntimeError, match='reading a snapshot'):
                store.put('c', MODEL, unit(0))
        assert names(store) == ['a', 'b']

    def test_two_stores_never_both_win(self, database):
        wins = []
        barrier = Barrier(2)

        def put_all() -> None:
            with DescriptorStore(database) as store:
                barrier.wait()
                for i in range(25):
                    try:
                        store.put(f'point {i}', MODEL, unit(i))
                        wins.append(i)
                    except NameTakenError:
                        pass

        at_once(put_all, put_all)
        assert sorted(wins) == list(range(25))
        with DescriptorStore(database) as store:
            assert len(store.list()) == 25


class TestDamage:
    BLOBS = [
        (b'\0\0', 'it holds 2 bytes, not 32'),
        (b'', 'it holds 0 bytes, not 32'),
        (bytes.fromhex('0000c07f') * 8, 'not all of its values are finite'),
    ]

    @pytest.mark.parametrize(('blob', 'reason'), BLOBS)
    def test_of_a_descriptor_hides_no_other_and_can_be_undone(self, store, blob, reason):
        for seed, name in enumerate(('cap/brim', 'cap/top', 'mug/rim')):
            store.put(name, MODEL, unit(seed))
        statement = 'UPDATE descriptors SET "values" = :blob WHERE name = \'cap/top\''
        change(store, statement, blob=blob)
        assert names(store) == list(store.matrix(MODEL)[0]) == ['cap/brim', 'mug/rim']
        assert names(store, limit=2) == ['cap/brim', 'mug/rim']
        assert names(store, limit=2, after=('cap/brim', MODEL)) == ['mug/rim']
        assert store.count() == 3
        remedy = rf"'cap/top' of model '{MODEL}' is damaged.*{reason}.*delete it"
        with pytest.raises(DamagedError, match=remedy) as raised:
            store.get('cap/top', MODEL)
        for listed in store.damaged(), store.damaged(Filter('cap/', MODEL, object='cap')):
            assert [str(error) for error in listed] == [str(raised.value)]
        assert store.damaged(Filter('mug/')) == store.damaged(Filter(model='other')) == []
        # A further observation mends it: the descriptor is the mean of its observations.
        mended = store.put('cap/top', MODEL, unit(1), add=True)
        assert mended.values.tolist() == pytest.approx(unit(1).tolist())
        change(store, statement, blob=blob)
        store.delete('cap/top', MODEL)
        assert store.damaged() == []
        store.put('cap/top', MODEL, unit(1))
        assert names(store, prefix='cap/') == ['cap/brim', 'cap/top']

    @pytest.mark.parametrize(('blob', 'reason'), BLOBS)
    def test_of_an_observation_is_named(self, store, blob, reason):
        store.put('cap/top', MODEL, unit(0))
        change(store, 'UPDATE observations SET "values" = :blob', blob=blob)
        assert store.get('cap/top', MODEL).values.tolist() == unit(0).tolist()
        for read in (
            lambda: store.observations('cap/top', MODEL),
            lambda: store.put('cap/top', MODEL, unit(1), add=True),
        ):
            with pytest.raises(DamagedError, match=rf"'cap/top'.*{reason}.*replace: true"):
                read()
        store.put('cap/top', MODEL, unit(1), replace=True)
        assert len(store.observations('cap/top', MODEL)) == 1

    def test_of_a_card_is_named_hides_no_model_and_can_be_undone(self, store):
        for model in MODEL, 'sound':
            store.keep_model(model, 8, {'name': 'caps'})
        assert store.damaged_cards() == []
        change(store, f"UPDATE models SET card = '[1' WHERE fingerprint = '{MODEL}'")
        cards = {model.fingerprint: model.card for model in store.models()}
        assert cards == {MODEL: {}, 'sound': {'name': 'caps'}}
        (told,) = store.damaged_cards()
        assert f"card of model '{MODEL}' is damaged" in str(told)
        assert store.damaged_cards('sound') == []
        store.keep_model(MODEL, 8, {'name': 'caps'})
        assert store.damaged_cards() == []
        assert [model.card for model in store.models()] == [{'name': 'caps'}] * 2


requests = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
HOSTILE = st.text(max_size=140) | st.sampled_from(
    ["'; DROP TABLE descriptors; --", '../x', '🧢', 'a\0', '\ud800', '%', ' ', 'x' * 100_000]
)


@requests
@given(
    name=HOSTILE,
    tags=st.lists(HOSTILE, max_size=3),
    values=hnp.arrays(np.float32, st.integers(0, 6), elements=st.floats(width=32)),
)
def test_any_request_is_stored_exactly_or_refused(store, name, tags, values):
    before = names(store), store.revision()
    refusal = None
    try:
        stored = store.put(name, f'model of {values.size}', values, replace=True, tags=tags)
    except (InvalidNameError, InvalidDescriptorError) as error:
        refusal = str(error)
    if refusal is not None:
        assert refusal.isprintable()
        assert (names(store), store.revision()) == before
        return
    read = store.get(name, stored.model)
    assert (read.name, read.tags) == (name, tuple(sorted(set(tags))))
    assert read.values.tobytes() == stored.values.tobytes()
    assert np.linalg.norm(read.values) == pytest.approx(1, abs=2e-4)
    assert name in names(store, prefix=name)
    assert all(name in names(store, tag=tag) for tag in tags)
