"""Stops on the way, against a controller that hears of them late."""

import numpy as np
import pytest
from scipy.interpolate import CubicHermiteSpline

from don_kp_ros.motion.braking import braked, progress, stoppable
from don_kp_ros.motion.timing import Trajectory, time_path
from don_kp_ros.robots.preset import load_preset
from don_kp_ros.simulation.controllers import CommandedTrajectory, TrajectoryController

PANDA = load_preset('panda')
LIMITS = np.array(PANDA.stopping_accelerations)
STEP = 0.001


@pytest.fixture(scope='module')
def motion() -> Trajectory:
    """The fastest motion that is ever planned, through a corner."""
    observe = PANDA.position('observe')
    way = [observe, observe + [1.0, 0.3, -0.5, -0.2, 0.9, 0.3, 0.9], observe + [1.8, *[0.2] * 6]]
    fastest = np.minimum(PANDA.velocity_limits, stoppable(LIMITS))
    timed = time_path(way, fastest, PANDA.acceleration_limits)
    assert timed is not None
    return timed


def commanded(motion: Trajectory, at: float, delay: float) -> tuple[np.ndarray, float]:
    """Return the commands (n, 7) every millisecond, and when they rest, in seconds from the stop.

    The controller hears of a stop that is computed at a time of the motion after a delay.
    """
    controller = TrajectoryController(motion.positions[0])
    controller.accept(
        CommandedTrajectory(motion.times, motion.positions, motion.velocities), now=0.0
    )
    stop = braked(motion, at, LIMITS)
    commands, heard = [], False
    times = np.arange(0.0, motion.duration + 1.0, STEP)
    for now in times:
        if stop is not None and not heard and now >= at + delay:
            heard = True
            points = stop.times[1:], stop.positions[1:], stop.velocities[1:]
            controller.accept(CommandedTrajectory(*points, start=at), now)
        controller.update(now)
        commands.append(controller.position.copy())
    moving = np.abs(np.diff(commands, axis=0)).max(axis=1) > 1e-7
    return np.array(commands), float(times[1:][moving][-1] - at)


@pytest.mark.parametrize('delay', [0.0, 0.02, 0.045, 0.06])
def test_a_stop_keeps_the_way_and_the_limits_and_is_soon_over(
    motion: Trajectory, delay: float
) -> None:
    curve = CubicHermiteSpline(motion.times, motion.positions, motion.velocities)
    way = curve(np.arange(0.0, motion.duration, 2 * STEP))
    for at in np.linspace(0.05, motion.duration - 0.05, 40):
        commands, seconds = commanded(motion, at, delay)
        acceleration = np.diff(commands, 2, axis=0) / STEP**2
        assert (np.abs(acceleration).max(axis=0) <= 0.95 * LIMITS).all()
        assert seconds < 0.35
        end = progress(motion, commands[-1], at)
        assert at <= end + 0.011 <= at + 0.36
        off = np.linalg.norm(commands[::5, None] - way, axis=2).min(axis=1)
        assert off.max() < 0.004


def test_a_motion_that_takes_all_the_arm_can_is_stopped_all_the_same() -> None:
    observe = PANDA.position('observe')
    way = [observe, observe + [1.8, 0.9, -0.5, -0.2, 0.9, 0.3, 0.9]]
    motion = time_path(way, 2 * np.array(PANDA.velocity_limits), LIMITS)
    assert motion is not None
    for at in np.linspace(0.0, motion.duration - 0.5, 20):
        stop = braked(motion, at, LIMITS)
        assert stop is not None and stop.times[-1] < 0.7
        assert not stop.velocities[-1].any()


def test_progress_is_where_the_arm_is(motion: Trajectory) -> None:
    for i in range(5, len(motion.times) - 5, 7):
        assert progress(motion, motion.positions[i], 0.0) == pytest.approx(
            motion.times[i], abs=2e-3
        )
        between = (motion.positions[i] + motion.positions[i + 1]) / 2
        middle = motion.times[i : i + 2].mean()
        assert progress(motion, between, middle) == pytest.approx(middle, abs=2e-3)
    assert progress(motion, motion.positions[0] - 0.01, 0.0) == 0.0
    # Where it stands for a while, the time that has passed decides.
    still = Trajectory(np.arange(4.0), np.zeros((4, 7)), np.zeros((4, 7)))
    assert progress(still, np.zeros(7), 2.2) == 2.0
