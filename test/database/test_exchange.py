"""Export and import: exact, checked, all or nothing; checksums are computed here as documented."""

import base64
import hashlib
import json
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import MODEL, OTHER, change, grasp, mesh, png, taught, unit

from don_kp_ros.database import exchange, exchange_file
from don_kp_ros.database.errors import StoreError
from don_kp_ros.database.exchange import ConflictError, Summary
from don_kp_ros.database.exchange_file import Entry
from don_kp_ros.database.exchange_lines import ExchangeError
from don_kp_ros.database.records import Filter, Observation, StoredDescriptor
from don_kp_ros.database.store import DescriptorStore
from don_kp_ros.errors import RefusedError

THEN = datetime(2026, 1, 2, 3, 4, 5, 678901, timezone.utc)
names = st.text(st.characters(exclude_categories=['C', 'Z']), min_size=1, max_size=20)
numbers = st.floats(-1e6, 1e6)
seeds = st.integers(0, 2**32 - 1)


@st.composite
def looks(draw: st.DrawFn) -> Observation:
    return Observation(
        values=unit(draw(seeds)),
        pixel=draw(st.none() | st.tuples(st.floats(0, 639), st.floats(0, 479))),
        image_size=draw(st.none() | st.just((640, 480))),
        camera=draw(
            st.none() | st.dictionaries(st.text(max_size=5), numbers | st.text(max_size=5))
        ),
        position=draw(st.none() | st.tuples(numbers, numbers, numbers)),
        patch=draw(st.none() | st.builds(png, shade=st.integers(0, 255))),
        author=draw(st.just('') | names),
        created=THEN + timedelta(microseconds=draw(st.integers(0, 10**15))),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / 'x.jsonl'


@pytest.fixture
def store(tmp_path: Path, path: Path):
    """Hold three descriptors of two models, which are also exported."""
    with DescriptorStore(tmp_path / 'a.sqlite') as opened:
        opened.keep_model(MODEL, 8, {'trained on': 'caps', 'pck': [0.5, 1.0]})
        look = Observation(unit(0), author='eve', patch=png(shade=9))
        opened.put('cap/brim', MODEL, look, tags=['b', 'a'])
        opened.put('cap/brim', MODEL, unit(1), add=True)
        opened.put('cup/rim', MODEL, unit(2), object='mug')
        opened.put('cup/rim', OTHER, unit(3, 4))
        exchange.export(opened, path)
        yield opened


@pytest.fixture
def other(tmp_path: Path):
    with DescriptorStore(tmp_path / 'b.sqlite') as opened:
        yield opened


@pytest.fixture
def lines(store, path: Path) -> list[dict[str, Any]]:
    """Read the file that was exported."""
    return [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]


def content(store: DescriptorStore) -> list[tuple[Any, ...]]:
    """All that a store holds, times included."""
    found = []
    for one in store.list():
        seen = exchange_file.Entry(one, store.observations(one.name, one.model))
        found.append((seen.content(), one.values.tobytes(), one.created, one.updated))
    return found


def signed(path: Path, lines: list[dict[str, Any]]) -> Path:
    """Write lines with the checksums that docs/database.md describes."""
    written, checksums = [], ''
    for line in lines:
        body = {key: value for key, value in line.items() if key != 'sha256'}
        if body.get('kind') == 'end' and 'all' in body:
            body['all'] = hashlib.sha256(checksums.encode()).hexdigest()
        text = json.dumps(body, sort_keys=True, separators=(',', ':'), ensure_ascii=False)
        body['sha256'] = hashlib.sha256(text.encode('utf-8')).hexdigest()
        checksums += body['sha256']
        written.append(json.dumps(body))  # spaces, escapes and order are as anyone likes
    path.write_text('\n'.join(written) + '\n', encoding='utf-8')
    return path


@settings(max_examples=25, deadline=None)
@given(
    points=st.dictionaries(
        st.tuples(names, st.sampled_from([MODEL, OTHER])),
        st.tuples(
            st.lists(looks(), min_size=1, max_size=3),
            st.sets(names, max_size=3),
            st.none() | names,
        ),
        max_size=4,
    )
)
def test_what_is_exported_is_imported_to_the_last_bit(points, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp('exchange')
    with (
        DescriptorStore(folder / 'a.sqlite') as store,
        DescriptorStore(folder / 'b.sqlite') as other,
    ):
        for (name, model), (seen, tags, thing) in points.items():
            for look in seen:
                store.put(name, model, look, add=True, object=thing, tags=sorted(tags))
        exchange.export(store, folder / 'x.jsonl')
        summary = exchange.load(other, folder / 'x.jsonl')
        assert summary.added == summary.descriptors == len(points)
        assert content(other) == content(store)
        exchange.export(other, folder / 'y.jsonl')
        first, second = (
            (folder / name).read_bytes().splitlines()[1:-1] for name in ('x.jsonl', 'y.jsonl')
        )
        assert first == second


def test_importing_twice_changes_nothing(store, other, path) -> None:
    assert exchange.load(other, path) == Summary(2, 3, added=3)
    assert {model.fingerprint: model.card for model in other.models()} == {
        model.fingerprint: model.card for model in store.models()
    }
    before = other.revision()
    assert exchange.load(other, path) == Summary(2, 3, unchanged=3)
    assert other.revision() == before
    assert exchange.load(store, path) == Summary(2, 3, unchanged=3)


def test_other_content_under_a_name_is_a_conflict(store, other, path) -> None:
    other.put('cup/rim', MODEL, unit(7))
    before = content(other)
    with pytest.raises(ConflictError, match=r"x\.jsonl: 'cup/rim' of model ab12.*b\.sqlite"):
        exchange.load(other, path)
    assert content(other) == before
    kept = exchange.load(other, path, existing='keep')
    assert kept == Summary(2, 3, added=2, kept=1)
    np.testing.assert_array_equal(other.get('cup/rim', MODEL).values, unit(7))
    replaced = exchange.load(other, path, existing='replace')
    assert replaced == Summary(2, 3, replaced=1, unchanged=2)
    assert content(other) == content(store)


def test_a_damaged_one_is_left_out_and_replaced_when_asked(store, other, tmp_path, path) -> None:
    exchange.load(other, path)
    change(
        tmp_path / 'b.sqlite',
        "UPDATE descriptors SET \"values\" = x'00' WHERE name = 'cap/brim'",
        "UPDATE observations SET patch = NULL, camera = '[' WHERE descriptor_id = "
        '(SELECT id FROM descriptors WHERE name = \'cup/rim\' AND length("values") = 32)',
    )
    summary = exchange.export(other, tmp_path / 'y.jsonl')
    assert (summary.models, summary.descriptors) == (2, 1)
    assert ['cap/brim' in why or 'cup/rim' in why for why in summary.left_out] == [True, True]
    assert exchange.load(store, tmp_path / 'y.jsonl').unchanged == 1
    with pytest.raises(ConflictError, match='cap/brim'):
        exchange.load(other, path)
    assert exchange.load(other, path, existing='replace').replaced == 2
    assert content(other) == content(store)


@pytest.mark.parametrize(
    ('wanted', 'told'),
    [
        ({'tag': 'rde'}, "the tag 'rde'"),
        ({'object': 'cpa'}, "the object 'cpa'"),
        ({'model': 'm', 'prefix': 'cap/'}, "the model 'm' and the prefix 'cap/'"),
    ],
)
def test_an_export_of_nothing_leaves_what_was_exported_before(store, path, wanted, told) -> None:
    before = path.read_bytes()
    with pytest.raises(RefusedError, match=f'nothing in .*a\\.sqlite has {told}; .*x\\.jsonl'):
        exchange.export(store, path, Filter(**wanted))
    assert path.read_bytes() == before
    for name in 'cap/brim', 'cup/rim':
        for model in MODEL, OTHER:
            if store.has(name, model):
                store.delete(name, model)
    assert exchange.export(store, path).descriptors == 0  # what is empty may be kept, too


def test_an_export_can_be_of_a_part(store, path) -> None:

    def named(**wanted: str) -> list[tuple[str, str]]:
        exchange.export(store, path, Filter(**wanted))
        items = list(exchange_file.read(path))
        return [(i.descriptor.name, i.descriptor.model) for i in items if isinstance(i, Entry)]

    assert named(model=OTHER) == [('cup/rim', OTHER)]
    assert named(object='mug') == [('cup/rim', MODEL)]
    assert named(tag='a') == [('cap/brim', MODEL)]
    with pytest.raises(ExchangeError, match='none such'):
        named(tag='none such')
    store.delete('cap/brim', MODEL)
    assert named() == [('cup/rim', OTHER), ('cup/rim', MODEL)]


def test_a_card_is_kept_where_there_is_one(store, other, path) -> None:
    other.keep_model(MODEL, 8, {'mine': 1})
    exchange.load(other, path)
    assert other.models()[1].card == {'mine': 1}
    exchange.load(other, path, existing='replace')
    assert other.models()[1].card == store.models()[1].card


def test_a_file_is_as_documented(store, tmp_path, lines) -> None:
    kinds = ['header', 'model', 'model', 'descriptor', 'observation', 'observation']
    kinds += ['descriptor', 'observation'] * 2 + ['end']
    assert [line['kind'] for line in lines] == kinds
    for line, fields in {
        1: 'card dimension fingerprint',
        3: 'created model name object observations tags updated values',
        4: 'author camera created image_size patch pixel position values',
    }.items():
        assert sorted(lines[line]) == sorted([*fields.split(), 'kind', 'sha256'])
    point, seen = lines[3], lines[4]
    assert (point['name'], point['model'], point['tags']) == ('cap/brim', MODEL, ['a', 'b'])
    values = np.frombuffer(base64.b64decode(seen['values']), '<f4')
    np.testing.assert_array_equal(values, unit(0))
    assert base64.b64decode(seen['patch']) == png(shade=9)
    signed(tmp_path / 'y.jsonl', lines)
    assert exchange.load(store, tmp_path / 'y.jsonl').unchanged == 3


def test_every_changed_byte_and_every_missing_line_is_found(store, other, tmp_path, path) -> None:
    broken = tmp_path / 'broken.jsonl'
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    lines = whole.splitlines(keepends=True)
    spoilt = [b''.join(lines[:n] + lines[n + 1 :]) for n in range(len(lines))]
    spoilt += [b''.join(lines[:n] + [lines[n]] + lines[n:]) for n in range(len(lines))]
    spoilt += [b''.join([*lines[:n], lines[n + 1], lines[n], *lines[n + 2 :]]) for n in (2, 4, 6)]
    spoilt += [whole[: int(n)] for n in rng.integers(0, len(whole) - 1, 50)]
    for n in rng.integers(0, len(whole) - 1, 150):
        changed = bytearray(whole)
        changed[n] ^= 1 << int(rng.integers(8))
        spoilt.append(bytes(changed))
    before = other.revision()
    for text in spoilt:
        broken.write_bytes(text)
        with pytest.raises(ExchangeError, match=r'broken\.jsonl, line \d+: .*; '):
            exchange.load(other, broken)
    assert other.revision() == before
    assert other.models() == []


def retold(lines: list[dict[str, Any]], number: int, **changes: Any) -> list[dict[str, Any]]:
    """Change fields of a line."""
    return [{**line, **changes} if n == number else line for n, line in enumerate(lines)]


HEADER, MODEL_LINE, POINT, LOOK = 0, 2, 3, 4
OBJECT, SIDE = 10, 11
LONG = base64.b64encode(np.ones(5, np.float32).tobytes()).decode()
NAN = base64.b64encode(np.full(8, np.nan, np.float32).tobytes()).decode()
NOT_IT = base64.b64encode(unit(99).tobytes()).decode()


@pytest.mark.parametrize(
    ('number', 'changes', 'told'),
    [
        (
            HEADER,
            {'version': 5},
            'line 1: it is of version .5., this don_kp reads 1 to 4; update',
        ),
        (HEADER, {'format': 'caps'}, 'line 1: it is no file of don_kp descriptors'),
        (MODEL_LINE, {'dimension': 0}, 'line 3: the dimension is 0; allowed'),
        (MODEL_LINE, {'dimension': 10**9}, 'line 3: the dimension is 1000000000'),
        (MODEL_LINE, {'dimension': '8'}, "line 3: model: dimension is '8'; int is expected"),
        (MODEL_LINE, {'card': [1]}, 'line 3: the model.s card is no mapping'),
        (MODEL_LINE, {'fingerprint': OTHER}, 'line 3: that model came before'),
        (POINT, {'name': 'a\nb'}, 'line 4: the name .* cannot be printed'),
        (POINT, {'name': 'x' * 200}, 'line 4: the name .* has 200 characters'),
        (POINT, {'name': '\ud800'}, 'line 4: '),
        (POINT, {'name': 7}, 'line 4: descriptor: name is 7; str is expected'),
        (POINT, {'object': ''}, 'line 4: the object is empty'),
        (POINT, {'model': 'unheard of'}, "line 4: model 'unheard of' did not come before"),
        (POINT, {'tags': ['']}, 'line 4: the tag is empty'),
        (POINT, {'tags': [str(n) for n in range(40)]}, 'line 4: 40 tags'),
        (POINT, {'values': LONG}, 'line 4: it has 5 values, those of its model 8'),
        (POINT, {'values': NOT_IT}, 'line 6: the values are not the mean'),
        (POINT, {'values': 'no base64!'}, 'line 4: '),
        (POINT, {'observations': 0}, 'line 4: it has 0 observations'),
        (POINT, {'observations': 10**12}, 'line 4: it has 1000000000000 observations'),
        (POINT, {'observations': 1}, 'line 5: the values are not the mean'),
        (POINT, {'observations': 3}, "line 7: it is of kind 'descriptor'; here must come observ"),
        (POINT, {'created': 'yesterday'}, 'line 4: '),
        (POINT, {'created': '2026-01-01T00:00:00'}, 'line 4: the time .* no time zone'),
        (POINT, {'secret': 1}, 'line 4: descriptor: unknown key secret'),
        (LOOK, {'values': NAN}, 'line 5: value 0 of 8 is nan'),
        (LOOK, {'values': LONG}, 'line 5: it has 5 values'),
        (LOOK, {'pixel': [1.0]}, 'line 5: observation: pixel is'),
        (LOOK, {'pixel': [-9.0, 1.0]}, 'line 5: the pixel .* outside'),
        (LOOK, {'image_size': [0, 1]}, 'line 5: the image size is'),
        (LOOK, {'camera': 'D435'}, 'line 5: the camera is no mapping'),
        (LOOK, {'patch': base64.b64encode(b'GIF89a').decode()}, 'line 5: the patch is no PNG'),
        (LOOK, {'patch': 'A' * 90_000}, 'line 5: the patch has 67500 bytes'),
        (LOOK, {'patch': 'A' * 2_000_000}, 'line 5: it is longer than 1 MiB'),
        (LOOK, {'kind': 'end'}, "line 5: it is of kind 'end'; here must come observation"),
        (
            -1,
            {'descriptors': 2},
            'line 11: 2 models, 2 descriptors and 0 objects were .* 2, 3 and 0',
        ),
    ],
)
def test_what_is_wrong_in_a_file_with_right_checksums_is_named(
    number: int, changes: dict[str, Any], told: str, other, tmp_path, lines
) -> None:
    forged = tmp_path / 'forged.jsonl'
    try:
        signed(forged, retold(lines, number % len(lines), **changes))
    except UnicodeEncodeError:  # no checksum can be made of it
        text = [json.dumps(line) for line in retold(lines, number, **changes)]
        forged.write_text('\n'.join(text) + '\n')
    with pytest.raises(ExchangeError, match=r'forged\.jsonl, ' + told) as raised:
        exchange.load(other, forged)
    assert len(str(raised.value)) < 800
    assert other.models() == []


def test_a_name_twice_in_a_file_is_refused(other, tmp_path, lines) -> None:
    with pytest.raises(ExchangeError, match='line 7: that name came before'):
        exchange.load(other, signed(tmp_path / 'y.jsonl', lines[:6] + lines[3:]))


@pytest.fixture
def with_objects(store, path) -> Path:
    """Export two objects beside the descriptors."""
    store.objects.put(taught(0, 5, views=2))
    for number, name in enumerate(['crown', 'brim']):
        store.objects.put_grasp('cap', MODEL, grasp(number, name=name))
    store.objects.put(taught(1, 3, 4, name='mug', model=OTHER))
    assert exchange.export(store, path) == Summary(2, 3, 2)
    return path


def test_objects_are_exported_and_imported_to_the_last_bit(
    store, other, with_objects, tmp_path
) -> None:
    def objects(of: DescriptorStore) -> list[Any]:
        return [(one.content(), one.created, one.updated) for one in of.objects.list()[0]]

    assert exchange.load(other, with_objects) == Summary(2, 3, 2, added=5)
    assert (content(other), objects(other)) == (content(store), objects(store))
    assert exchange.load(other, with_objects) == Summary(2, 3, 2, unchanged=5)
    other.objects.put(taught(2), replace=True)
    with pytest.raises(ConflictError, match=r"x\.jsonl: 'cap' of model ab12.*b\.sqlite"):
        exchange.load(other, with_objects)
    assert exchange.load(other, with_objects, existing='keep').kept == 1
    assert store.objects.get('cap', MODEL).grasps == (grasp(1), grasp(0, name='crown'))
    assert other.objects.get('cap', MODEL).content() == taught(2).content()
    change(tmp_path / 'b.sqlite', "UPDATE taught_objects SET points = x'00'")
    damaged = exchange.export(other, tmp_path / 'y.jsonl')
    assert (damaged.objects, len(damaged.left_out)) == (0, 2)
    assert exchange.load(other, with_objects, existing='replace').replaced == 2
    assert objects(other) == objects(store)
    assert exchange.export(store, with_objects, Filter(object='mug')) == Summary(2, 1, 1)
    assert exchange.export(store, with_objects, Filter(tag='a')) == Summary(2, 1, 0)


def test_a_file_from_before_there_were_objects_is_read(other, tmp_path, lines) -> None:
    lines[HEADER]['version'] = 1
    assert lines[-1].pop('objects') == 0
    assert exchange.load(other, signed(tmp_path / 'y.jsonl', lines)).added == 3


def test_a_file_from_before_there_were_grasps_is_read(other, tmp_path, with_objects) -> None:
    lines = [json.loads(line) for line in with_objects.read_text().splitlines()]
    lines[HEADER]['version'] = 2
    assert [len(line.pop('grasps')) for line in lines if line['kind'] == 'object'] == [2, 0]
    assert exchange.load(other, signed(tmp_path / 'y.jsonl', lines)).added == 5
    assert [one.grasps for one in other.objects.list()[0]] == [(), ()]


@pytest.fixture
def with_mesh(store, path) -> Path:
    """Export an object with a mesh of several pieces."""
    store.objects.put_mesh(store.objects.put(taught(0)), mesh(0, 1_200_000))
    assert exchange.export(store, path).objects == 1
    return path


def test_a_mesh_is_exported_and_imported_with_its_object(store, other, with_mesh) -> None:
    pieces = [line for line in with_mesh.read_text().splitlines() if '"kind":"piece"' in line]
    assert len(pieces) == 3
    assert exchange.load(other, with_mesh).added == 4
    read = other.objects.get('cap', MODEL)
    assert read.content() == store.objects.get('cap', MODEL).content()
    assert other.objects.with_mesh(read).mesh.data == mesh(0, 1_200_000).data
    assert exchange.load(other, with_mesh).unchanged == 4
    other.objects.delete_mesh('cap', MODEL)
    with pytest.raises(ConflictError, match="'cap'"):
        exchange.load(other, with_mesh)


def test_a_damaged_mesh_is_left_out_of_an_export(store, other, with_mesh, tmp_path) -> None:
    change(tmp_path / 'a.sqlite', "UPDATE meshes SET data = x'00'")
    (told,) = exchange.export(store, with_mesh).left_out
    assert "the mesh of 'cap'" in told
    exchange.load(other, with_mesh)
    assert other.objects.get('cap', MODEL).mesh is None


@pytest.mark.parametrize('damage', ["UPDATE meshes SET data = x'00'", 'DELETE FROM meshes'])
def test_a_damaged_mesh_counts_as_other_content(store, other, with_mesh, tmp_path, damage) -> None:
    exchange.load(other, with_mesh)
    change(tmp_path / 'b.sqlite', damage)
    with pytest.raises(ConflictError, match="'cap'"):
        exchange.load(other, with_mesh)
    assert exchange.load(other, with_mesh, existing='replace').replaced == 1
    mended = other.objects.with_mesh(other.objects.get('cap', MODEL))
    assert mended.mesh.data == mesh(0, 1_200_000).data


def test_pieces_that_are_not_the_mesh_are_refused(other, with_mesh, tmp_path) -> None:
    lines = [json.loads(line) for line in with_mesh.read_text().splitlines()]
    (thing,) = [line for line in lines if line['kind'] == 'object']
    thing['mesh']['pieces'] = 2
    shorter = lines[:-2] + lines[-1:]
    with pytest.raises(ExchangeError, match='do not have the fingerprint'):
        exchange.load(other, signed(tmp_path / 'y.jsonl', shorter))
    assert other.count() == 0


def test_a_file_from_before_there_were_meshes_is_read(other, tmp_path, with_objects) -> None:
    lines = [json.loads(line) for line in with_objects.read_text().splitlines()]
    lines[HEADER]['version'] = 3
    assert [line.pop('mesh') for line in lines if line['kind'] == 'object'] == [None, None]
    assert exchange.load(other, signed(tmp_path / 'y.jsonl', lines)).added == 5


GRASP = {'name': 'a', 'position': [0, 0, 0], 'orientation': [0, 0, 0, 1], 'width': 0.05}


@pytest.mark.parametrize(
    ('number', 'changes', 'told'),
    [
        (OBJECT, {'name': 'a\nb'}, 'line 16: the name .* cannot be printed'),
        (OBJECT, {'model': 'unheard of'}, "line 11: model 'unheard of' did not come before"),
        (OBJECT, {'points': 2}, 'line 13: the object has 2 points; allowed are 3'),
        (OBJECT, {'points': 10**12}, "line 17: it is of kind 'object'; here must come point"),
        (OBJECT, {'views': 0}, 'line 16: the object has 0 views'),
        (OBJECT, {'created': 'yesterday'}, 'line 16: '),
        (OBJECT, {'grasps': [{**GRASP, 'width': 2}]}, "line 16: the grasp 'a' has the width"),
        (OBJECT, {'grasps': [{**GRASP, 'position': [0]}]}, 'line 11: object: grasps.position is'),
        (OBJECT, {'grasps': [GRASP] * 2}, "line 16: two grasps have the name 'a'; rename one"),
        (OBJECT, {'grasps': [GRASP] * 65}, 'line 16: the object has 65 grasps; allowed are 0 to'),
        (
            SIDE,
            {'position': [0.0, 11.0, 0.0]},
            'line 16: point 0 of 5 has the place .*within 10 m',
        ),
        (SIDE, {'position': [0.0, 1.0]}, 'line 12: point: position'),
        (SIDE, {'values': LONG}, 'line 12: it has 5 values, those of its model 8'),
        (SIDE, {'values': NAN}, "line 16: point 0 of 5 has the descriptor's length nan"),
        (SIDE, {'weight': -1.0}, 'line 16: point 0 of 5 has the weight -1.0'),
        (-1, {'objects': 1}, 'line 21: 2 models, 3 descriptors and 1 objects were .*, 3 and 2'),
    ],
)
def test_what_is_wrong_with_an_object_of_a_file_is_named(
    number: int, changes: dict[str, Any], told: str, other, tmp_path, with_objects
) -> None:
    lines = [json.loads(line) for line in with_objects.read_text().splitlines()]
    kinds = ['object', *['point'] * 5, 'object', *['point'] * 3, 'end']
    assert [line['kind'] for line in lines[OBJECT:]] == kinds
    signed(tmp_path / 'forged.jsonl', retold(lines, number % len(lines), **changes))
    with pytest.raises(ExchangeError, match=r'forged\.jsonl, ' + told):
        exchange.load(other, tmp_path / 'forged.jsonl')
    assert other.models() == []


@pytest.mark.parametrize(
    'text',
    [
        b'',
        b'\n',
        b'\x00\xff\xfe not text',
        b'[1, 2]\n',
        b'{"format": "something else"}\n',
        b'[' * 100_000 + b'\n',
        b'{"a":' * 100_000 + b'\n',
        b'SQLite format 3\x00' + bytes(5000),
    ],
    ids=['empty', 'a line end', 'bytes', 'a list', 'other', 'deep', 'deeper', 'SQLite'],
)
def test_other_files_are_refused(text: bytes, other, tmp_path) -> None:
    (tmp_path / 'foreign').write_bytes(text)
    with pytest.raises(ExchangeError, match=r'foreign, line 1: .*; (give a file|export again)'):
        exchange.load(other, tmp_path / 'foreign')


def test_numbers_that_are_none_are_refused(store, other, path) -> None:
    text = path.read_text()
    for number in 'NaN', 'Infinity', '1e999', '9' * 5000:
        path.write_text(text.replace('"pixel":null', f'"pixel":[{number},0]', 1))
        with pytest.raises(ExchangeError, match='line 5: '):
            exchange.load(other, path)


def test_a_model_of_another_dimension_is_refused(store, other, path) -> None:
    other.put('a', MODEL, unit(0, 4))
    with pytest.raises(ExchangeError, match=r'x\.jsonl: .* have 8 values, those in .*b\.sqlite 4'):
        exchange.load(other, path)
    assert [one.name for one in other.list()] == ['a']


def test_a_place_that_cannot_be_written_is_named(store, tmp_path, monkeypatch) -> None:
    (tmp_path / 'folder').mkdir()
    monkeypatch.chdir(tmp_path)
    for place in tmp_path / 'missing' / 'x.jsonl', tmp_path / 'folder', Path('.'):
        told = rf'{place} cannot be written \(.*; choose another'
        with pytest.raises(ExchangeError, match=told):
            exchange.export(store, place)
    with pytest.raises(ExchangeError, match=r'nothing\.jsonl cannot be read \(No such file'):
        exchange.load(store, tmp_path / 'nothing.jsonl')
    assert not list(tmp_path.glob('**/*.partial'))


def test_what_fails_leaves_the_former_file(store, tmp_path, monkeypatch, path) -> None:
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(exchange_file.os, 'fsync', full)
    with pytest.raises(ExchangeError, match='No space left on device'):
        exchange.export(store, path)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.glob('*x.jsonl*')] == ['x.jsonl']


def test_an_export_is_of_one_moment(other, tmp_path, monkeypatch, path) -> None:
    for number in range(5):
        other.put(f'p{number}', MODEL, unit(number))
    listed = other.list

    def list_and_write(*wanted: Any, **page: Any) -> list[StoredDescriptor]:
        found = listed(*wanted, **page)
        if page.get('after') is None:
            with DescriptorStore(tmp_path / 'b.sqlite') as robot:
                robot.delete('p4', MODEL)
                robot.put('p0', MODEL, unit(50), add=True)
        return found

    monkeypatch.setattr(other, 'list', list_and_write)
    monkeypatch.setattr(exchange, '_PAGE', 2)
    exchange.export(other, path)
    monkeypatch.undo()
    items = [item for item in exchange_file.read(path) if isinstance(item, Entry)]
    assert [item.descriptor.name for item in items] == ['p0', 'p1', 'p2', 'p3', 'p4']
    assert items[0].descriptor.observations == 1


def test_an_import_that_is_to_end_takes_back_what_it_stored(store, other, path):
    class Ending(threading.Event):
        """Comes in the second reading, after a model and a descriptor."""

        looks = 0

        def is_set(self) -> bool:
            self.looks += 1
            return self.looks > 8

    ending = Ending()
    with pytest.raises(StoreError, match='the node ends; nothing was imported'):
        exchange.load(other, path, ending=ending)
    assert ending.looks == 9
    assert content(other) == []
