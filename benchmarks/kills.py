"""Nodes that are killed at random moments: what the arm does, and whether the next goal works.

`HOW=grasp COUNT=50 python -m benchmarks.kills`: the grasp node drives the simulated Panda from one
random place to the next and is killed on the way (SIGKILL). HOW=database or perception, COUNT=20:
that node is killed while the grasp node grasps a cap and puts it back. The killed node is started
again, and must serve the next goal. SEED=0. FACTOR as for `cancel`. Half an hour each.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.parameter import Parameter
from tqdm import tqdm

from benchmarks.cancel import (
    LATEST,
    PANDA,
    POLL,
    WATCHED,
    Recorder,
    judged,
    measured,
    random_place,
    recorded,
    simulating,
    spinning,
)
from benchmarks.database_node import enter_a_domain, wait_until
from don_kp.action import Grasp
from don_kp_ros.bringup.processes import Bringup
from don_kp_ros.demo.judge import Judge
from don_kp_ros.motion.kinematics import Kinematics
from don_kp_ros.motion.safety import Safety, load_safety
from don_kp_ros.nodes.kit.action import PunctualActionClient
from don_kp_ros.nodes.kit.conversions import pose_from_matrix
from don_kp_ros.nodes.kit.meeting import Meeting
from don_kp_ros.nodes.simulation.node import Simulation
from don_kp_ros.simulation.instances import UNSEEN

NODES = {'grasp': 'grasp', 'database': 'descriptor_database', 'perception': 'perception'}
_PINCH = Grasp.Goal(target='cap/brim')
READY = {
    'grasp': 'ready for goals',
    'descriptor_database': ' descriptors in ',
    'perception': 'waiting for images',
}
GRASP_S = 15.0  # by then most goals have ended, in simulated time
START_S = 180.0


class Stack:
    """Nodes as processes beside the simulation of this one."""

    def __init__(self, folder: Path, domain: int) -> None:
        """Prepare them."""
        self._bringup = Bringup(
            {
                'simulation': 'true',
                'simulation_domain': str(domain),
                'database': str(folder / 'descriptors.sqlite'),
            }
        )
        self._logs = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *names: str) -> None:
        """Start nodes, and wait until they say that they have."""
        logs = {name: self._logs / f'{name}.log' for name in names}
        for node in self._bringup.nodes:
            if node.name in names:
                with logs[node.name].open('w') as output:
                    self._running[node.name] = subprocess.Popen(
                        self._bringup.command(node),
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        start_new_session=True,
                    )
        for name, log in logs.items():
            wait_until(lambda: READY[name] in log.read_text(errors='replace'), START_S)  # noqa: B023

    def end(self, name: str, number: int = signal.SIGTERM) -> None:
        """Send a node a signal that ends it, and wait for that."""
        process = self._running.pop(name)
        process.send_signal(number)
        process.wait()

    def close(self) -> None:
        """End all."""
        for name in list(self._running):
            self.end(name)


def main() -> int:
    """Measure, print, write; 1 where a target is missed."""
    how = os.environ.get('HOW') or 'grasp'
    if how not in NODES:
        raise SystemExit(f'HOW is {how!r}; it must be one of {", ".join(NODES)}')
    count = int(os.environ.get('COUNT') or (50 if how == 'grasp' else 20))
    seed = int(os.environ.get('SEED') or 0)
    with tempfile.TemporaryDirectory(prefix='don_kp-kills-') as name:
        stack = Stack(Path(name), enter_a_domain(Path(name)))
        try:
            if how == 'grasp':
                return _grasp(stack, count, seed)
            return _other(stack, NODES[how], count, seed)
        finally:
            stack.close()


def _grasp(stack: Stack, count: int, seed: int) -> int:
    rows, failed = [], 0
    with simulating() as simulation:
        recorder = recorded(simulation)
        user = Node('user', parameter_overrides=[Parameter('use_sim_time', value=True)])
        with spinning(user):
            mover = Mover(user)
            for i in tqdm(range(count + 1), desc='kills', unit='kill'):
                stack.start('grasp')
                wait_until(lambda: 'grasp_watchdog' in user.get_node_names())
                ended = mover.send(PANDA.position('observe'))
                wait_until(ended.done, START_S)
                back = ended.result().result
                if not back.success:
                    failed += 1
                    print(f'after kill {i}: {back.message}', file=sys.stderr)
                if i < count:
                    rows.append(_kill(stack, mover, recorder, np.random.default_rng([seed, i])))
                    wait_until(lambda: 'grasp_watchdog' not in user.get_node_names())
    moving = [row for row in rows if row['moved']]
    title = f'{len(moving)} of {count} kills of the grasp node came while the arm moved'
    return judged('kills', moving, float(failed), seed, title, 'grasp')


def _kill(
    stack: Stack, mover: Mover, recorder: Recorder, rng: np.random.Generator
) -> dict[str, float]:
    """Start for random places until one is reached for, and kill the grasp node on the way."""
    moving = mover.leave(rng, lambda: bool(np.abs(recorder.speeds[-1]).max() > 0.02))
    wait = recorder.times[-1] + rng.uniform(0.0, LATEST)
    while not moving.done() and recorder.times[-1] < wait:
        time.sleep(POLL)
    asked = recorder.times[-1]
    stack.end('grasp', signal.SIGKILL)
    wait_until(lambda: recorder.times[-1] > asked + WATCHED)
    return measured(recorder, asked)


class Mover:
    """Sends the grasp node goals of mode move."""

    def __init__(self, node: Node) -> None:
        """Send by a node that others spin."""
        self._node, self._client = node, PunctualActionClient(node, Grasp, 'grasp')
        self._kinematics = Kinematics(PANDA)
        limits = load_safety()
        self._safety = Safety(limits, PANDA, limits.simulation)

    def place(self, rng: np.random.Generator) -> Any:
        """Return joint positions (7,) where the tool may be."""
        while not self._safety.allows(self._kinematics.forward(q := random_place(rng))):
            pass
        return q

    def send(self, q: Any) -> Any:
        """Send the tool's pose at joint positions; return the future of the goal's result."""
        goal = Grasp.Goal(mode=Grasp.Goal.MOVE, blind=True)
        goal.pose.header.frame_id = PANDA.base_frame
        goal.pose.pose = pose_from_matrix(self._kinematics.forward(q))
        wait_until(self._client.server_is_ready)
        # Each grasp node is a new one: what it answers before it knows this process is lost.
        with contextlib.closing(Meeting(self._node, '/grasp/_action/send_goal')) as meeting:
            wait_until(meeting.over)
        sent = self._client.send_goal_async(goal)
        wait_until(sent.done)
        assert sent.result().accepted
        return sent.result().get_result_async()

    def leave(self, rng: np.random.Generator, moves: Callable[[], bool]) -> Any:
        """Send goals until the arm moves; return the future of the result."""
        while True:
            result = self.send(self.place(rng))
            while not (moves() or result.done()):
                time.sleep(POLL)
            if not result.done():
                return result


def _other(stack: Stack, name: str, count: int, seed: int) -> int:
    rows, codes, failed = [], Counter[str](), 0
    words = {
        n: word for word in dir(Grasp.Result) if isinstance(n := getattr(Grasp.Result, word), int)
    }
    with simulating(5.0) as simulation:
        stack.start(*READY)
        judge = Judge(lambda: None)
        try:
            judge.wait_until_ready(START_S)
            judge.reset(seed, 0, UNSEEN[42])
            truth = judge.truth()
            judge.store('cap/brim', round(truth.point_u), round(truth.point_v))
            for i in tqdm(range(count), desc='kills', unit='kill'):
                rng = np.random.default_rng([seed, i])
                row = None
                while row is None:  # some goals have ended before the moment comes
                    judge.reset(seed, 1 + i, UNSEEN[42])
                    row, result = _kill_beside(stack, name, judge, simulation, rng)
                rows.append(row)
                codes[words.get(result.code, str(result.code))] += 1
                stack.start(name)
                judge.reset(seed, 1 + i, UNSEEN[42])
                judge.wait_until_sought(_PINCH.target)
                after = judge.grasp(_PINCH, lambda *_: None)  # which needs every node
                if not after.success:
                    failed += 1
                    print(f'after kill {i}: {after.message}', file=sys.stderr)
        finally:
            judge.close()
    ended = ', '.join(f'{number} {code}' for code, number in codes.most_common())
    title = f'{count} kills of {name} during a goal, which ended with {ended}'
    return judged('kills', rows, float(failed), seed, title, name)


def _kill_beside(
    stack: Stack, name: str, judge: Judge, simulation: Simulation, rng: np.random.Generator
) -> tuple[dict[str, float] | None, Grasp.Result]:
    """Kill a node while a cap is grasped; return what the arm did since, and how the goal ended.

    Times count from the goal's end: what needs the killed node no more goes on. Accelerations are
    those of the whole goal, the fingers' contact with the cap among them. None where the goal
    ended before anything was killed.
    """
    recorder = recorded(simulation)
    begun = recorder.times[-1]
    moment = begun + rng.uniform(0.0, GRASP_S)
    over, killed = threading.Event(), threading.Event()

    def kill() -> None:
        while recorder.times[-1] < moment and not over.is_set():
            time.sleep(POLL)
        if not over.is_set():
            stack.end(name, signal.SIGKILL)
            killed.set()

    killer = threading.Thread(target=kill)
    killer.start()
    goal = Grasp.Goal(target=_PINCH.target, next=Grasp.Goal.RELEASE)
    try:
        result = judge.grasp(goal, lambda *_: None)
        ended = recorder.times[-1]
    finally:
        over.set()
        killer.join()
    if not killed.is_set():
        return None, result
    wait_until(lambda: recorder.times[-1] > ended + WATCHED)
    rests = measured(recorder, ended)['rests after, s']
    return {**measured(recorder, begun), 'rests after, s': rests}, result


if __name__ == '__main__':
    sys.exit(main())
