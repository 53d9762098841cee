"""The whole stack in its own processes: real nodes, services, physics, and the shipped model."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rclpy
import yaml
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Path as PlannedPath
from rclpy.signals import SignalHandlerOptions

from don_kp.action import Grasp
from don_kp.msg import Detections, ObjectPoses
from don_kp.srv import DeleteDescriptor, GetSceneTruth, TeachGrasp, Transform
from don_kp_ros.bringup.domain import free_domain
from don_kp_ros.bringup.processes import Bringup
from don_kp_ros.calibration.views import angles
from don_kp_ros.clients import calibrate_command
from don_kp_ros.demo.judge import Judge
from don_kp_ros.geometry import rigid
from don_kp_ros.nodes.kit.conversions import (
    matrix_from_pose,
    matrix_from_transform,
    seconds_from_stamp,
)
from don_kp_ros.nodes.kit.qos import LATCHED
from don_kp_ros.resources import config_path
from don_kp_ros.robots.preset import load_preset
from don_kp_ros.simulation.camera import D435
from don_kp_ros.simulation.instances import UNSEEN
from don_kp_ros.simulation.scene import Layout
from don_kp_ros.simulation.world import World

CAP = UNSEEN[42]
BOX, CAN = 367, 295537  # a table with a box, and a can that is narrow enough to stand on it
FREE = 6  # a placement that leaves the table's middle free
PLACES = ((0.5, 0.18), (0.5, -0.18), (0.4, 0.2), (0.4, -0.2))  # one of them is free, metres
BRIM = Grasp.Goal(target='cap/brim')
TWICE = r'observe plan look_again (observe look_again |plan observe look_again ){0,2}plan '
"""From two views; where those do not agree, from another one, twice at most."""


def picked(phases: list[str]) -> bool:
    """Tell whether a goal was looked at from two views at least, then picked at the first try."""
    told = ' '.join(phase.replace(' ', '_') for phase in phases)
    return bool(re.fullmatch(TWICE + 'approach close lift verify', told))


ROOT = Path(__file__).parents[2]


@pytest.fixture(scope='module')
def bringup(own_domain: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bringup]:
    """The stack, for all tests of this file."""
    folder = tmp_path_factory.mktemp('stack')
    arguments = {
        'simulation': 'true',
        'simulation_domain': os.environ['ROS_DOMAIN_ID'],
        'real_time_factor': '0',
        'database': str(folder / 'descriptors.sqlite'),
    }
    with Bringup(arguments, folder / 'logs') as running:
        yield running


@pytest.fixture(scope='module')
def judge(bringup: Bringup) -> Iterator[Judge]:
    """A user and judge of the stack."""

    def check() -> None:
        ended = bringup.poll()
        assert ended is None, f'{ended}:\n{bringup.tail(ended.node) if ended else ""}'

    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    made = Judge(check)
    try:
        made.wait_until_ready(timeout=120.0)
        yield made
    finally:
        made.close()
        rclpy.try_shutdown()


@pytest.fixture
def at_rest(judge: Judge) -> Iterator[None]:
    """Lay out the table without the cap; in the end the arm must not have moved."""
    judge.reset(1, FREE, CAP, without_object=True)
    yield
    assert judge.motion < 0.005


def teach(judge: Judge) -> None:
    judge.reset(1, 0, CAP)
    truth = judge.truth()
    judge.store('cap/brim', round(truth.point_u), round(truth.point_v))


def send(judge: Judge, goal: Grasp.Goal) -> Grasp.Result:
    return judge.grasp(goal, lambda *_: None)


def test_a_taught_point_is_found_elsewhere_grasped_and_lifted_and_let_go(judge: Judge) -> None:
    teach(judge)
    judge.reset(1, 1, CAP)
    before = judge.truth()
    phases: list[str] = []
    told: list[PlannedPath] = []
    listening = judge.create_subscription(PlannedPath, 'don_kp/planned_path', told.append, LATCHED)
    planned_at: list[np.ndarray] = []

    def heard(phase: str, _: str) -> None:
        phases.append(phase)
        if phase == 'plan':
            planned_at.append(judge.joints)

    result = judge.grasp(BRIM, heard)
    assert result.success, result.message
    assert picked(phases), phases
    first, *_, last = planned_at  # from where the cap was seen
    assert np.abs(last - first).max() > 0.1
    wait_for(lambda: len(told) > 1 and not told[-1].poses)
    judge.destroy_subscription(listening)
    # Each plan is told, and each way to another view.
    *others, way = [path.poses for path in told if path.poses]
    assert 1 + len(others) == phases.count('plan') + phases.count('look again')
    grasp = matrix_from_pose(result.grasp_pose.pose)
    assert min(np.abs(matrix_from_pose(one.pose) - grasp).max() for one in way) < 1e-3
    found, true = result.point.point, before.point
    assert np.hypot(found.x - true.x, found.y - true.y) < 0.015
    assert judge.watch_height(1.0) - before.centre.z > 0.10
    assert 0.03 < result.width < 0.07

    again = send(judge, BRIM)
    assert again.code == Grasp.Result.INVALID_GOAL
    assert 'release' in again.message
    assert judge.truth().centre.z - before.centre.z > 0.10

    assert send(judge, Grasp.Goal(mode='release')).success
    assert judge.truth().centre.z - before.centre.z < 0.05


def test_what_is_picked_is_put_where_the_goal_says(judge: Judge) -> None:
    teach(judge)
    judge.reset(1, 1, CAP)
    before = judge.truth()
    phases: list[str] = []
    for x, y in PLACES:
        goal = Grasp.Goal(target='cap/brim', next='place', place=pose(x, y, 0.0))
        goal.place.pose.orientation.z, goal.place.pose.orientation.w = np.sin(0.25), np.cos(0.25)
        result = judge.grasp(goal, lambda phase, _: phases.append(phase))
        if result.code != Grasp.Result.OCCUPIED:
            break
        assert judge.motion < 0.005  # refused before it is picked
    assert result.success, result.message
    assert phases[-4:] == ['lift', 'verify', 'place', 'retreat']
    after = judge.truth()
    assert np.hypot(after.point.x - x, after.point.y - y) < 0.010
    assert abs(after.centre.z - before.centre.z) < 0.003
    # The closing fingers turn a brim by some degrees.
    turned = heading(after) - heading(before) - 0.5
    assert abs(np.arctan2(np.sin(turned), np.cos(turned))) < np.deg2rad(10)
    nothing = send(judge, Grasp.Goal(mode='place', place=goal.place))
    assert nothing.code == Grasp.Result.NOTHING_HELD, nothing.message


def heading(truth: GetSceneTruth.Response) -> float:
    """Return how far the cap is turned about the vertical, radians."""
    R = matrix_from_pose(truth.object)
    return float(np.arctan2(R[1, 0], R[0, 0]))


def test_an_occupied_place_is_refused_and_the_arm_holds(judge: Judge) -> None:
    teach(judge)
    before = judge.truth()
    outside = Grasp.Goal(target='cap/brim', next='place', place=pose(0.9, 0.0, 0.0))
    refused = send(judge, outside)
    assert refused.code == Grasp.Result.OUTSIDE, refused.message
    assert judge.motion < 0.005
    assert send(judge, BRIM).success
    # Ten centimetres over the table there is nothing to stand on.
    occupied = Grasp.Goal(mode='place', place=pose(0.45, 0.0, 0.1))
    result = send(judge, occupied)
    assert result.code == Grasp.Result.OCCUPIED, result.message
    assert 'the arm holds' in result.message
    assert judge.truth().centre.z - before.centre.z > 0.10
    # What is held hides a part of the table, which is free, as it was seen before.
    for x, y in PLACES:
        result = send(judge, Grasp.Goal(mode='place', place=pose(x, y, 0.0)))
        assert 'not seen' not in result.message
        if result.code != Grasp.Result.OCCUPIED:
            break
    assert result.success, result.message
    brim = judge.truth().point
    assert np.hypot(brim.x - x, brim.y - y) < 0.010


@pytest.fixture
def tray(judge: Judge) -> Iterator[str]:
    """What to store a tray as; forgotten in the end, for other things may look like one point."""
    yield 'tray/middle'
    forget = judge.create_client(DeleteDescriptor, 'delete_descriptor')
    answer = forget.call_async(DeleteDescriptor.Request(name='tray/middle'))
    wait_for(answer.done)
    assert answer.result().success


def test_what_is_picked_is_put_onto_what_was_taught(judge: Judge, tray: str) -> None:
    def on_table(placement: int) -> tuple[np.ndarray, GetSceneTruth.Response]:
        """Return the middle of the box's top, and all."""
        judge.reset(BOX, placement, CAN, kind='can', others=1)
        truth = judge.truth()
        (box,) = truth.others
        return np.array([box.x, box.y, 2 * box.z]), truth

    top, _ = on_table(0)
    camera = World(Layout.draw(BOX, CAN, kind='can'), load_preset('panda')).camera_pose()
    u, v = D435.project(rigid.apply(rigid.inverse(camera), top))
    judge.store(tray, round(u), round(v))
    top, before = on_table(2)
    phases: list[str] = []
    can = matrix_from_pose(before.object)[:3, 3]
    goal = Grasp.Goal(pose=pose(can[0], can[1], 2 * before.centre.z))
    goal.next, goal.place_at = 'place', tray
    result = judge.grasp(goal, lambda phase, _: phases.append(phase))
    assert result.success, result.message
    assert phases[:2] == ['observe', 'look again'] and phases[-2:] == ['place', 'retreat']
    after = judge.truth()
    stands = matrix_from_pose(after.object)
    assert np.hypot(*(stands[:2, 3] - top[:2])) < 0.015
    assert abs(stands[2, 3] - top[2]) < 0.002 and stands[2, 2] > np.cos(np.deg2rad(2))
    assert np.hypot(after.others[0].x - top[0], after.others[0].y - top[1]) < 0.003


def test_an_object_taught_from_one_view_is_found_with_its_pose_elsewhere(judge: Judge) -> None:
    def pose_of_cap() -> np.ndarray:
        return matrix_from_pose(judge.truth().object)

    judge.reset(1, 0, CAP)
    truth, T_world_cap = judge.truth(), pose_of_cap()
    taught = judge.teach_object('cap', round(truth.point_u), round(truth.point_v))
    assert len(taught.object.weights) > 20
    seen: list[ObjectPoses] = []
    heard = judge.create_subscription(ObjectPoses, 'don_kp/object_poses', seen.append, 10)
    detected: list[Detections] = []
    told = judge.create_subscription(Detections, 'don_kp/detections', detected.append, 10)
    ask = judge.create_client(Transform, 'perception/transform')
    wait_for(ask.service_is_ready)

    def T_world_object() -> np.ndarray | None:
        """The pose in the newest image."""
        seen.clear()
        wait_for(lambda: seen)
        if not (objects := seen[-1].objects):
            return None
        header = seen[-1].header
        lookup = Transform.Request(
            target='panda_link0', source=header.frame_id, stamp=header.stamp
        )
        answer = ask.call_async(lookup)
        wait_for(answer.done)
        if not answer.result().success:
            return None
        T_world_camera = matrix_from_transform(answer.result().transform)
        return T_world_camera @ matrix_from_pose(objects[0].pose.pose)

    def found() -> np.ndarray:
        poses: list[np.ndarray] = []
        wait_for(lambda: (T := T_world_object()) is not None and poses.append(T) is None)
        return poses[0]

    T_cap_object = rigid.inverse(T_world_cap) @ found()
    # Its frame has the axes of the base where it was taught.
    assert (T_world_cap @ T_cap_object)[:3, :3] == pytest.approx(np.eye(3), abs=0.05)
    judge.reset(1, 1, CAP)
    off = rigid.inverse(pose_of_cap() @ T_cap_object) @ found()
    assert np.linalg.norm(off[:3, 3]) < 0.01
    assert np.arccos(np.clip((np.trace(off[:3, :3]) - 1) / 2, -1, 1)) < np.deg2rad(10)

    def in_a_box(message: Detections, u: float, v: float) -> bool:
        boxes = [one.box for one in message.detections if one.name == 'cap']
        return any(
            0 <= u - box.x_offset < box.width and 0 <= v - box.y_offset < box.height
            for box in boxes
        )

    truth = judge.truth()
    wait_for(lambda: any(in_a_box(one, truth.point_u, truth.point_v) for one in detected[-1:]))
    judge.reset(1, 1, CAP, without_object=True)
    begun = judge.truth().time

    def without(told: list[Any]) -> list[Any]:
        """What was told of images of the table without the cap."""
        return [one for one in told if seconds_from_stamp(one.header.stamp) > begun]

    wait_for(lambda: len(without(seen)) > 2 and len(without(detected)) > 2)
    assert not any(message.detections for message in without(detected))
    assert 'cap' in detected[-1].missing
    assert not any(message.objects for message in without(seen))
    assert list(seen[-1].missing) == ['cap'] and seen[-1].reasons[0]
    judge.destroy_subscription(heard)
    judge.destroy_subscription(told)


def stopped_while_closing(judge: Judge) -> Grasp.Result:
    """Bring the hand to the brim; on a busy machine it may have gone on before it is stopped."""
    before = judge.truth().centre.z
    for _ in range(5):
        result = judge.grasp(BRIM, lambda phase, _: judge.cancel() if phase == 'close' else None)
        rose = judge.truth().centre.z - before
        if result.code == Grasp.Result.CANCELLED and abs(rose) < 0.003:
            return result
        assert result.code in (Grasp.Result.CANCELLED, Grasp.Result.SUCCEEDED), result.message
        assert send(judge, Grasp.Goal(mode='release')).success
        teach(judge)  # back to where it was
    raise AssertionError('the hand was never stopped while it closed')


def test_a_grasp_taught_by_hand_follows_the_turned_object(judge: Judge) -> None:
    teach(judge)
    truth, T_world_cap = judge.truth(), matrix_from_pose(judge.truth().object)
    judge.teach_object('cap', round(truth.point_u), round(truth.point_v))
    unheld = send(judge, Grasp.Goal(target='cap', mode='aligned'))
    assert unheld.code == Grasp.Result.NOT_TAUGHT
    assert '/teach_grasp' in unheld.message

    # As a person would, by hand: look, bring the hand to the brim, teach.
    seen = judge.teach_grasp(TeachGrasp.Request(by='look', object='cap'))
    stopped = stopped_while_closing(judge)
    by_hand = TeachGrasp.Request(
        by='hand', object='cap', name='brim', object_pose=seen.object_pose
    )
    taught = judge.teach_grasp(by_hand)
    assert taught.grasp.name == 'brim' and 0.02 < taught.grasp.width <= 0.08
    T_cap_tcp = rigid.inverse(T_world_cap) @ matrix_from_pose(stopped.grasp_pose.pose)

    judge.reset(1, 1, CAP)
    before = judge.truth()
    T_world_cap = matrix_from_pose(before.object)
    phases: list[str] = []
    goal = Grasp.Goal(target='cap', mode='aligned')
    result = judge.grasp(goal, lambda phase, _: phases.append(phase))
    assert result.success, result.message
    assert picked(phases), phases
    assert judge.watch_height(1.0) - before.centre.z > 0.10
    off = rigid.inverse(T_cap_tcp) @ rigid.inverse(T_world_cap)
    off = off @ matrix_from_pose(result.grasp_pose.pose)
    assert abs(off[1, 1]) > np.cos(np.deg2rad(8))  # of the finger axis, either way round
    assert np.linalg.norm(off[:3, 3]) < 0.012
    assert send(judge, Grasp.Goal(mode='release')).success


def test_rviz_shows_what_the_stack_publishes(judge: Judge) -> None:
    layout = yaml.safe_load(config_path('rviz/don_kp.rviz').read_text())
    published = dict(judge.get_topic_names_and_types())
    kinds = {
        'MarkerArray': 'visualization_msgs/msg/MarkerArray',
        'Pose': 'geometry_msgs/msg/PoseStamped',
        'Path': 'nav_msgs/msg/Path',
        'Image': 'sensor_msgs/msg/Image',
    }
    displays = layout['Visualization Manager']['Displays']
    shown = [one for one in displays if 'Topic' in one]
    assert len(shown) > 4
    for display in shown:
        topic, kind = display['Topic']['Value'], display['Class']
        assert published['/' + topic] == [kinds[kind.removeprefix('rviz_default_plugins/')]]
    # Those without a topic of ours: robot_state_publisher is there where it is installed.
    rest = {one['Class'] for one in displays} - {one['Class'] for one in shown}
    assert rest == {f'rviz_default_plugins/{name}' for name in ('Grid', 'TF', 'RobotModel')}


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def pick(*arguments: str, domain: str = '') -> subprocess.Popen[str]:
    """Start the example as its user would, in the stack's domain or in another."""
    environment = {**os.environ, **({'ROS_DOMAIN_ID': domain} if domain else {})}
    command = [sys.executable, 'examples/pick.py', *arguments]
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True}
    return subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)


def test_the_example_lifts_the_cap_and_lets_go(judge: Judge) -> None:
    judge.reset(1, 0, CAP)
    before = judge.truth()
    process = pick('cap/brim', str(round(before.point_u)), str(round(before.point_v)))
    heights = []
    while process.poll() is None:
        heights.append(judge.watch_height(0.2))
    output, errors = process.communicate()
    assert (process.returncode, errors) == (0, ''), output
    assert max(heights) - before.centre.z > 0.10
    assert judge.truth().centre.z - before.centre.z < 0.05


def command(*arguments: str) -> tuple[int, str]:
    """Run a command of the line; return its exit status, and all that it says."""
    line = [sys.executable, '-m', 'don_kp_ros.cli', *arguments]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_the_command_line_stores_lists_finds_and_stops_a_pick(judge: Judge) -> None:
    judge.reset(1, FREE, CAP)
    truth = judge.truth()
    place = str(round(truth.point_u)), str(round(truth.point_v))
    status, said = command('store', 'cap/rim', *place)
    assert (status, 'cap/rim' in said) == (0, True), said
    status, said = command('store', 'cap/rim', *place)
    assert status == 1 and 'already stored' in said
    status, said = command('list', 'cap/r')
    assert status == 0 and re.search(r'cap/rim .* 1 ', said), said

    for _ in range(5):  # an image may have no depth at the brim's edge
        status, said = command('where', 'cap/rim')
        if status == 0:
            break
    assert status == 0 and 'm in camera_color_optical_frame' in said, said
    numbers = [float(number) for number in re.findall(r'-?\d+(?:\.\d+)?', said)]
    u, v, score, *xyz = numbers
    true = truth.point_in_camera
    assert np.hypot(u - truth.point_u, v - truth.point_v) < 8 and 0.9 < score <= 1
    assert np.allclose(xyz, (true.x, true.y, true.z), atol=0.015)

    line = [sys.executable, '-m', 'don_kp_ros.cli', 'pick', 'cap/rim']
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True}
    with subprocess.Popen(line, cwd=ROOT, **pipes) as process:
        assert process.stdout is not None
        assert any(told.startswith('approach') for told in process.stdout)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130
    assert errors.startswith('stopping the arm ...\nnot done: ') and 'Traceback' not in errors
    assert judge.at_rest()
    stopped = judge.joints
    time.sleep(1.0)
    assert np.abs(judge.joints - stopped).max() < 0.01
    assert command('release')[0] == 0


def test_the_arm_calibrates_its_camera_whose_mount_is_off(
    judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('XDG_CONFIG_HOME', str(tmp_path / 'config'))
    judge.reset(1, 0, CAP, board=True)
    true = matrix_from_pose(judge.truth().camera)
    views = str(tmp_path / 'views')

    def off() -> tuple[float, float]:
        """How far the camera is from where the preset has it, metres and radians."""
        T = rigid.inverse(true) @ load_preset('panda').camera.T_hand_optical
        return float(np.linalg.norm(T[:3, 3])), float(angles(T))

    metres, radians = off()
    assert metres > 0.009 and radians > np.deg2rad(2)
    record = ['calibrate', 'record', views, '--square', '32', '--drive', '--yes', '--views', '6']
    status, said = command(*record)
    assert status == 0 and '6 views; now: ' in said, said
    assert calibrate_command.main(['solve', views, '--yes']) == 0
    metres, radians = off()
    assert metres < 1e-3 and radians < np.deg2rad(0.1)


def refusal(process: subprocess.Popen[str]) -> str:
    """Wait for the end of an example that fails; return what it says, in one line."""
    _, errors = process.communicate()
    assert process.returncode == 1
    assert errors.count('\n') == 1, errors
    return errors


def test_the_example_says_what_is_refused(judge: Judge) -> None:
    judge.reset(1, 0, CAP)
    errors = refusal(pick('cap/brim', '640', '0'))
    assert errors.startswith('not stored: ') and '640' in errors


def test_the_example_says_where_there_is_no_stack() -> None:
    nowhere = str(free_domain())
    assert 'don_kp bringup' in refusal(pick('cap/brim', '320', '240', domain=nowhere))


def test_without_the_cap_nothing_is_found_and_nothing_moves(judge: Judge, at_rest: None) -> None:
    result = send(judge, BRIM)
    assert result.code == Grasp.Result.NOT_FOUND
    assert 'cap/brim' in result.message


def pose(x: float, y: float, z: float, frame: str = 'panda_link0') -> PoseStamped:
    message = PoseStamped()
    message.header.frame_id = frame
    message.pose.position.x, message.pose.position.y, message.pose.position.z = x, y, z
    return message


@pytest.mark.parametrize(
    ('goal', 'code', 'words'),
    [
        (Grasp.Goal(), 'INVALID_GOAL', 'neither a target nor a pose'),
        (Grasp.Goal(target='cup/rim'), 'UNKNOWN_TARGET', "'cup/rim'"),
        (Grasp.Goal(target='cap/brim', mode='shove'), 'INVALID_GOAL', 'shove'),
        (Grasp.Goal(target='mug', mode='aligned'), 'UNKNOWN_TARGET', '/teach_object'),
        (Grasp.Goal(pose=pose(0.4, 0.0, 0.02, 'moon')), 'INVALID_GOAL', 'moon'),
        (Grasp.Goal(pose=pose(float('nan'), 0.0, 0.02)), 'INVALID_GOAL', 'finite'),
        (Grasp.Goal(pose=pose(0.55, 0.25, 0.0)), 'NO_GRASP', 'nothing'),
        (Grasp.Goal(mode='aligned', pose=pose(1.4, 0.0, 0.3)), 'OUTSIDE', '1.400'),
        (Grasp.Goal(mode='aligned', pose=pose(0.45, 0.0, -0.1)), 'UNREACHABLE', 'table'),
    ],
)
def test_bad_goals_are_refused_with_a_reason_and_nothing_moves(
    judge: Judge, at_rest: None, goal: Grasp.Goal, code: str, words: str
) -> None:
    result = send(judge, goal)
    assert not result.success
    assert result.code == getattr(Grasp.Result, code), result.message
    assert words in result.message


@pytest.mark.parametrize('node', ['perception', 'simulation'])
def test_nothing_moves_on_what_has_gone_stale(
    judge: Judge, bringup: Bringup, at_rest: None, node: str
) -> None:
    process = bringup.process(node)
    process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(1.2)
        result = send(judge, BRIM)
    finally:
        process.send_signal(signal.SIGCONT)
    assert result.code == Grasp.Result.STALE_DATA, result.message


def test_a_gripper_that_closes_on_nothing_fails_and_retreats(judge: Judge) -> None:
    judge.reset(1, FREE, CAP, without_object=True)
    rest = judge.joints
    # Above a free place of the table: the hand comes down and finds nothing.
    result = send(judge, Grasp.Goal(mode='aligned', pose=pose(0.45, 0.0, 0.05)))
    assert result.code == Grasp.Result.EMPTY_GRIPPER, result.message
    assert 'nothing' in result.message
    assert judge.motion > 0.1
    assert np.abs(judge.joints - rest).max() < 0.02


def test_a_cancelled_grasp_stops_the_arm(judge: Judge) -> None:
    judge.reset(1, FREE, CAP, without_object=True)

    def cancel(phase: str, _: str) -> None:
        if phase == 'approach':
            judge.cancel()

    result = judge.grasp(Grasp.Goal(mode='aligned', pose=pose(0.45, 0.0, 0.05)), cancel)
    assert result.code == Grasp.Result.CANCELLED, result.message
    assert judge.at_rest()
    stopped = judge.joints
    time.sleep(1.0)
    assert np.abs(judge.joints - stopped).max() < 0.01
    assert send(judge, Grasp.Goal(mode='release')).success


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_the_stack_ends_in_time_without_a_traceback(
    number: signal.Signals, tmp_path: Path, nodes_ready: Callable, wait_until: Callable
) -> None:
    command = [sys.executable, '-m', 'don_kp_ros.cli', 'bringup', 'simulation:=true']
    command += [f'database:={tmp_path / "d.sqlite"}', f'simulation_domain:={free_domain()}']
    command += ['--log-directory', str(tmp_path / 'logs')]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        wait_until(lambda: process.poll() is not None or nodes_ready(tmp_path / 'logs'))
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0
    logs = output + ''.join(path.read_text() for path in (tmp_path / 'logs').iterdir())
    assert 'killed' not in output, logs  # each has ended by itself within the time that it has
    assert 'Traceback' not in logs
