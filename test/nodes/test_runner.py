"""A node's process ends when it is told to, at any moment."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, signal, sys, threading, time
from rclpy.node import Node
from don_kp_ros.nodes.runner import StartupError, run_node

class Working(Node):
    def __init__(self):
        super().__init__('working')
        self.end = threading.Event()
        self.worker = threading.Thread(target=self.end.wait)
        if {moment!r} == 'spinning':
            self.create_timer(0.1, self.interrupt)
        self.worker.start()
        if {moment!r} == 'starting':
            self.interrupt()
        if {moment!r} == 'refusing':
            self.destroy_node()
            raise StartupError('the model is missing,\\ngive one')

    def interrupt(self):
        os.kill(os.getpid(), signal.{number})
        time.sleep(0.2)

    def destroy_node(self):
        self.end.set()
        self.worker.join()
        super().destroy_node()

sys.exit(run_node(Working, {arguments!r}, threads={threads}))
"""


def run(moment, number='SIGINT', threads=2, arguments=()):
    script = SCRIPT.format(
        moment=moment, number=number, threads=threads, arguments=list(arguments)
    )
    return subprocess.run(
        [sys.executable, '-c', script],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize('number', ['SIGINT', 'SIGTERM'])
@pytest.mark.parametrize('moment', ['starting', 'spinning'])
def test_a_signal_ends_the_process_without_a_word(moment, number):
    ended = run(moment, number, threads=1 if moment == 'spinning' else 2)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, '', '')


def test_a_refused_start_is_one_line_and_status_1():
    ended = run('refusing')
    assert ended.returncode == 1
    assert ended.stderr.strip().endswith('the model is missing, give one')
    assert ended.stderr.count('\n') == 1


def test_arguments_that_ros_cannot_read_end_with_status_1():
    ended = run('spinning', arguments=['--ros-args', '-p', 'no value'])
    assert ended.returncode == 1
    assert 'cannot start: ' in ended.stderr
    assert 'no value' in ended.stderr
    assert 'Traceback' not in ended.stderr
