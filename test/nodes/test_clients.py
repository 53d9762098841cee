"""What `don_kp store`, `teach`, `list`, `where` and `pick` say of answers that a test gives."""

import contextlib
import os
import signal
import threading

import pytest
import rclpy
import trimesh
from geometry_msgs.msg import Point
from rclpy.action import ActionServer, GoalResponse
from rclpy.context import Context
from std_msgs.msg import Header

from don_kp.action import Grasp
from don_kp.msg import Descriptor, DescriptorDetails, Match, Matches
from don_kp.srv import ListDescriptors, StoreDescriptor, StoreMesh, TeachGrasp, TeachObject
from don_kp_ros.clients import command, stack
from don_kp_ros.errors import RefusedError
from don_kp_ros.meshes.reading import decoded
from don_kp_ros.nodes.kit.graph import two_servers


@pytest.fixture
def impatient(monkeypatch):
    """Nobody comes, however long one waits."""
    monkeypatch.setattr(stack, 'PATIENCE_S', 0.1)


@contextlib.contextmanager
def published(peer, message):
    """Publish a message again and again."""
    publisher = peer.node.create_publisher(Matches, 'don_kp/matches', 10)
    ending = threading.Event()

    def publish():
        while not ending.wait(0.02):
            publisher.publish(message)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()
        peer.node.destroy_publisher(publisher)


@contextlib.contextmanager
def served(peer, kind, name, answer):
    """Serve meanwhile."""
    service = peer.node.create_service(kind, name, answer)
    try:
        yield
    finally:
        peer.node.destroy_service(service)


def where(peer, capsys, **fields):
    """Look for cap/brim in matches; return the exit status, what is told and what is wrong."""
    message = Matches(header=Header(frame_id='camera_optical'), **fields)
    with published(peer, message):
        status = command.main(['where', 'cap/brim'])
    return status, *capsys.readouterr()


BRIM = Match(
    name='cap/brim', found=True, u=12.0, v=34.0, score=0.9, position=Point(x=0.1, y=-0.2, z=0.5)
)
PLACE = 'cap/brim: pixel (12, 34), score 0.900, (0.100, -0.200, 0.500) m in camera_optical\n'


def test_a_point_is_told_with_its_pixel_score_and_place(peer, capsys):
    matches = [Match(name='cap/button'), BRIM]
    assert where(peer, capsys, matches=matches) == (0, PLACE, '')


def test_a_point_that_is_not_found_is_a_failure_with_its_reason(peer, capsys):
    lost = Match(**{**fields(BRIM), 'found': False, 'reason': 'no depth there'})
    told = where(peer, capsys, matches=[lost])
    assert told == (1, PLACE, 'don_kp where: not found: no depth there\n')


def fields(message):
    return {name: getattr(message, name) for name in message.get_fields_and_field_types()}


def test_an_image_that_cannot_be_searched_says_why(peer, capsys):
    status, told, wrong = where(peer, capsys, reason='the encoding is yuv999')
    assert (status, told) == (1, '')
    assert wrong == 'don_kp where: the image cannot be searched: the encoding is yuv999\n'


def test_what_is_not_stored_is_told_the_nearest_name(peer, capsys):
    status, told, wrong = where(peer, capsys, matches=[Match(name='cap/brm')])
    assert (status, told) == (1, '')
    assert 'not stored' in wrong and wrong.endswith('; did you mean cap/brm?\n')


def test_all_pages_are_listed(peer, capsys):
    def answer(request, response):
        names = ['a', 'b'] if not request.after else ['c']
        response.descriptors = [Descriptor(name=request.prefix + name) for name in names]
        response.details = [DescriptorDetails(observations=7) for _ in names]
        response.next = '' if request.after else 'b'
        response.success, response.total = True, 4
        return response

    with served(peer, ListDescriptors, 'list_descriptors', answer):
        assert command.main(['list', 'cap/']) == 0
    told = capsys.readouterr().out
    assert [name in told for name in ('cap/a', 'cap/b', 'cap/c')] == [True] * 3
    assert told.count(' 7 ') == 3 and '1 are damaged' in told


def test_a_goal_that_is_rejected_is_a_failure(peer, capsys):
    server = ActionServer(
        peer.node, Grasp, 'grasp', print, goal_callback=lambda _: GoalResponse.REJECT
    )
    try:
        assert command.main(['pick', 'cap/brim']) == 1
    finally:
        server.destroy()
    assert 'another goal is running' in capsys.readouterr().err


def test_a_pick_tells_what_is_to_follow(peer, capsys):
    sent = []
    server = ActionServer(
        peer.node, Grasp, 'grasp', print,
        goal_callback=lambda goal: sent.append(goal) or GoalResponse.REJECT,
    )  # fmt: skip
    try:
        for then in (['--place-at', 'tray/middle'], ['--place', '0.4', '0.1', '0'], []):
            assert command.main(['pick', 'cap/brim', *then]) == 1
    finally:
        server.destroy()
    at, by_pose, held = sent
    assert (at.target, at.next, at.place_at) == ('cap/brim', 'place', 'tray/middle')
    assert at.place == held.place and by_pose.place.pose.position.x == 0.4
    assert (by_pose.next, by_pose.place_at) == ('place', '')
    assert (held.next, held.place_at) == ('', '')
    with pytest.raises(SystemExit):
        command.main(['pick', 'cap/brim', '--place-at', 'tray', '--release'])
    assert 'not allowed with' in capsys.readouterr().err


@contextlib.contextmanager
def teaching(peer):
    """Serve /teach_grasp; give what it is asked."""
    asked = []

    def answer(request, response):
        asked.append(request)
        response.success, response.message = True, f'{request.object} by {request.by}'
        response.object_pose.header.frame_id = 'base'
        response.object_pose.pose.position.x = 0.5
        return response

    with served(peer, TeachGrasp, 'teach_grasp', answer):
        yield asked


def test_a_grasp_is_taught_by_pixels_or_by_numbers(peer, capsys):
    with teaching(peer) as asked:
        pixels = ['--pixels', '1', '2', '3', '4', '--replace']
        assert command.main(['teach', 'grasp', 'cap', 'brim', *pixels]) == 0
        numbers = ['0', '-0.06', '0.01', '1', '0', '0', '0', '0.05']
        assert command.main(['teach', 'grasp', 'cap', '--pose', *numbers]) == 0
    first, second = asked
    assert (first.by, first.object, first.name, first.replace) == ('pixels', 'cap', 'brim', True)
    assert (first.u.tolist(), first.v.tolist()) == ([1, 3], [2, 4])
    pose = second.pose.pose
    assert (second.by, second.name, second.pose.header.frame_id) == ('pose', '', '')
    assert (pose.position.y, pose.orientation.x, pose.orientation.w) == (-0.06, 1.0, 0.0)
    assert second.width == 0.05
    assert capsys.readouterr().out == 'cap by pixels\ncap by pose\n'


@pytest.mark.parametrize(('typed', 'status'), [(b'\n', 0), (b'', 1)])
def test_a_grasp_is_taught_by_hand_once_enter_is_pressed(peer, capsys, monkeypatch, typed, status):
    reading, writing = os.pipe()
    os.write(writing, typed)
    os.close(writing)
    with open(reading, encoding='utf-8') as keyboard, teaching(peer) as asked:
        monkeypatch.setattr('sys.stdin', keyboard)
        assert command.main(['teach', 'grasp', 'cap', 'brim']) == status
    assert [one.by for one in asked] == ['look', 'hand'][: 2 - status]
    if status:
        assert 'nothing was taught' in capsys.readouterr().err
        return
    # Where it was seen before the hand came, it is now.
    assert asked[1].object_pose.pose.position.x == 0.5
    assert asked[1].object_pose.header.frame_id == 'base'
    assert 'press Enter' in capsys.readouterr().out


def test_a_mesh_is_read_packed_and_sent(peer, capsys, tmp_path):
    asked = []

    def answer(request, response):
        asked.append(request)
        response.success, response.message = True, 'it fits'
        return response

    path = tmp_path / 'ball.ply'
    ball = trimesh.creation.icosphere(7, 60.0)  # 327 680 faces, in millimetres
    ball.invert()
    ball.export(path)
    arguments = ['teach', 'mesh', 'cap', str(path)]
    with served(peer, StoreMesh, 'store_mesh', answer):
        assert command.main(arguments) == 1
        assert 'ball.ply: is 120 m large' in (told := capsys.readouterr().err)
        assert 'it seems to be in millimetres: give the unit of its numbers (mm, cm or m)' in told
        assert asked == []
        pose = ['--pose', '0.1', '0.2', '0.3', '0', '0', '1', '0']
        assert command.main([*arguments, '--unit', 'mm', '--replace', *pose]) == 0
        assert capsys.readouterr().out == 'it fits\n'
    (sent,) = asked
    assert (sent.object, sent.format, sent.placed, sent.replace) == ('cap', 'glb', True, True)
    assert (sent.pose.position.z, sent.pose.orientation.z) == (0.3, 1.0)
    mesh = decoded(bytes(sent.data), sent.format, '')
    assert len(mesh.faces) <= 20_000
    assert mesh.size == pytest.approx([0.12] * 3, rel=1e-3)


def test_an_object_is_taught_by_a_pixel(peer, capsys):
    asked = []

    def answer(request, response):
        asked.append(request)
        response.success, response.message = True, 'taught'
        return response

    with served(peer, TeachObject, 'teach_object', answer):
        assert command.main(['teach', 'object', 'cap', '5', '6', '--add']) == 0
    (one,) = asked
    assert (one.name, one.u, one.v, one.add, one.replace) == ('cap', 5, 6, True, False)
    assert capsys.readouterr().out == 'taught\n'


@pytest.mark.parametrize(
    'arguments', [['object', 'cap', '5', '6'], ['grasp', 'cap', '--pixels', '1', '2', '3', '4']]
)
def test_what_looks_for_seconds_of_a_slow_simulation_is_waited_for(
    ros_environment, monkeypatch, arguments
):
    waited = []

    def ask(self, kind, name, request, seconds=None):
        waited.append(seconds or stack.PATIENCE_S)
        return kind.Response(success=True)

    monkeypatch.setattr(stack.Stack, 'ask', ask)
    assert command.main(['teach', *arguments]) == 0
    (seconds,) = waited
    assert seconds > stack.PATIENCE_S


@pytest.mark.usefixtures('impatient')
@pytest.mark.parametrize(
    ('arguments', 'name'),
    [
        (['teach', 'object', 'cap', '1', '2'], '/teach_object'),
        (['teach', 'grasp', 'cap'], '/teach_grasp'),
        (['pick', 'cap', '--aligned'], '/grasp'),
        (['store', 'cap/brim', '1', '2'], '/store_descriptor'),
        (['list', '--namespace', 'robot1'], '/robot1/list_descriptors'),
        (['where', 'cap/brim'], '/don_kp/matches'),
        (['pick', 'cap/brim'], '/grasp'),
        (['release'], '/grasp'),
    ],
)
def test_where_no_stack_runs_it_says_how_to_start_or_reach_one(capsys, arguments, name):
    assert command.main(arguments) == 1
    wrong = capsys.readouterr().err
    domain = os.environ['ROS_DOMAIN_ID']
    assert wrong.startswith(f'don_kp {arguments[0]}: nobody has {name} in ROS domain {domain}: ')
    assert '`don_kp bringup`' in wrong and '--simulation' in wrong and wrong.count('\n') == 1


def test_a_stack_in_another_namespace_is_named(peer):
    there = StoreDescriptor, '/robot1/store_descriptor', lambda _, response: response
    with served(peer, *there), stack.Stack('/') as client:
        named = 'a stack runs in namespace /robot1: --namespace /robot1'
        peer.wait_until(lambda: client.wait(lambda: named in str(client.missing('/grasp')), 1.0))


def test_a_wrong_namespace_is_refused(capsys):
    assert command.main(['list', '--namespace', '1st']) == 1
    assert "namespace is '1st'" in capsys.readouterr().err


def test_a_simulation_is_asked_in_its_own_domain(monkeypatch, capsys):
    def refuse(namespace):
        raise RefusedError(f'{os.environ["ROS_DOMAIN_ID"]} {namespace}')

    for name in 'ROS_DOMAIN_ID', 'ROS_AUTOMATIC_DISCOVERY_RANGE', 'ROS_STATIC_PEERS':
        monkeypatch.setenv(name, '5')
    monkeypatch.setattr(stack, 'Stack', refuse)
    assert command.main(['list', '--namespace', 'robot1']) == 1
    assert capsys.readouterr().err == 'don_kp list: 5 /robot1\n'
    assert command.main(['list', '--simulation']) == 1
    assert capsys.readouterr().err == 'don_kp list: 77 /\n'
    assert os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] == 'LOCALHOST'


@pytest.mark.parametrize('given', [['0.4'], ['0.4', '0.1'], ['0.4', '0.1', 'nan'], ['0'] * 5])
def test_a_place_that_is_none_is_refused_at_once(capsys, given):
    with pytest.raises(SystemExit):
        command.main(['pick', 'cap/brim', '--place', *given])
    assert 'it takes X Y Z in metres, and YAW in degrees or none' in capsys.readouterr().err


def test_a_terminal_that_nohup_ignores_interrupts_no_wait(ros_environment):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stack.Stack('/') as waiting:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not waiting.wait(lambda: False, 0.1)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_server_that_was_started_again_is_asked_once_the_dead_one_counts_no_more(peer, capsys):
    other = Context()  # as another process has
    rclpy.init(context=other)
    dead = rclpy.create_node(peer.node.get_name(), context=other)
    dead.create_service(ListDescriptors, '/list_descriptors', lambda _, response: response)

    def answer(_, response):
        response.success = True
        return response

    timer = threading.Timer(4.0, dead.destroy_node)
    with stack.Stack('/') as asking, served(peer, ListDescriptors, 'list_descriptors', answer):
        assert asking.wait(lambda: two_servers(asking.node, '/list_descriptors'))
        timer.start()
        asking.ask(ListDescriptors, 'list_descriptors', ListDescriptors.Request())
        assert timer.finished.is_set()
    timer.join()
    other.shutdown()
    both = ' and '.join([peer.node.get_fully_qualified_name()] * 2)
    assert f'waiting: several nodes serve /list_descriptors: {both};' in capsys.readouterr().err
