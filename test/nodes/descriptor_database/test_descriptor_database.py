"""The descriptor database node, called as users call it; the test plays the camera."""

import contextlib
import signal
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
import rclpy

from don_kp.msg import DescriptorMap, Matches, Model
from don_kp.srv import ChangeDescriptor, Describe
from don_kp_ros.database.store import DescriptorStore
from don_kp_ros.nodes.kit.qos import LATCHED

VALUES = np.array([0.6, 0, 0.8, 0, 0, 0, 0, 0], dtype=np.float32)


@pytest.fixture(scope='module')
def desk(open_desk, tmp_path_factory):
    folder = tmp_path_factory.mktemp('database')
    return open_desk(database=folder / 'd.sqlite', exchange_folder=folder / 'exchange')


# The tests below run in this order: the first finds a node that has heard nothing yet.


def test_without_perception_pixels_and_the_running_model_are_unknown(desk):
    def changed_tags(name):
        return desk.peer.call(ChangeDescriptor, '/change_descriptor', name=name, replace_tags=True)

    assert [len(message.descriptors) for message in desk.latched] in ([], [0])
    for response, service in (
        (desk.store('cap/brim', u=3, v=4), 'describe'),
        (desk.rank(), 'rank'),
    ):
        assert not response.success
        assert f'no node serves /perception/{service}; start perception' in response.message
    for ask in desk.get, desk.delete, desk.restore, changed_tags:
        response = ask('cap/brim')
        assert not response.success
        assert 'no model is known to run yet' in response.message
    assert desk.names() == []


def test_without_perception_the_descriptors_of_all_models_are_told(desk):
    for model in desk.MODEL, 'another':
        assert desk.store('early', values=VALUES, model=model).success
    desk.told(lambda names: names == ['early', 'early'])


def test_a_camera_that_shows_nothing_is_told(desk):
    desk.perception = desk._start_node('perception', model=desk._checkpoint, max_rate_hz=0)
    told = '/camera/camera/color/image_raw'

    def refused():
        response = desk.store('cap/brim', u=3, v=4)
        assert not response.success
        return 'no image has been described yet' in response.message and response

    assert told in desk.peer.wait_until(refused).message
    assert desk.perception.end() == 0
    desk.look()
    assert [d.model for d in desk.told(lambda names: names == ['early'])] == [desk.MODEL]
    for model in desk.MODEL, 'another':
        assert desk.delete('early', model).success


def test_the_cards_of_models_that_run_are_kept(desk):
    with run_models(desk) as run:
        run('broken', card='[1]')
        desk.node.wait_for('the card of model broken is not kept')
        run('carded', card='{"steps": 7}')
        desk.peer.wait_until(lambda: kept(desk).get('carded') == {'steps': 7})
        assert 'broken' not in kept(desk)


@contextlib.contextmanager
def run_models(desk):
    """Play perception nodes that tell of their models; in the end the real one is the newest."""
    publisher = desk.peer.node.create_publisher(Model, '/don_kp/model', LATCHED)
    desk.peer.wait_until(publisher.get_subscription_count)

    def run(fingerprint, card='{}'):
        publisher.publish(Model(fingerprint=fingerprint, dimension=8, card=card))

    try:
        yield run
    finally:
        run(desk.MODEL)
        running = f'but {desk.MODEL[:12]}… is running'
        desk.peer.wait_until(lambda: running in desk.store('x', values=VALUES, model='x').message)
        desk.peer.node.destroy_publisher(publisher)


def kept(desk):
    with DescriptorStore(desk.database) as store:
        return {model.fingerprint: model.card for model in store.models() if model.card}


def test_a_pixel_is_stored_read_listed_and_deleted(desk):
    response = desk.store_pixel('cap/brim', 20, 30)
    assert 'pixel (20, 30)' in response.message
    np.testing.assert_allclose(response.descriptor.values, desk.at(20, 30), atol=1e-6)
    (told,) = desk.told(lambda names: names == ['cap/brim'])
    assert desk.get('cap/brim').descriptor == response.descriptor == told
    assert desk.names('cap/') == desk.names(model=desk.MODEL) == ['cap/brim']
    assert desk.names('mug') == desk.names(model='other') == []
    assert desk.delete('cap/brim').success
    desk.told(lambda names: not names)
    assert desk.names() == []


@pytest.fixture
def other(desk):
    """Give a node of another robot's perception, which says nothing."""
    node = rclpy.create_node('perception', namespace='robot2', context=desk.peer.node.context)
    yield node
    node.destroy_node()


def test_a_click_that_two_perceptions_would_answer_is_refused(desk, other):
    def refused(several):
        """Store until the answer names those, for the database learns of them by and by."""

        def told():
            desk.show()
            message = desk.store('cap/brim', u=20, v=30, replace=True).message
            return f'several nodes {several}: /perception and /robot2/perception;' in message and (
                message
            )

        return desk.peer.wait_until(told)

    for kind, topic in (DescriptorMap, '/don_kp/descriptor_map'), (Matches, '/don_kp/matches'):
        publisher = other.create_publisher(kind, topic, 10)
        assert '(namespace:=robot1)' in refused(f'publish {topic}')
        other.destroy_publisher(publisher)
    server = other.create_service(Describe, '/perception/describe', lambda _, response: response)
    assert refused('serve /perception/describe')
    other.destroy_service(server)
    assert desk.store_pixel('cap/brim', 20, 30, replace=True).success
    assert desk.delete('cap/brim').success


def test_what_was_deleted_is_restored_as_it_was(desk):
    stored = desk.store_pixel('cap/peak', 50, 60, tags=['worn', 'blue']).descriptor
    assert desk.delete('cap/peak').success
    refused = desk.get('cap/peak')
    assert not refused.success
    assert 'bring it back with /restore_descriptor' in refused.message
    deleted = desk.list('cap/peak', deleted=True)
    assert [d.name for d in deleted.descriptors] == ['cap/peak']
    assert deleted.details[0].deleted.sec > 0
    response = desk.restore('cap/peak')
    assert response.success, response.message
    assert response.descriptor == stored == desk.get('cap/peak').descriptor
    details = desk.get('cap/peak').details
    assert (details.object, list(details.tags)) == ('cap', ['blue', 'worn'])
    assert (details.deleted.sec, details.observations) == (0, 1)
    desk.told(lambda names: names == ['cap/peak'])
    refused = desk.restore('cap/peak')
    assert not refused.success
    assert 'is in use again' in refused.message
    assert desk.delete('cap/peak').success


def test_a_stored_point_gets_another_name_and_other_tags(desk):
    def change(name, **fields):
        return desk.peer.call(ChangeDescriptor, '/change_descriptor', name=name, **fields)

    stored = desk.store_pixel('cap/visor', 50, 60, tags=['worn', 'blue'])
    before = desk.get('cap/visor')
    answer = change('cap/visor', new_name='hat/<b>peak', replace_tags=True, tags=['new'])
    assert answer.success, answer.message
    assert "'cap/visor', now called 'hat/<b>peak', is on 'hat' and has tags 'new'" in (
        answer.message
    )
    assert answer.descriptor.name == 'hat/<b>peak'
    assert answer.descriptor.values == stored.descriptor.values
    desk.told(lambda names: names == ['hat/<b>peak'])
    after = desk.get('hat/<b>peak')
    assert (after.details.object, list(after.details.tags)) == ('hat', ['new'])
    assert after.patch == before.patch
    (seen,), (was,) = after.observations, before.observations
    assert (seen.stamp, seen.u, seen.v, seen.patch) == (was.stamp, was.u, was.v, was.patch)
    assert change('hat/<b>peak', object='helmet').message.count('helmet') == 1
    assert list(desk.get('hat/<b>peak').details.tags) == ['new']
    desk.store_pixel('taken', 50, 60)
    for fields, told in (
        ({'new_name': 'taken'}, 'already stored'),
        ({'new_name': ' '}, 'the new name is empty'),
        ({'tags': ['a']}, 'replace_tags: true'),
        ({}, 'nothing is to be changed'),
    ):
        refused = change('hat/<b>peak', **fields)
        assert not refused.success
        assert told in refused.message
    assert "'cap/visor' is not stored" in change('cap/visor', new_name='x').message
    assert change('hat/<b>peak', replace_tags=True).success
    assert list(desk.get('hat/<b>peak').details.tags) == []
    for name in 'hat/<b>peak', 'taken':
        assert desk.delete(name).success


def test_several_clicks_are_stored_as_their_mean(desk):
    pixels = [(10, 10), (90, 20), (64, 80)]
    for number, (u, v) in enumerate(pixels, start=1):
        response = desk.store_pixel('mean', u, v, add=True, author=f'user {number}')
        assert ('the mean of' in response.message) == (number > 1)
    mean = np.mean([desk.at(u, v) for u, v in pixels], axis=0, dtype=np.float64)
    answer = desk.get('mean')
    expected = mean / np.linalg.norm(mean)
    np.testing.assert_allclose(answer.descriptor.values, expected, atol=1e-6)
    assert answer.details.observations == 3
    assert [(one.u, one.v) for one in answer.observations] == pixels
    assert [one.author for one in answer.observations] == ['user 1', 'user 2', 'user 3']
    refused = desk.store_pixel('mean', 40, 40, refused_with='replace: true')
    assert "'mean' is already stored" in refused.message
    np.testing.assert_allclose(desk.get('mean').descriptor.values, expected, atol=1e-6)
    replaced = desk.store_pixel('mean', 40, 40, replace=True).descriptor.values
    np.testing.assert_allclose(replaced, desk.at(40, 40), atol=1e-6)
    answer = desk.get('mean')
    assert answer.details.observations == 1
    np.testing.assert_array_equal(answer.descriptor.values, replaced)
    desk.store_pixel('mean', 40, 40, add=True, replace=True, refused_with='choose one')


def test_an_unknown_name_is_answered_with_the_near_ones(desk):
    desk.store_pixel('mug/handle', 1, 1, replace=True)
    for response in desk.get('mug/handel'), desk.delete('mug/handel'):
        assert not response.success
        assert "'mug/handel' is not stored" in response.message
        assert "'mug/handle'" in response.message


@pytest.mark.parametrize('uv', [(-1, 0), (128, 0), (0, 96), (2**31 - 1, -(2**31))])
def test_a_pixel_outside_of_the_picture_is_refused(desk, uv):
    response = desk.store_pixel('outside', *uv, refused_with='outside of the picture')
    assert 'which is 128x96' in response.message
    assert 'outside' not in desk.names()


def test_a_stale_image_is_refused(desk):
    refusal = 'the newest described image is 30'
    response = desk.store_pixel('stale', 3, 4, refused_with=refusal, age_s=30)
    assert 's old, allowed are 1 s' in response.message
    assert 'stale' not in desk.names()


def test_values_are_stored_exactly(desk):
    response = desk.store(
        'by/values', values=VALUES, model=desk.MODEL, u=-5, v=-5, object='a thing', author='me'
    )
    assert response.success, response.message
    answer = desk.get('by/values')
    np.testing.assert_array_equal(answer.descriptor.values, VALUES)
    assert answer.details.object == 'a thing'
    assert answer.observations[0].author == 'me'
    assert np.isnan(answer.observations[0].u)
    assert answer.observations[0].image_width == len(answer.patch) == 0


@pytest.mark.parametrize(
    ('values', 'model', 'message'),
    [
        (VALUES, '', 'without their model'),
        (VALUES, 'another', 'model another was given, but MODEL… is running'),
        ([0.6, 0.8], 'MODEL', '2 values were given; descriptors of model MODEL… have 8'),
        ([float('nan'), *[0.0] * 7], 'MODEL', 'value 0 of 8 is nan'),
        ([0.0, float('inf'), *[0.0] * 6], 'MODEL', 'value 1 of 8 is inf'),
        ([0.0] * 8, 'MODEL', 'length 0'),
    ],
)
def test_wrong_values_are_refused(desk, values, model, message):
    response = desk.store('wrong', values=values, model=model.replace('MODEL', desk.MODEL))
    assert not response.success
    assert message.replace('MODEL', desk.MODEL[:12]) in response.message
    assert 'wrong' not in desk.names()


@pytest.mark.parametrize('name', ['', ' ', 'a\nb', 'x' * 129, 'y' * 100_000])
def test_wrong_names_are_refused(desk, name):
    before = desk.names()
    response = desk.store(name, values=VALUES, model=desk.MODEL)
    assert not response.success
    assert 'the name' in response.message
    assert len(response.message) < 300
    assert desk.names() == before


def test_a_list_is_filtered(desk):
    for name, fields in (
        ('f/1', {'tags': ['red', 'soft']}),
        ('f/2', {'tags': ['red'], 'object': 'g'}),
        ('g/1', {}),
    ):
        desk.store(name, values=VALUES, model=desk.MODEL, **fields)
    assert desk.names(tag='red') == ['f/1', 'f/2']
    assert desk.names(tag='soft') == desk.names(object='f') == ['f/1']
    assert desk.names(object='g') == ['f/2', 'g/1']
    assert desk.names('f/', object='g', tag='red') == ['f/2']
    assert desk.names(tag='re') == desk.names(object='f', deleted=True) == []


def test_a_list_is_read_page_by_page(desk):
    names = sorted(f'page/{number:03}' for number in range(103))
    for name in names:
        assert desk.store(name, values=VALUES, model=desk.MODEL).success
    read, after, sizes = [], '', []
    while True:
        page = desk.list('page/', limit=40, after=after)
        assert page.success, page.message
        assert page.total == 103
        read += [descriptor.name for descriptor in page.descriptors]
        sizes.append(len(page.details))
        after = page.next
        if not after:
            break
    assert read == names
    assert sizes == [40, 40, 23]
    default = desk.list('page/')
    assert len(default.descriptors) == 100
    assert [d.name for d in desk.list('page/', after=default.next).descriptors] == names[100:]
    assert desk.list('page/', limit=103).next == ''
    assert 'limit is 1001; at most 1000' in desk.list(limit=1001).message
    refused = desk.list(after='nonsense')
    assert not refused.success
    assert 'next of the page before' in refused.message


def test_what_is_exported_is_imported_once(desk):
    exported = desk.export('all.jsonl', tag='red')
    assert exported.success, exported.message
    assert exported.descriptors == 2
    again = desk.export('all.jsonl', tag='red')
    assert not again.success
    assert 'all.jsonl exists; call again with replace: true' in again.message
    assert desk.export('all.jsonl', tag='red', replace=True).success

    before = desk.get('f/1')
    loaded = desk.load('all.jsonl')
    assert loaded.success, loaded.message
    assert (loaded.added, loaded.replaced, loaded.kept, loaded.unchanged) == (0, 0, 0, 2)
    assert repr(desk.get('f/1')) == repr(before)  # NaN differs from itself

    assert desk.delete('f/2').success
    loaded = desk.load('all.jsonl')
    assert (loaded.added, loaded.unchanged) == (1, 1)
    other = [0.0, 1.0, *[0.0] * 6]
    assert desk.store('f/2', values=other, model=desk.MODEL, replace=True).success
    assert not desk.load('all.jsonl').success
    assert desk.load('all.jsonl', keep=True).kept == 1
    np.testing.assert_array_equal(desk.get('f/2').descriptor.values, other)
    assert desk.load('all.jsonl', replace=True).replaced == 1
    np.testing.assert_array_equal(desk.get('f/2').descriptor.values, VALUES)
    assert 'choose one' in desk.load('all.jsonl', keep=True, replace=True).message
    assert 'missing.jsonl' in desk.load('missing.jsonl').message


@pytest.mark.parametrize(
    'file', ['', '.', '..', '../up', '/tmp/x', 'a/b', 'a\\b', 'a\nb', 'x' * 129]
)
def test_files_lie_in_the_exchange_folder_alone(desk, file):
    for response in desk.export(file, replace=True), desk.load(file):
        assert not response.success
        assert 'no plain name' in response.message
        assert len(response.message) < 400


def test_changes_by_others_are_told_and_nothing_else_is(desk):
    desk.told(lambda names: 'f/1' in names)
    with DescriptorStore(desk.database) as other:
        other.put('by another', desk.MODEL, VALUES)
        desk.told(lambda names: 'by another' in names)
        other.put('of another model', 'elsewhere', VALUES)
        told = len(desk.latched)
        other.delete('by another', desk.MODEL)
        desk.told(lambda names: 'by another' not in names)
    # What was not of the running model was no news.
    assert len(desk.latched) == told + 1
    assert {d.model for d in desk.latched[-1].descriptors} == {desk.MODEL}


def test_models_that_run_beside_each_other_are_told_together(desk):
    with run_models(desk) as run:
        run('elsewhere')
        told = desk.told(lambda names: 'of another model' in names)
    assert {d.model for d in told} == {desk.MODEL, 'elsewhere'}


def test_what_was_acknowledged_survives_kill_and_a_damaged_one_hides_no_other(desk, peer):
    desk.store_pixel('lasting', 5, 6)
    desk.store_pixel('damaged', 7, 8)
    # Killed while it writes to shared memory, it would take the receiver's port with it.
    desk.told(lambda names: 'damaged' in names)
    assert desk.node.end(signal.SIGKILL) != 0
    desk.change("UPDATE descriptors SET \"values\" = x'00' WHERE name = 'damaged'")
    desk.latched.clear()
    desk.start()
    told = peer.wait_until(lambda: desk.latched and desk.latched[-1].descriptors)
    assert 'lasting' in [descriptor.name for descriptor in told]
    assert 'damaged' not in [descriptor.name for descriptor in told]
    assert desk.names('lasting') == ['lasting']
    remedy = 'delete it with /delete_descriptor'
    listed = desk.list(limit=1000)
    for answer in desk.node.output, listed.message, desk.get('damaged', desk.MODEL).message:
        assert answer.count("'damaged' of model") == 1
        assert remedy in answer
    assert 'damaged' not in [descriptor.name for descriptor in listed.descriptors]
    assert listed.total == len(listed.descriptors) + 1
    assert desk.delete('damaged', desk.MODEL).success
    assert remedy not in desk.list(limit=1000).message


def test_an_object_s_name_that_damage_made_no_text_hides_no_other_descriptor(desk):
    for name in 'odd/one', 'sound':
        assert desk.store(name, model=desk.MODEL, values=VALUES).success
    desk.change("UPDATE objects SET name = CAST(x'ff64' AS TEXT) WHERE name = 'odd'")
    listed = desk.list(limit=1000)
    assert listed.success
    assert "left out: 'odd/one' of model" in listed.message
    found = [descriptor.name for descriptor in listed.descriptors]
    assert 'sound' in found and 'odd/one' not in found
    for name in 'odd/one', 'sound':
        assert desk.delete(name, desk.MODEL).success


def test_a_database_that_fails_is_no_empty_list(desk):
    desk.change('ALTER TABLE descriptors RENAME TO lost')
    response = desk.list()
    desk.change('ALTER TABLE lost RENAME TO descriptors')
    assert not response.success
    assert 'd.sqlite failed: no such table' in response.message
    assert desk.names()


def without_a_column(path):
    DescriptorStore(path).close()
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute('ALTER TABLE models DROP COLUMN card')


def of_something_else(path):
    path.write_bytes(b'nothing to see here ' * 500)


@pytest.mark.parametrize(
    ('spoil', 'reason'),
    [
        (without_a_column, 'd.sqlite failed: no such column'),
        (of_something_else, 'd.sqlite is damaged'),
    ],
)
def test_a_file_that_cannot_be_read_prevents_the_start_in_one_line(
    start_node, tmp_path, spoil, reason
):
    spoil(tmp_path / 'd.sqlite')
    before = (tmp_path / 'd.sqlite').read_bytes()
    node = start_node('descriptor_database', database=tmp_path / 'd.sqlite')
    assert node.process.wait(60) == 1
    assert reason in node.output
    assert node.output.count('\n') == 1, node.output
    assert (tmp_path / 'd.sqlite').read_bytes() == before


@pytest.mark.parametrize(
    ('url', 'reason'),
    [
        ('mysql://host/database', 'database_url: the URL is of kind'),
        ('postgresql://user:secret@host/don_kp', 'database_url holds a password'),
        ('postgresql://host/don_kp?password=secret', 'database_url holds a password'),
    ],
)
def test_a_wrong_url_or_one_that_tells_a_password_is_refused(start_node, url, reason):
    node = start_node('descriptor_database', database_url=url)
    assert node.process.wait(60) == 1
    assert reason in node.output
    assert 'secret' not in node.output
    assert node.output.count('\n') == 1, node.output


def test_of_a_file_and_a_url_the_one_that_is_not_used_is_named(start_node, tmp_path):
    file, used = tmp_path / 'd.sqlite', tmp_path / 'e.sqlite'
    node = start_node('descriptor_database', database=file, database_url=f'sqlite:///{used}')
    node.wait_for(f'descriptors in {used}')
    assert node.end() == 0
    assert f"database is '{file}', and database_url is given, too: the file is not" in node.output
    assert used.exists() and not file.exists()


def test_the_node_starts_without_what_is_slow_to_import():
    script = (
        'import sys, don_kp_ros.nodes.descriptor_database.node;'
        'print([name for name in ("torch", "alembic", "psycopg") if name in sys.modules])'
    )
    command = [sys.executable, '-c', script]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert shown == '[]\n'


def test_the_default_file_lies_in_the_home_folder(start_node, tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    node = start_node('descriptor_database')
    path = tmp_path / '.local/share/don_kp/descriptors.sqlite'
    node.wait_for(f'0 descriptors in {path}, a new database')
    assert node.end() == 0
    assert path.is_file()
    again = start_node('descriptor_database')
    again.wait_for(f'0 descriptors in {path}\n')
    assert 'new' not in again.output
