"""The whole stack in its own processes: real nodes, services, physics, and the shipped model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rclpy
from geometry_msgs.msg import PoseStamped
from rclpy.action import ActionClient

from don_kp.action import Grasp
from don_kp_ros.nodes.bringup import Bringup
from don_kp_ros.nodes.simulation.judge import Judge
from don_kp_ros.simulation.dataset import UNSEEN_CAPS

CAP = UNSEEN_CAPS[42]


@pytest.fixture(scope='module')
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    """A judge of a stack that runs for all tests of this file."""
    folder = tmp_path_factory.mktemp('stack')
    arguments = {'simulation': 'true', 'database': str(folder / 'descriptors.sqlite')}
    with Bringup(arguments, folder / 'logs') as bringup:

        def check() -> None:
            ended = bringup.poll()
            assert ended is None, f'{ended} ended: see {folder / "logs"}'

        rclpy.init()
        judge = Judge(check)
        try:
            judge.wait_until_ready(timeout=120.0)
            yield judge
        finally:
            judge.close()
            rclpy.try_shutdown()


def teach(judge: Judge) -> None:
    judge.reset(1, 0, CAP)
    truth = judge.truth()
    assert judge.store('cap/brim', round(truth.brim_u), round(truth.brim_v)).success


def test_a_taught_point_is_found_elsewhere_grasped_and_lifted(stack: Judge) -> None:
    teach(stack)
    stack.reset(1, 1, CAP)
    before = stack.truth()
    phases: list[str] = []
    result = stack.grasp('cap/brim', lambda phase, _: phases.append(phase))
    assert result.success, result.message
    assert phases == ['look', 'plan', 'approach', 'close', 'lift', 'hold']
    found, true = result.point.point, before.brim
    assert np.hypot(found.x - true.x, found.y - true.y) < 0.015
    after = stack.truth()
    assert after.cap_height - before.cap_height > 0.10
    assert 0.03 < result.width < 0.07


def test_without_the_cap_nothing_is_found_and_nothing_moves(stack: Judge) -> None:
    teach(stack)
    stack.reset(1, 2, CAP, without_cap=True)
    result = stack.grasp('cap/brim', lambda *_: None)
    assert result.code == Grasp.Result.NOT_FOUND
    assert 'cap/brim' in result.message
    assert stack.motion < 0.005


def send(judge: Judge, goal: Grasp.Goal) -> Grasp.Result:
    """Send any goal, as a client of its own."""
    client = ActionClient(judge, Grasp, '/grasp')
    assert client.wait_for_server(10.0)
    sent = client.send_goal_async(goal)
    deadline = time.monotonic() + 60.0
    while not sent.done() and time.monotonic() < deadline:
        time.sleep(0.01)
    result = sent.result().get_result_async()
    while not result.done() and time.monotonic() < deadline:
        time.sleep(0.01)
    client.destroy()
    answer: Grasp.Result = result.result().result
    return answer


def pose(x: float, y: float, z: float, frame: str = 'panda_link0') -> PoseStamped:
    message = PoseStamped()
    message.header.frame_id = frame
    message.pose.position.x, message.pose.position.y, message.pose.position.z = x, y, z
    return message


@pytest.mark.parametrize(
    ('goal', 'code', 'words'),
    [
        (Grasp.Goal(target='cup/rim'), Grasp.Result.UNKNOWN_TARGET, "'cup/rim'"),
        (Grasp.Goal(target='cap/brim', mode='shove'), Grasp.Result.INVALID_GOAL, 'shove'),
        (Grasp.Goal(target='cap/brim', mode='aligned'), Grasp.Result.INVALID_GOAL, 'pose'),
        (
            Grasp.Goal(pose=pose(0.4, 0.0, 0.02, 'moon')),
            Grasp.Result.INVALID_GOAL,
            'moon',
        ),
        (Grasp.Goal(pose=pose(float('nan'), 0.0, 0.02)), Grasp.Result.INVALID_GOAL, 'finite'),
        (Grasp.Goal(pose=pose(0.55, 0.25, 0.0)), Grasp.Result.NO_GRASP, 'nothing'),
        (
            Grasp.Goal(mode='aligned', pose=pose(1.4, 0.0, 0.3)),
            Grasp.Result.UNREACHABLE,
            '1.400',
        ),
        (
            Grasp.Goal(mode='aligned', pose=pose(0.45, 0.0, -0.1)),
            Grasp.Result.UNREACHABLE,
            'table',
        ),
    ],
)
def test_bad_goals_are_refused_with_a_reason_and_nothing_moves(
    stack: Judge, goal: Grasp.Goal, code: int, words: str
) -> None:
    teach(stack)
    stack.reset(1, 2, CAP, without_cap=True)
    at_rest = stack.joints
    result = send(stack, goal)
    assert not result.success
    assert result.code == code, result.message
    assert words in result.message
    assert np.abs(stack.joints - at_rest).max() < 0.005


def test_a_gripper_that_closes_on_nothing_fails_and_retreats(stack: Judge) -> None:
    stack.reset(1, 2, CAP, without_cap=True)
    at_rest = stack.joints
    # Upright above a free place of the table: the hand comes down and finds nothing.
    goal = Grasp.Goal(mode='aligned', pose=pose(0.45, 0.0, 0.05))
    result = send(stack, goal)
    assert result.code == Grasp.Result.EMPTY_GRIPPER, result.message
    assert 'nothing' in result.message
    assert np.abs(stack.joints - at_rest).max() < 0.02


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_the_stack_ends_within_five_seconds_without_a_traceback(
    number: signal.Signals, tmp_path: Path
) -> None:
    command = [sys.executable, '-m', 'don_kp_ros.cli', 'bringup', 'simulation:=true']
    command += [f'database:={tmp_path / "d.sqlite"}', '--log-directory', str(tmp_path / 'logs')]
    environment = {**os.environ, 'ROS_DOMAIN_ID': str(int(os.environ.get('ROS_DOMAIN_ID', 0)) + 1)}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    ready = tmp_path / 'logs' / 'grasp.log'
    deadline = time.monotonic() + 60
    while not (ready.exists() and 'ready for goals' in ready.read_text()):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    asked = time.monotonic()
    output, _ = process.communicate(timeout=20)
    assert time.monotonic() - asked < 5.0
    assert process.returncode == 0
    logs = output + ''.join(path.read_text() for path in (tmp_path / 'logs').iterdir())
    assert 'Traceback' not in logs
