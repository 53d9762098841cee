"""`don_kp db` as it is typed; what it prints, writes and refuses."""

import functools
import io
import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from samples import MODEL, OTHER, change, first_schema, grasp, mesh, png, read, taught, unit

from don_kp_ros.database import command, exchange, salvage
from don_kp_ros.database.errors import StoreError
from don_kp_ros.database.records import Filter, Observation
from don_kp_ros.database.store import DescriptorStore

THEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)


@pytest.fixture(autouse=True)
def _nothing_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('XDG_DATA_HOME', str(tmp_path / 'home'))
    monkeypatch.delenv(command.URL_VARIABLE, raising=False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / 'd.sqlite'
    with DescriptorStore(file) as store:
        place, lens = (0.1, 0.2, 0.3), {'frame': 'lens'}
        look = Observation(unit(0), (3.0, 4.5), (640, 480), lens, place, png(), 'eve', THEN)
        store.put('cap/brim', MODEL, look, tags=['new', 'red'])
        store.put('cap/brim', MODEL, Observation(unit(1), patch=png(shade=2)), add=True)
        store.put('cap/[red]', MODEL, unit(2))
        store.put('cup/rim', MODEL, unit(3), object='mug')
        store.put('cup/rim', OTHER, unit(4, 4))
    return file


@pytest.fixture
def run_on(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command on a file; return what was said."""

    def run(path: Path, *arguments: object, status: int | None = 0) -> str:
        capsys.readouterr()
        ended = command.main([*map(str, arguments), '--database', str(path)])
        said = capsys.readouterr()
        assert ended in (0, 1) if status is None else ended == status
        assert 'Traceback' not in said.err
        return said.out + said.err

    return run


@pytest.fixture
def run(path: Path, run_on: Callable[..., str]) -> Callable[..., str]:
    return functools.partial(run_on, path)


def rows(text: str) -> list[list[str]]:
    """Read the cells of a table's body."""
    body = [line for line in text.splitlines() if line.startswith('│')]
    return [[cell.strip() for cell in line.strip('│').split('│')] for line in body]


def test_descriptors_are_listed(run) -> None:
    listed = rows(run('list'))
    assert [(row[0], row[1][:4], row[2], row[3], row[4]) for row in listed] == [
        ('cap/[red]', 'ab12', 'cap', '', '1'),
        ('cap/brim', 'ab12', 'cap', 'new, red', '2'),
        ('cup/rim', '0123', 'cup', '', '1'),
        ('cup/rim', 'ab12', 'mug', '', '1'),
    ]
    assert '4 descriptors in ' in run('list')
    assert '1 of 4; ' in run('list', '--limit', 1)
    assert '--limit is -1' in run('list', '--limit', -1, status=1)


@pytest.mark.parametrize(
    ('wanted', 'names'),
    [
        (['cap/'], ['cap/[red]', 'cap/brim']),
        (['--model', '01'], ['cup/rim']),
        (['--object', 'mug'], ['cup/rim']),
        (['--tag', 'red'], ['cap/brim']),
        (['--limit', '1'], ['cap/[red]']),
        (['--limit', '0'], ['cap/[red]', 'cap/brim', 'cup/rim', 'cup/rim']),
        (['no such'], []),
        (['--deleted'], []),
    ],
)
def test_lists_are_filtered(wanted: list[str], names: list[str], run) -> None:
    assert [row[0] for row in rows(run('list', *wanted))] == names
    lines = run('list', '--json', *wanted).splitlines()
    assert [json.loads(line)['name'] for line in lines] == names


def test_a_damaged_one_is_told_of_and_hides_no_other(path: Path, run) -> None:
    change(path, "UPDATE descriptors SET \"values\" = x'00' WHERE name = 'cap/brim'")
    said = run('list', status=1)
    assert len(rows(said)) == 3
    assert "left out: 'cap/brim'" in said
    assert 'damaged' in run('show', 'cap/brim', status=1)
    assert 'left out' in run('export', path.with_suffix('.jsonl'), status=1)
    said = run('doctor', status=1)
    assert [row[1] for row in rows(said) if row[0] == 'note'] == ['content']


def test_a_damaged_card_is_told_of_hides_no_model_and_is_restored(path: Path, run) -> None:
    cards, file = [{'name': 'cups'}, {'name': 'caps'}], path.with_suffix('.jsonl')
    with DescriptorStore(path) as store:
        for (model, size), card in zip(((OTHER, 4), (MODEL, 8)), cards, strict=True):
            store.keep_model(model, size, card)
    run('export', file)
    change(path, f"UPDATE models SET card = '{{' WHERE fingerprint = '{MODEL}'")
    assert [row[1] for row in rows(run('doctor', status=1)) if row[0] == 'note'] == ['content']
    assert len(rows(run('list', '--model', OTHER))) == 1
    assert 'cap' in run('show', 'cap/brim')
    other = path.with_name('other.jsonl')
    assert '1 descriptors of 1 models' in run('export', other, '--model', OTHER)
    said = run('export', other, status=1)
    assert f"left out: the card of model '{MODEL}'" in said
    assert '4 descriptors of 2 models' in said
    assert '4 unchanged' in run('import', file)
    run('doctor')
    with DescriptorStore(path) as store:
        assert [model.card for model in store.models()] == cards


def test_objects_are_listed(path: Path, run) -> None:
    with DescriptorStore(path) as store:
        for name, model in (('mug', MODEL), ('cap', MODEL), ('cap', OTHER)):
            store.objects.put(taught(0, 5, 4 if model == OTHER else 8, name=name, model=model))
        store.objects.put_grasp('cap', OTHER, grasp(0))
        store.objects.put_grasp('cap', OTHER, grasp(1, name='crown'))
    listed = rows(run('objects'))
    assert [row[5] for row in listed] == ['brim, crown', '', '']
    assert [(row[0], row[1][:4], row[2], row[4]) for row in listed] == [
        ('cap', '0123', '5', '1'), ('cap', 'ab12', '5', '1'), ('mug', 'ab12', '5', '1'),
    ]  # fmt: skip
    size = 1000 * np.ptp(taught(0, 5).points, axis=0)
    assert listed[0][3] == 'x'.join(f'{side:.0f}' for side in size)
    (one,) = run('objects', '--model', '01', '--json').splitlines()
    told = json.loads(one)
    assert (told['name'], told['points'], told['dimension']) == ('cap', 5, 4)
    assert [(one['name'], one['width']) for one in told['grasps']] == [
        ('brim', 0.05), ('crown', 0.05),
    ]  # fmt: skip
    assert '4 descriptors of 2 models, 3 objects' in run('export', path.with_suffix('.jsonl'))
    assert '3 objects' in rows(run('doctor'))[-1][2]
    change(path, "UPDATE taught_objects SET weights = x'' WHERE name = 'mug'")
    for command_ in 'objects', 'doctor':
        said = run(command_, status=1)
        assert "the object 'mug'" in said
    assert len(rows(run('objects', status=1))) == 2


def test_a_descriptor_is_shown_and_its_patch_written(run, tmp_path: Path) -> None:
    said = run('show', 'cap/brim', '--patch', tmp_path / 'p.png')
    assert (tmp_path / 'p.png').read_bytes() == png(shade=2)
    assert f'model    {MODEL}' in said
    first = rows(said)[0]
    assert first[1:7] == ['2026-01-02 03:04:05', 'eve', '3.0, 4.5', '640x480', 'lens', first[6]]
    assert first[6] == '0.100, 0.200, 0.300'
    shown = json.loads(run('show', 'cap/brim', '--json'))
    mean = unit(0).astype(float) + unit(1)
    np.testing.assert_allclose(shown['values'], mean / np.linalg.norm(mean), atol=1e-6)
    assert shown['observations'][0]['position'] == [0.1, 0.2, 0.3]


def test_what_cannot_be_shown_says_why(run, tmp_path: Path) -> None:
    assert "nearest names: 'cap/brim'" in run('show', 'cap/brin', '--model', MODEL, status=1)
    said = run('show', 'cup/rim', status=1)
    assert MODEL in said and OTHER in said and '--model' in said
    assert 'frame' in run('show', 'cup/rim', '--model', 'ab')
    assert '2 fingerprints' not in run('show', 'cup/rim', '--model', 'ab1')
    assert 'the beginning of 0 fingerprints' in run('list', '--model', 'zz', status=1)
    assert 'has no patch' in run('show', 'cap/[red]', '--patch', tmp_path / 'p.png', status=1)
    assert not (tmp_path / 'p.png').exists()


def test_a_deleted_point_is_said_to_be(path: Path, run) -> None:
    with DescriptorStore(path) as store:
        store.delete('cap/brim', MODEL)  # the first model is another one
    said = run('show', 'cap/brim', status=1)
    assert "'cap/brim'" in said and 'was deleted' in said


def test_export_and_import_bring_all_of_it_elsewhere(path: Path, run, run_on, tmp_path) -> None:
    file, elsewhere = tmp_path / 'x.jsonl', tmp_path / 'new' / 'e.sqlite'
    elsewhere.parent.mkdir()
    there = functools.partial(run_on, elsewhere)
    assert '4 descriptors of 2 models' in run('export', file)
    assert '4 added' in there('import', file)
    assert '0 added, 0 replaced, 0 kept as they were, 4 unch' in there('import', file)
    assert there('list', '--json') == run('list', '--json')
    with DescriptorStore(elsewhere) as store:
        store.put('cup/rim', MODEL, unit(9), replace=True)
    said = there('import', file, status=1)
    assert "'cup/rim' of model ab12" in said and '--replace, or --keep' in said
    assert '1 kept as they were' in there('import', file, '--keep')
    assert '1 replaced' in there('import', file, '--replace')
    assert 'line 1: it is no file of' in there('import', path, status=1)
    assert '1 descriptors' in run('export', tmp_path / 'y.jsonl', '--tag', 'red')


def test_an_export_replaces_no_database(path: Path, run, tmp_path: Path) -> None:
    other = tmp_path / 'other.sqlite'
    with DescriptorStore(other) as store:
        store.put('hat/top', MODEL, unit(0))
    for there in other, path:
        before = there.read_bytes()
        said = run('export', there, status=1)
        assert f'{there} is a database' in said and 'another file' in said
        assert there.read_bytes() == before
    for _ in range(2):
        assert '4 descriptors' in run('export', tmp_path / 'x.jsonl')


def test_an_import_of_no_export_makes_no_database(path: Path, run_on, tmp_path: Path) -> None:
    (tmp_path / 'notes.txt').write_text('nothing to see here')
    before = sorted(tmp_path.rglob('*'))
    there = functools.partial(run_on, tmp_path / 'e.sqlite')
    assert 'missing.jsonl cannot be read' in there('import', tmp_path / 'missing.jsonl', status=1)
    assert 'it is no file of' in there('import', tmp_path / 'notes.txt', status=1)
    with DescriptorStore(path) as store:
        exchange.export(store, tmp_path / 'x.jsonl')
    elsewhere = tmp_path / 'slip' / 'e.sqlite'
    said = run_on(elsewhere, 'import', tmp_path / 'x.jsonl', status=1)
    assert f'there is no folder {elsewhere.parent}' in said
    assert sorted(tmp_path.rglob('*')) == sorted([*before, tmp_path / 'x.jsonl'])


def test_prune_asks_and_removes_only_what_is_old(path: Path, run, monkeypatch) -> None:
    with DescriptorStore(path) as store:
        store.delete('cap/brim', MODEL)
        store.delete('cup/rim', OTHER)
    old = f'{datetime.now(timezone.utc) - timedelta(days=31):%Y-%m-%d %H:%M:%S.000000}'
    change(path, 'UPDATE descriptors SET deleted = ? WHERE name = ?', values=(old, 'cap/brim'))
    for answer in 'n', '':
        monkeypatch.setattr('sys.stdin', io.StringIO(f'{answer}\n' if answer else ''))
        said = run('prune', '--older-than', '30d', status=1)
        assert '1 deleted before' in said and "go for good: 'cap/brim'" in said
        assert 'nothing was removed' in said
    assert len(rows(run('list', '--deleted'))) == 2
    monkeypatch.setattr('sys.stdin', io.StringIO('y\n'))
    assert '1 removed from' in run('prune', '--older-than', '30d')
    assert [row[0] for row in rows(run('list', '--deleted'))] == ['cup/rim']
    assert 'cap/brim' not in run('list')
    assert 'nothing was deleted before' in run('prune', '--older-than', '4w')
    assert '1 removed from' in run('prune', '--older-than', '0m', '--yes')
    with pytest.raises(SystemExit):
        run('prune', '--older-than', 'soon')


def first_file(path: Path) -> None:
    rows = [(n + 1, 1, f'cap/{n}', unit(n).tobytes(), 1.7e9, 1.7e9) for n in range(200)]
    first_schema(path, [(1, MODEL, 8)], rows)


def test_migrate_keeps_a_copy_of_the_file(tmp_path: Path, run_on) -> None:
    path = tmp_path / 'old.sqlite'
    first_file(path)
    before, old = path.read_bytes(), functools.partial(run_on, path)
    assert '0005' in old('migrate', '--dry-run')
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1
    assert [row[1] for row in rows(old('doctor', status=1)) if row[0] == 'note'] == ['schema']
    assert 'now has the schema 0005' in old('migrate')
    (copy,) = tmp_path.glob('old.sqlite.0001-*')
    assert read(copy, 'SELECT count(*) FROM descriptors') == [(200,)]
    assert read(copy, 'SELECT version FROM schema_version') == [(1,)]
    assert 'the newest schema' in old('migrate')
    assert len(rows(old('list', '--limit', 0))) == 200


def test_a_newer_schema_is_named_and_left(path: Path, run) -> None:
    change(path, "UPDATE alembic_version SET version_num = '9999'")
    before = path.read_bytes()
    for arguments, status in ((['migrate'], 1), (['list'], 1), (['doctor'], 2)):
        assert 'update don_kp' in run(*arguments, status=status)
    assert 'only a damaged file' in run('doctor', '--set-aside', status=2)
    assert path.read_bytes() == before


def test_the_doctor_finds_a_sound_file_well(run, path: Path) -> None:
    said = rows(run('doctor'))
    assert {row[0] for row in said} == {'well'}
    looked = ['file', 'space', 'journal', 'lock', 'integrity', 'schema', 'content']
    assert [row[1] for row in said] == looked
    assert '4 descriptors' in said[-1][2]
    assert 'only a damaged file is set aside' in run('doctor', '--set-aside', status=2)


def test_the_doctor_names_who_holds_a_lock(run, path: Path) -> None:
    hold = (
        'import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); '
        "c.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, '-c', hold, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b'held\n'
        notes = [row for row in rows(run('doctor', status=1)) if row[1] == 'lock']
        assert notes[0][0] == 'note'
        assert f'process {holder.pid}' in notes[0][2]
        assert 'end it' not in notes[0][2]  # it may be the database node, with a long import
        with pytest.raises(StoreError, match=f'is open in .*process {holder.pid}.*end that'):
            salvage.set_aside(path)
    finally:
        holder.communicate()
    assert path.exists()


def test_loose_ends_and_damaged_observations_are_found(run, path: Path) -> None:
    change(path, 'UPDATE observations SET "values" = x\'0000\' WHERE id = 2')
    assert '1 observations are damaged' in run('doctor', status=1)
    change(path, 'DELETE FROM models WHERE fingerprint = ?', values=(OTHER,))
    told = run('doctor', status=2).replace('│', ' ')  # in lines as long as the path lets them be
    assert 'of descriptors without its models' in ' '.join(told.split())


def test_a_missing_file_is_not_made_by_looking(tmp_path: Path, run_on) -> None:
    nothing = functools.partial(run_on, tmp_path / 'none.sqlite')
    for arguments in (['list'], ['show', 'a'], ['export', 'x'], ['migrate']):
        assert 'there is no database' in nothing(*arguments, status=1)
    assert 'is missing' in nothing('doctor', status=2)
    assert not (tmp_path / 'none.sqlite').exists()


def big(path: Path) -> dict[tuple[str, str], bytes]:
    """Make a file of many pages; return its values."""
    with DescriptorStore(path) as store, store.transaction():
        for number in range(300):
            store.put(f'cap/{number}', MODEL, unit(number, 64), tags=['t'], object='hat')
            if number % 3 == 0:
                store.put(f'cap/{number}', MODEL, unit(1000 + number, 64), add=True)
            if number % 10 == 0:
                store.objects.put(taught(number, 20, 64, name=f'object {number}'))
        store.delete('cap/7', MODEL)
    read(path, 'PRAGMA wal_checkpoint(TRUNCATE)')
    return contents(path)


def contents(path: Path) -> dict[tuple[str, str], bytes]:
    with DescriptorStore(path) as store:
        return {(one.name, one.object): one.values.tobytes() for one in store.list()}


def objects(path: Path) -> set[tuple[object, ...]]:
    with DescriptorStore(path) as store:
        return {one.content() for one in store.objects.list()[0]}


@pytest.mark.parametrize('seed', [0, 6, 47])
def test_a_damaged_file_is_set_aside_and_salvaged(seed: int, tmp_path: Path, run_on) -> None:
    path = tmp_path / 'd.sqlite'
    before, rng = big(path), np.random.default_rng(seed)
    taught_before = objects(path)
    content = bytearray(path.read_bytes())
    roots = [row[0] for row in read(path, 'SELECT rootpage FROM sqlite_master WHERE rootpage > 4')]
    # Not the schema's own pages, of which one lies between the roots.
    pages = [*roots, *range(max(roots) + 1, len(content) // 4096 + 1)]
    for page in rng.choice(pages, 2, replace=False) - 1:
        content[page * 4096 : (page + 1) * 4096] = rng.bytes(4096)
    path.write_bytes(content)
    damaged = functools.partial(run_on, path)
    with pytest.raises(StoreError, match='don_kp db doctor'):
        DescriptorStore(path)
    assert 'integrity' in damaged('doctor', status=2)
    assert path.read_bytes() == content
    said = damaged('doctor', '--set-aside', status=None)
    (aside,) = tmp_path.glob('d.sqlite.damaged-*[0-9]')
    assert aside.read_bytes() == content
    after = contents(path)
    whole = {key for key in after if after[key] == before.get(key)}
    # Two pages hold some tens of rows; each that is not as it was, is told of.
    assert len(whole) > 200
    for name, _ in before.keys() - whole:
        assert f"missing: '{name}': " in said
    assert len(taught_before) == 30
    assert objects(path) <= taught_before
    assert len(objects(path)) > 20
    for name, *_ in taught_before - objects(path):
        assert f"missing: object '{name}': " in said
    assert damaged('doctor').count('wrong') == 0
    assert not list(tmp_path.glob('*salvaged*')) + list(tmp_path.glob('.d.sqlite*'))


def test_a_file_that_is_no_database_is_set_aside_as_it_is(tmp_path: Path, run_on) -> None:
    path = tmp_path / 'd.sqlite'
    path.write_bytes(b'nothing to see here ' * 500)
    damaged = functools.partial(run_on, path)
    said = damaged('doctor', '--set-aside', status=1)
    assert '0 descriptors were saved' in said and 'missing: all else' in said
    (aside,) = tmp_path.glob('d.sqlite.damaged-*[0-9]')
    assert aside.read_bytes() == b'nothing to see here ' * 500
    assert '0 descriptors' in damaged('list')


def test_what_waits_in_the_journal_is_salvaged(path: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute('PRAGMA wal_autocheckpoint = 0')
        connection.execute("UPDATE descriptors SET name = 'cap/late' WHERE name = 'cap/brim'")
        connection.commit()
        copy = tmp_path / 'copy'
        copy.mkdir()
        for ending in '', '-wal':  # as after a power cut
            (copy / f'd.sqlite{ending}').write_bytes(Path(f'{path}{ending}').read_bytes())
    done = salvage.set_aside(copy / 'd.sqlite')
    assert done.saved == 4 and not done.missing
    assert ('cap/late', 'cap') in contents(copy / 'd.sqlite')


def test_a_damaged_file_of_the_first_schema_is_salvaged(tmp_path: Path) -> None:
    path = tmp_path / 'old.sqlite'
    first_file(path)
    content = bytearray(path.read_bytes())
    content[-4096:] = bytes(4096)
    path.write_bytes(content)
    done = salvage.set_aside(path)
    after = contents(path)
    assert done.saved == len(after) > 100
    assert all(values == unit(int(name[4:])).tobytes() for (name, _), values in after.items())
    named = [each for each in done.missing if each.startswith("'cap/")]
    assert done.saved + len(named) == 200


def test_grasps_are_salvaged_with_their_object_or_named(path: Path, tmp_path: Path) -> None:
    with DescriptorStore(path) as store:
        for name in 'cap', 'mug':
            store.objects.put(taught(0, name=name))
            store.objects.put_grasp(name, MODEL, grasp(0))
    change(path, """UPDATE taught_objects SET grasps = '[{"name": 7}]' WHERE name = 'mug'""")
    done = salvage.set_aside(path)
    assert [told for told in done.missing if 'grasp' in told] == [
        "the grasps of object 'mug': grasp: name is 7; str is expected"
    ]
    with DescriptorStore(path) as store:
        held = {one.name: one.grasps for one in store.objects.list()[0]}
    assert held == {'cap': (grasp(0),), 'mug': ()}


def test_a_damaged_text_costs_no_more_than_itself_and_is_named(path: Path) -> None:
    text = "CAST(x'ff61' AS TEXT)"
    of_brim = "descriptor_id = (SELECT id FROM descriptors WHERE name = 'cap/brim')"
    in_ab = (
        f"name = 'cup/rim' AND model_id = (SELECT id FROM models WHERE fingerprint = '{MODEL}')"
    )
    change(
        path,
        f"UPDATE tags SET tag = {text} WHERE tag = 'new' AND {of_brim}",
        f"INSERT INTO tags SELECT id, x'0102' FROM descriptors WHERE {in_ab}",
        f"UPDATE objects SET name = {text} WHERE name = 'mug'",
        f"UPDATE descriptors SET name = {text} WHERE name = 'cap/[red]'",
        f"UPDATE observations SET author = {text} WHERE author = 'eve'",
    )
    done = salvage.set_aside(path)
    assert (done.saved, len(done.missing)) == (4, 5)
    told = '\n'.join(done.missing)
    assert "'cap/brim': its tag '\ufffda'" in told
    assert "'cup/rim': its tag" in told
    assert "'cap/brim': who made one of its observations" in told
    assert "'cup/rim': its object; 'cup' is guessed" in told
    assert "'\ufffda': its name; this one is what is left of it" in told
    with DescriptorStore(path) as store:
        assert store.get('cap/brim', MODEL).tags == ('red',)
        assert [seen.author for seen in store.observations('cap/brim', MODEL)] == ['', '']
        assert (store.get('cup/rim', MODEL).object, store.get('cup/rim', MODEL).tags) == (
            'cup',
            (),
        )
        assert store.get('\ufffda', MODEL).values.tobytes() == unit(2).tobytes()


def test_what_was_deleted_long_ago_still_was_when_it_is_salvaged(path: Path, run) -> None:
    with DescriptorStore(path) as store:
        for name, model in ('cap/brim', MODEL), ('cup/rim', OTHER), ('cap/[red]', MODEL):
            store.delete(name, model)
    change(
        path,
        "UPDATE descriptors SET deleted = '2026-01-02 03:04:05.000000' WHERE name = 'cap/brim'",
        "UPDATE descriptors SET deleted = 'long ago' WHERE name = 'cap/[red]'",
        "UPDATE descriptors SET updated = '1066-10-14' WHERE deleted IS NULL",
    )
    done = salvage.set_aside(path)
    assert done.missing == (
        "'cap/[red]': when it was deleted; now is put there",
        "'cup/rim': its times; they are guessed",
    )
    with DescriptorStore(path) as store:
        gone = {one.name: one.deleted for one in store.list(Filter(deleted=True))}
        assert store.prunable(THEN + timedelta(seconds=1)) == ['cap/brim']
    assert gone['cap/brim'] == THEN
    assert gone['cap/[red]'] > gone['cup/rim'] > THEN


def test_meshes_are_salvaged_with_their_object_or_named(path: Path, run, tmp_path: Path) -> None:
    with DescriptorStore(path) as store:
        for seed, name in enumerate(['cap', 'mug']):
            store.objects.put_mesh(store.objects.put(taught(0, name=name)), mesh(seed))
    damaged = mesh(1).fingerprint
    change(path, f"UPDATE meshes SET data = x'00' WHERE fingerprint = '{damaged}'")
    assert 'mug: the mesh' in run('doctor', status=1)
    assert [row[6][:4] for row in rows(run('objects'))] == [
        mesh(0).fingerprint[:4], damaged[:4],
    ]  # fmt: skip
    done = salvage.set_aside(path)
    assert done.objects == 2
    assert list(done.missing) == ["the mesh of object 'mug'"]
    with DescriptorStore(path) as store:
        cap, mug = store.objects.list()[0]
        assert store.objects.with_mesh(cap).mesh.data == mesh(0).data
        assert mug.mesh is None


def test_postgresql_is_asked_the_same(postgresql_url, capsys, tmp_path, path, monkeypatch) -> None:
    exchange_file = tmp_path / 'x.jsonl'
    with DescriptorStore(path) as store:
        exchange.export(store, exchange_file)
    secret = postgresql_url.partition('//')[2].partition('@')[0].partition(':')[2]
    monkeypatch.setenv(command.URL_VARIABLE, postgresql_url)
    for arguments in (
        ['import', str(exchange_file)], ['list'], ['objects'], ['show', 'cap/brim'], ['doctor'],
        ['migrate'], ['prune', '--older-than', '1h'], ['export', str(tmp_path / 'y.jsonl')],
    ):  # fmt: skip
        assert command.main(arguments) == 0, capsys.readouterr()
        said = capsys.readouterr()
        assert secret not in said.out + said.err
    one, two = (tmp_path / name for name in ('x.jsonl', 'y.jsonl'))
    assert one.read_text().splitlines()[1:-1] == two.read_text().splitlines()[1:-1]
    assert command.main(['doctor', '--set-aside']) == 2
    away = postgresql_url.replace('/test_', '/no_test_')
    assert command.main(['list', '--url', away]) == 1
    assert command.main(['doctor', '--url', away]) == 2
    said = capsys.readouterr()
    assert 'don_kp db list: ' in said.err
    assert secret not in said.out + said.err


def test_the_command_is_known_and_loads_nothing_large(tmp_path: Path) -> None:
    look = (
        'import sys; from don_kp_ros import cli; from don_kp_ros.database.store import *; '
        'DescriptorStore(sys.argv[3]).close(); status = cli.main(sys.argv[1:]); '
        "print('heavy', {'torch', 'cv2', 'rclpy', 'alembic', 'psycopg'} & set(sys.modules)); "
        'sys.exit(status)'
    )
    arguments = ['db', '--database', tmp_path / 'new.sqlite', 'list']
    done = subprocess.run(
        [sys.executable, '-c', look, *arguments], capture_output=True, text=True, check=True
    )
    assert 'heavy set()' in done.stdout
