"""`don_kp record` and `don_kp replay` in processes of their own, on a graph of real nodes."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from array import array
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rclpy
from builtin_interfaces.msg import Time
from geometry_msgs.msg import TransformStamped
from mcap.reader import make_reader
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from don_kp.action import Grasp
from don_kp.msg import Match, Matches, Model
from don_kp_ros.clients.interfaces import message_class
from don_kp_ros.clients.record import record
from don_kp_ros.clients.replay import _chosen
from don_kp_ros.clients.stack import Stack
from don_kp_ros.errors import RefusedError
from don_kp_ros.nodes.kit import camera_topics, clock
from don_kp_ros.nodes.kit.conversions import image_message
from don_kp_ros.nodes.kit.qos import LATCHED, SENSOR, TF, TF_STATIC
from don_kp_ros.recordings.definitions import definition
from don_kp_ros.recordings.writing import Recording

ROOT = Path(__file__).parents[2]
ALL = QoSProfile(depth=1000)
BEST_EFFORT = QoSProfile(depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT)
COLOUR, INFO = f'/{camera_topics.COLOUR}', f'/{camera_topics.COLOUR_INFO}'
FEEDBACK = '/grasp/_action/feedback'
KINDS = {
    '/tf_static': (TFMessage, TF_STATIC),
    '/don_kp/model': (Model, LATCHED),
    '/tf': (TFMessage, TF),
    '/joint_states': (JointState, ALL),
    COLOUR: (Image, ALL),
    INFO: (CameraInfo, BEST_EFFORT),
    '/don_kp/matches': (Matches, ALL),
    FEEDBACK: (Grasp.Impl.FeedbackMessage, ALL),
}
MOVING = [topic for topic, (_, qos) in KINDS.items() if qos not in (TF_STATIC, LATCHED)]
COUNT = 12


class Command:
    """A command as a user starts it."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self._log = log
        with log.open('w') as output:
            self.process = subprocess.Popen(
                [sys.executable, '-m', 'don_kp_ros.cli', *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
            )

    @property
    def output(self) -> str:
        return self._log.read_text()

    def end(self, number: int | None = None) -> int:
        if number is not None:
            self.process.send_signal(number)
        try:
            return self.process.wait(60)
        finally:
            self.process.kill()


@pytest.fixture
def start(tmp_path):
    """Start commands; they end with the test."""
    started = []

    def start(*arguments: object) -> Command:
        log = tmp_path / f'{arguments[0]}-{len(started)}.log'
        started.append(Command(log, *map(str, arguments)))
        return started[-1]

    yield start
    for command in started:
        command.process.kill()
        command.process.wait()


def sample(topic: str, number: int):
    """Make the message of a topic with a number, no two alike."""
    stamp = Time(sec=100 + number, nanosec=7 * number)
    header = Header(stamp=stamp, frame_id='camera_color_optical_frame')
    if topic in ('/tf', '/tf_static'):
        transform = TransformStamped(header=header, child_frame_id=f'{topic[1:]}_{number}')
        return TFMessage(transforms=[transform])
    if topic == '/don_kp/model':
        return Model(fingerprint='abc', dimension=16, card='{}')
    if topic == '/joint_states':
        return JointState(header=header, name=['a', 'b'], position=[number, 0.5 * number])
    if topic == COLOUR:
        pixels = np.random.default_rng(number).integers(0, 255, (48, 64, 3), dtype=np.uint8)
        return image_message(pixels, 'rgb8', header)
    if topic == INFO:
        return CameraInfo(header=header, width=64, height=48, k=[float(number)] * 9)
    if topic == FEEDBACK:
        return Grasp.Impl.FeedbackMessage(feedback=Grasp.Feedback(phase=f'look {number}'))
    return Matches(header=header, model='abc', matches=[Match(name='cap/brim', u=float(number))])


class Graph:
    """What publishes in place of camera, robot and stack."""

    def __init__(self, node, wait_until) -> None:
        self.node, self._wait_until = node, wait_until
        self.publishers = {
            topic: node.create_publisher(kind, topic, qos) for topic, (kind, qos) in KINDS.items()
        }

    def wait_until_heard(self, command: Command) -> None:
        """Wait for the recorder itself: what earlier tests destroyed counts for a moment."""
        name = f'don_kp_client_{command.process.pid}'

        def heard(topic: str, publisher) -> bool:
            listening = self.node.get_subscriptions_info_by_topic(topic)
            known = any(one.node_name == name for one in listening)
            return known and publisher.get_subscription_count() > 0

        for topic, publisher in self.publishers.items():
            self._wait_until(lambda topic=topic, one=publisher: heard(topic, one))

    def say(self) -> dict[str, list[bytes]]:
        """Publish everything; return the bytes of each topic."""
        said = {}
        for topic in self.publishers:
            numbers = range(COUNT if topic in MOVING else 1)
            said[topic] = [serialize_message(sample(topic, number)) for number in numbers]
        for number in range(COUNT):
            for topic, messages in said.items():
                if number < len(messages):
                    self.publishers[topic].publish(messages[number])
            time.sleep(0.01)
        return said

    def close(self) -> None:
        for publisher in self.publishers.values():
            self.node.destroy_publisher(publisher)


class Listener:
    """Collects the bytes of topics."""

    def __init__(self, node) -> None:
        self.node, self.heard = node, {topic: [] for topic in KINDS}
        self._subscriptions = [
            node.create_subscription(kind, topic, self.heard[topic].append, qos, raw=True)
            for topic, (kind, qos) in KINDS.items()
        ]
        self.times: list[int] = []
        self._subscriptions.append(node.create_subscription(Clock, '/clock', self._tell, SENSOR))

    def _tell(self, message: Clock) -> None:
        self.times.append(message.clock.sec * 10**9 + message.clock.nanosec)

    def close(self) -> None:
        for subscription in self._subscriptions:
            self.node.destroy_subscription(subscription)


@pytest.fixture
def other(peer):
    """Make nodes that publish a topic; they end with the test, however it ends."""
    nodes = []

    def make(name, topic):
        kind, qos = KINDS[topic]
        nodes.append(rclpy.create_node(name, context=peer.node.context))
        nodes[-1].create_publisher(kind, topic, qos)
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()


@pytest.fixture
def publisher(peer):
    """Make publishers of the test's own; they end with it, however it ends."""
    made = []

    def make(*what):
        made.append(peer.node.create_publisher(*what))
        return made[-1]

    yield make
    for one in made:
        peer.node.destroy_publisher(one)


@pytest.fixture
def graph(peer, wait_until):
    """Publish."""
    made = Graph(peer.node, wait_until)
    yield made
    made.close()


@pytest.fixture
def recorded(graph, start, tmp_path, wait_until):
    """Record what is published; return the folder, the bytes, what was told, and the time."""
    folder = tmp_path / 'bag'
    command = start('record', folder)
    graph.wait_until_heard(command)
    begun = time.time_ns()
    said = graph.say()
    for publisher in graph.publishers.values():
        assert publisher.wait_for_all_acked()
    assert command.end(signal.SIGINT) == 0, command.output
    graph.close()
    graph.publishers = {}
    with AnyReader([folder]) as reader:
        kept = {topic: [] for topic in KINDS}
        for connection, stamp, data in reader.messages():
            assert begun <= stamp <= time.time_ns()
            kept[connection.topic].append(bytes(data))
    for topic, messages in said.items():
        # On the wire, Fast DDS fills messages up to a multiple of four bytes.
        padded = [data + one[len(data) :] for data, one in zip(messages, kept[topic], strict=True)]
        assert kept[topic] == padded, topic
        assert all(len(one) - len(data) < 4 for data, one in zip(messages, padded, strict=True))
    return folder, kept, command.output, (begun, time.time_ns())


def replay_arguments(folder, *more):
    waited = [part for topic in KINDS for part in ('--wait-for', topic)]
    return ('replay', folder, '--domain', os.environ['ROS_DOMAIN_ID'], *waited, *more)


def test_what_was_recorded_is_replayed_byte_for_byte(recorded, peer, start, wait_until):
    folder, said, told, (begun, ended) = recorded
    count = sum(map(len, said.values()))
    assert f'{count} messages in ' in told and ' of a core' in told and ' MB (' in told
    assert 'lost' not in told

    # Two readers that others wrote.
    with AnyReader([folder]) as reader:
        kinds = {one.topic: one.ext.offered_qos_profiles[0] for one in reader.connections}
        matches = [one for one in reader.connections if one.topic == '/don_kp/matches']
        (first, *_) = (data for _, _, data in reader.messages(matches))
        assert reader.deserialize(first, 'don_kp/msg/Matches').matches[0].name == 'cap/brim'
    assert kinds['/tf_static'].durability.name == 'TRANSIENT_LOCAL'
    assert kinds[INFO].reliability.name == 'BEST_EFFORT'
    assert kinds[COLOUR].reliability.name == 'RELIABLE'
    with (folder / 'bag.mcap').open('rb') as file:
        reader = make_reader(file, validate_crcs=True)
        assert reader.get_header().profile == 'ros2'
        schemas = {schema.name: schema for schema, *_ in reader.iter_messages()}
        assert {one.encoding for one in schemas.values()} == {'ros2msg'}
        assert 'MSG: don_kp/Match\n' in schemas['don_kp/msg/Matches'].data.decode()
        assert reader.get_summary().statistics.message_count == count

    with contextlib.closing(Listener(peer.node)) as listener:
        command = start(*replay_arguments(folder, '--rate', 2))
        assert command.end() == 0, command.output
        wait_until(lambda: listener.heard == said)
    assert f'{count} messages of ' in command.output
    assert begun <= listener.times[0] and listener.times[-1] <= ended
    assert listener.times == sorted(listener.times)


def test_a_recording_of_another_tool_is_replayed(peer, start, tmp_path, wait_until):
    folder, typestore = tmp_path / 'theirs', get_typestore(Stores.ROS2_JAZZY)
    said = [serialize_message(sample('/joint_states', number)) for number in range(COUNT)]
    with Writer(folder, version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
        kind = 'sensor_msgs/msg/JointState'
        joints = writer.add_connection('/joint_states', kind, typestore=typestore)
        clock = writer.add_connection('/clock', 'rosgraph_msgs/msg/Clock', typestore=typestore)
        for number, data in enumerate(said):
            writer.write(joints, 10**9 + number * 10**7, data)
            writer.write(clock, 10**9 + number * 10**7, serialize_message(Clock()))
    for path in (folder, folder / 'theirs.db3'):
        with contextlib.closing(Listener(peer.node)) as listener:
            domain = os.environ['ROS_DOMAIN_ID']
            command = start('replay', path, '--domain', domain, '--wait-for', '/joint_states')
            assert command.end() == 0, command.output
            wait_until(lambda heard=listener.heard: heard['/joint_states'] == said)
            wait_until(lambda times=listener.times: times and times[-1] == 10**9 + 11 * 10**7)
        # The recorded clock is not published beside that of the replay.
        assert min(listener.times) >= 10**9 and listener.times[-1] == 10**9 + 11 * 10**7


def test_a_recording_that_tells_no_digest_of_a_definition_is_replayed(
    peer, start, tmp_path, wait_until
):
    folder, kind = tmp_path / 'bag', 'sensor_msgs/msg/JointState'
    said = serialize_message(sample('/joint_states', 1))
    with Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        # As of publishers by a DDS that tells none.
        joints = writer.add_connection(
            '/joint_states', kind, msgdef=definition(kind), rihs01='INVALID'
        )
        writer.write(joints, 10**9, said)
    with contextlib.closing(Listener(peer.node)) as listener:
        domain = os.environ['ROS_DOMAIN_ID']
        command = start('replay', folder, '--domain', domain, '--wait-for', '/joint_states')
        assert command.end() == 0, command.output
        wait_until(lambda: listener.heard['/joint_states'] == [said])


def test_nothing_is_replayed_over_what_is_live(recorded, peer, other, start, wait_until):
    folder, said, *_ = recorded
    other('robot', '/joint_states')
    with contextlib.closing(Listener(peer.node)) as listener:
        command = start(*replay_arguments(folder))
        assert command.end() == 1
        assert '/robot publishes /joint_states' in command.output
        assert not any(listener.heard.values())
        # Without that topic there is nothing against it.
        arguments = ('--domain', os.environ['ROS_DOMAIN_ID'], '--wait-for', COLOUR)
        command = start('replay', folder, *arguments, '--topic', COLOUR)
        assert command.end() == 0, command.output
        wait_until(lambda: listener.heard[COLOUR] == said[COLOUR])
    assert [topic for topic, heard in listener.heard.items() if heard] == [COLOUR]


def test_a_robot_that_starts_meanwhile_ends_the_replay(recorded, peer, other, start):
    folder, *_ = recorded
    command = start(*replay_arguments(folder, '--rate', 0.01))
    with contextlib.closing(Listener(peer.node)) as listener:
        peer.wait_until(lambda: listener.heard['/joint_states'])
        other('late_robot', '/joint_states')
        assert command.end() == 1
    assert '/late_robot publishes /joint_states' in command.output


def test_inputs_alone_are_replayed_beside_a_stack(recorded, peer, other, start, wait_until):
    folder, said, *_ = recorded
    perception = other('perception', '/don_kp/matches')
    perception.create_publisher(TFMessage, '/tf', TF)
    arguments = ('--domain', os.environ['ROS_DOMAIN_ID'], '--wait-for', COLOUR)
    with contextlib.closing(Listener(peer.node)) as listener:
        command = start('replay', folder, *arguments)
        assert command.end() == 1
        assert '/perception publishes /don_kp/matches' in command.output
        command = start('replay', folder, *arguments, '--wait-for', '/tf', '--inputs')
        assert command.end() == 0, command.output
        wait_until(lambda: listener.heard['/tf'] == said['/tf'])
    assert listener.heard['/don_kp/matches'] == listener.heard[FEEDBACK] == []


@pytest.mark.parametrize('namespace', ['', '/robot1', '/don_kp', '/simulation', '/lab/don_kp'])
def test_a_stack_s_inputs_are_told_from_its_results_in_any_namespace(namespace):
    inputs = [f'{namespace}/{topic}' for topic in (*camera_topics.ALL, 'joint_states', 'tf')]
    results = ('don_kp/matches', 'grasp/_action/status', 'diagnostics', 'simulation/spectator')
    connections = [
        SimpleNamespace(topic=topic, msgtype='')
        for topic in (*inputs, *(f'{namespace}/{result}' for result in results))
    ]
    bag = SimpleNamespace(connections=connections)
    assert [one.topic for one in _chosen(bag, [], True, '/clock')] == inputs


def test_time_is_that_of_the_clock_and_set_back_it_ends_the_recording(
    peer, publisher, start, tmp_path, wait_until
):
    folder = tmp_path / 'bag'
    clock = publisher(Clock, '/clock', 1)
    joints = publisher(JointState, '/joint_states', 10)
    command = start('record', folder, '--simulated-time')

    def tell(seconds):
        clock.publish(Clock(clock=Time(sec=seconds)))

    wait_until(lambda: tell(50) or joints.get_subscription_count())
    file = folder / 'bag.mcap'
    wait_until(file.exists)
    empty = file.stat().st_size
    large = JointState(position=array('d', bytes(2**21)))  # more than is kept in memory

    def is_written():
        tell(50)
        joints.publish(large)
        return peer.within(0.5, lambda: file.stat().st_size > empty)

    def is_ended():
        tell(3)
        joints.publish(sample('/joint_states', 2))
        return peer.within(0.05, lambda: command.process.poll() is not None)

    wait_until(is_written)
    wait_until(is_ended)
    assert command.end() == 1
    assert 'ROS time was set back by 47.000 s' in command.output
    with AnyReader([folder]) as reader:
        assert {stamp for _, stamp, _ in reader.messages()} == {50 * 10**9}


def test_time_that_stands_still_ends_a_recording_that_waits_for_it_to_pass(
    peer, publisher, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(clock, 'STANDSTILL_S', 0.5)
    told = publisher(Clock, '/clock', 1)
    joints = publisher(JointState, '/joint_states', 10)

    def tell():
        told.publish(Clock(clock=Time(sec=50)))
        joints.publish(sample('/joint_states', 1))

    timer = peer.node.create_timer(0.02, tell)
    folder = tmp_path / 'bag'
    try:
        with Stack('/', '/clock') as stack, pytest.raises(RefusedError) as refused:
            record(stack, folder, ['/joint_states'], seconds=60.0)
    finally:
        peer.node.destroy_timer(timer)
    assert 'simulated time has stood still' in str(refused.value)
    assert f'{folder}: ' in capsys.readouterr().out
    with AnyReader([folder]) as reader:
        assert {stamp for _, stamp, _ in reader.messages()} == {50 * 10**9}


def test_what_is_refused_after_ctrl_c_is_told(peer, publisher, tmp_path, monkeypatch, capsys):
    joints = publisher(JointState, '/joint_states', 10)
    write = Recording.write

    def interrupted_then_full(recording, connection, stamp, data):
        if recording.counts[connection.topic]:
            raise RefusedError('the disk is full')
        write(recording, connection, stamp, data)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Recording, 'write', interrupted_then_full)
    timer = peer.node.create_timer(0.02, lambda: joints.publish(sample('/joint_states', 1)))
    try:
        with Stack('/') as stack, pytest.raises(RefusedError, match='the disk is full'):
            record(stack, tmp_path / 'bag', ['/joint_states'])
    finally:
        peer.node.destroy_timer(timer)
    assert '1 messages' in capsys.readouterr().out


def test_a_second_publisher_of_another_quality_is_recorded_too(
    peer, publisher, start, tmp_path, wait_until
):
    folder, names = tmp_path / 'bag', ('first', 'second')
    publishers = [publisher(JointState, '/joint_states', ALL)]
    command = start('record', folder)
    wait_until(publishers[0].get_subscription_count)
    publishers.append(publisher(JointState, '/joint_states', BEST_EFFORT))
    wait_until(publishers[1].get_subscription_count)
    file = folder / 'bag.mcap'
    empty = file.stat().st_size

    def is_written():
        for name, one in zip(names, publishers, strict=True):
            one.publish(JointState(name=[name], position=array('d', bytes(2**16))))
        return peer.within(0.02, lambda: file.stat().st_size > empty)

    wait_until(is_written)
    assert command.end(signal.SIGINT) == 0, command.output
    with AnyReader([folder]) as reader:
        kind = 'sensor_msgs/msg/JointState'
        kept = {reader.deserialize(data, kind).name[0] for _, _, data in reader.messages()}
    assert kept == set(names)


def test_what_exists_or_cannot_hold_a_recording_is_named(start, tmp_path):
    command = start('record', tmp_path)
    assert command.end() == 1
    assert f'don_kp record: {tmp_path}: exists; name another folder' in command.output
    file = tmp_path / 'file'
    file.touch()
    command = start('record', file / 'bag')
    assert command.end() == 1
    assert f'{file}/bag: cannot be made' in command.output


def test_where_nothing_is_said_nothing_is_left(start, tmp_path):
    command = start('record', tmp_path / 'bag', '--seconds', 0.5)
    assert command.end() == 1
    assert 'nothing came' in command.output
    assert not (tmp_path / 'bag').exists()


def test_kinds_of_messages_are_found_or_named():
    assert message_class('don_kp/action/Grasp_FeedbackMessage') is Grasp.Impl.FeedbackMessage
    assert message_class('sensor_msgs/msg/Image') is Image
    with pytest.raises(ValueError, match='nothing_msgs/msg/No is not installed here'):
        message_class('nothing_msgs/msg/No')
