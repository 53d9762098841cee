"""The descriptor database node, called as users call it; the test plays perception."""

import signal
import sqlite3

import numpy as np
import pytest
import torch
from std_msgs.msg import Header

from don_kp.msg import DescriptorMap, Descriptors
from don_kp.srv import DeleteDescriptor, GetDescriptor, ListDescriptors, StoreDescriptor
from don_kp_ros.database.store import DescriptorStore
from don_kp_ros.matching.heatmap import describe_at
from don_kp_ros.nodes import conversions
from don_kp_ros.nodes.qos import LATCHED, RESULT

SIZE = (48, 64)
MODEL = 'ab12cd34ef567890'


class Desk:
    """A database node and who talks to it."""

    def __init__(self, peer, start_node, path) -> None:
        self._peer, self._start_node, self._path = peer, start_node, path
        cells = torch.randn(4, 12, 16, generator=torch.Generator().manual_seed(0))
        self.map = torch.nn.functional.normalize(cells, dim=0).half().numpy()
        self.latched = peer.listen(Descriptors, '/don_kp/descriptors', LATCHED)
        self._maps = peer.node.create_publisher(DescriptorMap, '/don_kp/descriptor_map', RESULT)
        self.start()

    def start(self) -> None:
        self.node = self._start_node('descriptor_database', database=self._path)
        self.node.wait_for(' descriptors in ')
        self._peer.wait_until(self._maps.get_subscription_count)

    def store(self, name, **fields):
        return self._peer.call(StoreDescriptor, '/store_descriptor', name=name, **fields)

    def get(self, name, model=''):
        return self._peer.call(GetDescriptor, '/get_descriptor', name=name, model=model)

    def delete(self, name, model=''):
        return self._peer.call(DeleteDescriptor, '/delete_descriptor', name=name, model=model)

    def list(self, prefix='', model=''):
        return self._peer.call(ListDescriptors, '/list_descriptors', prefix=prefix, model=model)

    def change(self, statement) -> None:
        """Write to the file behind the node's back."""
        with sqlite3.connect(self._path) as connection:
            connection.execute(statement)
        connection.close()

    def names(self, prefix='', model=''):
        response = self.list(prefix, model)
        assert response.success
        assert response.message.startswith(f'{len(response.descriptors)} descriptors')
        return [descriptor.name for descriptor in response.descriptors]

    def show(self, age_s: float = 0.0) -> None:
        """Publish the map once, as old as that."""
        seconds = 1e-9 * self._peer.node.get_clock().now().nanoseconds - age_s
        header = Header(stamp=conversions.stamp_from_seconds(seconds))
        self._maps.publish(conversions.map_message(self.map, SIZE, MODEL, header))

    def store_pixel(self, name, u, v, refused_with='', age_s=0.0, **fields):
        """Show maps until the answer is the wanted one, for the map comes when it comes."""

        def answer():
            self.show(age_s)
            response = self.store(name, u=u, v=v, **fields)
            if response.success == (not refused_with) and refused_with in response.message:
                return response
            assert not response.success, response.message
            return None

        return self._peer.wait_until(answer)

    def at(self, u, v):
        """Say what the map holds at a pixel."""
        return describe_at(torch.from_numpy(self.map), torch.tensor([[u, v]]), SIZE)[0].numpy()


@pytest.fixture(scope='module')
def desk(peer, start_node, tmp_path_factory):
    return Desk(peer, start_node, tmp_path_factory.mktemp('database') / 'd.sqlite')


# The tests below run in this order: the first finds a node that has heard nothing yet.


def test_without_a_map_pixels_and_the_running_model_are_unknown(desk):
    assert [len(message.descriptors) for message in desk.latched] in ([], [0])
    response = desk.store('cap/brim', u=3, v=4)
    assert not response.success
    assert 'no descriptor map has come yet; start perception' in response.message
    for response in desk.get('cap/brim'), desk.delete('cap/brim'):
        assert not response.success
        assert 'no model is known to run yet' in response.message
    assert desk.names() == []


def test_a_pixel_is_stored_read_listed_and_deleted(desk, peer):
    response = desk.store_pixel('cap/brim', 20, 30)
    assert 'pixel (20, 30)' in response.message
    np.testing.assert_array_equal(response.descriptor.values, desk.at(20, 30))
    latched = peer.wait_until(lambda: desk.latched and desk.latched[-1].descriptors)
    assert [(d.name, d.model) for d in latched] == [('cap/brim', MODEL)]
    assert desk.get('cap/brim').descriptor == response.descriptor == latched[0]
    assert desk.names('cap/') == desk.names(model=MODEL) == ['cap/brim']
    assert desk.names('mug') == desk.names(model='other') == []
    assert desk.delete('cap/brim').success
    peer.wait_until(lambda: not desk.latched[-1].descriptors)
    assert desk.names() == []


def test_a_taken_name_is_kept_unless_replaced(desk):
    desk.store_pixel('taken', 20, 30)
    refused = desk.store_pixel('taken', 40, 10, refused_with='replace: true')
    assert "'taken' is already stored" in refused.message
    np.testing.assert_array_equal(desk.get('taken').descriptor.values, desk.at(20, 30))
    desk.store_pixel('taken', 40, 10, replace=True)
    np.testing.assert_array_equal(desk.get('taken').descriptor.values, desk.at(40, 10))


def test_an_unknown_name_is_answered_with_the_near_ones(desk):
    desk.store_pixel('mug/handle', 1, 1, replace=True)
    for response in desk.get('mug/handel'), desk.delete('mug/handel'):
        assert not response.success
        assert "'mug/handel' is not stored" in response.message
        assert "'mug/handle'" in response.message


@pytest.mark.parametrize('uv', [(-1, 0), (64, 0), (0, 48), (2**31 - 1, -(2**31))])
def test_a_pixel_outside_of_the_picture_is_refused(desk, uv):
    response = desk.store_pixel('outside', *uv, refused_with='outside of the picture')
    assert 'which is 64x48' in response.message
    assert 'outside' not in desk.names()


def test_a_stale_map_is_refused(desk):
    response = desk.store_pixel('stale', 3, 4, refused_with='s old, allowed are 1 s', age_s=30)
    assert 'the newest descriptor map is 3' in response.message
    assert 'stale' not in desk.names()


def test_values_are_stored_exactly(desk):
    values = np.array([0.6, 0.0, 0.8, 0.0], dtype=np.float32)
    response = desk.store('by/values', values=values, model=MODEL, u=-5, v=-5)
    assert response.success, response.message
    np.testing.assert_array_equal(desk.get('by/values').descriptor.values, values)


@pytest.mark.parametrize(
    ('values', 'model', 'message'),
    [
        ([0.6, 0.0, 0.8, 0.0], '', 'without their model'),
        ([0.6, 0.0, 0.8, 0.0], 'another', f'but {MODEL[:12]}… is running'),
        ([0.6, 0.8], MODEL, '2 values were given; descriptors of model ab12cd34ef56… have 4'),
        ([float('nan'), 0.0, 0.0, 0.0], MODEL, 'value 0 of 4 is nan'),
        ([0.0, float('inf'), 0.0, 0.0], MODEL, 'value 1 of 4 is inf'),
        ([0.0, 0.0, 0.0, 0.0], MODEL, 'length 0'),
    ],
)
def test_wrong_values_are_refused(desk, values, model, message):
    response = desk.store('wrong', values=values, model=model)
    assert not response.success
    assert message in response.message
    assert 'wrong' not in desk.names()


@pytest.mark.parametrize('name', ['', ' ', 'a\nb', 'x' * 129, 'y' * 100_000])
def test_wrong_names_are_refused(desk, name):
    before = desk.names()
    response = desk.store(name, values=[1.0, 0.0, 0.0, 0.0], model=MODEL)
    assert not response.success
    assert 'the name' in response.message
    assert len(response.message) < 300
    assert desk.names() == before


def test_what_was_acknowledged_survives_kill_and_is_told_at_the_start(desk, peer):
    desk.store_pixel('lasting', 5, 6)
    assert desk.node.end(signal.SIGKILL) != 0
    desk.latched.clear()
    desk.start()
    stored = peer.wait_until(lambda: desk.latched and desk.latched[-1].descriptors)
    assert 'lasting' in [descriptor.name for descriptor in stored]
    assert desk.names('lasting') == ['lasting']


def test_a_broken_map_is_refused_and_the_node_goes_on(desk):
    whole, desk.map = desk.map, desk.map[:, :, :0]
    desk.store_pixel('broken', 3, 4, refused_with='descriptor map is empty')
    desk.map = whole
    desk.store_pixel('whole', 3, 4)


def test_a_damaged_descriptor_is_named_and_hides_no_other(desk, peer):
    desk.store_pixel('damaged', 7, 8)
    desk.change("UPDATE descriptors SET \"values\" = x'00' WHERE name = 'damaged'")
    assert desk.node.end() == 0
    desk.latched.clear()
    desk.start()
    told = peer.wait_until(lambda: desk.latched and desk.latched[-1].descriptors)
    assert 'lasting' in [descriptor.name for descriptor in told]
    remedy = 'delete it with /delete_descriptor'
    for answer in desk.node.output, desk.list().message, desk.get('damaged', MODEL).message:
        assert answer.count("'damaged' of model") == 1
        assert remedy in answer
    assert 'damaged' not in desk.names()
    assert desk.delete('damaged', MODEL).success
    assert remedy not in desk.list().message


def test_a_database_that_fails_is_no_empty_list(desk):
    desk.change('ALTER TABLE descriptors RENAME TO lost')
    response = desk.list()
    desk.change('ALTER TABLE lost RENAME TO descriptors')
    assert not response.success
    assert 'd.sqlite failed: no such table' in response.message
    assert desk.names()


def test_what_fails_at_the_first_reading_prevents_the_start_in_one_line(start_node, tmp_path):
    path = tmp_path / 'columns.sqlite'
    with DescriptorStore(path):
        pass
    with sqlite3.connect(path) as connection:
        connection.execute('ALTER TABLE descriptors DROP COLUMN created')
    connection.close()
    node = start_node('descriptor_database', database=path)
    assert node.process.wait(60) == 1
    assert 'columns.sqlite failed: no such column' in node.output
    assert node.output.count('\n') == 1, node.output


def test_a_damaged_file_prevents_the_start_in_one_line(start_node, tmp_path):
    path = tmp_path / 'damaged.sqlite'
    path.write_bytes(b'nothing to see here ' * 500)
    node = start_node('descriptor_database', database=path)
    assert node.process.wait(60) == 1
    assert 'damaged.sqlite is damaged' in node.output
    assert node.output.count('\n') == 1, node.output
    assert path.read_bytes() == b'nothing to see here ' * 500


def test_the_default_file_lies_in_the_home_folder(start_node, tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    node = start_node('descriptor_database')
    node.wait_for('0 descriptors in')
    assert node.end() == 0
    assert (tmp_path / '.local/share/don_kp/descriptors.sqlite').is_file()
