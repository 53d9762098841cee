"""Many pictures in processes of their own: results in order, and processes that die."""

import os
import subprocess
import sys
import time

import pytest

from don_kp_ros.data.folder import DataError
from don_kp_ros.simulation.rendering import render_all

ENDLESS = """
from don_kp_ros.simulation.rendering import render_all
render_all([(exec, ('import time; print("begun", flush=True); time.sleep(1e6)',))], 1)
"""


def test_results_are_in_the_order_of_the_jobs() -> None:
    assert render_all([(abs, (-number,)) for number in range(6)], workers=2) == list(range(6))


def test_a_worker_that_dies_is_told_with_what_helps() -> None:
    with pytest.raises(DataError, match=r'one of 2 processes .* died.*fewer --workers'):
        render_all([(os._exit, (1,))], workers=2)


def test_a_job_that_fails_is_told_without_waiting_for_the_others() -> None:
    with pytest.raises(ValueError, match='invalid literal'):
        render_all([(int, ('x',)), *[(time.sleep, (1e6,))] * 7], workers=2)


def test_workers_end_where_the_command_is_killed() -> None:
    command = subprocess.Popen([sys.executable, '-c', ENDLESS], stdout=subprocess.PIPE, text=True)
    assert command.stdout is not None
    assert command.stdout.readline() == 'begun\n'
    command.kill()
    command.communicate(timeout=300)  # returns once no process is left that could write
