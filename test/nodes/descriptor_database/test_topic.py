"""What is stored is told, whatever went wrong before."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest
import rclpy
from rclpy.parameter import Parameter
from rclpy.time import Time
from waiting import wait_until

from don_kp.msg import Descriptors
from don_kp_ros.database.errors import UnavailableError
from don_kp_ros.database.store import DescriptorStore
from don_kp_ros.nodes.descriptor_database.link import DatabaseLink
from don_kp_ros.nodes.descriptor_database.topic import DescriptorTopic
from don_kp_ros.nodes.kit.qos import LATCHED


@pytest.mark.parametrize('error', [KeyError('a bug'), UnavailableError('the server is gone')])
def test_what_could_not_be_told_is_told_later(peer, tmp_path, monkeypatch, error) -> None:
    heard = peer.listen(Descriptors, 'don_kp/descriptors', LATCHED)
    link = DatabaseLink(str(tmp_path / 'd.sqlite'), lambda: None)  # nobody tells of more changes
    topic, failed, contents = DescriptorTopic(peer.node), [], link.contents
    name = type(error).__name__

    def contents_after_an_error(model: str):
        if not failed:
            failed.append(model)
            raise error
        return contents(model)

    with contextlib.closing(link), contextlib.ExitStack() as ended:
        topic.start(link)
        ended.callback(topic.stop)
        wait_until(lambda: heard)
        link.store.put(name, 'm', [0.6, 0.8])
        monkeypatch.setattr(link, 'contents', contents_after_an_error)
        topic.refresh()
        wait_until(lambda: [one.name for one in heard[-1].descriptors] == [name])
    assert failed == ['m']


def test_a_damaged_card_keeps_no_descriptor_from_being_told(peer, tmp_path) -> None:
    heard, path = peer.listen(Descriptors, 'don_kp/descriptors', LATCHED), tmp_path / 'd.sqlite'
    with DescriptorStore(path) as store:
        store.put('cap/brim', 'm', [0.6, 0.8])
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE models SET card = '{'")
    topic, link = DescriptorTopic(peer.node), DatabaseLink(str(path), lambda: None)
    with contextlib.closing(link), contextlib.ExitStack() as ended:
        topic.start(link)
        ended.callback(topic.stop)
        # Topics of tests before this one are still told by the same peer.
        wait_until(lambda: heard and [one.name for one in heard[-1].descriptors] == ['cap/brim'])


def test_what_is_told_later_has_a_later_stamp_also_where_time_stands_still(
    context, tmp_path
) -> None:
    simulated = Parameter('use_sim_time', value=True)
    node = rclpy.create_node('told', context=context, parameter_overrides=[simulated])
    link = DatabaseLink(str(tmp_path / 'd.sqlite'), lambda: None)
    topic, stamps = DescriptorTopic(node), []
    with contextlib.ExitStack() as ended:
        ended.callback(node.destroy_node)
        ended.callback(link.close)
        topic.start(link)
        ended.callback(topic.stop)
        for index, seconds in enumerate((0, 5, 5, 3)):
            node.get_clock().set_ros_time_override(Time(seconds=seconds))
            link.store.put(f'cap/{index}', 'm', [0.6, 0.8])
            told = topic.publish()
            assert topic.publish() == told  # it is no news
            stamps.append((told.sec, told.nanosec))
    assert stamps[0] > (0, 0)
    assert stamps == sorted(set(stamps))
    assert stamps[1] == (5, 0)
