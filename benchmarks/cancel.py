"""Stops at random moments: what the joints feel, when they rest, whether the next goal works.

`python -m benchmarks.cancel`: the embedded adapter drives the simulated Panda from one random
place to the next over COUNT=200 motions, and is stopped on the way. Every simulated millisecond
tells the command and the joints' speed. SEED=0. FACTOR=0.2 slows the simulation down, where a
busy machine would hear late of each stop. Ten minutes.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions

from benchmarks.database_node import enter_a_domain, wait_until
from benchmarks.report import Target, given, report
from don_kp_ros.motion.port import MotionCode, MotionError
from don_kp_ros.motion.safety import Safety, load_safety
from don_kp_ros.nodes.kit.clock import RosTime
from don_kp_ros.nodes.motion.embedded import EmbeddedMotion
from don_kp_ros.nodes.simulation.node import Simulation
from don_kp_ros.robots.preset import load_preset
from don_kp_ros.simulation.world import World

Array = NDArray[np.float64]

STEP = 0.001
REST = 0.01  # rad/s
LATEST = 1.2  # s after the motion's begin: by then most have ended
WATCHED = 0.6  # s after a stop
POLL = 0.002  # s of this machine; one program's threads share its time
FARTHEST = 0.9  # rad, of each joint from the observation pose, within its limits
PANDA = load_preset('panda')


class Recorder:
    """Writes down every millisecond of the arm's command and speed."""

    def __init__(self, world: World) -> None:
        """Record from now on."""
        self.times: list[float] = []
        self.commands: list[Array] = []
        self.speeds: list[Array] = []
        world.model.opt.timestep = STEP
        update = world.arm.update

        def recorded(now: float) -> None:
            update(now)
            if self.times and now < self.times[-1] + STEP / 2:
                return  # the same moment once more, as when a trajectory comes
            self.times.append(now)
            self.commands.append(np.array(world.arm.position))
            self.speeds.append(world.joint_state().velocity[:7])

        world.arm.update = recorded  # type: ignore[method-assign]

    def since(self, time_s: float) -> tuple[Array, Array, Array]:
        """Return times (n,), commands (n, 7) and speeds (n, 7) from a time on."""
        n = len(self.speeds)
        first = int(np.searchsorted(self.times[:n], time_s))
        parts = (self.times, self.commands, self.speeds)
        times, commands, speeds = (np.array(part[first:n]) for part in parts)
        return times, commands, speeds


@contextlib.contextmanager
def simulating(camera_hz: float = 0.01) -> Iterator[Simulation]:
    """Have the simulated robot in this process, as fast as real time, or FACTOR times as fast."""
    factor = float(os.environ.get('FACTOR') or 1.0)
    # The simulation lets go of the interpreter at each step of its physics, and the other threads
    # are to give it back at once.
    sys.setswitchinterval(1e-4)
    rclpy.init(
        args=['--ros-args', '-p', f'real_time_factor:={factor}', '-p', f'camera_hz:={camera_hz}'],
        # A signal ends the program, not its ROS time alone, which it would wait for.
        signal_handler_options=SignalHandlerOptions.NO,
    )
    try:
        simulation = Simulation()
        with spinning(simulation):
            yield simulation
    finally:
        rclpy.try_shutdown()


def recorded(simulation: Simulation) -> Recorder:
    """Record the arm of the scene as it is now."""
    with simulation._looking:  # not in the middle of a step, which would make it shorter
        recorder = Recorder(simulation._world)
    wait_until(lambda: recorder.speeds)
    return recorder


@contextlib.contextmanager
def spinning(node: Node) -> Iterator[Node]:
    """Spin a node in threads of its own meanwhile, and destroy it."""
    executor = MultiThreadedExecutor(2)
    executor.add_node(node)
    threading.Thread(target=executor.spin, daemon=True).start()
    try:
        yield node
    finally:
        executor.shutdown(1.0)
        node.destroy_node()


def measured(recorder: Recorder, asked: float, until: float = np.inf) -> dict[str, float]:
    """Tell what the joints felt since a time, s, and when they came to rest.

    Accelerations and speeds are shares of what Franka allows.
    """
    times, commands, speeds = recorder.since(asked)
    fast = np.abs(speeds).max(axis=1) > REST
    resting = times[fast & (times < until)]
    bounds = np.array(PANDA.stopping_accelerations), np.array(PANDA.velocity_limits)
    commanded = np.diff(commands, axis=0) / STEP
    beyond = np.maximum(np.array(PANDA.position_lower) - commands, commands - PANDA.position_upper)
    return {
        'moved': float(fast[0]),
        'acceleration of the command': float(
            (np.abs(np.diff(commanded, axis=0)) / STEP / bounds[0]).max()
        ),
        'acceleration of the arm': float(
            (np.abs(np.diff(speeds, axis=0)) / STEP / bounds[0]).max()
        ),
        'speed of the command': float((np.abs(commanded) / bounds[1]).max()),
        'beyond the range, rad': max(0.0, float(beyond.max())),
        'rests after, s': float(resting[-1] - asked) if len(resting) else 0.0,
    }


def judged(
    name: str,
    moving: Sequence[Mapping[str, float]],
    failed: float,
    seed: int,
    title: str,
    variant: str = '',
) -> int:
    """Report what was measured of an arm that moved; return the exit status, 1 if it never did."""
    if not moving:
        print(f'nothing to judge: {title}; raise COUNT', file=sys.stderr)
        return 1
    figures = [what for what in moving[0] if what not in ('moved', 'stopped', 'failed')]
    worst = {what: float(np.max([row[what] for row in moving])) for what in figures}
    limits = {'beyond the range, rad': 0.0, 'rests after, s': 0.35}
    return int(
        not report(
            name,
            title,
            [
                {
                    'what': what,
                    'median': float(np.median([row[what] for row in moving])),
                    'worst': worst[what],
                }
                for what in figures
            ],
            [
                *(Target(what, worst[what], limits.get(what, 1.0)) for what in figures),
                Target('next goals that failed', failed, 0.0),
            ],
            seed=seed,
            variables=given('HOW', 'COUNT', 'SEED', 'FACTOR'),
            variant=variant,
        )
    )


def main() -> int:
    """Measure, print, write; 1 where a target is missed."""
    count = int(os.environ.get('COUNT') or 200)
    seed = int(os.environ.get('SEED') or 0)
    with tempfile.TemporaryDirectory(prefix='don_kp-cancel-') as name:
        enter_a_domain(Path(name))
        with simulating() as simulation:
            recorder = recorded(simulation)
            user = Node('user', parameter_overrides=[Parameter('use_sim_time', value=True)])
            limits = load_safety()
            safety = Safety(limits, PANDA, limits.simulation)
            motion, clock = EmbeddedMotion(user, PANDA, safety), RosTime(user)
            with spinning(user):
                rows = [
                    _stop(motion, clock, recorder, np.random.default_rng([seed, i]))
                    for i in range(count)
                ]
    moving = [row for row in rows if row['stopped']]
    title = f'{len(moving)} of {count} stops came while the arm moved'
    return judged('cancel', moving, sum(row['failed'] for row in rows), seed, title)


def random_place(rng: np.random.Generator) -> Array:
    """Return joint positions (7,) around the observation pose, within the limits."""
    lower, upper = np.array(PANDA.position_lower) + 0.1, np.array(PANDA.position_upper) - 0.1
    away = rng.uniform(-FARTHEST, FARTHEST, 7)
    return np.clip(PANDA.position('observe') + away, lower, upper)


def _stop(
    motion: EmbeddedMotion, clock: RosTime, recorder: Recorder, rng: np.random.Generator
) -> dict[str, float]:
    """Start for a random place, stop on the way, and measure."""
    motion.engage()
    goal = random_place(rng)
    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(motion.move_to_joints, goal)
        while not moving.done() and np.abs(recorder.speeds[-1]).max() < 0.02:
            time.sleep(POLL)
        wait = clock.now() + rng.uniform(0.0, LATEST)
        while not moving.done() and clock.now() < wait:
            time.sleep(POLL)
        asked = recorder.times[-1]
        motion.stop()
        error = moving.exception()
    if isinstance(error, MotionError) and error.code is not MotionCode.CANCELLED:
        # Some random places are not to be reached: they say nothing of stops.
        planned = error.code in (MotionCode.COLLISION, MotionCode.UNREACHABLE, MotionCode.OUTSIDE)
        return {'stopped': 0.0, 'failed': float(not planned)}
    stopped = isinstance(error, MotionError)
    until = clock.now() + WATCHED
    while clock.now() < until:
        time.sleep(POLL)
    row = measured(recorder, asked)
    return {**row, 'stopped': float(stopped and row['moved']), 'failed': 0.0}


if __name__ == '__main__':
    sys.exit(main())
