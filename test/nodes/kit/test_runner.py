"""A node's process ends when it is told to, at any moment."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import rclpy
from rclpy.task import Future

from don_kp_ros.nodes.kit.runner import ThreadedExecutor
from don_kp_ros.resources import config_path

SCRIPT = """
import os, signal, sys, threading, time
from rclpy import executors
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from std_msgs.msg import Empty
from don_kp_ros.nodes.kit import runner
from don_kp_ros.nodes.kit.runner import StartupError, run_node

moment = {moment!r}
if moment in ('stuck', 'living on'):
    runner._TEARDOWN_S = 3.0
wait_set = executors._rclpy.WaitSet
if moment == 'preparing to wait':  # takes so long that the end comes in its midst
    executors._rclpy.WaitSet = lambda *given: time.sleep(0.5) or wait_set(*given)

class Working(Node):
    def __init__(self):
        super().__init__('working')
        if moment == 'refusing':
            raise StartupError('the model is missing,\\ngive one')
        if moment == 'lacking':
            open('/nowhere/preset.yaml')
        if moment == 'lacking a package':
            raise ModuleNotFoundError("the Panda's meshes are missing")
        if moment == 'failing':
            raise ValueError('a bug')
        if moment == 'signals taken':
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
        self.ending = threading.Event()
        self.worker = threading.Thread(target=self.ending.wait)
        self.worker.start()
        if moment == 'another thread gets it':
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.{number}])
        self.heard = threading.Event()
        group = ReentrantCallbackGroup()
        self.create_subscription(Empty, 'word', self.hear, 10, callback_group=group)
        self.publisher = self.create_publisher(Empty, 'word', 10)
        if moment in ('spinning', 'signals taken', 'another thread gets it'):
            self.create_timer(0.1, self.interrupt)  # again and again, to the last
        elif moment == 'giving up':
            self.heard.set()
            self.create_timer(0.1, self.give_up)
        else:
            self.interrupt()

    def interrupt(self):
        os.kill(os.getpid(), signal.{number})
        time.sleep(0.05)

    def give_up(self):
        raise StartupError('another robot\\nhas come')

    def hear(self, _):
        self.heard.set()
        if moment == 'busy':
            time.sleep(0.5)
        if moment == 'stuck':
            time.sleep(600)

    def end(self):
        while not self.heard.wait(0.05):
            self.publisher.publish(Empty())
        if moment == 'busy':  # more than there are threads: one waits for its turn
            for _ in range(5):
                self.publisher.publish(Empty())
        print('still heard')

    def destroy_node(self):
        self.ending.set()
        self.worker.join()
        super().destroy_node()

status = run_node(Working, {arguments!r}, threads={threads})
if moment == 'living on':
    time.sleep(4.0)
sys.exit(status)
"""


def run(moment, number='SIGINT', threads=2, arguments=()):
    script = SCRIPT.format(
        moment=moment, number=number, threads=threads, arguments=list(arguments)
    )
    return subprocess.run(
        [sys.executable, '-c', script],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize('number', ['SIGINT', 'SIGTERM'])
@pytest.mark.parametrize(
    'moment',
    [
        'starting',
        'signals taken',
        'another thread gets it',
        'spinning',
        'preparing to wait',
        'busy',
        'living on',
    ],
)
def test_a_signal_ends_the_node_while_messages_flow(moment, number):
    ended = run(moment, number, threads=1 if moment == 'spinning' else 2)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, 'still heard\n', '')


@pytest.mark.parametrize('threads', [1, 2])
def test_a_callback_that_does_not_return_does_not_keep_the_node(threads):
    ended = run('stuck', threads=threads)
    assert ended.returncode == 1
    assert 'in hear' in ended.stderr


@pytest.mark.parametrize(
    ('moment', 'message'),
    [
        ('refusing', 'the model is missing, give one'),
        ('lacking', "No such file or directory: '/nowhere/preset.yaml'"),
        ('lacking a package', "the Panda's meshes are missing"),
    ],
)
def test_a_refused_start_is_one_line_and_status_1(moment, message):
    ended = run(moment)
    assert ended.returncode == 1
    assert ended.stderr.strip().endswith(message)
    assert ended.stderr.count('\n') == 1


@pytest.mark.parametrize('threads', [1, 2])
def test_a_callback_that_refuses_to_go_on_is_one_line_and_status_1(threads):
    ended = run('giving up', threads=threads)
    assert ended.returncode == 1
    assert ended.stderr.strip().endswith('another robot has come')
    assert ended.stderr.count('\n') == 1


def test_a_bug_shows_its_traceback():
    ended = run('failing')
    assert ended.returncode == 1
    assert 'Traceback' in ended.stderr
    assert 'ValueError: a bug' in ended.stderr


def test_arguments_that_ros_cannot_read_end_with_status_1():
    ended = run('spinning', arguments=['--ros-args', '-p', 'no value'])
    assert ended.returncode == 1
    assert 'cannot start: ' in ended.stderr
    assert 'no value' in ended.stderr
    assert 'Traceback' not in ended.stderr


@pytest.fixture
def executor(ros_environment):
    """Two threads for callbacks, and what they were given."""
    context = rclpy.Context()
    rclpy.init(context=context)
    made = ThreadedExecutor(2, context=context)
    yield made
    made.shutdown()
    context.shutdown()


def test_a_callback_that_waits_for_a_thread_is_given_once(executor, monkeypatch):
    given, submit = [], executor._executor.submit
    monkeypatch.setattr(
        executor._executor, 'submit', lambda *work: (given.append(work), submit(*work))
    )
    free, called = threading.Event(), []
    executor.create_task(lambda: called.append('third'))  # what has come last is taken first
    for _ in range(2):
        executor.create_task(lambda: called.append(free.wait(60)))
    for _ in range(20):
        executor.spin_once(0.01)
    assert (len(given), called) == (3, [])
    free.set()
    while len(called) < 3:
        executor.spin_once(0.01)
    assert sorted(map(str, called)) == ['True', 'True', 'third']
    assert len(given) == 3


def test_a_callback_goes_on_once_what_it_awaits_has_come(executor):
    awaited, got = Future(executor=executor), []

    async def wait():
        got.append(await awaited)

    executor.create_task(wait)
    for _ in range(5):
        executor.spin_once(0.01)
    awaited.set_result('an answer')
    while not got:
        executor.spin_once(0.01)
    assert got == ['an answer']


class Polled(Future):
    """Counts how often it is looked at."""

    looks = 0

    def __await__(self):
        while not self.done():
            self.looks += 1
            yield
        return self.result()


def test_a_callback_that_awaits_is_not_looked_at_while_nothing_comes(executor):
    awaited = Polled(executor=executor)

    async def wait():
        await awaited

    task = executor.create_task(wait)
    while not awaited.looks:
        executor.spin_once(0.01)
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        executor.spin_once(0.2)
    assert awaited.looks < 12  # at once and again after every wait; a slow machine looks less
    awaited.set_result(None)
    while not task.done():
        executor.spin_once(0.01)


def test_a_callback_goes_on_when_another_ends(executor, wait_until):
    """It need not wait until nothing else comes: then a busy node would not answer."""
    awaited, begun, later = Future(), threading.Event(), threading.Event()

    async def wait():
        await awaited

    task = executor.create_task(wait)

    def bring():
        begun.set()
        later.wait(60)
        awaited.set_result(None)

    executor.create_task(bring)
    while not begun.is_set():
        executor.spin_once(0.01)
    for _ in range(5):
        executor.spin_once(0.01)
    while not executor._awaiting:  # a thread may be looking at it, and would find it brought
        executor.spin_once(0.01)
        time.sleep(0.05)
    assert not task.done()
    later.set()
    executor.spin_once(3600)  # the end of the one brings the other
    wait_until(task.done)


def test_what_waits_for_a_thread_is_not_done_any_more_at_the_end(ros_environment):
    context = rclpy.Context()
    rclpy.init(context=context)
    executor = ThreadedExecutor(2, context=context)
    free, called = threading.Event(), []
    for _ in range(5):
        executor.create_task(lambda: called.append(free.wait(60)))
    for _ in range(10):
        executor.spin_once(0.01)
    ended = threading.Thread(target=executor.shutdown)
    ended.start()
    while not executor._executor._shutdown:
        time.sleep(0.01)
    free.set()
    ended.join()
    context.shutdown()
    assert called == [True, True]


def test_a_callback_that_fails_is_told(executor):
    def fail():
        raise ValueError('a bug')

    def spin():
        for _ in range(600):
            executor.spin_once(0.1)
            executor.create_task(lambda: None)

    executor.create_task(fail)
    with pytest.raises(ValueError, match='a bug'):
        spin()


def test_what_fast_dds_logs_is_no_output_of_a_program(tmp_path):
    """Its log goes where config/fastdds.xml says: standard output may be read by programs."""
    wrong = config_path('fastdds.xml').read_text().replace('</profiles>', '<nonsense/></profiles>')
    (tmp_path / 'wrong.xml').write_text(wrong)
    ended = subprocess.run(
        [sys.executable, '-c', 'import rclpy; rclpy.init(); rclpy.create_node("quiet")'],
        env={**os.environ, 'FASTRTPS_DEFAULT_PROFILES_FILE': str(tmp_path / 'wrong.xml')},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stdout == ''
    assert 'nonsense' in ended.stderr
