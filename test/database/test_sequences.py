"""Any sequence of operations leaves what a plain dictionary would hold."""

import dataclasses
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from samples import grasp, taught

from don_kp_ros.database import schema
from don_kp_ros.database.errors import InvalidObjectError, NameTakenError, UnknownNameError
from don_kp_ros.database.records import Filter, now
from don_kp_ros.database.store import DescriptorStore

MODELS = {'m': 3, 'n': 2}
key = st.tuples(st.sampled_from(['a', 'a/b', 'a/c', 'ä']), st.sampled_from(sorted(MODELS)))
seeds = st.integers(0, 10_000)
tag_sets = st.sets(st.sampled_from(['t', 'u']))


def direction(seed: int, model: str) -> np.ndarray:
    # All in one half of the space: none cancel each other.
    vector = np.abs(np.random.default_rng(seed).normal(size=MODELS[model])) + 0.01
    return (vector / np.linalg.norm(vector)).astype(np.float32)


class Operations(RuleBasedStateMachine):
    """A store, and a dictionary that is told the same; each sees names as (name, model)."""

    store: DescriptorStore

    def __init__(self) -> None:
        super().__init__()
        with self.store._database.transaction(write=True) as connection:
            for table in reversed(schema.metadata.sorted_tables):
                if table.name not in ('revision', 'schema_version'):
                    connection.execute(table.delete())
        self.live: dict = {}  # (seeds, tags) by key
        self.taught: dict = {}  # objects by key
        self.gone: dict = {}  # lists of them by key, oldest first

    def expect(self, error, call, *arguments, **options):
        """Call; where an error is expected, see that it comes and that nothing has changed."""
        if error is None:
            return call(*arguments, **options)
        before = self.store.revision()
        with pytest.raises(error):
            call(*arguments, **options)
        assert self.store.revision() == before
        return None

    @rule(key=key, seed=seeds, tags=tag_sets, mode=st.sampled_from(['', 'add', 'replace']))
    def put(self, key, seed, tags, mode):
        known = key in self.live
        error = NameTakenError if known and not mode else None
        options = {mode: True} if mode else {}
        values = direction(seed, key[1])
        self.expect(error, self.store.put, *key, values, tags=sorted(tags), **options)
        if error is None:
            former = self.live[key] if known and mode == 'add' else ([], set())
            self.live[key] = [*former[0], seed], former[1] | tags

    @rule(key=key)
    def delete(self, key):
        self.expect(None if key in self.live else UnknownNameError, self.store.delete, *key)
        if key in self.live:
            self.gone.setdefault(key, []).append(self.live.pop(key))

    @rule(key=key)
    def restore(self, key):
        error = None
        if key in self.live:
            error = NameTakenError
        elif not self.gone.get(key):
            error = UnknownNameError
        self.expect(error, self.store.restore, *key)
        if error is None:
            self.live[key] = self.gone[key].pop()

    @rule(key=key, name=st.sampled_from(['a', 'a/b', 'a/c', 'ä']), tags=st.none() | tag_sets)
    def change(self, key, name, tags):
        error = None
        if key not in self.live:
            error = UnknownNameError
        elif name != key[0] and (name, key[1]) in self.live:
            error = NameTakenError
        labels = None if tags is None else sorted(tags)
        self.expect(error, self.store.change, *key, new_name=name, tags=labels)
        if error is None:
            former = self.live.pop(key)
            self.live[name, key[1]] = former[0], former[1] if tags is None else tags

    @rule(old=st.booleans())
    def prune(self, old):
        number = sum(map(len, self.gone.values()))
        before = now() - timedelta(days=1) if old else now() + timedelta(days=1)
        assert self.store.prune(before) == (0 if old else number)
        if not old:
            self.gone.clear()

    @rule(key=key)
    def get(self, key):
        found = self.expect(None if key in self.live else UnknownNameError, self.store.get, *key)
        if found is not None:
            self.check(found, key, self.live[key])
            seen = [seen.values.tolist() for seen in self.store.observations(*key)]
            wanted = [direction(seed, key[1]).tolist() for seed in self.live[key][0]]
            assert seen == wanted

    @rule(
        prefix=st.sampled_from(['', 'a', 'a/', 'b']),
        model=st.none() | st.sampled_from(['m', 'n', 'o']),
        object_=st.none() | st.sampled_from(['a', 'ä', 'b']),
        tag=st.none() | st.sampled_from(['t', 'u', 'v']),
        deleted=st.booleans(),
        limit=st.none() | st.integers(0, 9),
        after=st.none() | key,
    )
    def list(self, prefix, model, object_, tag, deleted, limit, after):
        held = {k: v[-1] for k, v in self.gone.items() if v} if deleted else self.live
        wanted = [
            key
            for key in sorted(held)
            if key[0].startswith(prefix)
            and model in (None, key[1])
            and object_ in (None, key[0].partition('/')[0])
            and (tag is None or tag in held[key][1])
        ]
        where = Filter(prefix, model, object_, tag, deleted)
        assert self.store.count(where) == len(wanted)
        page = [key for key in wanted if after is None or key > after][:limit]
        found = self.store.list(where, limit=limit, after=after)
        assert [(one.name, one.model) for one in found] == page
        for one, key in zip(found, page, strict=True):
            self.check(one, key, held[key])
            assert (one.deleted is not None) == deleted

    @rule(key=key, seed=seeds, number=st.integers(3, 5), replace=st.booleans())
    def teach(self, key, seed, number, replace):
        former = self.taught.get(key)
        error = NameTakenError if former is not None and not replace else None
        given = taught(seed, number, MODELS[key[1]], name=key[0], model=key[1])
        self.expect(error, self.store.objects.put, given, replace=replace)
        if error is None:
            self.taught[key] = given

    @rule(key=key, name=st.sampled_from(['a', 'a/b', 'ä']))
    def rename_object(self, key, name):
        error = None
        if key not in self.taught:
            error = UnknownNameError
        elif (name, key[1]) in self.taught:
            error = NameTakenError
        self.expect(error, self.store.objects.rename, *key, name)
        if error is None:
            self.taught[name, key[1]] = dataclasses.replace(self.taught.pop(key), name=name)

    @rule(key=key, seed=seeds, meanwhile=st.booleans())
    def add_a_view(self, key, seed, meanwhile):
        if key not in self.taught:
            return
        former = self.store.objects.get(*key)
        if meanwhile:  # somebody else teaches it
            self.teach(key, seed + 1, 3, True)
        given = taught(seed, 4, MODELS[key[1]], name=key[0], model=key[1], views=2)
        error = InvalidObjectError if meanwhile else None
        self.expect(error, self.store.objects.put, given, former=former)
        if not meanwhile:
            self.taught[key] = dataclasses.replace(given, grasps=former.grasps)

    @rule(key=key, seed=seeds, name=st.sampled_from(['', 'brim', '1']), replace=st.booleans())
    def teach_a_grasp(self, key, seed, name, replace):
        former = self.taught.get(key)
        held = {one.name: one for one in former.grasps} if former else {}
        taken = name in held and not replace
        error = UnknownNameError if former is None else NameTakenError if taken else None
        given = grasp(seed, name=name)
        self.expect(error, self.store.objects.put_grasp, *key, given, replace=replace)
        if error is None:
            number = next(str(n) for n in range(1, 99) if str(n) not in held)
            held[name or number] = dataclasses.replace(given, name=name or number)
            grasps = tuple(held[each] for each in sorted(held))
            self.taught[key] = dataclasses.replace(former, grasps=grasps)

    @rule(key=key, name=st.sampled_from(['brim', '1']))
    def forget_a_grasp(self, key, name):
        former = self.taught.get(key)
        held = former.grasps if former else ()
        error = None if name in [one.name for one in held] else UnknownNameError
        self.expect(error, self.store.objects.delete_grasp, *key, name)
        if error is None:
            left = tuple(one for one in held if one.name != name)
            self.taught[key] = dataclasses.replace(former, grasps=left)

    @rule(key=key)
    def forget(self, key):
        error = None if key in self.taught else UnknownNameError
        self.expect(error, self.store.objects.delete, *key)
        self.taught.pop(key, None)

    @rule(model=st.none() | st.sampled_from(['m', 'n', 'o']), name=st.none() | st.just('a'))
    def list_objects(self, model, name):
        wanted = [
            self.taught[key].content()
            for key in sorted(self.taught)
            if model in (None, key[1]) and name in (None, key[0])
        ]
        found, damaged = self.store.objects.list(Filter(model=model, object=name))
        assert ([one.content() for one in found], damaged) == (wanted, [])

    @rule(model=st.sampled_from([*MODELS, 'o']))
    def matrix(self, model):
        wanted = sorted(name for name, of in self.live if of == model)
        names, values = self.store.matrix(model)
        assert list(names) == wanted
        assert values.shape == (len(wanted), MODELS[model] if wanted else 0)
        assert values.dtype == np.float32
        for name, row in zip(names, values, strict=True):
            assert row.tolist() == self.store.get(name, model).values.tolist()

    def check(self, found, key, held):
        """Compare a descriptor with what the dictionary holds."""
        seen, tags = held
        assert (found.name, found.model) == key
        assert found.tags == tuple(sorted(tags))
        assert found.observations == len(seen)
        mean = np.sum([direction(seed, key[1]).astype(np.float64) for seed in seen], axis=0)
        np.testing.assert_allclose(found.values, mean / np.linalg.norm(mean), atol=1e-7)


def test_sequences(database):
    with DescriptorStore(database) as store:
        machine = type('OperationsOnOne', (Operations,), {'store': store})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=8 if '://' in database else 20,
                stateful_step_count=25,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
