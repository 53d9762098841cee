"""Stops at random moments: what the joints feel, when they rest, whether the next goal works.

`python -m benchmarks.cancel`: the embedded adapter drives the simulated Panda from one random
place to the next over COUNT=200 motions, and is stopped on the way. Every simulated millisecond
tells the command and the joints' speed. SEED=0. Ten minutes.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
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


def main() -> int:
    """Measure, print, write; 1 where a target is missed."""
    # The simulation lets go of the interpreter at each step of its physics, and the other threads
    # are to give it back at once.
    sys.setswitchinterval(1e-4)
    count = int(os.environ.get('COUNT') or 200)
    seed = int(os.environ.get('SEED') or 0)
    with tempfile.TemporaryDirectory(prefix='don_kp-cancel-') as name:
        enter_a_domain(Path(name))
        rclpy.init(
            args=['--ros-args', '-p', 'real_time_factor:=1.0', '-p', 'camera_hz:=0.01'],
            # A signal ends the program, not its ROS time alone, which it would wait for.
            signal_handler_options=SignalHandlerOptions.NO,
        )
        simulation = Simulation()
        user = Node('user', parameter_overrides=[Parameter('use_sim_time', value=True)])
        limits = load_safety()
        safety = Safety(limits, PANDA, limits.simulation)
        motion, clock = EmbeddedMotion(user, PANDA, safety), RosTime(user)
        with simulation._looking:  # not in the middle of a step, which would make it shorter
            recorder = Recorder(simulation._world)
        executors = [MultiThreadedExecutor(2) for _ in range(2)]
        for executor, node in zip(executors, (simulation, user), strict=True):
            executor.add_node(node)
            threading.Thread(target=executor.spin, daemon=True).start()
        try:
            wait_until(lambda: recorder.speeds)
            rows = [
                _stop(motion, clock, recorder, np.random.default_rng([seed, i]))
                for i in range(count)
            ]
        finally:
            for executor in executors:
                executor.shutdown(1.0)
            simulation.destroy_node()
            rclpy.try_shutdown()
    moving = [row for row in rows if row['stopped']]
    ok = report(
        'cancel',
        f'{len(moving)} of {count} stops came while the arm moved',
        [
            {
                'what': what,
                'median': float(np.median([row[what] for row in moving])),
                'worst': float(np.max([row[what] for row in moving])),
            }
            for what in (
                'acceleration of the command',
                'acceleration of the arm',
                'rests after, s',
            )
        ],
        [
            Target(
                "acceleration of the command over Franka's limits",
                max(row['acceleration of the command'] for row in moving),
                1.0,
            ),
            Target(
                "acceleration of the arm over Franka's limits",
                max(row['acceleration of the arm'] for row in moving),
                1.0,
            ),
            Target('rests after, s', max(row['rests after, s'] for row in moving), 0.35),
            Target('next goals that failed', float(sum(row['failed'] for row in rows)), 0.0),
        ],
        seed=seed,
        variables=given('COUNT', 'SEED'),
    )
    return 0 if ok else 1


def _stop(
    motion: EmbeddedMotion, clock: RosTime, recorder: Recorder, rng: np.random.Generator
) -> dict[str, float]:
    """Start for a random place, stop on the way, and measure."""
    motion.engage()
    goal = np.clip(
        PANDA.position('observe') + rng.uniform(-FARTHEST, FARTHEST, 7),
        np.array(PANDA.position_lower) + 0.1,
        np.array(PANDA.position_upper) - 0.1,
    )
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
    times, commands, speeds = recorder.since(asked)
    limits = np.array(PANDA.stopping_accelerations)
    fast = np.abs(speeds).max(axis=1) > REST
    return {
        'stopped': float(stopped and fast[0]),
        'failed': 0.0,
        'acceleration of the command': float(
            (np.abs(np.diff(commands, 2, axis=0)) / STEP**2 / limits).max()
        ),
        'acceleration of the arm': float((np.abs(np.diff(speeds, axis=0)) / STEP / limits).max()),
        'rests after, s': float(times[fast][-1] - asked) if fast.any() else 0.0,
    }


if __name__ == '__main__':
    sys.exit(main())
